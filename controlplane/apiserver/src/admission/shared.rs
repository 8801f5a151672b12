//! What the plugins of one admission share: what they looked up, and what is to be done again.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;
use tokio::sync::OnceCell;

use super::Attributes;
use crate::{
    registry::RESOURCES,
    resource::Definition,
    status::{ApiError, GroupResource},
};

/// What the plugins of one admission share.
#[derive(Default)]
pub struct Shared {
    namespace: OnceCell<Value>,
    equivalents: OnceLock<Vec<Definition>>,
    reinvocation: Mutex<Reinvocation>,
}

/// Mutating plugins get a second chance when a later one has changed the object after them
/// (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#reinvocation-policy>).
#[derive(Debug, Default)]
pub struct Reinvocation {
    /// Whether this is the second pass.
    pub again: bool,
    /// Whether there is to be one.
    pub wanted: bool,
    /// Of policies.
    pub policies: Track,
    /// Of webhooks.
    pub webhooks: Track,
}

/// Which hooks of one plugin have been called, and which are to be called again.
#[derive(Debug, Default)]
pub struct Track {
    /// The object as the plugin left it; kept while there is a hook to call again.
    last: Option<Value>,
    called: Vec<String>,
    due: Vec<String>,
}

impl Track {
    /// Begins a pass: other plugins may have changed the object since.
    pub fn begin(&mut self, again: bool, object: &Value) {
        if again && self.last.as_ref().is_some_and(|last| last != object) {
            self.changed();
        }
    }

    /// Ends a pass.
    pub fn end(&mut self, object: &Value) {
        self.last = (!self.called.is_empty()).then(|| object.clone());
    }

    /// Whether a hook is to be called in the second pass.
    pub fn is_due(&self, hook: &str) -> bool {
        self.due.iter().any(|due| due == hook)
    }

    /// Notes a change of the object: those called before are due again.
    pub fn changed(&mut self) {
        self.due.append(&mut self.called);
    }

    /// Notes a hook that wants to be called again if need be.
    pub fn note(&mut self, hook: String) {
        if !self.called.contains(&hook) {
            self.called.push(hook);
        }
    }
}

impl Shared {
    /// Begins the second pass, if there is to be one.
    pub fn begin_again(&self) -> bool {
        let mut state = self.reinvocation();
        state.again = state.wanted;
        state.again
    }

    /// The state of reinvocation.
    pub fn reinvocation(&self) -> MutexGuard<'_, Reinvocation> {
        self.reinvocation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attributes<'_> {
    /// The namespace of the request, looked up once.
    pub async fn namespace_object(&self) -> Result<&Value, ApiError> {
        let find = async || {
            let found = self.server.find("", "namespaces", "", self.namespace).await?;
            found.ok_or_else(|| {
                ApiError::not_found(GroupResource { group: "", resource: "namespaces" }, self.namespace)
            })
        };
        self.shared.namespace.get_or_try_init(find).await
    }

    /// The other versions of the resource.
    pub fn equivalents(&self) -> &[Definition] {
        self.shared.equivalents.get_or_init(|| equivalents(self))
    }
}

fn equivalents(attributes: &Attributes<'_>) -> Vec<Definition> {
    let has_part = |definition: &Definition| {
        attributes.subresource.is_empty() || definition.subresource(attributes.subresource).is_some()
    };
    match attributes.definition {
        Definition::Builtin(resource) => {
            let home = |group, version| (group, version);
            let of = |r: &crate::registry::Resource| r.stored_as.unwrap_or_else(|| home(r.group, r.version));
            let others = RESOURCES.iter().filter(|other| {
                other.plural == resource.plural
                    && !std::ptr::eq(*other, *resource)
                    && of(other) == of(resource)
            });
            others.map(Definition::Builtin).filter(has_part).collect()
        }
        Definition::Custom(resource) => {
            let all = attributes.server.catalog.custom();
            let others = all.values().filter(|other| {
                other.group == resource.group
                    && other.plural == resource.plural
                    && other.version != resource.version
            });
            others.cloned().map(Definition::Custom).filter(has_part).collect()
        }
    }
}
