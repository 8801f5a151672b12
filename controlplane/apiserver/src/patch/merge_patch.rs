//! JSON merge patch (RFC 7386): objects merge, `null` removes, everything else replaces.
//!
//! Where the RFC would store what the patch brings as it is, nulls inside it are dropped, also inside
//! lists' objects, unless it replaces an object by a list.

use serde_json::{Map, Value};

use super::{Error, printed};

/// Applies `patch` to `document`.
pub fn apply(document: &mut Value, patch: Value) -> Result<(), Error> {
    let patch = match patch {
        Value::Object(patch) => patch,
        Value::Null => return Err(Error::BadRequest("Invalid JSON Patch".into())),
        other => {
            return Err(Error::BadRequest(format!(
                "error decoding patch: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                printed::json_name(&other)
            )));
        }
    };
    if let Value::Object(fields) = document {
        merge(fields, patch);
    }
    Ok(())
}

/// The same where nobody minds unknown fields (`fieldValidation=Ignore`): a list stands in for the whole document.
pub fn apply_unchecked(document: &mut Value, mut patch: Value) -> Result<(), Error> {
    match patch {
        Value::Object(_) => apply(document, patch),
        Value::Array(_) => {
            drop_nulls(&mut patch);
            *document = patch;
            Ok(())
        }
        _ => Err(Error::BadRequest("Invalid JSON Patch".into())),
    }
}

fn merge(document: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, mut value) in patch {
        if value.is_null() {
            document.remove(&name);
            continue;
        }
        match (document.get_mut(&name), value) {
            (Some(Value::Object(current)), Value::Object(patch)) => merge(current, patch),
            (Some(current @ Value::Object(_)), replacement) => *current = replacement,
            (_, other) => {
                value = other;
                drop_nulls(&mut value);
                document.insert(name, value);
            }
        }
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn patched(mut document: Value, patch: Value) -> Value {
        apply(&mut document, patch).unwrap();
        document
    }

    #[test]
    fn follows_the_examples_of_the_rfc() {
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (document, patch, expected) in cases {
            assert_eq!(patched(document, patch), expected);
        }
    }

    #[test]
    fn nulls_inside_new_lists_are_dropped_from_their_objects() {
        assert_eq!(
            patched(json!({}), json!({"a": [{"b": null, "c": 1}, null]})),
            json!({"a": [{"c": 1}, null]})
        );
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            (0..3).prop_map(Value::from),
            "[xy]".prop_map(Value::from),
            Just(json!([1, {"a": 2}]))
        ];
        let object = leaf.prop_recursive(3, 16, 3, |value| {
            prop::collection::btree_map("[a-c]", value, 0..3).prop_map(|fields| json!(fields))
        });
        prop::collection::btree_map("[a-c]", object, 0..3).prop_map(|fields| json!(fields))
    }

    /// The patch from one document to another.
    fn difference(from: &Value, to: &Value) -> Value {
        let (Value::Object(old), Value::Object(new)) = (from, to) else { return to.clone() };
        let mut patch = Map::new();
        for name in old.keys().filter(|name| !new.contains_key(*name)) {
            patch.insert(name.clone(), Value::Null);
        }
        for (name, value) in new.iter().filter(|(name, value)| old.get(*name) != Some(value)) {
            patch.insert(
                name.clone(),
                old.get(name).map_or_else(|| value.clone(), |old| difference(old, value)),
            );
        }
        patch.into()
    }

    proptest! {
        #[test]
        fn a_difference_leads_from_one_document_to_the_other(from in documents(), to in documents()) {
            prop_assert_eq!(patched(from.clone(), difference(&from, &to)), to);
        }

        #[test]
        fn patching_twice_is_patching_once(document in documents(), patch in documents()) {
            let once = patched(document, patch.clone());
            prop_assert_eq!(patched(once.clone(), patch), once);
        }
    }

    #[test]
    fn refuses_what_is_not_an_object() {
        let refused = |patch| apply(&mut json!({}), patch).unwrap_err().to_string();
        assert_eq!(
            refused(json!([1])),
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        );
        assert_eq!(refused(Value::Null), "Invalid JSON Patch");
    }
}
