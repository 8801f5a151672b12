//! Admission webhooks
//! (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>).
//!
//! ```text
//! store ──watch──► Index ──► plugin: matches? ──► conditions ──► Client ──POST──► webhook
//! ```
//!
//! Webhooks are called in the order of the names of their configurations: those that change objects one
//! after the other, those that only look at them all at once.

pub mod client;
mod exchange;
mod mutating;
mod notes;
#[cfg(test)]
mod tests;
mod validating;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use serde_json::Value;

use self::{
    client::Client,
    exchange::{Answer, Version},
};
pub use self::{mutating::MutatingAdmissionWebhook, validating::ValidatingAdmissionWebhook};
use super::{
    Attributes,
    authorizer::Authorizer,
    evaluation::{Conditions, Subject},
    matching::Matching,
    warn,
};
use crate::{
    audit,
    follow::Follower,
    metadata,
    registry::access::{at, list_at, opt_int, str_at},
    resource::Definition,
    status::ApiError,
};

/// How long a webhook may take that does not say it.
const DEFAULT_SECONDS: u64 = 10;

/// A webhook.
#[derive(Debug)]
struct Webhook {
    name: String,
    /// What tells it from all others: its configuration, its name and its place.
    key: String,
    matching: Matching,
    conditions: Conditions,
    /// Whether its failure is that of the request.
    fails: bool,
    /// Whether it may be called when nothing is stored.
    dry: bool,
    timeout: Duration,
    version: Option<Version>,
    /// Whether it wants to see what others have changed after it.
    again: bool,
    client: Client,
}

/// Why there is no answer of a webhook.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// It could not be called; the failure policy decides what becomes of the request.
    #[error("failed calling webhook {webhook:?}: {why}")]
    Calling {
        /// Its name.
        webhook: String,
        /// Why.
        why: String,
    },
    /// The answer to the request.
    #[error(transparent)]
    Status(#[from] ApiError),
}

impl Webhook {
    fn read(webhook: &Value, configuration: &str, place: usize) -> Self {
        let name = str_at(webhook, "/name");
        let seconds = opt_int(webhook, "/timeoutSeconds").and_then(|s| u64::try_from(s).ok());
        Self {
            name: name.into(),
            key: format!("{configuration}/{name}/{place}"),
            matching: Matching::of_webhook(webhook),
            conditions: Conditions::read(webhook),
            fails: str_at(webhook, "/failurePolicy") != "Ignore",
            dry: matches!(str_at(webhook, "/sideEffects"), "None" | "NoneOnDryRun"),
            timeout: Duration::from_secs(seconds.unwrap_or(DEFAULT_SECONDS)),
            version: Version::read(webhook),
            again: str_at(webhook, "/reinvocationPolicy") == "IfNeeded",
            client: Client::read(at(webhook, "/clientConfig")),
        }
    }

