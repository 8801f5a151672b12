//! What says where pods run: affinity, tolerations, spreading, gates.

use std::collections::BTreeSet;

use serde_json::Value;

use super::node_selector::{validate_node_selector, validate_preferred_terms, validate_weight};
use crate::field::{Errors, Path};
use crate::registry::access::{at, entries, get, has, int_at, list_at, opt_int, str_at, strs_at};
use crate::validation::fields::{NOT_POSITIVE, dns_label, one_of, qualified_name};
use crate::validation::labels::{self, label_name};
use crate::validation::names;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// `affinity`
pub fn validate_affinity(errors: &mut Errors, path: &Path<'_>, affinity: &Value) {
    if let Some(node) = get(affinity, "/nodeAffinity") {
        let path = path.child("nodeAffinity");
        if let Some(selector) = get(node, &format!("/{REQUIRED}")) {
            validate_node_selector(errors, &path.child(REQUIRED), selector);
        }
        validate_preferred_terms(errors, &path.child(PREFERRED), list_at(node, &format!("/{PREFERRED}")));
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let path = path.child(kind);
        let terms = |list: &str| list_at(affinity, &format!("/{kind}/{list}"));
        for (index, term) in terms(REQUIRED).iter().enumerate() {
            validate_pod_term(errors, &path.child(REQUIRED).index(index), term);
        }
        for (index, weighted) in terms(PREFERRED).iter().enumerate() {
            let list = path.child(PREFERRED);
            let path = list.index(index);
            validate_weight(errors, &path, weighted);
            validate_pod_term(errors, &path.child("podAffinityTerm"), at(weighted, "/podAffinityTerm"));
        }
    }
}

fn validate_pod_term(errors: &mut Errors, path: &Path<'_>, term: &Value) {
    for selector in ["labelSelector", "namespaceSelector"] {
        labels::selector(errors, &path.child(selector), at(term, &format!("/{selector}")));
    }
    for namespace in strs_at(term, "/namespaces") {
        dns_label(errors, &path.child("namespace"), namespace);
    }
    validate_label_keys(errors, path, term);
    let key = str_at(term, "/topologyKey");
    if key.is_empty() {
        errors.required(&path.child("topologyKey"), "can not be empty");
    }
    label_name(errors, &path.child("topologyKey"), key);
}

/// `matchLabelKeys` and `mismatchLabelKeys`
fn validate_label_keys(errors: &mut Errors, path: &Path<'_>, term: &Value) {
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        let path = path.child(field);
        let keys = list_at(term, &format!("/{field}"));
        if !keys.is_empty() && !has(term, "/labelSelector") {
            errors.forbidden(&path, "must not be specified when labelSelector is not set");
            continue;
        }
        for (index, key) in keys.iter().filter_map(Value::as_str).enumerate() {
            label_name(errors, &path.index(index), key);
        }
    }
    let keys: Vec<&str> = strs_at(term, "/matchLabelKeys").collect();
    let mut selected: BTreeSet<&str> =
        entries(term, "/labelSelector/matchLabels").map(|(key, _)| key.as_str()).collect();
    for expression in list_at(term, "/labelSelector/matchExpressions") {
        let key = str_at(expression, "/key");
        if let Some(index) = keys.iter().position(|known| *known == key)
            && selected.contains(key)
        {
            errors.invalid_str(&path.index(index), key, "exists in both matchLabelKeys and labelSelector");
        }
        selected.insert(key);
    }
    for (index, key) in keys.iter().enumerate() {
        if strs_at(term, "/mismatchLabelKeys").any(|other| other == *key) {
            errors.invalid_str(
                &path.child("matchLabelKeys").index(index),
                key,
                "exists in both matchLabelKeys and mismatchLabelKeys",
            );
        }
    }
}

