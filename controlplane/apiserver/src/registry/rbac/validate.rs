//! What is wrong with roles and bindings.

use serde_json::Value;

use super::role_binding::GROUP;
use crate::field::{Errors, Path, Reason};
use crate::registry::access::{at, has, list_at, str_at};
use crate::validation::{labels, names};

/// What is wrong with a role, or with a cluster role.
pub fn role(role: &Value, namespaced: bool) -> Errors {
    let mut errors = Errors::default();
    let rules = Path::new("rules");
    for (index, value) in list_at(role, "/rules").iter().enumerate() {
        rule(&mut errors, &rules.index(index), value, namespaced);
    }
    let aggregates = has(role, "/aggregationRule");
    if aggregates && list_at(role, "/aggregationRule/clusterRoleSelectors").is_empty() {
        errors.required(
            &Path::new("aggregationRule.clusterRoleSelectors"),
            "at least one clusterRoleSelector required if aggregationRule is non-nil",
        );
    }
    let list = Path::new("aggregationRule.clusterRoleSelectors");
    for (index, selector) in list_at(role, "/aggregationRule/clusterRoleSelectors").iter().enumerate() {
        labels::selector(&mut errors, &list.index(index), selector);
        if let Some(why) = labels::unusable(selector) {
            errors.invalid(&list.index(index), &Value::Null, &format!("invalid label selector: {why}"));
        }
    }
    errors
}

fn rule(errors: &mut Errors, path: &Path<'_>, rule: &Value, namespaced: bool) {
    let empty = |field: &str| list_at(rule, field).is_empty();
    if empty("/verbs") {
        errors.required(&path.child("verbs"), "verbs must contain at least one value");
    }
    if !empty("/nonResourceURLs") {
        let urls = path.child("nonResourceURLs");
        let value = at(rule, "/nonResourceURLs");
        if namespaced {
            errors.invalid(&urls, value, "namespaced rules cannot apply to non-resource URLs");
        }
        if !(empty("/apiGroups") && empty("/resources") && empty("/resourceNames")) {
            errors.invalid(
                &urls,
                value,
                "rules cannot apply to both regular resources and non-resource URLs",
            );
        }
        return;
    }
    if empty("/apiGroups") {
        errors.required(&path.child("apiGroups"), "resource rules must supply at least one api group");
    }
    if empty("/resources") {
        errors.required(&path.child("resources"), "resource rules must supply at least one resource");
    }
}

/// What is wrong with a binding in a namespace, or with one of the cluster.
pub fn binding(binding: &Value, namespaced: bool) -> Errors {
    let mut errors = Errors::default();
    let reference = Path::new("roleRef");
    let group = at(binding, "/roleRef/apiGroup");
    if group != GROUP {
        errors.not_supported(&reference.child("apiGroup"), group, &[GROUP]);
    }
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.contains(&str_at(binding, "/roleRef/kind")) {
        errors.not_supported(&reference.child("kind"), at(binding, "/roleRef/kind"), kinds);
    }
    let name = str_at(binding, "/roleRef/name");
    if name.is_empty() {
        errors.required(&reference.child("name"), "");
    } else {
        for why in names::path_segment(name) {
            errors.invalid_str(&reference.child("name"), name, &why);
        }
    }
    let subjects = Path::new("subjects");
    for (index, value) in list_at(binding, "/subjects").iter().enumerate() {
        subject(&mut errors, &subjects.index(index), value, namespaced);
    }
    errors
}

fn subject(errors: &mut Errors, path: &Path<'_>, subject: &Value, namespaced: bool) {
    let name = str_at(subject, "/name");
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    }
    let group = at(subject, "/apiGroup");
    match str_at(subject, "/kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                for why in names::dns1123_subdomain(name) {
                    errors.invalid_str(&path.child("name"), name, &why);
                }
            }
            if group.as_str().is_some_and(|group| !group.is_empty()) {
                errors.not_supported(&path.child("apiGroup"), group, &[""]);
            }
            if !namespaced && str_at(subject, "/namespace").is_empty() {
                errors.required(&path.child("namespace"), "");
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.not_supported(&path.child("apiGroup"), group, &[GROUP]);
            }
        }
        _ => errors.not_supported(
            &path.child("kind"),
            at(subject, "/kind"),
            &["ServiceAccount", "User", "Group"],
        ),
    }
}

/// What is wrong with a changed binding: besides the above, it must stay bound to its role.
pub fn changed_binding(new: &Value, old: &Value, namespaced: bool) -> Errors {
    let mut errors = binding(new, namespaced);
    // The real server checks bindings twice when they change.
    errors.extend(errors.clone());
    let reference = at(new, "/roleRef");
    if reference != at(old, "/roleRef") {
        let text = |field: &str| str_at(reference, field);
        let shown = format!(
            "Invalid value: {{\"APIGroup\":{:?},\"Kind\":{:?},\"Name\":{:?}}}: cannot change roleRef",
            text("/apiGroup"),
            text("/kind"),
            text("/name")
        );
        errors.push(&Path::new("roleRef"), Reason::Invalid, shown);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(selector: Value) -> Vec<String> {
        let aggregated = json!({"aggregationRule": {"clusterRoleSelectors": [selector]}});
        role(&aggregated, false).0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn roles_are_aggregated_by_selectors_that_can_be_evaluated() {
        assert_eq!(told(json!({"matchLabels": {"a": "b"}})), [""; 0]);
        assert_eq!(
            told(json!({"matchExpressions": [{"key": "a", "operator": "X"}]})),
            [
                "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator: Invalid value: \"X\": not a valid selector operator",
                "aggregationRule.clusterRoleSelectors[0]: Invalid value: null: invalid label selector: \"X\" is not a valid label selector operator",
            ]
        );
        assert_eq!(
            told(json!({"matchExpressions": [{"key": "a", "operator": "In"}]}))[1],
            "aggregationRule.clusterRoleSelectors[0]: Invalid value: null: invalid label selector: values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
        );
    }
}
