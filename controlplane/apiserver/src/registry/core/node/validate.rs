//! Everything wrong with nodes.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::{Errors, Path, Reason, quoted};
use crate::registry::access::{at, entries, get, list_at, opt_int, str_at, strs_at};
use crate::registry::core::annotated;
use crate::registry::core::pod_spec::{validate_amount, validate_taint_effect};
use crate::registry::internal;
use crate::schema::json;
use crate::validation::{fields, ip, labels, names};

const METADATA: Path<'static> = Path::new("metadata");
const SPEC: Path<'static> = Path::new("spec");
const STATUS: Path<'static> = Path::new("status");
const TAINTS: &str = "scheduler.alpha.kubernetes.io/taints";
const AVOID_PODS: &str = "scheduler.alpha.kubernetes.io/preferAvoidPods";
const TAINT: annotated::Struct = annotated::Struct {
    name: "Taint",
    fields: &[
        ("Key", "key", "string"),
        ("Value", "value", "string"),
        ("Effect", "effect", "core.TaintEffect"),
    ],
};

/// A new node.
pub fn validate_create(node: &Value) -> Errors {
    let mut errors = Errors::default();
    validate_annotations(&mut errors, node);
    validate_taints(&mut errors, &METADATA.child("taints"), list_at(node, "/spec/taints"));
    validate_resources(&mut errors, node);
    if let Some(capacity) = opt_int(node, "/status/nodeInfo/swap/capacity").filter(|bytes| *bytes <= 0) {
        let path = METADATA.child("nodeSwapStatus");
        errors.invalid(&path.child("capacity"), &capacity.into(), fields::NOT_POSITIVE);
    }
    validate_features(&mut errors, node);
    let path = SPEC.child("podCIDRs");
    for (index, cidr) in strs_at(node, "/spec/podCIDRs").enumerate() {
        ip::cidr(&mut errors, &path.index(index), cidr);
    }
    validate_families(&mut errors, &path, node);
    errors
}

/// Several ranges of addresses: one of each family, and each once.
fn validate_families(errors: &mut Errors, path: &Path<'_>, node: &Value) {
    let all: Vec<&str> = strs_at(node, "/spec/podCIDRs").collect();
    if all.len() < 2 {
        return;
    }
    let bad = all.iter().find(|cidr| ip::parse_cidr(cidr).is_none());
    if let Some(bad) = bad {
        let why = format!(
            "Internal error: invalid PodCIDRs. failed to check with dual stack with error:failed to parse cidr \
             value:{bad:?} with error:invalid CIDR address: {bad}"
        );
        errors.push(path, Reason::Internal, why);
    }
    let of_v6 = |cidr: &&str| ip::parse_cidr(cidr).is_some_and(|(address, _)| address.is_ipv6());
    let has_both = all.iter().any(of_v6) && !all.iter().all(of_v6);
    if bad.is_some() || !has_both || all.len() > 2 {
        let all = at(node, "/spec/podCIDRs");
        errors.invalid(path, all, "may specify no more than one CIDR for each IP family");
    }
    let mut seen = BTreeSet::new();
    for (index, cidr) in all.into_iter().enumerate() {
        if !seen.insert(cidr) {
            errors.duplicate(&path.index(index), &cidr.into());
        }
    }
}

/// A changed node or status.
pub fn validate_update(node: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    validate_annotations(&mut errors, node);
    validate_resources(&mut errors, node);
    validate_features(&mut errors, node);
    let mut seen = BTreeSet::new();
    for (index, address) in list_at(node, "/status/addresses").iter().enumerate() {
        let (kind, address) = (str_at(address, "/type"), str_at(address, "/address"));
        if !seen.insert((kind, address)) {
            let shown = format!("{{\"Type\":{},\"Address\":{}}}", quoted(kind), quoted(address));
            errors.push(
                &STATUS.child("addresses").index(index),
                Reason::Duplicate,
                format!("Duplicate value: {shown}"),
            );
        }
    }
    validate_given_once(&mut errors, node, old);
    validate_config_source(&mut errors, node);
    validate_taints(&mut errors, &METADATA.child("taints"), list_at(node, "/spec/taints"));
    if str_at(node, "/spec/externalID") != str_at(old, "/spec/externalID") {
        errors.forbidden(&SPEC.child("externalID"), "may not be updated");
    }
    errors
}

fn validate_given_once(errors: &mut Errors, node: &Value, old: &Value) {
    let (new, had) = (list_at(node, "/spec/podCIDRs"), list_at(old, "/spec/podCIDRs"));
    let differences = match had.len() {
        0 => 0,
        count if count != new.len() => 1,
        _ => new.iter().zip(had).filter(|(new, had)| new != had).count(),
    };
    for _ in 0..differences {
        errors.forbidden(
            &SPEC.child("podCIDRs"),
            "node updates may not change podCIDR except from \"\" to valid",
        );
    }
    let had = str_at(old, "/spec/providerID");
    if !had.is_empty() && had != str_at(node, "/spec/providerID") {
        errors.forbidden(
            &SPEC.child("providerID"),
            "node updates may not change providerID except from \"\" to valid",
        );
    }
}

