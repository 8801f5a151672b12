//! The files that a control plane is given: handed on from the user's Secrets.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::steps::Attempt;
use super::{Report, Stop};
use crate::build::{self, Key, Object};
use crate::conditions::Check;
use crate::reason::Reason;

/// Puts the Secret with the files in place; returns their hash. Removes it if none are asked for.
pub(super) async fn ensure(attempt: &Attempt<'_>, report: &mut Report) -> Result<Option<String>, Stop> {
    let (host, identity) = (&attempt.context.host, &attempt.identity);
    let mut files = BTreeMap::new();
    for (file, from) in attempt.settings.tuning.files() {
        let key = Key::new::<Secret>(Some(&identity.namespace), &from.name);
        let live = host.get(&key).await?;
        let value = live.as_ref().and_then(|live| live.data.get("data")?.get(&from.key));
        let bytes = value.and_then(|value| serde_json::from_value::<ByteString>(value.clone()).ok());
        let Some(bytes) = bytes else {
            let message = format!("Secret {} has no key {}, or does not exist", from.name, from.key);
            report.checks.control_plane = Check::Failed(Reason::FileMissing, message.clone());
            return Err(Stop::Waiting(message));
        };
        files.insert(file.to_owned(), bytes);
    }
    if files.is_empty() {
        if attempt.live(&build::files_key(identity)).await?.is_some() {
            host.remove(&build::files_key(identity), identity).await?;
        }
        return Ok(None);
    }
    let secret = build::files_secret(identity, files);
    let hash = build::secret_hash(&secret);
    let applied = attempt.apply(Object::of(secret)).await?;
    attempt.ours(applied)?;
    Ok(Some(hash))
}
