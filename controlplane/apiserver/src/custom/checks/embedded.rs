//! Whole Kubernetes objects inside of custom ones: `x-kubernetes-embedded-resource`.

use serde_json::Value;

use super::Checks;
use crate::{
    field::{Errors, Path},
    metadata,
    registry::access::map_at,
    validation::{labels, names},
};

/// What is wrong with the type and metadata of embedded objects, anywhere in a value.
pub fn validate(checks: &Checks, value: &Value, path: &Path<'_>, errors: &mut Errors) {
    match value {
        Value::Object(map) => {
            if checks.embedded {
                embedded(value, path, errors);
            }
            for (key, value) in map {
                if let Some(schema) = checks.property(key) {
                    validate(schema, value, &path.child(key), errors);
                } else if let Some(schema) = checks.child(key) {
                    validate(schema, value, &path.key(key), errors);
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                if let Some(schema) = &checks.items {
                    validate(schema, item, &path.index(i), errors);
                }
            }
        }
        _ => {}
    }
}

fn embedded(object: &Value, path: &Path<'_>, errors: &mut Errors) {
    for field in ["apiVersion", "kind"] {
        let at = path.child(field);
        match object.get(field) {
            None => errors.required(&at, ""),
            Some(Value::String(text)) if text.is_empty() => {
                errors.invalid_str(&at, text, "must not be empty");
            }
            Some(Value::String(text)) => well_formed(field, text, &at, errors),
            Some(other) => errors.invalid(&at, other, "must be a string"),
        }
    }
    let path = path.child("metadata");
    for field in ["name", "generateName"] {
        let text = metadata::text(object, field);
        for why in names::path_segment(text) {
            errors.invalid_str(&path.child(field), text, &why);
        }
    }
    labels::labels(errors, &path.child("labels"), map_at(object, "/metadata/labels"));
    labels::annotations(errors, &path.child("annotations"), map_at(object, "/metadata/annotations"));
}

fn well_formed(field: &str, text: &str, path: &Path<'_>, errors: &mut Errors) {
    if field == "apiVersion" {
        if text.matches('/').count() > 1 {
            errors.invalid_str(path, text, &format!("unexpected GroupVersion string: {text}"));
        }
        return;
    }
    let wrong = names::dns1035_label(&text.to_lowercase());
    if !wrong.is_empty() {
        let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
        errors.invalid_str(path, text, &why);
    }
}
