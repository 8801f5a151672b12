//! Everything wrong with what says which requests match: in webhooks and in policies.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, get, list_at, opt_str, strs_at};
use crate::validation::fields::{path_segment, required_one_of};
use crate::validation::labels;

/// What happens when a webhook or policy cannot answer.
pub const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
/// Whether other versions of a resource match, too.
pub const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];

/// `matchConstraints` and `matchResources`.
pub fn validate_match_resources(errors: &mut Errors, path: &Path<'_>, resources: &Value) {
    required_one_of(errors, path, resources, "matchPolicy", MATCH_POLICIES);
    for field in ["namespaceSelector", "objectSelector"] {
        match get(resources, &format!("/{field}")) {
            None => errors.required(&path.child(field), ""),
            Some(selector) => labels::selector(errors, &path.child(field), selector),
        }
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        let list = path.child(field);
        for (index, rule) in list_at(resources, &format!("/{field}")).iter().enumerate() {
            let path = list.index(index);
            let mut seen = BTreeSet::new();
            for (index, name) in strs_at(rule, "/resourceNames").enumerate() {
                let names = path.child("resourceNames");
                path_segment(errors, &names.index(index), name);
                if !seen.insert(name) {
                    errors.duplicate(&names.index(index), &name.into());
                }
            }
            validate_rule(errors, &path, rule);
        }
    }
}

/// A rule with operations.
pub fn validate_rule(errors: &mut Errors, path: &Path<'_>, rule: &Value) {
    validate_list(errors, path, rule, "operations", "operations");
    let operations = path.child("operations");
    for (index, operation) in strs_at(rule, "/operations").enumerate() {
        if !OPERATIONS.contains(&operation) {
            errors.not_supported(&operations.index(index), &operation.into(), OPERATIONS);
        }
    }
    validate_list(errors, path, rule, "apiGroups", "API groups");
    validate_list(errors, path, rule, "apiVersions", "API versions");
    let versions = path.child("apiVersions");
    for (index, _) in strs_at(rule, "/apiVersions").enumerate().filter(|(_, version)| version.is_empty()) {
        errors.required(&versions.index(index), "");
    }
    validate_resources(errors, &path.child("resources"), rule);
    if let Some(scope) = opt_str(rule, "/scope").filter(|scope| !SCOPES.contains(scope)) {
        errors.not_supported(&path.child("scope"), &scope.into(), SCOPES);
    }
}

/// A list that has items: others, or `*` alone.
fn validate_list(errors: &mut Errors, path: &Path<'_>, rule: &Value, field: &str, what: &str) {
    let pointer = format!("/{field}");
    let list = list_at(rule, &pointer);
    if list.is_empty() {
        errors.required(&path.child(field), "");
    }
    if list.len() > 1 && list.iter().any(|item| item == "*") {
        let why = format!("if '*' is present, must not specify other {what}");
        errors.invalid(&path.child(field), at(rule, &pointer), &why);
    }
}

fn validate_resources(errors: &mut Errors, path: &Path<'_>, rule: &Value) {
    let all = at(rule, "/resources");
    let list: Vec<&str> = strs_at(rule, "/resources").collect();
    if list.is_empty() {
        errors.required(path, "");
    }
    let (mut any_part_of, mut part_of_any) = (BTreeSet::new(), BTreeSet::new());
    let mut whole = false;
    for (index, resource) in list.iter().enumerate() {
        let path = path.index(index);
        if resource.is_empty() {
            errors.required(&path, "");
            continue;
        }
        let Some((name, part)) = resource.split_once('/') else {
            whole = *resource != "*";
            continue;
        };
        if any_part_of.contains(name) {
            let why = format!("if '{name}/*' is present, must not specify {resource}");
            errors.invalid_str(&path, resource, &why);
        }
        if part_of_any.contains(part) {
            let why = format!("if '*/{part}' is present, must not specify {resource}");
            errors.invalid_str(&path, resource, &why);
        }
        if part == "*" {
            any_part_of.insert(name);
        }
        if name == "*" {
            part_of_any.insert(part);
        }
    }
    if list.len() > 1 && list.contains(&"*/*") {
        errors.invalid(path, all, "if '*/*' is present, must not specify other resources");
    }
    if whole && list.contains(&"*") {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(path, all, why);
    }
}
