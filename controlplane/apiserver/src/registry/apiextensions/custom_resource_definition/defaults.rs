//! Defaults must be what their schema demands.

use serde_json::Value;

use crate::{
    custom::{
        checks::{Checks, embedded, lists, validate::validate as judge},
        rules, structure,
    },
    field::{Errors, Path},
    registry::access::{entries, get},
    schema::{decode, types::Type},
};

/// Judges the defaults of a schema and of all within it.
pub fn validate(schema: &Value, path: &Path<'_>, errors: &mut Errors) {
    if let Some(default) = schema.get("default") {
        one(schema, default, &path.child("default"), errors);
    }
    if let Some(items) = get(schema, "/items") {
        validate(items, &path.child("items"), errors);
    }
    for (name, property) in entries(schema, "/properties") {
        validate(property, &path.child("properties").key(name), errors);
    }
}

fn one(schema: &Value, default: &Value, path: &Path<'_>, errors: &mut Errors) {
    let before = errors.0.len();
    let node = structure::node(schema);
    match decode::decode(default.clone(), Type::Custom(&node)) {
        Ok((pruned, _)) if pruned != *default => {
            errors.invalid(path, default, "must not have unknown fields");
        }
        Ok(_) => {}
        Err(why) => errors.invalid(path, default, &why.to_string()),
    }
    let checks = Checks::compile(schema);
    errors.extend(judge(&checks, default, None, &path.to_string()));
    embedded::validate(&checks, default, path, errors);
    lists::validate(&checks, default, Some(path), errors);
    // A default has to obey its rules both where it was before and where it is new.
    for old in [Some(default), None] {
        if errors.0.len() == before {
            rules::validate(&checks, default, old, Some(path), errors);
        }
    }
}
