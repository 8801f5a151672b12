//! Roles and cluster roles.

use serde_json::{Value, json};

use super::validate;
use crate::field::Errors;
use crate::registry::access::make_map;
use crate::registry::kind::{Kind, NameRule};

/// The rules of roles.
pub struct Role;

/// The rules of cluster roles.
pub struct ClusterRole;

impl Kind for Role {
    fn default(&self, role: &mut Value) {
        show_rules(role);
    }

    fn validate(&self, role: &Value) -> Errors {
        validate::role(role, true)
    }

    fn validate_update(&self, role: &Value, _old: &Value) -> Errors {
        self.validate_twice(role)
    }

    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

impl Kind for ClusterRole {
    fn default(&self, role: &mut Value) {
        show_rules(role);
    }

    fn validate(&self, role: &Value) -> Errors {
        validate::role(role, false)
    }

    fn validate_update(&self, role: &Value, _old: &Value) -> Errors {
        self.validate_twice(role)
    }

    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

/// `rules` is always shown, if need be as `null`.
fn show_rules(role: &mut Value) {
    make_map(role, "").entry("rules").or_insert(json!(null));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_role_is_checked_twice() {
        let role = json!({"rules": [{"apiGroups": [""], "resources": ["pods"]}]});
        assert_eq!(Role.validate(&role).0.len(), 1);
        assert_eq!(Role.validate_update(&role, &role).0.len(), 2);
    }
}
