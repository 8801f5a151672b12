//! Admission: what is done to, and demanded of, objects before they are stored
//! (<https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/>).

mod authorizer;
mod certificates;
mod default_classes;
mod default_toleration_seconds;
mod evaluation;
mod limit_ranger;
mod matching;
mod namespace_lifecycle;
mod node_restriction;
mod persistent_volume_claim_resize;
mod pod_security;
mod pod_topology_labels;
pub mod policy;
mod priority;
mod resource_quota;
mod review;
mod runtime_class;
mod service_account;
mod shared;
mod storage_object_in_use_protection;
mod taint_nodes_by_condition;
pub(crate) mod webhook;

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use self::shared::Shared;
use crate::{
    follow::{self, Follower},
    metadata,
    options::{DeleteOptions, Query},
    resource::Definition,
    server::Server,
    status::ApiError,
    user::User,
};

/// The group of everything that configures admission.
const GROUP: &str = "admissionregistration.k8s.io";

/// What is done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is created.
    Create,
    /// It, or a subresource of it, is changed.
    Update,
    /// It is deleted.
    Delete,
    /// A stream to it is opened.
    Connect,
}

impl Operation {
    /// As webhooks and policies name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// The circumstances of an admission.
pub struct Attributes<'a> {
    /// The server, for looking up other objects.
    pub server: &'a Server,
    /// What is done.
    pub operation: Operation,
    /// The resource of the request.
    pub definition: &'a Definition,
    /// The same at the version that the objects are of.
    pub form: &'a Definition,
    /// The subresource; empty for the object itself.
    pub subresource: &'a str,
    /// The namespace; empty at cluster scope. For namespaces themselves, their own name.
    pub namespace: &'a str,
    /// The object's name; empty while a name is still to be generated.
    pub name: &'a str,
    /// Who asks.
    pub user: &'a User,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// The state before, for updates and deletions.
    pub old: Option<&'a Value>,
    /// The options of a deletion.
    pub delete_options: Option<&'a DeleteOptions>,
    /// The query of a write, which has its options.
    pub query: Option<&'a Query>,
    /// What the plugins share.
    pub shared: Shared,
}

impl Attributes<'_> {
    /// Whether it is about a built-in resource itself (no subresource).
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.subresource.is_empty() && self.definition.is(group, plural)
    }

    /// The refusal of the request. A new object is named by its name, or by what one is generated from.
    pub fn forbidden(&self, object: &Value, why: &str) -> ApiError {
        let names = [self.name, metadata::name(object), metadata::text(object, "generateName"), "Unknown"];
        let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        ApiError::forbidden(self.definition.group_resource(), name, why)
    }
}

/// An admission plugin. Objects are of the stored version.
pub trait Plugin: Send + Sync + 'static {
    /// Its name as `--enable-admission-plugins` knows it.
    fn name(&self) -> &'static str;

    /// Its part that must know the present objects of the store, and hear of their changes.
    fn follower(&self) -> Option<Arc<dyn Follower>> {
        None
    }

    /// Changes the object, or refuses it. For deletions the object is null.
    fn admit<'a>(
        &'a self,
        _attributes: &'a Attributes<'a>,
        _object: &'a mut Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Refuses the object, or not. For deletions the object is null.
    fn validate<'a>(
        &'a self,
        _attributes: &'a Attributes<'a>,
        _object: &'a Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Plugins that were asked for and cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// One to turn on that does not exist.
    #[error("enable-admission-plugins plugin {0:?} is unknown")]
    UnknownEnabled(String),
    /// One to turn off that does not exist.
    #[error("disable-admission-plugins plugin {0:?} is unknown")]
    UnknownDisabled(String),
    /// Some to turn both on and off.
    #[error("[{}] in enable-admission-plugins and disable-admission-plugins overlapped", .0.join(" "))]
    Overlap(Vec<String>),
}

/// The plugins in their order.
#[derive(Default)]
pub struct Chain(pub Vec<Box<dyn Plugin>>);

/// The plugins that are off unless they are turned on.
const OFF: &[&str] = &["NodeRestriction"];

