//! Role bindings and cluster role bindings.

use jiff::Timestamp;
use serde_json::Value;

use super::validate;
use crate::field::Errors;
use crate::registry::access::{list_at, list_mut, set_default, str_at};
use crate::registry::kind::{Column, Kind, NameRule};
use crate::table::{AGE, NAME, age, column, name, wide};

/// The API group of users, groups and roles.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// The rules of role bindings.
pub struct RoleBinding;

/// The rules of cluster role bindings.
pub struct ClusterRoleBinding;

impl Kind for RoleBinding {
    fn default(&self, binding: &mut Value) {
        default_groups(binding);
    }

    fn validate(&self, binding: &Value) -> Errors {
        validate::binding(binding, true)
    }

    fn validate_update(&self, binding: &Value, old: &Value) -> Errors {
        validate::changed_binding(binding, old, true)
    }

    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, binding: &Value, now: Timestamp) -> Vec<Value> {
        cells(binding, now)
    }
}

impl Kind for ClusterRoleBinding {
    fn default(&self, binding: &mut Value) {
        default_groups(binding);
    }

    fn validate(&self, binding: &Value) -> Errors {
        validate::binding(binding, false)
    }

    fn validate_update(&self, binding: &Value, old: &Value) -> Errors {
        validate::changed_binding(binding, old, false)
    }

    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        CLUSTER_COLUMNS
    }

    fn cells(&self, binding: &Value, now: Timestamp) -> Vec<Value> {
        cells(binding, now)
    }
}

fn default_groups(binding: &mut Value) {
    set_default(binding, "/roleRef/apiGroup", GROUP);
    for subject in list_mut(binding, "/subjects") {
        if matches!(str_at(subject, "/kind"), "User" | "Group") {
            set_default(subject, "/apiGroup", GROUP);
        }
    }
}

fn cells(binding: &Value, now: Timestamp) -> Vec<Value> {
    let subjects = |kind: &str| -> Value {
        let named: Vec<String> = list_at(binding, "/subjects")
            .iter()
            .filter(|subject| str_at(subject, "/kind") == kind)
            .map(|subject| match str_at(subject, "/namespace") {
                namespace if kind == "ServiceAccount" && !namespace.is_empty() => {
                    format!("{namespace}/{}", str_at(subject, "/name"))
                }
                _ => str_at(subject, "/name").to_owned(),
            })
            .collect();
        named.join(", ").into()
    };
    let role = format!("{}/{}", str_at(binding, "/roleRef/kind"), str_at(binding, "/roleRef/name"));
    vec![
        name(binding),
        role.into(),
        age(binding, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Role",
        "string",
        "RoleRef can reference a Role in the current namespace or a ClusterRole in the global namespace. If the RoleRef cannot be resolved, the Authorizer must return an error.",
    ),
    AGE,
    wide("Users", "string", "Users in the roleBinding"),
    wide("Groups", "string", "Groups in the roleBinding"),
    wide("ServiceAccounts", "string", "ServiceAccounts in the roleBinding"),
];

const CLUSTER_COLUMNS: &[Column] = &[
    NAME,
    column(
        "Role",
        "string",
        "RoleRef can only reference a ClusterRole in the global namespace. If the RoleRef cannot be resolved, the Authorizer must return an error.",
    ),
    AGE,
    wide("Users", "string", "Users in the clusterRoleBinding"),
    wide("Groups", "string", "Groups in the clusterRoleBinding"),
    wide("ServiceAccounts", "string", "ServiceAccounts in the clusterRoleBinding"),
];
