//! Everything wrong with a device of a slice.

use serde_json::{Map, Value};

use super::capacity;
use super::validate::counters;
use crate::field::{Errors, Path};
use crate::registry::access::{at, bool_at, get, has, list_at, map_at, opt_str, str_at};
use crate::registry::core::pod_spec::validate_node_selector;
use crate::registry::internal;
use crate::registry::resource::validate::{
    EFFECTS, binding_conditions, each, each_once, label_value, qualified_name,
};
use crate::validation::fields::{dns_label, dns_subdomain, required_one_of};
use crate::validation::labels::label_name;

const ATTRIBUTES_MAX: usize = 32;
const VALUE_MAX: usize = 64;
const TAINTS_MAX: usize = 16;
const COUNTER_SETS_MAX: usize = 2;
const ON_DEVICES: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";

/// A device; `old` is the one of its name before an update, and `selects` whether devices say on which nodes
/// they are.
pub fn validate(errors: &mut Errors, path: &Path<'_>, device: &Value, old: Option<&Value>, selects: bool) {
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
    let shared = bool_at(device, "/allowMultipleAllocations");
    for (name, amount) in capacity.into_iter().flatten() {
        let path = entries.key(name);
        qualified_name(errors, &path, name);
        let Some(policy) = get(amount, "/requestPolicy") else { continue };
        let path = path.child("requestPolicy");
        if shared {
            capacity::validate_policy(errors, &path, at(amount, "/value"), policy);
        } else {
            errors.forbidden(&path, "allowMultipleAllocations must be true");
        }
    }
    if old.is_none_or(|old| at(old, "/taints") != at(device, "/taints")) {
        each(errors, &path.child("taints"), list_at(device, "/taints"), TAINTS_MAX, validate_taint);
    }
    let consumed = list_at(device, "/consumesCounters");
    let name = |consumed: &Value| str_at(consumed, "/counterSet").to_owned();
    let consumed_path = path.child("consumesCounters");
    each_once(errors, &consumed_path, consumed, COUNTER_SETS_MAX, name, |errors, path, consumed| {
        counters(errors, path, consumed, "counterSet");
    });
    validate_nodes(errors, path, device, selects);
    binding_conditions(errors, path, device);
}

fn validate_taint(errors: &mut Errors, path: &Path<'_>, taint: &Value) {
    label_name(errors, &path.child("key"), str_at(taint, "/key"));
    label_value(errors, &path.child("value"), str_at(taint, "/value"));
    required_one_of(errors, path, taint, "effect", EFFECTS);
}

fn validate_attribute(errors: &mut Errors, path: &Path<'_>, attribute: &Value) {
    const ONE: &str = "exactly one value must be specified";
    for field in ["string", "version"] {
        let Some(text) = opt_str(attribute, &format!("/{field}")) else { continue };
        if field == "version" && !is_semantic_version(text) {
            let why = "must be a string compatible with semver.org spec 2.0.0";
            errors.invalid_str(&path.child(field), text, why);
        }
        if text.len() > VALUE_MAX {
            errors.too_long(&path.child(field), VALUE_MAX);
        }
    }
    match ["/bool", "/int", "/string", "/version"].iter().filter(|kind| has(attribute, kind)).count() {
        0 => errors.invalid_str(path, "", ONE),
        1 => {}
        _ => internal::invalid(errors, path, "DeviceAttribute", attribute, ONE),
    }
}

