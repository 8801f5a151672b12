//! Connections: how they are set up, kept, and replaced when they break.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client};

use super::address::Address;
use crate::{Error, Revision};

/// After an attempt to connect has failed, whoever comes within this time hears the same instead of trying again, so
/// that thousands of requests do not queue for a database that is away.
const REST: Duration = Duration::from_millis(500);

/// How a session behaves. Plans are to be the same whatever the planner believes of tables that were empty when it
/// looked: along an index, and from there row by row. A server that commits without waiting for its disk is told to
/// wait; one that waits for its standbys too, is not disturbed. Who has gone away in the middle of a transaction may
/// not hold up the others for long.
const SETTINGS: &str = "
    SET jit = off;
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET enable_material = off;
    SET max_parallel_workers_per_gather = 0;
    SET plan_cache_mode = force_generic_plan;
    SET default_transaction_isolation = 'read committed';
    SET statement_timeout = '60s';
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '10s';
    SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') = 'off'";

/// How long it may take until a connection can be used.
const LONGEST: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the database cannot be connected to")]
    Refused(#[from] tokio_postgres::Error),
    #[error("the database does not answer")]
    Late,
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

/// The statements that a session has been prepared for.
pub(super) trait Prepared: Sized + Send + Sync + 'static {
    fn prepare(client: &Client) -> impl Future<Output = Result<Self, tokio_postgres::Error>> + Send;
}

/// A connection and its statements.
pub(super) struct Session<S> {
    pub(super) client: Client,
    pub(super) statements: S,
}

/// What another replica tells by `NOTIFY`. It may be lost: it only saves waiting for the next look at the log.
#[derive(Default)]
pub(super) struct Hint {
    newest: AtomicU64,
    wake: Notify,
}

impl Hint {
    /// The log has come this far; 0 if that is not known.
    pub(super) fn tell(&self, newest: Revision) {
        self.newest.fetch_max(newest, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Waits until something is told.
    pub(super) async fn told(&self) -> Revision {
        self.wake.notified().await;
        self.newest.load(Ordering::Relaxed)
    }
}

/// A connection to the schema; what it hears on the schema's channel goes to `hint`.
pub(super) async fn connect(address: &Address, hint: Option<&Arc<Hint>>) -> Result<Client, ConnectError> {
    timeout(LONGEST, set_up(address, hint)).await.map_err(|_| ConnectError::Late)?.map_err(Into::into)
}

async fn set_up(address: &Address, hint: Option<&Arc<Hint>>) -> Result<Client, tokio_postgres::Error> {
    let (client, mut connection) = address.config.connect(address.tls.clone()).await?;
    let told = hint.cloned();
    tokio::spawn(async move {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(note))) => {
                    if let Some(hint) = &told {
                        hint.tell(note.payload().parse().unwrap_or(0));
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "a connection to the database broke"
                    );
                    break;
                }
                None => break,
            }
        }
        if let Some(hint) = told {
            hint.tell(0);
        }
    });
    client.batch_execute(SETTINGS).await?;
    client.batch_execute(&format!("SET search_path = {}", address.quoted())).await?;
    if hint.is_some() {
        client.batch_execute(&format!("LISTEN \"{}\"", address.channel())).await?;
    }
    Ok(client)
}

/// Where a session is, or will be when it is needed.
pub(super) struct Slot<S> {
    address: Arc<Address>,
    hint: Option<Arc<Hint>>,
    state: Mutex<State<S>>,
}

struct State<S> {
    session: Option<Arc<Session<S>>>,
    failed: Option<(Instant, Cause)>,
    closed: bool,
}

/// An error that several hear of.
pub(super) type Cause = Arc<dyn std::error::Error + Send + Sync>;

impl<S: Prepared> Slot<S> {
    pub(super) fn new(address: Arc<Address>, hint: Option<Arc<Hint>>) -> Self {
        Self { address, hint, state: Mutex::new(State { session: None, failed: None, closed: false }) }
    }

    /// The session, connected if need be.
    pub(super) async fn get(&self) -> Result<Arc<Session<S>>, Error> {
        let mut state = self.state.lock().await;
        if state.closed {
            return Err(Error::Closed);
        }
        if let Some(session) = state.session.as_ref().filter(|session| !session.client.is_closed()) {
            return Ok(Arc::clone(session));
        }
        if let Some((_, cause)) = state.failed.as_ref().filter(|(at, _)| at.elapsed() < REST) {
            return Err(Error::Unavailable(Box::new(Arc::clone(cause))));
        }
        match self.connect().await {
            Ok(session) => {
                let session = Arc::new(session);
                (state.session, state.failed) = (Some(Arc::clone(&session)), None);
                Ok(session)
            }
            Err(error) => {
                let cause: Cause = Arc::new(error);
                (state.session, state.failed) = (None, Some((Instant::now(), Arc::clone(&cause))));
                Err(Error::Unavailable(Box::new(cause)))
            }
        }
    }

    async fn connect(&self) -> Result<Session<S>, ConnectError> {
        let client = connect(&self.address, self.hint.as_ref()).await?;
        let statements = S::prepare(&client).await?;
        Ok(Session { client, statements })
    }

    /// Gives this session up: what it was doing is not known, so the next one begins anew.
    pub(super) async fn discard(&self, broken: &Arc<Session<S>>) {
        let mut state = self.state.lock().await;
        state.session.take_if(|session| Arc::ptr_eq(session, broken));
    }

    /// Refuses whatever is asked from now on.
    pub(super) async fn close(&self) {
        let mut state = self.state.lock().await;
        (state.session, state.closed) = (None, true);
    }
}

/// Whether the database is away, or is no longer the one to talk to, rather than has something against what was asked.
pub(super) fn is_away(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else { return true };
    matches!(
        *code,
        SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN
            | SqlState::CANNOT_CONNECT_NOW
            | SqlState::TOO_MANY_CONNECTIONS
            | SqlState::READ_ONLY_SQL_TRANSACTION
            | SqlState::LOCK_NOT_AVAILABLE
            | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
            | SqlState::QUERY_CANCELED
    )
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        if is_away(&error) { Self::Unavailable(Box::new(error)) } else { Self::Database(Box::new(error)) }
    }
}
