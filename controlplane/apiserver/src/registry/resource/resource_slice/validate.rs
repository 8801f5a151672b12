//! Everything wrong with resource slices, new or changed.

use serde_json::{Map, Value};

use crate::field::{Errors, Path};
use crate::registry::access::{at, bool_at, has, int_at, list_at, map_at, opt_str, str_at};
use crate::registry::core::pod_spec::validate_node_selector;
use crate::registry::resource::validate::{driver_name, each_once, pool_name, qualified_name};
use crate::validation::fields::{self, dns_label, dns_subdomain};

const SPEC: Path<'static> = Path::new("spec");
const DEVICES_MAX: usize = 128;
const SPECIAL_DEVICES_MAX: usize = 64;
const ATTRIBUTES_MAX: usize = 32;
const VALUE_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const ON_DEVICES: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";

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
        validate_device(errors, path, device, selects);
    });
    let sets = list_at(spec, "/sharedCounters");
    each_once(
        &mut errors,
        &SPEC.child("sharedCounters"),
        sets,
        COUNTER_SETS_MAX,
        name,
        |errors, path, set| {
            if fields::required(errors, path, set, "name") {
                dns_label(errors, &path.child("name"), str_at(set, "/name"));
            }
            if map_at(set, "/counters").is_none_or(Map::is_empty) {
                errors.required(&path.child("counters"), "");
            }
        },
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
            errors.invalid(
                &path.child("nodeSelectorTerms"),
                at(spec, "/nodeSelector/nodeSelectorTerms"),
                "must have exactly one node selector term",
            );
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

fn validate_device(errors: &mut Errors, path: &Path<'_>, device: &Value, selects: bool) {
    dns_label(errors, &path.child("name"), str_at(device, "/name"));
    let (attributes, capacity) = (map_at(device, "/attributes"), map_at(device, "/capacity"));
    let count = attributes.map_or(0, Map::len) + capacity.map_or(0, Map::len);
    if count > ATTRIBUTES_MAX {
        let why = format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_MAX}");
        errors.invalid(path, &count.into(), &why);
    }
    let entries = path.child("attributes");
    for (name, attribute) in attributes.into_iter().flatten() {
        let path = entries.key(name);
        qualified_name(errors, &path, name);
        validate_attribute(errors, &path, attribute);
    }
    let entries = path.child("capacity");
    for (name, _) in capacity.into_iter().flatten() {
        qualified_name(errors, &entries.key(name), name);
    }
    validate_nodes_of_device(errors, path, device, selects);
}

fn validate_attribute(errors: &mut Errors, path: &Path<'_>, attribute: &Value) {
    let values = ["bool", "int", "string", "version"].iter().filter(|kind| attribute.get(**kind).is_some());
    match values.count() {
        0 => errors.invalid_str(path, "", "exactly one value must be specified"),
        1 => {}
        _ => errors.invalid(path, attribute, "exactly one value must be specified"),
    }
    for field in ["string", "version"] {
        let text = str_at(attribute, &format!("/{field}"));
        if field == "version" && has(attribute, "/version") && !is_semantic_version(text) {
            let why = "must be a string compatible with semver.org spec 2.0.0";
            errors.invalid_str(&path.child(field), text, why);
        }
        if text.len() > VALUE_MAX {
            errors.too_long(&path.child(field), VALUE_MAX);
        }
    }
}

fn validate_nodes_of_device(errors: &mut Errors, path: &Path<'_>, device: &Value, selects: bool) {
    let fields = ["nodeName", "nodeSelector", "allNodes"];
    let given: Vec<&str> =
        fields.into_iter().filter(|field| device.get(*field).is_some_and(|v| !v.is_null())).collect();
    if !selects {
        if !given.is_empty() {
            let why = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
            errors.invalid(path, &Value::Null, why);
        }
        return;
    }
    match given.as_slice() {
        [] => errors.required(path, ON_DEVICES),
        [_] => {}
        several => {
            let shown: Vec<String> = several.iter().map(|field| format!("`{field}`")).collect();
            errors.invalid_str(path, &format!("{{{}}}", shown.join(", ")), ON_DEVICES);
        }
    }
}

/// `1.2.3-alpha.1+build`
fn is_semantic_version(text: &str) -> bool {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, before) = text.split_once('-').map_or((text, None), |(core, before)| (core, Some(before)));
    let is_number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|c| c.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
    };
    let is_word =
        |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    let is_identifier =
        |part: &str| is_number(part) || is_word(part) && part.bytes().any(|c| !c.is_ascii_digit());
    let parts: Vec<&str> = core.split('.').collect();
    parts.len() == 3
        && parts.iter().all(|part| is_number(part))
        && before.is_none_or(|before| before.split('.').all(is_identifier))
        && build.is_none_or(|build| build.split('.').all(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_semantic() {
        for text in ["1.2.3", "0.0.0-alpha.1", "1.0.0+build.001", "1.0.0--x"] {
            assert!(is_semantic_version(text), "{text}");
        }
        for text in ["1.2", "01.2.3", "1.2.3-", "1.2.3-01", "v1.2.3", ""] {
            assert!(!is_semantic_version(text), "{text}");
        }
    }
}
