//! Merging without ownership: what mutating admission policies do with a configuration.

use serde_json::Value;

use super::{merge, shape::Atom, validate::validate};
use crate::schema::types::Type;

/// Why a configuration is not merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not fit the type.
    #[error("failed to convert patch object to typed object: {0}")]
    Unfit(String),
    /// It would replace what can only be replaced as a whole, which is seldom what is meant.
    #[error("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {0}")]
    Atomic(String),
}

/// The live object with what the configuration says. Nobody owns what it sets.
pub fn merge(live: &Value, config: &Value, ty: Type<'_>) -> Result<Value, Error> {
    validate(config, ty).map_err(Error::Unfit)?;
    let mut found = Vec::new();
    find_atomic(config, ty, "", &mut found);
    if !found.is_empty() {
        return Err(Error::Atomic(found.join(", ")));
    }
    Ok(merge::merge(live, config, ty))
}

/// The places of what is atomic in a value.
fn find_atomic(value: &Value, ty: Type<'_>, path: &str, found: &mut Vec<String>) {
    match (Atom::of(ty, Some(value)), value) {
        (Atom::Map(map), Value::Object(fields)) => {
            found.extend(map.atomic.then(|| path.to_owned()));
            for (name, value) in fields {
                if let Some(ty) = map.child(name).filter(|_| map.declares(name)) {
                    find_atomic(value, ty, &format!("{path}.{name}"), found);
                }
            }
        }
        (Atom::List(list), Value::Array(items)) => {
            found.extend(list.is_atomic().then(|| path.to_owned()));
            for (index, item) in items.iter().enumerate() {
                find_atomic(item, list.items, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_is_merged_by_the_keys_of_its_lists() {
        let pod = Type::builtin("io.k8s.api.core.v1.Pod").unwrap();
        let live =
            json!({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}});
        let config = json!({"spec": {"containers": [{"name": "b", "image": "z"}]}, "metadata": {"labels": {"l": "1"}}});
        assert_eq!(
            merge(&live, &config, pod).unwrap(),
            json!({
                "metadata": {"labels": {"l": "1"}},
                "spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "z"}]},
            })
        );
    }

    #[test]
    fn what_is_atomic_is_not_replaced_by_accident() {
        let pod = Type::builtin("io.k8s.api.core.v1.Pod").unwrap();
        let config =
            json!({"spec": {"nodeSelector": {"a": "b"}, "containers": [{"name": "a", "args": ["x"]}]}});
        let error = merge(&json!({}), &config, pod).unwrap_err().to_string();
        assert_eq!(
            error,
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.containers[0].args, .spec.nodeSelector"
        );
        let error = merge(&json!({}), &json!({"spec": {"nope": 1}}), pod).unwrap_err().to_string();
        assert!(error.ends_with(".spec.nope: field not declared in schema"), "{error}");
    }
}