    /// The version of the resource by which it is to be called; `None` if it is not.
    async fn matches(
        &self,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<Option<Definition>, ApiError> {
        let Some(resource) = self.matching.resource(attributes, object) else { return Ok(None) };
        if !self.matching.selects(attributes, object).await? {
            return Ok(None);
        }
        if self.conditions.is_empty() {
            return Ok(Some(resource));
        }
        let request = attributes.request(object, &resource).into();
        let old = attributes.at_version(attributes.old.unwrap_or(&Value::Null), &resource).await?;
        let at_version = attributes.at_version(object, &resource).await?;
        let subject = Subject {
            object: &at_version,
            old: &old,
            request: &request,
            namespace: &Value::Null,
            parameter: &Value::Null,
            authorizer: &Authorizer::value(attributes, object),
            variables: &[],
        };
        match self.conditions.hold(&subject, self.fails) {
            Ok(holds) => Ok(holds.then_some(resource)),
            Err(why) => {
                let name = attributes.object_name(object);
                Err(ApiError::forbidden(attributes.definition.group_resource(), name, &why))
            }
        }
    }

    /// Calls it. The object is of the version of `resource`.
    async fn call(
        &self,
        attributes: &Attributes<'_>,
        object: &Value,
        resource: &Definition,
        mutating: bool,
        warnings: &Mutex<&mut Vec<String>>,
    ) -> Result<Answer, Error> {
        if attributes.dry_run && !self.dry {
            let why = format!("admission webhook {:?} does not support dry run", self.name);
            return Err(ApiError::bad_request(why).into());
        }
        let calling = |why: String| Error::Calling { webhook: self.name.clone(), why };
        let version = self.version.ok_or_else(|| {
            calling("could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)".into())
        })?;
        let uid = uuid::Uuid::new_v4().to_string();
        let old = attributes.at_version(attributes.old.unwrap_or(&Value::Null), resource).await?;
        let review = exchange::request(attributes, object, &old, resource, version, &uid);
        let sent = self.client.post(attributes.server, review.to_string().into(), self.timeout).await;
        let body = sent.map_err(|why| calling(why.to_string()))?;
        let answer =
            exchange::answer(&body, &uid, version, mutating).map_err(|why| calling(why.to_string()))?;
        for (key, value) in &answer.annotations {
            audit::annotate(&format!("{}/{key}", self.name), || value.clone());
        }
        let mut warnings = warnings.lock().unwrap_or_else(PoisonError::into_inner);
        for warning in &answer.warnings {
            warn(&mut warnings, warning.clone());
        }
        if answer.allowed {
            return Ok(answer);
        }
        Err(exchange::rejection(&self.name, &answer.status).into())
    }

    /// What becomes of the request when there is no answer; `Ok` if nothing.
    fn failed(&self, error: Error) -> Result<(), ApiError> {
        match error {
            Error::Status(error) => Err(error),
            Error::Calling { .. } if self.fails => Err(ApiError::internal(error)),
            Error::Calling { .. } => {
                tracing::warn!(%error, "a webhook failed and is passed over");
                Ok(())
            }
        }
    }
}

/// Whether webhooks have nothing to say about a resource: it is what makes webhooks and policies.
fn is_exempt(definition: &Definition) -> bool {
    definition.group() == super::GROUP
}

/// The webhooks of one kind of configuration.
struct Index {
    resources: &'static [&'static str],
    known: Mutex<BTreeMap<String, Arc<[Arc<Webhook>]>>>,
    hooks: RwLock<Arc<[Arc<Webhook>]>>,
}

impl Index {
    fn new(resources: &'static [&'static str]) -> Self {
        Self { resources, known: Mutex::default(), hooks: RwLock::new(Arc::new([])) }
    }

    /// All webhooks in their order.
    fn hooks(&self) -> Arc<[Arc<Webhook>]> {
        self.hooks.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Arc<[Arc<Webhook>]>>)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut known);
        let hooks = known.values().flat_map(|hooks| hooks.iter().cloned()).collect();
        *self.hooks.write().unwrap_or_else(PoisonError::into_inner) = hooks;
    }
}

/// The webhooks of a configuration.
fn read(configuration: &Value) -> (String, Arc<[Arc<Webhook>]>) {
    let name = metadata::name(configuration);
    let webhooks = list_at(configuration, "/webhooks").iter().enumerate();
    let webhooks = webhooks.map(|(place, webhook)| Arc::new(Webhook::read(webhook, name, place)));
    (name.to_owned(), webhooks.collect())
}

impl Follower for Index {
    fn group(&self) -> &'static str {
        super::GROUP
    }

    fn resources(&self) -> &'static [&'static str] {
        self.resources
    }

    fn reset(&self, _resource: &'static str, objects: Vec<Value>) {
        self.change(|known| *known = objects.iter().map(read).collect());
    }

    fn put(&self, _resource: &'static str, object: &Value) {
        self.change(|known| {
            let (name, webhooks) = read(object);
            known.insert(name, webhooks);
        });
    }

    fn remove(&self, _resource: &'static str, object: &Value) {
        self.change(|known| {
            known.remove(metadata::name(object));
        });
    }
}
