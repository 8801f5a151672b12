//! Definitions of custom resources, from the schemas of their CustomResourceDefinitions.

use serde_json::{Map, Value, json};

use super::{Flavor, META, Served, prose::Prose};

/// `com.example.v1.Widget` for the kind `Widget` of `example.com/v1`.
pub fn definition_name(group: &str, version: &str, kind: &str) -> String {
    let reversed: Vec<&str> = group.rsplit('.').collect();
    format!("{}.{version}.{kind}", reversed.join("."))
}

/// The definition of an object.
pub fn object(served: &Served<'_>, schema: &str, flavor: Flavor, prose: &Prose<'_>) -> Value {
    let mut body = match serde_json::from_str(schema) {
        // Clients would take a list of properties for all that there may be.
        Ok(Value::Object(mut body)) if flavor == Flavor::V3 || !preserves_unknown(&body) => {
            unfold(&mut body);
            if flavor == Flavor::V2 {
                simplify(&mut body);
            }
            let properties = body.entry("properties").or_insert_with(|| json!({}));
            add_type_and_metadata(properties, "ObjectMeta", flavor, prose);
            embedded(&mut body, flavor, prose);
            body
        }
        _ => Map::from_iter([("type".to_owned(), "object".into())]),
    };
    body.insert("x-kubernetes-group-version-kind".into(), kind(served, served.kind));
    Value::Object(body)
}

/// The definition of a list.
pub fn list(served: &Served<'_>, flavor: Flavor, prose: &Prose<'_>) -> Value {
    let mut properties = json!({
        "items": {
            "type": "array",
            "items": flavor.reference(&served.definition()),
            "description": format!("The {} of this page.", served.plural),
        }
    });
    add_type_and_metadata(&mut properties, "ListMeta", flavor, prose);
    json!({
        "type": "object",
        "description": format!("{} is a list of {}", served.list_kind, served.kind),
        "required": ["items"],
        "properties": properties,
        "x-kubernetes-group-version-kind": kind(served, &served.list_kind),
    })
}

fn kind(served: &Served<'_>, kind: &str) -> Value {
    json!([{"group": served.group, "version": served.version, "kind": kind}])
}

fn add_type_and_metadata(properties: &mut Value, metadata: &str, flavor: Flavor, prose: &Prose<'_>) {
    let pod = "io.k8s.api.core.v1.Pod";
    let text = |name: &str| {
        let mut schema = json!({"type": "string"});
        if let Some(text) = prose.field(pod, name) {
            schema["description"] = text.into();
        }
        schema
    };
    properties["apiVersion"] = text("apiVersion");
    properties["kind"] = text("kind");
    let reference = flavor.reference(&format!("{META}{metadata}"));
    properties["metadata"] = match flavor {
        Flavor::V2 => reference,
        Flavor::V3 => json!({"allOf": [reference]}),
    };
    if let Some(text) = prose.field(pod, "metadata") {
        properties["metadata"]["description"] = text.into();
    }
}

/// Gives whole objects inside the schema their type and metadata.
fn embedded(schema: &mut Map<String, Value>, flavor: Flavor, prose: &Prose<'_>) {
    each_inner(schema, |inner| embedded(inner, flavor, prose));
    let open = flavor == Flavor::V2 && preserves_unknown(schema);
    if schema.get("x-kubernetes-embedded-resource") != Some(&Value::Bool(true)) || open {
        return;
    }
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    add_type_and_metadata(properties, "ObjectMeta", flavor, prose);
    if let Value::Array(required) = schema.entry("required").or_insert_with(|| json!([])) {
        for name in ["kind", "apiVersion"] {
            if !required.iter().any(|r| r == name) {
                required.push(name.into());
            }
        }
    }
}

fn each_inner(schema: &mut Map<String, Value>, mut visit: impl FnMut(&mut Map<String, Value>)) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().filter_map(Value::as_object_mut).for_each(&mut visit);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(Value::Object(inner)) = schema.get_mut(name) {
            visit(inner);
        }
    }
}

fn preserves_unknown(schema: &Map<String, Value>) -> bool {
    schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
}

/// Says in plain OpenAPI that a value is an integer or a text.
fn unfold(schema: &mut Map<String, Value>) {
    let either = json!([{"type": "integer"}, {"type": "string"}]);
    let said = schema.get("anyOf") == Some(&either)
        || schema.get("allOf").and_then(|all| all.get(0)).and_then(|first| first.get("anyOf"))
            == Some(&either);
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) && !said {
        if schema.contains_key("anyOf") {
            let all = schema.entry("allOf").or_insert_with(|| json!([]));
            if let Value::Array(all) = all {
                all.insert(0, json!({"anyOf": either}));
            }
        } else {
            schema.insert("anyOf".into(), either);
        }
    }
    each_inner(schema, unfold);
}

/// What version 2 cannot say, or what its clients misread, is left out.
fn simplify(schema: &mut Map<String, Value>) {
    for name in ["default", "oneOf", "anyOf", "allOf", "not"] {
        schema.remove(name);
    }
    if schema.remove("nullable") == Some(Value::Bool(true)) {
        // A client would reject `null`, or reject what the type forbids.
        for name in ["type", "properties", "items"] {
            schema.remove(name);
        }
    }
    if preserves_unknown(schema) {
        schema.remove("properties");
        schema.remove("items");
    }
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        schema.remove("type");
    }
    each_inner(schema, simplify);
}
