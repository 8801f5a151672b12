//! Access to `apiVersion`, `kind` and `metadata` of objects, which are JSON documents.

use jiff::{Timestamp, Unit};
use serde_json::{Map, Value, json};

/// A field of `metadata`.
pub fn get<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object.get("metadata")?.get(field)
}

/// A string of `metadata`; empty if absent.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    get(object, field).and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.name`
pub fn name(object: &Value) -> &str {
    text(object, "name")
}

/// `metadata.namespace`
pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

/// `metadata`, made if absent.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = json!({});
    }
    match metadata {
        Value::Object(map) => map,
        _ => unreachable!("was just made an object"),
    }
}

/// Sets a field of `metadata`.
pub fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    metadata_mut(object).insert(field.into(), value.into());
}

/// Removes a field of `metadata`.
pub fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove(field)
}

/// Sets a field of `metadata` to what it is in `from`, or removes it.
pub fn restore(object: &mut Value, field: &str, from: &Value) {
    match get(from, field) {
        Some(value) => set(object, field, value.clone()),
        None => {
            remove(object, field);
        }
    }
}

/// `metadata.finalizers`
pub fn finalizers(object: &Value) -> Vec<&str> {
    let list = get(object, "finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Sets `metadata.finalizers`; an empty list is left out.
pub fn set_finalizers(object: &mut Value, finalizers: Vec<String>) {
    if finalizers.is_empty() {
        remove(object, "finalizers");
    } else {
        set(object, "finalizers", finalizers);
    }
}

/// Whether it is being deleted.
pub fn is_terminating(object: &Value) -> bool {
    get(object, "deletionTimestamp").is_some_and(|t| !t.is_null())
}

/// `metadata.generation`
pub fn generation(object: &Value) -> i64 {
    get(object, "generation").and_then(Value::as_i64).unwrap_or(0)
}

/// A time as `metav1.Time` writes it: whole seconds, UTC.
pub fn time(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Sets a top-level field, or removes it.
pub fn set_top(object: &mut Value, field: &str, value: Option<Value>) {
    if let Some(map) = object.as_object_mut() {
        match value {
            Some(value) => {
                map.insert(field.into(), value);
            }
            None => {
                map.remove(field);
            }
        }
    }
}
