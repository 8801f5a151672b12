//! Everything wrong with nodes.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::{Errors, Path, Reason, quoted};
use crate::registry::access::{at, entries, get, list_at, str_at, strs_at};
use crate::registry::core::pod_spec::{validate_amount, validate_taint_effect};
use crate::registry::internal;
use crate::validation::{ip, labels, names};

const METADATA: Path<'static> = Path::new("metadata");
const SPEC: Path<'static> = Path::new("spec");
const STATUS: Path<'static> = Path::new("status");

/// A new node.
pub fn validate_create(node: &Value) -> Errors {
    let mut errors = Errors::default();
    validate_taints(&mut errors, list_at(node, "/spec/taints"));
    validate_resources(&mut errors, node);
    let path = SPEC.child("podCIDRs");
    for (index, cidr) in strs_at(node, "/spec/podCIDRs").enumerate() {
        ip::cidr(&mut errors, &path.index(index), cidr);
    }
    let cidrs: Vec<_> = strs_at(node, "/spec/podCIDRs").filter_map(ip::parse_cidr).collect();
    let of_v6 = cidrs.iter().filter(|(address, _)| address.is_ipv6()).count();
    if cidrs.len() > 2 || cidrs.len() == 2 && of_v6 != 1 {
        let all = at(node, "/spec/podCIDRs");
        errors.invalid(&path, all, "may specify no more than one CIDR for each IP family");
    }
    errors
}

/// A changed node or status.
pub fn validate_update(node: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    validate_resources(&mut errors, node);
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
    validate_taints(&mut errors, list_at(node, "/spec/taints"));
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
            errors.forbidden(&path.child(field), "must not be set in spec");
        }
    }
    for field in ["namespace", "name", "kubeletConfigKey"] {
        if str_at(map, &format!("/{field}")).is_empty() {
            errors.required(&path.child(field), "");
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

/// Taints; the real server reports them below `metadata`.
fn validate_taints(errors: &mut Errors, taints: &[Value]) {
    let list = METADATA.child("taints");
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
