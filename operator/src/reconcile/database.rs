//! The database outside: how to get in is handed on from the user's Secret to the control plane.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Secret;

use super::steps::Attempt;
use super::{Report, Stop};
use crate::build::{self, Key, Object};
use crate::conditions::Check;
use crate::names::STORE_HASH;
use crate::options::Login;
use crate::reason::Reason;
use crate::settings::Database;

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
        Err(Stop::Waiting(message))
    };
    let Some(Data { data }) = said else {
        return amiss(format!("backingStore.external.secretRef: there is no Secret {}", database.secret));
    };
    if database.endpoint.is_none() && !data.contains_key("uri") {
        return amiss(format!("Secret {} has no key uri, and endpoint is not set", database.secret));
    }
    let secret = build::database_secret(identity, database, data);
    let hash = build::secret_hash(&secret);
    let login =
        secret.data.clone().unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0)).collect();
    let applied = attempt.apply(Object::of(secret)).await?;
    attempt.ours(applied)?;
    if !database.is_ours {
        claim(attempt, database, login, &hash, report).await?;
    }
    report.checks.store = Check::applied("the control plane knows its database");
    Ok(hash)
}

/// Makes sure that a schema which a user named is nobody else's before a control plane is started over it. One that runs
/// has made sure itself; so it does where the database cannot be reached from here.
async fn claim(
    attempt: &Attempt<'_>,
    database: &Database,
    files: BTreeMap<String, Vec<u8>>,
    hash: &str,
    report: &mut Report,
) -> Result<(), Stop> {
    let identity = &attempt.identity;
    let key = Key::new::<StatefulSet>(Some(&identity.host_namespace), &identity.name);
    let live = attempt.live(&key).await?;
    let template = live.as_ref().and_then(|live| live.data.pointer("/spec/template/metadata/annotations"));
    if template.and_then(|annotations| annotations.get(STORE_HASH)?.as_str()) == Some(hash) {
        return Ok(());
    }
    let login = Login { files, schema: database.schema.clone(), owner: identity.uid.clone() };
    let waiting = &attempt.context.waiting;
    waiting.enter(&identity.namespace, &identity.name);
    let claimed = (attempt.context.options.claim_schema)(login).await;
    if !matches!(claimed, Ok(Some(_))) {
        waiting.leave(&identity.namespace, &identity.name);
    }
    match claimed {
        Ok(None) => Ok(()),
        Ok(Some(other)) => {
            let message = format!(
                "backingStore.external.schema: {} is the store of another cluster, that of UID {other}",
                database.schema
            );
            report.checks.store = Check::Failed(Reason::SchemaTaken, message.clone());
            Err(Stop::Stalled(Reason::SchemaTaken, message))
        }
        Err(why) => {
            tracing::warn!(name = identity.name, why, "a schema could not be marked; its control plane will");
            Ok(())
        }
    }
}

/// What a Secret says.
#[derive(serde::Deserialize)]
struct Data {
    #[serde(default)]
    data: BTreeMap<String, ByteString>,
}