/// `tolerations`
pub fn validate_tolerations(errors: &mut Errors, path: &Path<'_>, tolerations: &[Value]) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let path = path.index(index);
        let operator_path = path.child("operator");
        let (key, operator) = (str_at(toleration, "/key"), str_at(toleration, "/operator"));
        let (value, effect) = (str_at(toleration, "/value"), str_at(toleration, "/effect"));
        if !key.is_empty() {
            label_name(errors, &path.child("key"), key);
        } else if operator != "Exists" {
            errors.invalid_str(
                &operator_path,
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            );
        }
        if has(toleration, "/tolerationSeconds") && effect != "NoExecute" {
            errors.invalid_str(
                &path.child("effect"),
                effect,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
        match operator {
            "Equal" | "" => {
                let wrong = names::label_value(value);
                if !wrong.is_empty() {
                    errors.invalid_str(&operator_path, value, &wrong.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                errors.invalid_str(&operator_path, value, "value must be empty when `operator` is 'Exists'");
            }
            "Exists" => {}
            // The real server knows these, but only with a gate that is closed.
            "Lt" | "Gt" => {
                let known = &["Equal", "Exists", "Lt", "Gt"];
                errors.not_supported(&operator_path, &operator.into(), known);
            }
            _ => errors.not_supported(&operator_path, &operator.into(), &["Equal", "Exists"]),
        }
        one_of(errors, &path, toleration, "effect", EFFECTS);
    }
}

/// An effect of a taint.
pub fn validate_taint_effect(errors: &mut Errors, path: &Path<'_>, effect: &str) {
    if effect.is_empty() {
        errors.required(path, "");
    } else if !EFFECTS.contains(&effect) {
        errors.not_supported(path, &effect.into(), EFFECTS);
    }
}

/// `topologySpreadConstraints`
pub fn validate_spread(errors: &mut Errors, path: &Path<'_>, constraints: &[Value]) {
    for (index, constraint) in constraints.iter().enumerate() {
        let path = path.index(index);
        let skew = int_at(constraint, "/maxSkew");
        if skew <= 0 {
            errors.invalid(&path.child("maxSkew"), &skew.into(), NOT_POSITIVE);
        }
        let (key, action) = (str_at(constraint, "/topologyKey"), str_at(constraint, "/whenUnsatisfiable"));
        if key.is_empty() {
            errors.required(&path.child("topologyKey"), "can not be empty");
        }
        if !matches!(action, "DoNotSchedule" | "ScheduleAnyway") {
            errors.not_supported(
                &path.child("whenUnsatisfiable"),
                &action.into(),
                &["DoNotSchedule", "ScheduleAnyway"],
            );
        }
        let repeated = constraints.iter().skip(index + 1).any(|other| {
            str_at(other, "/topologyKey") == key && str_at(other, "/whenUnsatisfiable") == action
        });
        if repeated {
            errors.duplicate(
                &path.child("{topologyKey, whenUnsatisfiable}"),
                &format!("{{{key}, {action}}}").into(),
            );
        }
        if let Some(domains) = opt_int(constraint, "/minDomains") {
            let path = path.child("minDomains");
            if domains <= 0 {
                errors.invalid(&path, &domains.into(), NOT_POSITIVE);
            }
            if action != "DoNotSchedule" {
                let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.invalid(&path, &domains.into(), &why);
            }
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            one_of(errors, &path, constraint, policy, &["Honor", "Ignore"]);
        }
        validate_label_keys(errors, &path, constraint);
        labels::selector(errors, &path.child("labelSelector"), at(constraint, "/labelSelector"));
    }
}

/// `schedulingGates`
pub fn validate_gates(errors: &mut Errors, path: &Path<'_>, gates: &[Value]) {
    let mut seen = BTreeSet::new();
    for (index, gate) in gates.iter().enumerate() {
        let name = str_at(gate, "/name");
        qualified_name(errors, &path.index(index), name);
        if !seen.insert(name) {
            errors.duplicate(&path.index(index), &name.into());
        }
    }
}

/// `readinessGates`
pub fn validate_readiness_gates(errors: &mut Errors, path: &Path<'_>, gates: &[Value]) {
    for (index, gate) in gates.iter().enumerate() {
        qualified_name(errors, &path.index(index).child("conditionType"), str_at(gate, "/conditionType"));
    }
}
