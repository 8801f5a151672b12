//! Webhooks that change objects.

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use serde_json::Value;

use super::{Error, Index, is_exempt, notes::Call};
use crate::{
    admission::{Attributes, Plugin, review::keep_owners},
    audit,
    follow::Follower,
    patch::json_patch,
    resource::Definition,
    status::ApiError,
};

/// The plugin.
pub struct MutatingAdmissionWebhook(Arc<Index>);

impl Default for MutatingAdmissionWebhook {
    fn default() -> Self {
        Self(Arc::new(Index::new(&["mutatingwebhookconfigurations"])))
    }
}

impl Plugin for MutatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "MutatingAdmissionWebhook"
    }

    fn follower(&self) -> Option<Arc<dyn Follower>> {
        Some(self.0.clone())
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: &'a mut Value,
        warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        let hooks = self.0.hooks();
        if is_exempt(attributes.definition) || hooks.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(async move {
            let shared = &attributes.shared;
            let again = {
                let mut state = shared.reinvocation();
                let again = state.again;
                state.webhooks.begin(again, object);
                again
            };
            for (place, hook) in hooks.iter().enumerate() {
                let Some(resource) = hook.matches(attributes, object).await? else { continue };
                // One that was not called before is not called in the second pass either.
                if again && !shared.reinvocation().webhooks.is_due(&hook.key) {
                    continue;
                }
                let noted = Call { hook, pass: u8::from(again), place };
                let called = call(noted, attributes, object, &resource, warnings).await;
                // Keys of notes are made only where somebody reads them.
                if audit::is_on() {
                    noted.mutated(*called.as_ref().unwrap_or(&false));
                }
                let changed = match called {
                    Ok(changed) => changed,
                    Err(error) => {
                        hook.failed(error)?;
                        noted.failed_open("mutation");
                        false
                    }
                };
                let mut state = shared.reinvocation();
                if changed {
                    state.webhooks.changed();
                    state.wanted = true;
                }
                if hook.again {
                    state.webhooks.note(hook.key.clone());
                }
            }
            shared.reinvocation().webhooks.end(object);
            Ok(())
        })
    }
}

/// Calls a webhook and makes its changes; whether there were any.
async fn call(
    noted: Call<'_>,
    attributes: &Attributes<'_>,
    object: &mut Value,
    resource: &Definition,
    warnings: &mut Vec<String>,
) -> Result<bool, Error> {
    let hook = noted.hook;
    let shown = attributes.at_version(object, resource).await?;
    let answer = hook.call(attributes, &shown, resource, true, &Mutex::new(&mut *warnings)).await?;
    if answer.patch.as_array().is_none_or(Vec::is_empty) {
        return Ok(false);
    }
    if object.is_null() {
        let why = format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            hook.name
        );
        return Err(ApiError::internal(why).into());
    }
    let mut patched = shown.into_owned();
    json_patch::apply(&mut patched, &answer.patch).map_err(ApiError::internal)?;
    let (patched, _) = attributes.decode(patched, resource).map_err(ApiError::internal)?;
    let mut patched = attributes.from_version(patched, resource).await?;
    keep_owners(object, &mut patched, warnings);
    let changed = patched != *object;
    *object = patched;
    if audit::is_on() {
        noted.patched(&answer.patch);
    }
    Ok(changed)
}
