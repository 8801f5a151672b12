//! Short ways into JSON documents.
//!
//! Paths are JSON pointers without escapes (`/spec/template`). Reading never fails: what is absent, `null`
//! or of another type reads as the empty value of the type asked for, as in Go's structs.

use serde_json::{Map, Value};

static NULL: Value = Value::Null;

fn step<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.as_object().and_then(|map| map.get(key))
}

fn keys(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').skip(1)
}

/// The value at `path`, if there is one that is not `null`.
pub fn get<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    keys(path).try_fold(value, step).filter(|found| !found.is_null())
}

/// The value at `path`, or `null`.
pub fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    get(value, path).unwrap_or(&NULL)
}

/// Whether there is a value at `path`.
pub fn has(value: &Value, path: &str) -> bool {
    get(value, path).is_some()
}

/// The text at `path`, or the empty text.
pub fn str_at<'a>(value: &'a Value, path: &str) -> &'a str {
    get(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// The text at `path`.
pub fn opt_str<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    get(value, path).and_then(Value::as_str)
}

/// The integer at `path`, or 0.
pub fn int_at(value: &Value, path: &str) -> i64 {
    opt_int(value, path).unwrap_or_default()
}

/// The integer at `path`.
pub fn opt_int(value: &Value, path: &str) -> Option<i64> {
    get(value, path).and_then(Value::as_i64)
}

/// The boolean at `path`, or false.
pub fn bool_at(value: &Value, path: &str) -> bool {
    get(value, path).and_then(Value::as_bool).unwrap_or_default()
}

/// The items of the list at `path`.
pub fn list_at<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    get(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The texts of the list at `path`.
pub fn strs_at<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = &'a str> {
    list_at(value, path).iter().filter_map(Value::as_str)
}

/// The map at `path`.
pub fn map_at<'a>(value: &'a Value, path: &str) -> Option<&'a Map<String, Value>> {
    get(value, path).and_then(Value::as_object)
}

/// The entries of the map at `path`, by key.
pub fn entries<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    map_at(value, path).into_iter().flatten()
}

/// How many items or entries the list or map at `path` has.
pub fn count_at(value: &Value, path: &str) -> usize {
    match at(value, path) {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    }
}

/// The place at `path`, if there is a value that is not `null`.
pub fn get_mut<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    keys(path)
        .try_fold(value, |value, key| value.as_object_mut().and_then(|map| map.get_mut(key)))
        .filter(|found| !found.is_null())
}

/// The items of the list at `path`.
pub fn list_mut<'a>(value: &'a mut Value, path: &str) -> std::slice::IterMut<'a, Value> {
    get_mut(value, path).and_then(Value::as_array_mut).map(|items| items.iter_mut()).unwrap_or_default()
}

/// The map at `path`; made, with all that leads to it, where it is absent.
pub fn make_map<'a>(value: &'a mut Value, path: &str) -> &'a mut Map<String, Value> {
    as_map(keys(path).fold(value, |value, key| as_map(value).entry(key).or_insert(Value::Null)))
}

fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}

/// Sets the value at `path`.
pub fn set(value: &mut Value, path: &str, new: impl Into<Value>) {
    let (parent, key) = split(path);
    make_map(value, parent).insert(key.into(), new.into());
}

/// Sets the value at `path` where it is absent or, if `new` is a text or number, empty or 0.
pub fn set_default(value: &mut Value, path: &str, new: impl Into<Value>) {
    let new = new.into();
    let unset = match at(value, path) {
        Value::Null => true,
        Value::String(text) => text.is_empty() && new.is_string(),
        _ => false,
    };
    if unset {
        set(value, path, new);
    }
}

/// Sets the number at `path` where it is absent or 0.
pub fn set_nonzero(value: &mut Value, path: &str, new: i64) {
    if int_at(value, path) == 0 {
        set(value, path, new);
    }
}

/// Removes the value at `path` and returns it.
pub fn remove(value: &mut Value, path: &str) -> Option<Value> {
    let (parent, key) = split(path);
    let map = if parent.is_empty() { Some(value) } else { get_mut(value, parent) };
    map.and_then(Value::as_object_mut).and_then(|map| map.remove(key))
}

/// Makes the value at `path` that of `old`, or absent as it is there.
pub fn restore(value: &mut Value, old: &Value, path: &str) {
    match get(old, path) {
        Some(kept) => set(value, path, kept.clone()),
        None => drop(remove(value, path)),
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The item of a list of objects whose `name` is this.
pub fn named<'a>(items: &'a [Value], name: &str) -> Option<&'a Value> {
    items.iter().find(|item| str_at(item, "/name") == name)
}

/// The item of a list of objects whose `type` is this; conditions are told apart so.
pub fn of_type<'a>(items: &'a [Value], kind: &str) -> Option<&'a Value> {
    items.iter().find(|item| str_at(item, "/type") == kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_what_is_there_and_empty_values_for_the_rest() {
        let object = json!({"spec": {"replicas": 3, "name": "a", "gone": null, "ports": [{"name": "x"}]}});
        assert_eq!(int_at(&object, "/spec/replicas"), 3);
        assert_eq!(str_at(&object, "/spec/name"), "a");
        assert_eq!(str_at(&object, "/spec/replicas/name"), "");
        assert!(!has(&object, "/spec/gone"));
        assert_eq!(list_at(&object, "/spec/ports").len(), 1);
    }

    #[test]
    fn makes_the_way_to_a_default() {
        let mut object = json!({"spec": {"type": ""}});
        set_default(&mut object, "/spec/type", "ClusterIP");
        set_default(&mut object, "/spec/strategy/type", "RollingUpdate");
        make_map(&mut object, "/status");
        assert_eq!(
            object,
            json!({"spec": {"type": "ClusterIP", "strategy": {"type": "RollingUpdate"}}, "status": {}})
        );
    }

    #[test]
    fn restores_absence_too() {
        let mut object = json!({"a": {"b": 1}, "c": 2});
        restore(&mut object, &json!({"c": 3}), "/a/b");
        restore(&mut object, &json!({"c": 3}), "/c");
        assert_eq!(object, json!({"a": {}, "c": 3}));
    }
}
