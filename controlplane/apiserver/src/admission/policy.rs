//! Admission policies: what validating and mutating ones have in common.
//!
//! ```text
//! store ──watch──► Index ──hooks──► plugin: matches? ──► parameters ──► Evaluation
//! ```
//!
//! A policy is read once for each of its generations; a request that no rule matches costs the comparison
//! of a few names.

mod apply;
mod index;
mod mutating;
mod parameters;
pub mod typing;
mod validating;

use std::sync::Arc;

use serde_json::Value;

use self::parameters::{Kind, Reference};
pub use self::{mutating::MutatingAdmissionPolicy, validating::ValidatingAdmissionPolicy};
use super::{Attributes, evaluation::Conditions, matching::Matching};
use crate::{
    cel::Lazy,
    metadata,
    registry::access::{at, get, list_at, str_at, strs_at},
    resource::Definition,
    status::ApiError,
};

/// What is special to validating or to mutating policies.
pub trait Body: Send + Sync + Sized + 'static {
    /// The resource of the policies and that of their bindings.
    const RESOURCES: &'static [&'static str; 2];

    /// Reads a policy's spec.
    fn read(spec: &Value) -> Self;
}

/// A policy.
#[derive(Debug)]
pub struct Policy<B> {
    name: String,
    uid: String,
    generation: i64,
    matching: Matching,
    parameters: Option<Kind>,
    /// Whether its failure is a refusal.
    fails: bool,
    variables: Box<[(Box<str>, Lazy)]>,
    conditions: Conditions,
    body: B,
}

/// Where a policy is in force.
#[derive(Debug)]
pub struct Binding {
    name: String,
    policy: String,
    /// What narrows the policy's own matching.
    matching: Option<Matching>,
    reference: Option<Reference>,
    /// What becomes of denials.
    actions: Box<[Action]>,
}

/// What becomes of a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Deny,
    Warn,
    Audit,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "Deny",
            Self::Warn => "Warn",
            Self::Audit => "Audit",
        }
    }
}

/// A policy with its bindings.
#[derive(Debug)]
pub struct Hook<B> {
    policy: Arc<Policy<B>>,
    bindings: Vec<Arc<Binding>>,
}

impl<B: Body> Policy<B> {
    fn read(policy: &Value) -> Self {
        let spec = at(policy, "/spec");
        let variable = |v: &Value| (str_at(v, "/name").into(), Lazy::new(str_at(v, "/expression")));
        Self {
            name: metadata::name(policy).into(),
            uid: metadata::text(policy, "uid").into(),
            generation: metadata::generation(policy),
            matching: Matching::of_policy(at(spec, "/matchConstraints")),
            parameters: get(spec, "/paramKind").map(Kind::read),
            fails: str_at(spec, "/failurePolicy") != "Ignore",
            variables: list_at(spec, "/variables").iter().map(variable).collect(),
            conditions: Conditions::read(spec),
            body: B::read(spec),
        }
    }

    /// Whether this is what that document says.
    fn is(&self, policy: &Value) -> bool {
        self.generation == metadata::generation(policy) && self.uid == metadata::text(policy, "uid")
    }
}

impl Binding {
    fn read(binding: &Value) -> Self {
        let spec = at(binding, "/spec");
        let action = |action: &str| match action {
            "Deny" => Some(Action::Deny),
            "Warn" => Some(Action::Warn),
            "Audit" => Some(Action::Audit),
            _ => None,
        };
        Self {
            name: metadata::name(binding).into(),
            policy: str_at(spec, "/policyName").into(),
            matching: get(spec, "/matchResources").map(Matching::of_policy),
            reference: get(spec, "/paramRef").map(Reference::read),
            actions: strs_at(spec, "/validationActions").filter_map(action).collect(),
        }
    }

    async fn matches(&self, attributes: &Attributes<'_>, object: &Value) -> Result<bool, ApiError> {
        match &self.matching {
            None => Ok(true),
            Some(matching) if matching.resource(attributes, object).is_none() => Ok(false),
            Some(matching) => matching.selects(attributes, object).await,
        }
    }
}

/// Why a policy could not be asked.
#[derive(Debug, thiserror::Error)]
enum Misconfigured {
    /// Of the policy itself.
    #[error("failed to configure policy: {0}")]
    Policy(String),
    /// Of a binding.
    #[error("failed to configure binding: {0}")]
    Binding(String),
}

/// The namespace of a request as expressions see it; null at cluster scope.
async fn namespace(attributes: &Attributes<'_>) -> Result<Value, ApiError> {
    if attributes.namespace.is_empty() || attributes.definition.is("", "namespaces") {
        return Ok(Value::Null);
    }
    let mut namespace = attributes.namespace_object().await?.clone();
    for field in ["managedFields", "ownerReferences", "selfLink"] {
        metadata::remove(&mut namespace, field);
    }
    Ok(namespace)
}

/// Whether policies have nothing to say about a resource: it is what makes policies.
fn is_exempt(definition: &Definition) -> bool {
    definition.group() == super::GROUP && definition.plural().contains("admissionpolic")
}

#[cfg(test)]
mod tests;
