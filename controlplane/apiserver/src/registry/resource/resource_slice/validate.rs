//! Everything wrong with resource slices, new or changed.

use serde_json::Value;

use super::device;
use crate::field::{Errors, Path, Reason};
use crate::registry::access::{at, bool_at, count_at, entries, has, int_at, list_at, named, opt_str, str_at};
use crate::registry::core::pod_spec::validate_node_selector;
use crate::registry::internal;
use crate::registry::resource::validate::{driver_name, each_once, pool_name};
use crate::validation::fields::{self, dns_label, dns_subdomain};

const SPEC: Path<'static> = Path::new("spec");
const DEVICES_MAX: usize = 128;
const SPECIAL_DEVICES_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;

/// A slice; `old` is what it was before an update.
pub fn validate(slice: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let spec = at(slice, "/spec");
    driver_name(&mut errors, &SPEC.child("driver"), str_at(spec, "/driver"));
    validate_pool(&mut errors, spec);
    if let Some(old) = old.map(|old| at(old, "/spec")) {
        let pool = SPEC.child("pool");
        fields::immutable(&mut errors, &pool.child("name"), at(spec, "/pool/name"), at(old, "/pool/name"));
        for field in ["driver", "nodeName"] {
            fields::immutable_field(&mut errors, &SPEC, spec, old, field);
        }
    }
    validate_nodes(&mut errors, spec);
    let devices = list_at(spec, "/devices");
    if has(spec, "/sharedCounters") && has(spec, "/devices") {
        errors.invalid_str(&SPEC, "", "only one of `sharedCounters` or `devices` is allowed");
    }
    let special = devices.iter().any(|device| has(device, "/taints") || has(device, "/consumesCounters"));
    let most = if special { SPECIAL_DEVICES_MAX } else { DEVICES_MAX };
    let name = |item: &Value| str_at(item, "/name").to_owned();
    let selects = bool_at(spec, "/perDeviceNodeSelection");
    each_once(&mut errors, &SPEC.child("devices"), devices, most, name, |errors, path, device| {
        let before = old.and_then(|old| named(list_at(old, "/spec/devices"), str_at(device, "/name")));
        device::validate(errors, path, device, before, selects);
    });
    let sets = list_at(spec, "/sharedCounters");
    each_once(
        &mut errors,
        &SPEC.child("sharedCounters"),
        sets,
        COUNTER_SETS_MAX,
        name,
        |errors, path, set| counters(errors, path, set, "name"),
    );
    errors
}

fn validate_pool(errors: &mut Errors, spec: &Value) {
    let path = SPEC.child("pool");
    pool_name(errors, &path.child("name"), str_at(spec, "/pool/name"));
    let count = int_at(spec, "/pool/resourceSliceCount");
    if count <= 0 {
        errors.invalid(&path.child("resourceSliceCount"), &count.into(), "must be greater than zero");
    }
    let generation = int_at(spec, "/pool/generation");
    if generation < 0 {
        let why = "must be greater than or equal to zero";
        errors.invalid(&path.child("generation"), &generation.into(), why);
    }
}

/// A slice says in exactly one way from which nodes its devices can be reached.
fn validate_nodes(errors: &mut Errors, spec: &Value) {
    const ONE: &str =
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let mut ways = Vec::new();
    if let Some(name) = opt_str(spec, "/nodeName") {
        if name.is_empty() {
            let why = "must be either unset or set to a non-empty string";
            errors.invalid_str(&SPEC.child("nodeName"), name, why);
        } else {
            ways.push("`nodeName`");
            dns_subdomain(errors, &SPEC.child("nodeName"), name);
        }
    }
    if has(spec, "/nodeSelector") {
        ways.push("`nodeSelector`");
        let path = SPEC.child("nodeSelector");
        validate_node_selector(errors, &path, at(spec, "/nodeSelector"));
        if list_at(spec, "/nodeSelector/nodeSelectorTerms").len() != 1 {
            let terms = internal::shown_list("NodeSelectorTerm", at(spec, "/nodeSelector/nodeSelectorTerms"));
            let detail = format!("Invalid value: {terms}: must have exactly one node selector term");
            errors.push(&path.child("nodeSelectorTerms"), Reason::Invalid, detail);
        }
    }
    for (field, shown) in [("allNodes", "`allNodes`"), ("perDeviceNodeSelection", "`perDeviceNodeSelection`")]
    {
        match at(spec, &format!("/{field}")) {
            Value::Bool(true) => ways.push(shown),
            Value::Bool(false) => {
                let why = "must be either unset or set to true";
                errors.invalid(&SPEC.child(field), &false.into(), why);
            }
            _ => {}
        }
    }
    match ways.len() {
        0 => errors.required(&SPEC, ONE),
        1 => {}
        _ => {
            let why = format!("{ONE}, but multiple fields are set");
            errors.invalid_str(&SPEC, &format!("{{{}}}", ways.join(", ")), &why);
        }
    }
}

/// What is counted of devices together, under a name in this field.
pub fn counters(errors: &mut Errors, path: &Path<'_>, owner: &Value, field: &str) {
    const COUNTERS_MAX: usize = 32;
    if fields::required(errors, path, owner, field) {
        dns_label(errors, &path.child(field), str_at(owner, &format!("/{field}")));
    }
    let path = path.child("counters");
    match count_at(owner, "/counters") {
        0 => errors.required(&path, ""),
        count if count > COUNTERS_MAX => errors.too_many(&path, count, COUNTERS_MAX),
        _ => {
            for (name, _) in entries(owner, "/counters") {
                dns_label(errors, &path.key(name), name);
            }
        }
    }
}
