//! Lists whose items must differ: `x-kubernetes-list-type` `set` and `map`.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Checks, ListKind};
use crate::field::{Errors, Path};

/// Items that occur twice, anywhere in a value. The root of an object has no path.
pub fn validate(checks: &Checks, value: &Value, path: Option<&Path<'_>>, errors: &mut Errors) {
    match value {
        Value::Object(map) => object(checks, map, path, errors),
        Value::Array(items) => {
            let path = path.unwrap_or(&Path::ROOT);
            repeated(&checks.list, items, path, errors);
            for (i, item) in items.iter().enumerate() {
                if let Some(schema) = &checks.items {
                    validate(schema, item, Some(&path.index(i)), errors);
                }
            }
        }
        _ => {}
    }
}

fn object(checks: &Checks, map: &Map<String, Value>, path: Option<&Path<'_>>, errors: &mut Errors) {
    let path = path.unwrap_or(&Path::ROOT);
    for (key, value) in map {
        if let Some(schema) = checks.property(key) {
            validate(schema, value, Some(&path.child(key)), errors);
        } else if let Some(schema) = checks.child(key) {
            validate(schema, value, Some(&path.key(key)), errors);
        }
    }
}

fn repeated(list: &ListKind, items: &[Value], path: &Path<'_>, errors: &mut Errors) {
    let keys: Vec<Value> = match list {
        ListKind::Atomic => return,
        ListKind::Set => items.to_vec(),
        ListKind::Map(names) => {
            let stray = items.iter().position(|item| !item.is_object() && !item.is_null());
            if let Some(at) = stray {
                let why = "must be an object for an array of list-type map";
                return errors.invalid(&path.index(at), &items[at], why);
            }
            items.iter().map(|item| key(names, item)).collect()
        }
    };
    let mut seen = HashMap::with_capacity(keys.len());
    for (i, key) in keys.iter().enumerate() {
        let times = seen.entry(key).or_insert(0_u32);
        *times += 1;
        // Only the first repetition is told.
        if *times == 2 {
            errors.duplicate(&path.index(i), key);
        }
    }
}

fn key(names: &[Box<str>], item: &Value) -> Value {
    let parts = names.iter().filter_map(|n| item.get(&**n).map(|value| (n.to_string(), value.clone())));
    Value::Object(parts.collect())
}
