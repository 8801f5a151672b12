//! Defaults that schemas declare. What Kubernetes sets in code instead is in each kind's file.

use serde_json::Value;

use super::types::{Field, Shape, Type};

/// Sets the declared default of every absent field, deeply; a default is itself completed.
///
/// In custom types a `null` counts as absent where the schema does not allow `null`.
pub fn apply_defaults(value: &mut Value, ty: Type<'_>) {
    match (ty.shape(), value) {
        (Shape::Object(described), Value::Object(object)) => {
            for field in described.fields().filter(|f| f.has_default()) {
                match object.get_mut(field.name()) {
                    Some(value) if is_absent(value, field) => {
                        if let Some(default) = shown_default(field) {
                            *value = default;
                        }
                    }
                    Some(_) => {}
                    None => {
                        if let Some(default) = shown_default(field) {
                            object.insert(field.name().to_owned(), default);
                        }
                    }
                }
            }
            object.retain(|key, value| {
                !value.is_null() || described.field(key).is_none_or(|f| may_be_null(f.ty()))
            });
            for (key, value) in object.iter_mut() {
                if let Some(field) = described.field(key) {
                    apply_defaults(value, field.ty());
                }
            }
        }
        (Shape::Map(map), Value::Object(object)) => {
            object.retain(|_, value| !value.is_null() || may_be_null(map.values()));
            for value in object.values_mut() {
                default_null(value, map.values());
                apply_defaults(value, map.values());
            }
        }
        (Shape::List(list), Value::Array(items)) => {
            for value in items {
                default_null(value, list.items());
                apply_defaults(value, list.items());
            }
        }
        _ => {}
    }
}

/// Whether a present value gets the default all the same.
fn is_absent(value: &Value, field: Field<'_>) -> bool {
    match field.ty() {
        // An empty value that Go always shows is no different from an absent one.
        Type::Builtin(_) => value.is_null() || (!field.pointer() && is_empty_text(value)),
        Type::Custom(node) => value.is_null() && !node.nullable,
    }
}

/// The default, unless Go would leave it out again because it is empty.
fn shown_default(field: Field<'_>) -> Option<Value> {
    let omits = matches!(field.ty(), Type::Builtin(_)) && !field.always() && !field.pointer();
    field.default().filter(|default| !(omits && is_empty_text(default)))
}

/// Whether a `null` stays: custom types without a default drop it where they do not allow it.
fn may_be_null(ty: Type<'_>) -> bool {
    match ty {
        Type::Builtin(_) => true,
        Type::Custom(node) => node.nullable || node.default.is_some(),
    }
}

fn is_empty_text(value: &Value) -> bool {
    value.as_str().is_some_and(str::is_empty)
}

/// A `null` item of a custom list or map becomes the items' default where it may not be `null`.
fn default_null(value: &mut Value, ty: Type<'_>) {
    if let Some(node) = ty.node()
        && value.is_null()
        && !node.nullable
        && let Some(default) = &node.default
    {
        value.clone_from(default);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::types::{Form, Node, Scalar};

    #[test]
    fn ports_are_tcp() {
        let mut pod = json!({"spec": {"containers": [{"ports": [{"containerPort": 1}]}]}});
        apply_defaults(&mut pod, Type::builtin("io.k8s.api.core.v1.Pod").unwrap());
        assert_eq!(
            pod,
            json!({"spec": {"containers": [{"ports": [{"containerPort": 1, "protocol": "TCP"}]}]}})
        );
    }

    #[test]
    fn an_empty_default_is_not_shown() {
        let mut pod = json!({"spec": {"imagePullSecrets": [{}]}});
        apply_defaults(&mut pod, Type::builtin("io.k8s.api.core.v1.Pod").unwrap());
        assert_eq!(pod, json!({"spec": {"imagePullSecrets": [{}]}}));
    }

    fn object(fields: impl IntoIterator<Item = (&'static str, Node)>, default: Option<Value>) -> Node {
        let fields = fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        let form = Form::Object { fields, required: Vec::new(), map_type: None };
        Node { form, default, ..Node::default() }
    }

    fn text(default: &str, nullable: bool) -> Node {
        let form = Form::Scalar(Scalar::String);
        Node { form, nullable, default: Some(default.into()), ..Node::default() }
    }

    #[test]
    fn custom_defaults_are_deep_and_replace_null_unless_nullable() {
        let inner = object([("b", text("beta", false))], Some(json!({})));
        let plain = Node { form: Form::Scalar(Scalar::String), ..Node::default() };
        let root =
            object([("a", inner), ("n", text("x", true)), ("m", text("x", false)), ("p", plain)], None);
        let mut value = json!({"n": null, "m": null, "p": null});
        apply_defaults(&mut value, Type::Custom(&root));
        assert_eq!(value, json!({"a": {"b": "beta"}, "n": null, "m": "x"}));
    }
}