/// All plugins, in their order.
fn plugins() -> Vec<Box<dyn Plugin>> {
    vec![
        Box::new(namespace_lifecycle::NamespaceLifecycle),
        Box::new(limit_ranger::LimitRanger),
        Box::new(service_account::ServiceAccount),
        Box::new(node_restriction::NodeRestriction),
        Box::new(taint_nodes_by_condition::TaintNodesByCondition),
        Box::new(pod_security::PodSecurity),
        Box::new(priority::Priority),
        Box::new(default_toleration_seconds::DefaultTolerationSeconds),
        Box::new(default_classes::DefaultStorageClass),
        Box::new(storage_object_in_use_protection::StorageObjectInUseProtection),
        Box::new(persistent_volume_claim_resize::PersistentVolumeClaimResize),
        Box::new(runtime_class::RuntimeClass),
        Box::new(certificates::CertificateApproval),
        Box::new(certificates::CertificateSigning),
        Box::new(certificates::CertificateSubjectRestriction),
        Box::new(default_classes::DefaultIngressClass),
        Box::new(pod_topology_labels::PodTopologyLabels),
        Box::new(policy::MutatingAdmissionPolicy::default()),
        Box::new(webhook::MutatingAdmissionWebhook::default()),
        Box::new(policy::ValidatingAdmissionPolicy::default()),
        Box::new(webhook::ValidatingAdmissionWebhook::default()),
        Box::new(resource_quota::ResourceQuota),
    ]
}

impl Chain {
    /// The default plugins, with these turned on or off.
    pub fn new(enable: &[String], disable: &[String]) -> Result<Self, Error> {
        let overlap: Vec<String> = enable.iter().filter(|name| disable.contains(name)).cloned().collect();
        if !overlap.is_empty() {
            return Err(Error::Overlap(overlap));
        }
        let mut all = plugins();
        let unknown = |name: &&String| all.iter().all(|plugin| plugin.name() != name.as_str());
        if let Some(name) = enable.iter().find(unknown) {
            return Err(Error::UnknownEnabled(name.clone()));
        }
        if let Some(name) = disable.iter().find(unknown) {
            return Err(Error::UnknownDisabled(name.clone()));
        }
        all.retain(|plugin| {
            let named = |names: &[String]| names.iter().any(|name| name == plugin.name());
            !named(disable) && (named(enable) || !OFF.contains(&plugin.name()))
        });
        Ok(Self(all))
    }

    /// Lets every plugin read what it must know, and follow it until `shutdown`.
    pub async fn follow(&self, server: &Server, shutdown: &CancellationToken) -> Result<(), ApiError> {
        for follower in self.0.iter().filter_map(|plugin| plugin.follower()) {
            follow::follow(server.parts.store.clone(), follower, shutdown.clone()).await?;
        }
        Ok(())
    }

    /// Lets every plugin change the object; once more, if those that configuration brought have changed it.
    pub async fn admit(
        &self,
        attributes: &Attributes<'_>,
        object: &mut Value,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        self.admit_once(attributes, object, warnings).await?;
        if attributes.shared.begin_again() {
            self.admit_once(attributes, object, warnings).await?;
        }
        // After everyone who may have changed a role.
        crate::rbac::escalation::check(attributes, object).await
    }

    async fn admit_once(
        &self,
        attributes: &Attributes<'_>,
        object: &mut Value,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        for plugin in &self.0 {
            plugin.admit(attributes, object, warnings).await?;
        }
        Ok(())
    }

    /// Asks every plugin for its consent.
    pub async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: &Value,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        for plugin in &self.0 {
            plugin.validate(attributes, object, warnings).await?;
        }
        Ok(())
    }
}

/// Warns the client, once of each.
fn warn(warnings: &mut Vec<String>, warning: String) {
    if !warnings.contains(&warning) {
        warnings.push(warning);
    }
}

/// Several complaints as one text.
fn joined(complaints: Vec<String>) -> Option<String> {
    let mut seen: Vec<String> = Vec::with_capacity(complaints.len());
    for complaint in complaints {
        if !seen.contains(&complaint) {
            seen.push(complaint);
        }
    }
    match seen.len() {
        0 => None,
        1 => seen.pop(),
        _ => Some(format!("[{}]", seen.join(", "))),
    }
}

#[cfg(test)]
mod tests;
