//! The RBAC authorizer: roles and bindings in memory, kept up to date by watches on the store.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use vkube_store::Store;

use super::rules::Rule;
use crate::{
    authorization::{Attributes, Authorizer, Decision},
    follow::{Follower, follow},
    metadata,
    selectors::labels::LabelSelector,
    status::ApiError,
    user::User,
};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Roles and bindings, by namespace (empty for cluster-wide ones) and name.
#[derive(Debug, Default)]
struct State {
    roles: BTreeMap<(String, String), Role>,
    bindings: BTreeMap<(String, String), Binding>,
}

#[derive(Debug)]
struct Role {
    rules: Vec<Rule>,
    /// What aggregation goes by.
    labels: Value,
    /// Which cluster roles give it their rules too.
    aggregates: Vec<LabelSelector>,
}

impl Role {
    fn parse(role: &Value) -> Self {
        let selectors = role.pointer("/aggregationRule/clusterRoleSelectors").and_then(Value::as_array);
        Self {
            rules: Rule::of(role),
            labels: role.pointer("/metadata/labels").cloned().unwrap_or_default(),
            aggregates: selectors.into_iter().flatten().map(LabelSelector::from_spec).collect(),
        }
    }

    fn matches(&self, selector: &LabelSelector) -> bool {
        selector.matches(|key| self.labels.get(key).and_then(Value::as_str))
    }
}

fn key_of(object: &Value) -> (String, String) {
    (metadata::namespace(object).to_owned(), metadata::name(object).to_owned())
}

impl State {
    fn put(&mut self, resource: &str, object: &Value) {
        let key = key_of(object);
        if resource.ends_with("roles") {
            self.roles.insert(key, Role::parse(object));
        } else {
            let binding = Binding::parse(object, &key.0);
            self.bindings.insert(key, binding);
        }
    }

    /// Shows `visit` the rules of a role, and of the roles that it aggregates, until it returns true.
    fn visit_role(&self, key: &(String, String), visit: &mut dyn FnMut(&Rule) -> bool) -> bool {
        let Some((key, role)) = self.roles.get_key_value(key) else { return false };
        let mut seen = vec![key];
        let mut waiting = vec![role];
        while let Some(role) = waiting.pop() {
            if role.rules.iter().any(&mut *visit) {
                return true;
            }
            if role.aggregates.is_empty() {
                continue;
            }
            for (key, other) in &self.roles {
                let part = key.0.is_empty() && role.aggregates.iter().any(|selector| other.matches(selector));
                if part && !seen.contains(&key) {
                    seen.push(key);
                    waiting.push(other);
                }
            }
        }
        false
    }
}

#[derive(Debug)]
struct Binding {
    /// The namespace of its role: that of the binding, or empty for a ClusterRole.
    role_namespace: String,
    role: String,
    role_kind: String,
    subjects: Vec<Subject>,
}

#[derive(Debug)]
struct Subject {
    kind: String,
    namespace: String,
    name: String,
}

/// The RBAC authorizer; clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Rbac(Arc<RwLock<State>>);

/// A rule that a user has, and what gives it.
pub struct Granted {
    /// The rule.
    pub rule: Rule,
    /// Whether it holds in one namespace only.
    pub namespaced: bool,
}

impl Follower for Rbac {
    fn group(&self) -> &'static str {
        GROUP
    }

    fn resources(&self) -> &'static [&'static str] {
        &["clusterroles", "roles", "clusterrolebindings", "rolebindings"]
    }

    fn reset(&self, resource: &'static str, objects: Vec<Value>) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Cluster-wide objects and those of namespaces share a map.
        let others = |namespace: &str| namespace.is_empty() != resource.starts_with("cluster");
        if resource.ends_with("roles") {
            state.roles.retain(|(namespace, _), _| others(namespace));
        } else {
            state.bindings.retain(|(namespace, _), _| others(namespace));
        }
        for object in &objects {
            state.put(resource, object);
        }
    }

    fn put(&self, resource: &'static str, object: &Value) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).put(resource, object);
    }

    fn remove(&self, resource: &'static str, object: &Value) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if resource.ends_with("roles") {
            state.roles.remove(&key_of(object));
        } else {
            state.bindings.remove(&key_of(object));
        }
    }
}

