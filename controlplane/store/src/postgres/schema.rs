//! The schema: its tables, and how they come and go.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::address::Address;
use super::session::{ConnectError, connect};
use crate::Error;

/// Raised whenever the tables change; a schema of a newer version is refused.
const VERSION: i32 = 1;

/// How long a start waits for a database that is away.
const PATIENCE: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_millis(500);

/// Keys are bytes, so that they sort as strings do here whatever the database's collation. The rows that every write
/// changes have room for it on their page, without the indexes being touched.
const TABLES: &str = "
    CREATE TABLE log (
        revision    bigint PRIMARY KEY,
        key         bytea NOT NULL,
        deleted     boolean NOT NULL,
        created     bigint NOT NULL,
        previous    bigint NOT NULL,
        revision_at integer,
        fields      bytea NOT NULL,
        value       bytea NOT NULL
    );
    CREATE INDEX history ON log (key, revision DESC) INCLUDE (deleted);

    CREATE TABLE current (
        key      bytea PRIMARY KEY,
        revision bigint NOT NULL,
        expires  bigint
    ) WITH (fillfactor = 80);
    CREATE INDEX expiry ON current (expires) WHERE expires IS NOT NULL;

    CREATE TABLE state (newest bigint NOT NULL, oldest bigint NOT NULL, version integer NOT NULL)
        WITH (fillfactor = 10);
    INSERT INTO state VALUES (0, 0, 1);

    CREATE TABLE sweep (swept bigint NOT NULL) WITH (fillfactor = 10);
    INSERT INTO sweep VALUES (0);
";

/// The mark of whom a schema belongs to: one row at most. Schemas that nobody claims have none.
const OWNER: &str = "CREATE TABLE IF NOT EXISTS owner
    (name text NOT NULL, alone boolean PRIMARY KEY DEFAULT true CHECK (alone))";

/// Why a schema cannot be used as a store.
#[derive(Debug, thiserror::Error)]
enum SchemaError {
    #[error("the schema {schema} has version {found}, this program knows {VERSION}")]
    Version { schema: String, found: i32 },
    #[error("the schema {schema} is the store of another cluster, {owner}")]
    Taken { schema: String, owner: String },
}

impl From<SchemaError> for Error {
    fn from(error: SchemaError) -> Self {
        Self::Database(Box::new(error))
    }
}

/// Makes the tables where there are none, waiting for a while for a database that is away.
pub(super) async fn prepare(address: &Address) -> Result<(), Error> {
    let begun = tokio::time::Instant::now();
    loop {
        let error = match connect(address, None).await {
            Ok(client) => match make(&client, address).await {
                Err(error @ Error::Unavailable(_)) => error,
                result => return result,
            },
            Err(ConnectError::Refused(error)) if is_refusal(&error) => {
                return Err(Error::Database(Box::new(error)));
            }
            Err(error) => error.into(),
        };
        if begun.elapsed() >= PATIENCE {
            return Err(error);
        }
        tracing::warn!(error = &error as &dyn std::error::Error, "waiting for the database");
        tokio::time::sleep(RETRY).await;
    }
}

/// Whether to try again is of no use: the password is wrong, or there is no such database.
fn is_refusal(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        matches!(
            *code,
            SqlState::INVALID_PASSWORD
                | SqlState::INVALID_AUTHORIZATION_SPECIFICATION
                | SqlState::INVALID_CATALOG_NAME
                | SqlState::INSUFFICIENT_PRIVILEGE
        )
    })
}

/// Makes sure whose the schema is before anything is in it.
async fn make(client: &Client, address: &Address) -> Result<(), Error> {
    if let Some(owner) = &address.owner
        && let Some(other) = mark(client, address, owner).await?
    {
        return Err(SchemaError::Taken { schema: address.schema.clone(), owner: other }.into());
    }
    create(client, address).await
}

/// Marks a schema as somebody's, if it is nobody's; says whose it is if it is another's.
pub(super) async fn claim(address: &Address, owner: &str) -> Result<Option<String>, Error> {
    let client = connect(address, None).await?;
    mark(&client, address, owner).await
}

async fn mark(client: &Client, address: &Address, owner: &str) -> Result<Option<String>, Error> {
    lock(client, address).await?;
    let found = client.query_one("SELECT to_regnamespace($1) IS NOT NULL", &[&address.quoted()]).await?;
    if !found.try_get::<_, bool>(0)? {
        client.batch_execute(&format!("CREATE SCHEMA {}", address.quoted())).await?;
    }
    client.batch_execute(OWNER).await?;
    client.execute("INSERT INTO owner (name) VALUES ($1) ON CONFLICT DO NOTHING", &[&owner]).await?;
    let found: String = client.query_one("SELECT name FROM owner", &[]).await?.try_get(0)?;
    Ok(Some(found).filter(|found| found != owner))
}

/// Takes the mark off, so that somebody else can have the schema with all that is in it. A mark of others stays.
pub(super) async fn release(address: &Address, owner: &str) -> Result<(), Error> {
    let client = connect(address, None).await?;
    let table = format!("{}.owner", address.quoted());
    let found = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?;
    if found.try_get::<_, bool>(0)? {
        client.execute("DELETE FROM owner WHERE name = $1", &[&owner]).await?;
    }
    Ok(())
}

/// Replicas that start together agree on who makes what there has to be. The lock ends with the connection, which is only
/// for this; taken within a transaction, that would not see what was made while it waited.
async fn lock(client: &Client, address: &Address) -> Result<(), Error> {
    client.execute("SELECT pg_advisory_lock(hashtext($1))", &[&address.channel()]).await?;
    Ok(())
}

async fn create(client: &Client, address: &Address) -> Result<(), Error> {
    if is_made(client, address).await? {
        return Ok(());
    }
    lock(client, address).await?;
    if !is_made(client, address).await? {
        let schema = address.quoted();
        client.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}; {TABLES}")).await?;
    }
    Ok(())
}

async fn is_made(client: &Client, address: &Address) -> Result<bool, Error> {
    let table = format!("{}.state", address.quoted());
    let found = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?;
    if !found.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    let found: i32 = client.query_one("SELECT version FROM state", &[]).await?.try_get(0)?;
    if found != VERSION {
        return Err(SchemaError::Version { schema: address.schema.clone(), found }.into());
    }
    Ok(true)
}

/// Removes a schema with all that is in it. It is no error if there is none.
pub(super) async fn drop(address: &Address) -> Result<(), Error> {
    let client = connect(address, None).await?;
    client.batch_execute(&format!("DROP SCHEMA IF EXISTS {} CASCADE", address.quoted())).await?;
    Ok(())
}
