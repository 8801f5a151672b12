//! Whether a live object already is what we would apply. Pure.
//!
//! The server adds defaults, status and the fields of others, so the live object is compared only where the desired one
//! speaks. Fields that we applied once and no longer want are found by a hash of what was applied, which is kept in an
//! annotation: applying again removes them.

use serde_json::Value;
use vkube_crds::Quantity;

use crate::build::Object;
use crate::names::{APPLIED_HASH, short_hash};

/// Lists that the server merges by a key, so that others may add elements: their name and the key of an element.
const KEYED: [(&str, &[&str]); 9] = [
    ("containers", &["name"]),
    ("env", &["name"]),
    ("finalizers", &[]),
    ("imagePullSecrets", &["name"]),
    ("initContainers", &["name"]),
    ("ownerReferences", &["uid"]),
    ("ports", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("volumes", &["name"]),
];

/// Maps whose values are quantities: the server may write them otherwise.
const AMOUNTS: [&str; 9] =
    ["default", "defaultRequest", "hard", "limits", "max", "min", "requests", "capacity", "overhead"];

/// Adds the hash of the object to its annotations.
pub fn stamp(object: &mut Object) {
    let hash = short_hash(object.body.to_string().as_bytes());
    if let Some(metadata) = object.body.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations =
            metadata.entry("annotations").or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(APPLIED_HASH.into(), Value::String(hash));
        }
    }
}

/// Whether `live` is what applying `desired` would make of it.
pub fn covers(live: &Value, desired: &Value) -> bool {
    same(live, desired, "", "")
}

/// `field` and `parent` are the names of the fields that hold the value and its holder.
fn same(live: &Value, desired: &Value, field: &str, parent: &str) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            desired.iter().all(|(key, wanted)| match live.get(key) {
                Some(found) => same(found, wanted, key, field),
                // The server leaves out what is empty.
                None => is_empty(wanted),
            })
        }
        (Value::Array(live), Value::Array(desired)) => match KEYED.iter().find(|(name, _)| *name == field) {
            Some((_, keys)) => desired.iter().all(|wanted| {
                live.iter().any(|found| {
                    keys.iter().all(|key| found.get(*key) == wanted.get(*key))
                        && same(found, wanted, "", field)
                })
            }),
            None => {
                live.len() == desired.len()
                    && live.iter().zip(desired).all(|(live, desired)| same(live, desired, "", field))
            }
        },
        (Value::String(live), Value::String(desired)) if AMOUNTS.contains(&parent) => {
            live == desired
                || Quantity(live.clone()).compare(&Quantity(desired.clone()))
                    == Some(std::cmp::Ordering::Equal)
        }
        (live, desired) => live == desired,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_and_status_of_the_server_are_no_difference() {
        let desired = json!({"spec": {"ports": [{"name": "a", "port": 1}], "type": "ClusterIP"}});
        let live = json!({"spec": {"ports": [{"name": "a", "port": 1, "protocol": "TCP"}], "type": "ClusterIP",
            "clusterIP": "10.0.0.1"}, "status": {}});
        assert!(covers(&live, &desired));
    }

    #[test]
    fn amounts_are_compared_not_their_spelling() {
        let desired = json!({"spec": {"hard": {"cpu": "1000m"}}});
        assert!(covers(&json!({"spec": {"hard": {"cpu": "1"}}}), &desired));
        assert!(!covers(&json!({"spec": {"hard": {"cpu": "2"}}}), &desired));
        assert!(!covers(&json!({"data": {"a": "1"}}), &json!({"data": {"a": "1000m"}})));
    }

    #[test]
    fn an_added_subject_is_a_difference_an_added_container_is_not() {
        let subject = |name: &str| json!({"kind": "User", "name": name});
        let desired = json!({"subjects": [subject("a")]});
        assert!(!covers(&json!({"subjects": [subject("a"), subject("evil")]}), &desired));
        let desired = json!({"spec": {"containers": [{"name": "a"}]}});
        assert!(covers(&json!({"spec": {"containers": [{"name": "sidecar"}, {"name": "a"}]}}), &desired));
    }

    #[test]
    fn what_is_empty_may_be_missing() {
        let desired = json!({"spec": {"podSelector": {}, "emptyDir": {}, "list": []}});
        assert!(covers(&json!({"spec": {}}), &desired));
        assert!(!covers(&json!({}), &json!({"spec": {"replicas": 1}})));
    }

    #[test]
    fn a_missing_or_changed_field_is_a_difference() {
        let desired = json!({"metadata": {"labels": {"a": "1"}}});
        assert!(!covers(&json!({"metadata": {"labels": {"b": "1"}}}), &desired));
        assert!(!covers(&json!({"metadata": {}}), &desired));
        assert!(!covers(&json!({"metadata": {"labels": {"a": "2"}}}), &desired));
    }
}
