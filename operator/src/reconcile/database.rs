//! The database outside: how to get in is handed on from the user's Secret to the control plane.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::steps::Attempt;
use super::{Report, Stop};
use crate::build::{self, Key, Object};
use crate::conditions::Check;
use crate::reason::Reason;
use crate::settings::Database;

/// Secrets of users are not watched.
const POLL: Duration = Duration::from_secs(15);

/// Puts the Secret in place; returns the hash of what it says.
pub(super) async fn ensure(
    attempt: &Attempt<'_>,
    database: &Database,
    report: &mut Report,
) -> Result<String, Stop> {
    let identity = &attempt.identity;
    let key = Key::new::<Secret>(Some(&identity.namespace), &database.secret);
    let said = attempt.context.host.get(&key).await?;
    let said = said.and_then(|secret| serde_json::from_value::<Data>(secret.data).ok());
    let mut amiss = |message: String| {
        report.checks.store = Check::Failed(Reason::DatabaseUnknown, message.clone());
        Err(Stop::WaitFor(POLL, message))
    };
    let Some(Data { data }) = said else {
        return amiss(format!("backingStore.external.secretRef: there is no Secret {}", database.secret));
    };
    if database.endpoint.is_none() && !data.contains_key("uri") {
        return amiss(format!("Secret {} has no key uri, and endpoint is not set", database.secret));
    }
    let secret = build::database_secret(identity, database, data);
    let hash = build::secret_hash(&secret);
    let applied = attempt.apply(Object::of(secret)).await?;
    attempt.ours(applied)?;
    report.checks.store = Check::applied("the control plane knows its database");
    Ok(hash)
}

/// What a Secret says.
#[derive(serde::Deserialize)]
struct Data {
    #[serde(default)]
    data: std::collections::BTreeMap<String, ByteString>,
}