fn validate_config_source(errors: &mut Errors, node: &Value) {
    let Some(source) = get(node, "/spec/configSource") else { return };
    let path = SPEC.child("configSource");
    let Some(map) = get(source, "/configMap") else {
        let why = "exactly one reference subfield must be non-nil";
        return internal::invalid(errors, &path, "NodeConfigSource", source, why);
    };
    let path = path.child("configMap");
    for field in ["uid", "resourceVersion"] {
        if !str_at(map, &format!("/{field}")).is_empty() {
            errors.forbidden(&path.child(field), &format!("{field} must not be set in spec"));
        }
    }
    for field in ["namespace", "name", "kubeletConfigKey"] {
        if str_at(map, &format!("/{field}")).is_empty() {
            errors.required(&path.child(field), &format!("{field} must be set"));
        }
    }
}

fn validate_resources(errors: &mut Errors, node: &Value) {
    for field in ["capacity", "allocatable"] {
        let list = STATUS.child(field);
        for (resource, amount) in entries(node, &format!("/status/{field}")) {
            validate_amount(errors, &list.child(resource), resource, amount);
        }
    }
}

/// Features that a node says to have: each once, in order.
fn validate_features(errors: &mut Errors, node: &Value) {
    let path = STATUS.child("declaredFeatures");
    let features: Vec<&str> = strs_at(node, "/status/declaredFeatures").collect();
    for (index, pair) in features.windows(2).enumerate() {
        let path = path.index(index + 1);
        match pair {
            [one, next] if one == next => errors.duplicate(&path, &(*next).into()),
            [one, next] if one > next => {
                errors.invalid_str(&path, next, "list must be sorted alphabetically");
            }
            _ => {}
        }
    }
}

/// What old clients wrote into annotations, before there were fields.
fn validate_annotations(errors: &mut Errors, node: &Value) {
    let path = METADATA.child("annotations");
    let given = |key: &str| at(node, "/metadata/annotations").get(key).and_then(Value::as_str);
    if let Some(text) = given(TAINTS).filter(|text| !text.is_empty()) {
        match annotated::list(text, &TAINT) {
            Ok(taints) => validate_taints(errors, &path.child(TAINTS), &taints),
            Err(why) => errors.invalid_str(&path, TAINTS, &why),
        }
    }
    if let Some(text) = given(AVOID_PODS).filter(|text| !text.is_empty()) {
        match json::parse(text.as_bytes(), None) {
            Ok((avoided, _)) => validate_avoided(errors, &path.child(AVOID_PODS), &avoided),
            Err(why) => errors.invalid_str(&path.child("AvoidPods"), AVOID_PODS, &why.to_string()),
        }
    }
}

/// Pods to avoid are those of a controller.
fn validate_avoided(errors: &mut Errors, path: &Path<'_>, avoided: &Value) {
    for (index, entry) in list_at(avoided, "/preferAvoidPods").iter().enumerate() {
        let path = path.index(index);
        let signature = path.child("PodSignature");
        match get(entry, "/podSignature/podController") {
            None => errors.required(&signature, ""),
            Some(controller) if at(controller, "/controller") == &Value::Bool(false) => {
                let path = signature.child("PodController");
                errors.invalid(&path.child("Controller"), &false.into(), "must point to a controller");
            }
            Some(_) => {}
        }
    }
}

/// Taints; the real server reports those of the spec below `metadata`.
fn validate_taints(errors: &mut Errors, list: &Path<'_>, taints: &[Value]) {
    let mut seen = BTreeSet::new();
    for (index, taint) in taints.iter().enumerate() {
        let path = list.index(index);
        let (key, value, effect) = (str_at(taint, "/key"), str_at(taint, "/value"), str_at(taint, "/effect"));
        labels::label_name(errors, &path.child("key"), key);
        let wrong = names::label_value(value);
        if !wrong.is_empty() {
            errors.invalid_str(&path.child("value"), value, &wrong.join(";"));
        }
        validate_taint_effect(errors, &path.child("effect"), effect);
        if !seen.insert((key, effect)) {
            let detail = format!(
                "Duplicate value: {{\"Key\":{},\"Value\":{},\"Effect\":{},\"TimeAdded\":{}}}: taints must be unique by key and effect pair",
                quoted(key),
                quoted(value),
                quoted(effect),
                at(taint, "/timeAdded"),
            );
            errors.push(&path, Reason::Duplicate, detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn annotations_of_old_clients_are_read() {
        let node = json!({"metadata": {"annotations": {
            TAINTS: r#"[{"key": "a", "effect": "Never"}]"#,
            AVOID_PODS: r#"{"preferAvoidPods": [{}]}"#,
        }}});
        let mut errors = Errors::default();
        validate_annotations(&mut errors, &node);
        let told: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "metadata.annotations.scheduler.alpha.kubernetes.io/taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
                "metadata.annotations.scheduler.alpha.kubernetes.io/preferAvoidPods[0].PodSignature: Required value",
            ]
        );
        let node = json!({"metadata": {"annotations": {TAINTS: "x", AVOID_PODS: "{"}}});
        let mut errors = Errors::default();
        validate_annotations(&mut errors, &node);
        let told: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "metadata.annotations: Invalid value: \"scheduler.alpha.kubernetes.io/taints\": invalid character 'x' looking for beginning of value",
                "metadata.annotations.AvoidPods: Invalid value: \"scheduler.alpha.kubernetes.io/preferAvoidPods\": unexpected end of JSON input",
            ]
        );
    }

    #[test]
    fn features_are_declared_in_order() {
        let node = json!({"status": {"declaredFeatures": ["B", "A", "A"]}});
        let mut errors = Errors::default();
        validate_features(&mut errors, &node);
        let told: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "status.declaredFeatures[1]: Invalid value: \"A\": list must be sorted alphabetically",
                "status.declaredFeatures[2]: Duplicate value: \"A\"",
            ]
        );
    }
}
