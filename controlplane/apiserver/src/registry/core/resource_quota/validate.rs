//! Everything wrong with resource quotas.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, entries, get, list_at, str_at, strs_at};
use crate::registry::core::pod_spec::{
    is_huge_page, is_huge_page_request, validate_amount, validate_resource_name,
};
use crate::registry::internal;
use crate::validation::fields::IMMUTABLE;

const SPEC: Path<'static> = Path::new("spec");
const STATUS: Path<'static> = Path::new("status");

/// What pods use of computers.
const COMPUTE: &[&str] = &["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];

const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "VolumeAttributesClass",
    "CrossNamespacePodAffinity",
];

const OPPOSITES: [[&str; 2]; 2] = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];

/// A new quota.
pub fn validate_create(quota: &Value) -> Errors {
    let mut errors = Errors::default();
    validate_spec(&mut errors, quota);
    errors.extend(validate_status(quota));
    errors
}

/// A changed quota. Its scopes stay.
pub fn validate_update(quota: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    validate_spec(&mut errors, quota);
    let scopes = |quota: &Value| -> BTreeSet<String> {
        strs_at(quota, "/spec/scopes").map(ToOwned::to_owned).collect()
    };
    if scopes(quota) != scopes(old) {
        errors.invalid(&SPEC.child("scopes"), at(quota, "/spec/scopes"), IMMUTABLE);
    }
    errors
}

/// The status of a quota.
pub fn validate_status(quota: &Value) -> Errors {
    let mut errors = Errors::default();
    for field in ["hard", "used"] {
        validate_amounts(&mut errors, &STATUS.child(field), quota, &format!("/status/{field}"));
    }
    errors
}

fn validate_spec(errors: &mut Errors, quota: &Value) {
    validate_amounts(errors, &SPEC.child("hard"), quota, "/spec/hard");
    let path = SPEC.child("scopes");
    let all = at(quota, "/spec/scopes");
    let scopes: Vec<&str> = strs_at(quota, "/spec/scopes").collect();
    for scope in &scopes {
        if !SCOPES.contains(scope) {
            errors.invalid(&path, all, "unsupported scope");
        }
        for _ in unsuitable(quota, scope) {
            errors.invalid(&path, all, "unsupported scope applied to resource");
        }
    }
    conflicts(errors, &path, &scopes, all);
    if let Some(selector) = get(quota, "/spec/scopeSelector") {
        validate_selector(errors, quota, selector);
    }
}

fn conflicts(errors: &mut Errors, path: &Path<'_>, scopes: &[&str], shown: &Value) {
    for opposites in OPPOSITES {
        if opposites.iter().all(|scope| scopes.contains(scope)) {
            errors.invalid(path, shown, "conflicting scopes");
        }
    }
}

fn is_standard(resource: &str) -> bool {
    STANDARD.contains(&resource) || is_huge_page(resource) || is_huge_page_request(resource)
}

fn is_suitable(resource: &str, scope: &str) -> bool {
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ if SCOPES.contains(&scope) => resource == "pods" || COMPUTE.contains(&resource),
        _ => true,
    }
}

/// The resources of a quota that a scope says nothing of.
fn unsuitable<'a>(quota: &'a Value, scope: &'a str) -> impl Iterator<Item = &'a str> {
    entries(quota, "/spec/hard")
        .map(|(resource, _)| resource.as_str())
        .filter(move |resource| is_standard(resource) && !is_suitable(resource, scope))
}

fn validate_amounts(errors: &mut Errors, path: &Path<'_>, quota: &Value, pointer: &str) {
    for (resource, amount) in entries(quota, pointer) {
        let path = path.key(resource);
        validate_resource_name(errors, &path, resource);
        if !resource.contains('/') && !is_standard(resource) {
            errors.invalid_str(&path, resource, "must be a standard resource for quota");
        }
        validate_amount(errors, &path, resource, amount);
    }
}

fn validate_selector(errors: &mut Errors, quota: &Value, selector: &Value) {
    const ONLY_EXISTS: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
    let parent = SPEC.child("scopeSelector");
    let path = parent.child("matchExpressions");
    let expressions = list_at(selector, "/matchExpressions");
    for expression in expressions {
        let (scope, operator) = (str_at(expression, "/scopeName"), str_at(expression, "/operator"));
        let values = list_at(expression, "/values");
        if !SCOPES.contains(&scope) {
            errors.invalid_str(&path.child("scopeName"), scope, "unsupported scope");
        }
        for _ in unsuitable(quota, scope) {
            internal::invalid(
                errors,
                &path,
                "ScopeSelector",
                selector,
                "unsupported scope applied to resource",
            );
        }
        let takes_values =
            matches!(scope, "PriorityClass" | "VolumeAttributesClass") || !SCOPES.contains(&scope);
        if !takes_values && operator != "Exists" {
            errors.invalid_str(&path.child("operator"), operator, ONLY_EXISTS);
        }
        match operator {
            "In" | "NotIn" if values.is_empty() => errors.required(
                &path.child("values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.invalid(
                &path.child("values"),
                at(expression, "/values"),
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            ),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.invalid_str(&path.child("operator"), operator, "not a valid selector operator"),
        }
    }
    let scopes: Vec<&str> = expressions.iter().map(|expression| str_at(expression, "/scopeName")).collect();
    conflicts(errors, &path, &scopes, at(quota, "/spec/scopes"));
}
