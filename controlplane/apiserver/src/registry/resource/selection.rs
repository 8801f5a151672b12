//! What the expressions of device classes and claims select
//! (<https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#device-selectors>).

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::{
    cel::{Budget, Program, Value, Variables, functions},
    registry::access::{bool_at, map_at, str_at},
};

/// How much one expression may do (`CELSelectorExpressionMaxCost`).
const BUDGET: u64 = 1_000_000;

/// Whether an expression selects a device of a driver, given as it is in a ResourceSlice; or why it has no answer.
pub fn selects(expression: &str, driver: &str, device: &Json) -> Result<bool, String> {
    let program = Program::parse_with_bindings(expression).map_err(|why| why.to_string())?;
    let mut variables = Variables::default();
    variables.set("device", value(driver, device));
    match program.evaluate(&variables, &mut Budget::new(BUDGET)) {
        Ok(Value::Bool(selected)) => Ok(selected),
        Ok(other) => Err(format!("expected bool, got {}", other.type_name())),
        Err(why) => Err(why.to_string()),
    }
}

fn value(driver: &str, device: &Json) -> Value<'static> {
    let entry = |key: &str, value| (Value::text(key.to_owned()), value);
    Value::Map(
        [
            entry("driver", Value::text(driver.to_owned())),
            entry("attributes", by_domain(driver, device, "/attributes", attribute)),
            entry("capacity", by_domain(driver, device, "/capacity", capacity)),
            entry("allowMultipleAllocations", Value::Bool(bool_at(device, "/allowMultipleAllocations"))),
        ]
        .into(),
    )
}

/// Entries by the domain of their names, which for a name without one is the driver.
fn by_domain(
    driver: &str,
    device: &Json,
    field: &str,
    read: fn(&Json) -> Option<Value<'static>>,
) -> Value<'static> {
    let mut domains: BTreeMap<String, Vec<(Value<'static>, Value<'static>)>> = BTreeMap::new();
    for (name, entry) in map_at(device, field).into_iter().flatten() {
        let (domain, bare) = name.split_once('/').unwrap_or((driver, name));
        let entry = read(entry).map(|value| (Value::text(bare.to_owned()), value));
        domains.entry(domain.to_owned()).or_default().extend(entry);
    }
    let domains =
        domains.into_iter().map(|(domain, entries)| (Value::text(domain), Value::Map(entries.into())));
    Value::Map(domains.collect())
}

fn attribute(attribute: &Json) -> Option<Value<'static>> {
    let (kind, value) = attribute.as_object()?.iter().find(|(_, value)| !value.is_null())?;
    if let Some(items) = value.as_array() {
        return Some(Value::list(
            items.iter().filter_map(|item| plain(kind.trim_end_matches('s'), item)).collect(),
        ));
    }
    plain(kind, value)
}

fn plain(kind: &str, value: &Json) -> Option<Value<'static>> {
    match kind {
        "bool" => value.as_bool().map(Value::Bool),
        "int" => value.as_i64().map(Value::Int),
        "string" => value.as_str().map(|text| Value::text(text.to_owned())),
        "version" => made("semver", value.as_str()?),
        _ => None,
    }
}

fn capacity(capacity: &Json) -> Option<Value<'static>> {
    made("quantity", str_at(capacity, "/value"))
}

/// The value that a function makes of a text.
fn made(function: &str, text: &str) -> Option<Value<'static>> {
    functions::call(function, &[Value::text(text.to_owned())]).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn devices_are_selected_by_driver_attributes_and_capacity() {
        let device = json!({
            "name": "gpu-0",
            "attributes": {
                "model": {"string": "LATEST-GPU"},
                "other.example.com/cores": {"int": 8},
                "version": {"version": "1.2.3"},
                "shared": {"bool": true},
            },
            "capacity": {"memory": {"value": "80Gi"}},
        });
        let selected = |text: &str| selects(text, "gpu.example.com", &device);
        for text in [
            "device.driver == 'gpu.example.com'",
            "device.attributes['gpu.example.com'].model == 'LATEST-GPU'",
            "device.attributes['other.example.com'].cores >= 8",
            "device.attributes['gpu.example.com'].version.isGreaterThan(semver('1.0.0'))",
            "device.capacity['gpu.example.com'].memory.compareTo(quantity('40Gi')) > 0",
            "device.attributes['gpu.example.com'].shared && !('x' in device.attributes)",
            "!has(device.attributes['gpu.example.com'].serial)",
        ] {
            assert_eq!(selected(text), Ok(true), "{text}");
        }
        assert_eq!(selected("device.driver == 'x'"), Ok(false));
        let missing = selected("device.attributes['gpu.example.com'].serial == 'x'");
        assert_eq!(missing, Err("no such key: serial".to_owned()));
    }
}