impl Rbac {
    /// Reads the present roles and bindings, and follows their changes until `shutdown`.
    pub async fn follow(&self, store: Arc<dyn Store>, shutdown: CancellationToken) -> Result<(), ApiError> {
        follow(store, Arc::new(self.clone()), shutdown).await
    }

    /// Shows `visit` every rule that a user has cluster-wide and in a namespace, with the text that says
    /// why, until it returns true.
    fn visit(
        &self,
        user: &User,
        namespace: &str,
        mut visit: impl FnMut(&Rule, &dyn Fn() -> String, bool) -> bool,
    ) {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for ((bound_in, name), binding) in &state.bindings {
            if !bound_in.is_empty() && bound_in != namespace {
                continue;
            }
            let Some(subject) = binding.subjects.iter().find(|s| s.is(user, bound_in)) else { continue };
            let key = (binding.role_namespace.clone(), binding.role.clone());
            let why = || {
                let kind = if bound_in.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" };
                let place = if bound_in.is_empty() { name.clone() } else { format!("{name}/{bound_in}") };
                format!(
                    "RBAC: allowed by {kind} {place:?} of {} {:?} to {subject}",
                    binding.role_kind, binding.role
                )
            };
            if state.visit_role(&key, &mut |rule| visit(rule, &why, !bound_in.is_empty())) {
                return;
            }
        }
    }

    /// The rules of a role of a namespace, or of a cluster role (empty namespace).
    pub fn role(&self, namespace: &str, name: &str) -> Option<Vec<Rule>> {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), name.to_owned());
        state.roles.contains_key(&key).then(|| {
            let mut rules = Vec::new();
            state.visit_role(&key, &mut |rule| {
                rules.push(rule.clone());
                false
            });
            rules
        })
    }

    /// All rules that a user has cluster-wide and in a namespace.
    pub fn rules(&self, user: &User, namespace: &str) -> Vec<Granted> {
        let mut rules = Vec::new();
        self.visit(user, namespace, |rule, _, namespaced| {
            rules.push(Granted { rule: rule.clone(), namespaced });
            false
        });
        rules
    }
}

impl Binding {
    fn parse(object: &Value, namespace: &str) -> Self {
        let text =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let role_kind = text("/roleRef/kind");
        let subjects = object.get("subjects").and_then(Value::as_array);
        Self {
            role_namespace: if role_kind == "ClusterRole" { String::new() } else { namespace.to_owned() },
            role: text("/roleRef/name"),
            role_kind,
            subjects: subjects.into_iter().flatten().map(Subject::parse).collect(),
        }
    }
}

impl Subject {
    fn parse(value: &Value) -> Self {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { kind: text("kind"), namespace: text("namespace"), name: text("name") }
    }

    fn is(&self, user: &User, bound_in: &str) -> bool {
        match self.kind.as_str() {
            "User" => user.name == self.name,
            "Group" => user.in_group(&self.name),
            "ServiceAccount" => {
                let namespace = if self.namespace.is_empty() { bound_in } else { &self.namespace };
                let account =
                    user.name.strip_prefix("system:serviceaccount:").and_then(|n| n.split_once(':'));
                !namespace.is_empty() && account == Some((namespace, self.name.as_str()))
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.kind == "ServiceAccount" {
            let name = format!("{}/{}", self.name, self.namespace);
            write!(f, "ServiceAccount {name:?}")
        } else {
            write!(f, "{} {:?}", self.kind, self.name)
        }
    }
}

impl Authorizer for Rbac {
    fn mode(&self) -> &'static str {
        "RBAC"
    }

    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let mut decision = Decision::NoOpinion(String::new());
        self.visit(attributes.user, attributes.namespace, |rule, why, _| {
            let allowed = rule.allows(attributes);
            if allowed {
                decision = Decision::Allow(why());
            }
            allowed
        });
        decision
    }
}
