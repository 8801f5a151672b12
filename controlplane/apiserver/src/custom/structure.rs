//! The structural schema of a custom resource: from OpenAPI to [`Node`]s.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    registry::access::{bool_at, list_at, map_at, opt_str, str_at, strs_at},
    schema::types::{CustomListType, Form, MapType, Node, Scalar, Type},
};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The structure of the whole object, given its `openAPIV3Schema`.
pub fn root(schema: &Value) -> Node {
    let mut root = node(schema);
    root.nullable = false;
    declare_type_and_metadata(&mut root);
    root
}

/// The structure of a value inside of an object, given its schema.
pub fn node(schema: &Value) -> Node {
    let preserve_unknown = bool_at(schema, "/x-kubernetes-preserve-unknown-fields");
    let embedded = bool_at(schema, "/x-kubernetes-embedded-resource");
    let mut node = Node {
        form: form(schema),
        nullable: bool_at(schema, "/nullable"),
        default: schema.get("default").cloned(),
        preserve_unknown,
        embedded,
    };
    if embedded {
        declare_type_and_metadata(&mut node);
    }
    node
}

fn form(schema: &Value) -> Form {
    if bool_at(schema, "/x-kubernetes-int-or-string") {
        return Form::Scalar(Scalar::IntOrString);
    }
    match str_at(schema, "/type") {
        "object" => object(schema),
        "array" => Form::List {
            items: Box::new(schema.get("items").map(node).unwrap_or_default()),
            list_type: list_type(schema),
        },
        "string" => Form::Scalar(Scalar::String),
        "integer" => Form::Scalar(Scalar::Int64),
        "number" => Form::Scalar(Scalar::Double),
        "boolean" => Form::Scalar(Scalar::Boolean),
        _ => Form::Any,
    }
}

fn object(schema: &Value) -> Form {
    let map_type = match str_at(schema, "/x-kubernetes-map-type") {
        "atomic" => Some(MapType::Atomic),
        "granular" => Some(MapType::Granular),
        _ => None,
    };
    let properties = map_at(schema, "/properties").filter(|p| !p.is_empty());
    match (properties, schema.get("additionalProperties")) {
        (None, Some(values @ Value::Object(_))) => Form::Map { values: Box::new(node(values)), map_type },
        (None, Some(Value::Bool(true))) => {
            let values = Box::new(Node { preserve_unknown: true, ..Node::default() });
            Form::Map { values, map_type }
        }
        (properties, _) => Form::Object {
            fields: properties.map(fields).unwrap_or_default(),
            required: strs_at(schema, "/required").map(Into::into).collect(),
            map_type,
        },
    }
}

fn fields(properties: &Map<String, Value>) -> BTreeMap<String, Node> {
    properties.iter().map(|(name, schema)| (name.clone(), node(schema))).collect()
}

fn list_type(schema: &Value) -> CustomListType {
    match opt_str(schema, "/x-kubernetes-list-type") {
        Some("set") => CustomListType::Set,
        Some("map") => {
            let keys = list_at(schema, "/x-kubernetes-list-map-keys");
            CustomListType::Map(keys.iter().filter_map(Value::as_str).map(Into::into).collect())
        }
        _ => CustomListType::Atomic,
    }
}

/// Every whole object has these, whatever its schema says of them.
fn declare_type_and_metadata(node: &mut Node) {
    let Form::Object { fields, .. } = &mut node.form else { return };
    for name in ["apiVersion", "kind"] {
        let text = Node { form: Form::Scalar(Scalar::String), ..Node::default() };
        fields.insert(name.into(), text);
    }
    if let Some(Type::Builtin(index)) = Type::builtin(OBJECT_META) {
        fields.insert("metadata".into(), Node { form: Form::Builtin(index), ..Node::default() });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_becomes_what_it_says() {
        let root = root(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "ports": {"type": "array", "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["port"], "items": {"type": "object"}},
                "any": {"x-kubernetes-preserve-unknown-fields": true},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            }},
        }}));
        let Form::Object { fields, .. } = &root.form else { panic!("not an object") };
        assert!(matches!(fields["metadata"].form, Form::Builtin(_)));
        let Form::Object { fields, .. } = &fields["spec"].form else { panic!("not an object") };
        assert!(matches!(
            &fields["ports"].form,
            Form::List { list_type: CustomListType::Map(keys), .. } if keys == &["port"]
        ));
        assert!(matches!(fields["labels"].form, Form::Map { .. }));
        assert!(matches!(fields["any"].form, Form::Any) && fields["any"].preserve_unknown);
    }
}
