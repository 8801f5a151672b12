//! Webhooks that consent or refuse.

use std::sync::{Arc, Mutex};

use futures::future::{BoxFuture, join_all};
use serde_json::Value;

use super::{Index, Webhook, is_exempt, notes::Call};
use crate::{
    admission::{Attributes, Plugin},
    follow::Follower,
    status::ApiError,
};

/// The plugin.
pub struct ValidatingAdmissionWebhook(Arc<Index>);

impl Default for ValidatingAdmissionWebhook {
    fn default() -> Self {
        Self(Arc::new(Index::new(&["validatingwebhookconfigurations"])))
    }
}

impl Plugin for ValidatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn follower(&self) -> Option<Arc<dyn Follower>> {
        Some(self.0.clone())
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: &'a Value,
        warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        let hooks = self.0.hooks();
        let matches = |hook: &Arc<Webhook>| hook.matching.resource(attributes, object).is_some();
        if is_exempt(attributes.definition) || !hooks.iter().any(matches) {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(async move {
            let mut called = Vec::new();
            for (place, hook) in hooks.iter().enumerate() {
                if let Some(resource) = hook.matches(attributes, object).await? {
                    called.push((Call { hook, pass: 0, place }, resource));
                }
            }
            let warnings = Mutex::new(warnings);
            let calls = called.iter().map(|(noted, resource)| {
                let hook = noted.hook;
                let warnings = &warnings;
                async move {
                    let object = attributes.at_version(object, resource).await?;
                    match hook.call(attributes, &object, resource, false, warnings).await {
                        Ok(_) => Ok(()),
                        Err(error) => {
                            hook.failed(error)?;
                            noted.failed_open("validation");
                            Ok(())
                        }
                    }
                }
            });
            join_all(calls).await.into_iter().collect()
        })
    }
}