fn validate_nodes(errors: &mut Errors, path: &Path<'_>, device: &Value, selects: bool) {
    if !selects {
        if ["/nodeName", "/nodeSelector", "/allNodes"].iter().any(|field| has(device, field)) {
            let why = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
            errors.invalid(path, &Value::Null, why);
        }
        return;
    }
    let mut ways = Vec::new();
    match opt_str(device, "/nodeName") {
        Some("") => errors.invalid_str(&path.child("nodeName"), "", "must not be empty"),
        Some(name) => {
            ways.push("`nodeName`");
            dns_subdomain(errors, &path.child("nodeName"), name);
        }
        None => {}
    }
    if let Some(selector) = get(device, "/nodeSelector") {
        ways.push("`nodeSelector`");
        validate_node_selector(errors, &path.child("nodeSelector"), selector);
    }
    match at(device, "/allNodes") {
        Value::Bool(true) => ways.push("`allNodes`"),
        Value::Bool(false) => {
            errors.invalid(&path.child("allNodes"), &false.into(), "must be either unset or set to true");
        }
        _ => {}
    }
    match ways.len() {
        0 => errors.required(path, ON_DEVICES),
        1 => {}
        _ => errors.invalid_str(path, &format!("{{{}}}", ways.join(", ")), ON_DEVICES),
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
    use serde_json::json;

    fn told(device: Value, selects: bool) -> Vec<String> {
        let mut errors = Errors::default();
        validate(&mut errors, &Path::new("d"), &device, None, selects);
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn taints_need_a_key_and_a_known_effect() {
        let taints = json!([{"key": "a"}, {"key": "a", "effect": "X"}, {"key": "a", "effect": "None"}]);
        assert_eq!(
            told(json!({"name": "a", "taints": taints}), false),
            [
                "d.taints[0].effect: Required value",
                "d.taints[1].effect: Unsupported value: \"X\": supported values: \"NoExecute\", \"NoSchedule\", \"None\"",
            ]
        );
    }

    #[test]
    fn an_attribute_has_one_value() {
        let two = json!({"name": "a", "attributes": {"x": {"int": 1, "bool": true}}});
        assert_eq!(
            told(two, false),
            [
                r#"d.attributes[x]: Invalid value: {"IntValue":1,"BoolValue":true,"StringValue":null,"VersionValue":null,"IntValues":null,"BoolValues":null,"StringValues":null,"VersionValues":null}: exactly one value must be specified"#
            ]
        );
    }

    #[test]
    fn counters_are_named_and_consumed_once_a_set() {
        let consumed = json!([{"counterSet": "s"}, {"counterSet": "s", "counters": {"c": {"value": "1"}}}]);
        assert_eq!(
            told(json!({"name": "a", "consumesCounters": consumed}), false),
            [
                "d.consumesCounters[0].counters: Required value",
                "d.consumesCounters[1]: Duplicate value: \"s\""
            ]
        );
    }

    #[test]
    fn what_counts_as_a_way_to_the_nodes_is_valid_in_itself() {
        assert_eq!(
            told(json!({"name": "a", "nodeName": "", "allNodes": true}), true),
            ["d.nodeName: Invalid value: \"\": must not be empty"]
        );
        assert_eq!(
            told(json!({"name": "a", "nodeName": "n", "allNodes": true}), true),
            [format!("d: Invalid value: \"{{`nodeName`, `allNodes`}}\": {ON_DEVICES}")]
        );
    }

    #[test]
    fn only_devices_that_are_shared_have_a_policy_of_requests() {
        let device = |shared: bool, policy: Value| {
            let capacity = json!({"m": {"value": "10", "requestPolicy": policy}});
            told(json!({"name": "a", "allowMultipleAllocations": shared, "capacity": capacity}), false)
        };
        assert_eq!(
            device(false, json!({})),
            ["d.capacity[m].requestPolicy: Forbidden: allowMultipleAllocations must be true"]
        );
        assert_eq!(device(true, json!({"default": "2", "validValues": ["1", "2"]})), [""; 0]);
        assert_eq!(
            device(true, json!({"default": "3", "validValues": ["2", "1", "20"]})),
            [
                "d.capacity[m].requestPolicy.validValues[1]: Invalid value: \"1\": values must be sorted in ascending order",
                "d.capacity[m].requestPolicy.validValues[2]: Invalid value: \"20\": option is larger than capacity value: 10",
                "d.capacity[m].requestPolicy.validValues: Invalid value: \"3\": default value is not valid according to the requestPolicy",
            ]
        );
        assert_eq!(
            device(true, json!({"default": "4", "validRange": {"min": "1", "max": "9", "step": "2"}})),
            [
                "d.capacity[m].requestPolicy.validRange.step: Invalid value: \"4\": value is not a multiple of a given step (2) from (1)"
            ]
        );
    }

    #[test]
    fn conditions_of_binding_and_of_its_failure_go_together() {
        let device =
            json!({"name": "a", "bindingConditions": ["a.b/c"], "bindingFailureConditions": ["a.b/c"]});
        assert_eq!(
            told(device, false),
            [
                "d.bindingFailureConditions[0]: Invalid value: \"a.b/c\": bindingFailureConditions must not overlap with bindingConditions"
            ]
        );
        assert_eq!(
            told(json!({"name": "a", "bindingConditions": ["a"]}), false),
            [
                "d.bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use bindingConditions"
            ]
        );
    }

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
