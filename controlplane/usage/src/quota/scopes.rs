//! Which objects a quota is about.

use serde_json::Value;

use super::Resource;
use crate::document::{at, has, list_at, str_at, strs_at};
use crate::pod::qos_class;

/// Whether all scopes of a quota hold for an object. Only pods, and claims by their attributes class, can
/// be in a scope.
pub fn matches(quota: &Value, resource: Resource<'_>, object: &Value) -> bool {
    let holds = |scope: &str, operator: &str, values: &[&str]| {
        if resource == Resource::core("pods") {
            pod(object, scope, operator, values)
        } else if resource == Resource::core("persistentvolumeclaims") && scope == "VolumeAttributesClass" {
            selected(str_at(object, "/spec/volumeAttributesClassName"), operator, values)
        } else {
            false
        }
    };
    strs_at(quota, "/spec/scopes").all(|scope| holds(scope, "Exists", &[]))
        && list_at(quota, "/spec/scopeSelector/matchExpressions").iter().all(|expression| {
            let values: Vec<&str> = strs_at(expression, "/values").collect();
            holds(str_at(expression, "/scopeName"), str_at(expression, "/operator"), &values)
        })
}

fn pod(pod: &Value, scope: &str, operator: &str, values: &[&str]) -> bool {
    let best_effort = || qos_class(at(pod, "/spec")) == "BestEffort";
    match scope {
        "Terminating" => has(pod, "/spec/activeDeadlineSeconds"),
        "NotTerminating" => !has(pod, "/spec/activeDeadlineSeconds"),
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => selected(str_at(pod, "/spec/priorityClassName"), operator, values),
        "CrossNamespacePodAffinity" => crosses_namespaces(pod),
        _ => false,
    }
}

fn selected(value: &str, operator: &str, values: &[&str]) -> bool {
    match operator {
        "Exists" => !value.is_empty(),
        "DoesNotExist" => value.is_empty(),
        "In" => values.contains(&value),
        "NotIn" => !values.contains(&value),
        _ => false,
    }
}

fn crosses_namespaces(pod: &Value) -> bool {
    let crosses = |term: &Value| !list_at(term, "/namespaces").is_empty() || has(term, "/namespaceSelector");
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let list = |phase: &str| list_at(pod, &format!("/spec/affinity/{kind}/{phase}"));
        list("requiredDuringSchedulingIgnoredDuringExecution").iter().any(crosses)
            || list("preferredDuringSchedulingIgnoredDuringExecution")
                .iter()
                .any(|weighted| crosses(at(weighted, "/podAffinityTerm")))
    })
}
