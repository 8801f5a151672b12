//! Formats in schemas that mean nothing to the server.

use serde_json::Value;

use crate::custom::checks::formats::is_known;
use crate::registry::access::{at, entries, list_at, str_at};

/// The formats of a definition that the server does not know, each once.
pub fn unknown(definition: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for version in list_at(definition, "/spec/versions") {
        visit(at(version, "/schema/openAPIV3Schema"), &mut found);
    }
    found
}

fn visit(schema: &Value, found: &mut Vec<String>) {
    let (format, kind) = (str_at(schema, "/format"), str_at(schema, "/type"));
    let types: &[&str] = if kind.is_empty() { &[] } else { &[kind] };
    if !format.is_empty() && !is_known(format, types) && !found.iter().any(|known| known == format) {
        found.push(format.to_owned());
    }
    let parts =
        ["/items", "/not", "/additionalProperties", "/additionalItems"].iter().map(|part| at(schema, part));
    let lists = ["/allOf", "/anyOf", "/oneOf"].iter().flat_map(|list| list_at(schema, list));
    let named = ["/properties", "/patternProperties", "/definitions", "/dependencies"]
        .iter()
        .flat_map(|map| entries(schema, map).map(|(_, schema)| schema));
    for part in parts.chain(lists).chain(named).filter(|part| part.is_object()) {
        visit(part, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn formats_are_known_by_type() {
        let properties = json!({
            "a": {"type": "string", "format": "date-time"},
            "b": {"type": "string", "format": "int32"},
            "c": {"type": "integer", "format": "int32"},
            "d": {"type": "array", "items": {"type": "string", "format": "phone"}},
            "e": {"type": "string", "format": "phone"},
        });
        let schema = json!({"type": "object", "properties": properties});
        let definition = json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}});
        assert_eq!(unknown(&definition), ["int32", "phone"]);
    }
}
