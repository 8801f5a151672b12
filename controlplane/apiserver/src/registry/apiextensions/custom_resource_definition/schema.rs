//! What Kubernetes allows of OpenAPI in the schemas of custom resources, beyond their structure.

use serde_json::Value;

use super::rules;
use crate::{
    field::{Errors, Path},
    registry::access::{at, bool_at, entries, get, has, list_at, map_at, opt_str, str_at, strs_at},
};

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];

/// What holds for a schema because of where it stands.
#[derive(Clone, Copy, Default)]
struct Place<'a> {
    root: bool,
    inside_metadata: bool,
    no_defaults: Option<&'a str>,
    /// The schema above that keeps values from being compared with older ones.
    uncorrelated: Option<&'a str>,
    /// Whether it only restricts values: it has no rules of its own.
    alternative: bool,
    /// How many of it there can be in an object, where everything around it says so.
    cardinality: Option<u64>,
}

/// Judges a whole schema. The expressions in its rules are looked at only if its structure is sound.
pub fn validate(schema: &Value, path: &Path<'_>, is_structural: bool, errors: &mut Errors) {
    let place = Place { root: true, cardinality: Some(1), alternative: !is_structural, ..Place::default() };
    let mut found = Found { errors, rules: rules::Found::default() };
    judge(schema, path, place, &mut found);
    let Found { errors, rules } = found;
    rules.tell(path, errors);
}

/// What is wrong with schemas, and what is found about their rules, which is told last.
struct Found<'e> {
    errors: &'e mut Errors,
    rules: rules::Found,
}

fn judge(schema: &Value, path: &Path<'_>, place: Place<'_>, found: &mut Found<'_>) {
    let sound = found.errors.0.len();
    parts(schema, path, place, found);
    let errors = &mut *found.errors;
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let path = path.child("x-kubernetes-preserve-unknown-fields");
        errors.invalid(&path, &false.into(), "must be true or undefined");
    }
    map_type(schema, path, errors);
    list_type(schema, path, errors);
    list_keys(schema, path, errors);
    rules::forms(schema, path, errors);
    if errors.0.len() == sound && !place.alternative {
        let place = rules::Place {
            whole: place.root || bool_at(schema, "/x-kubernetes-embedded-resource"),
            cardinality: place.cardinality,
            uncorrelated: place.uncorrelated,
        };
        rules::expressions(schema, path, place, &mut found.rules);
    }
}

/// How many of what is in a value there can be for each of it.
fn elements(schema: &Value) -> Option<u64> {
    let bound = |pointer| {
        let bound = get(schema, pointer).and_then(Value::as_i64);
        bound.map(|bound| u64::try_from(bound).unwrap_or(0))
    };
    match str_at(schema, "/type") {
        "object" if has(schema, "/additionalProperties") => bound("/maxProperties"),
        "array" => bound("/maxItems"),
        _ => Some(1),
    }
}

fn parts(schema: &Value, path: &Path<'_>, place: Place<'_>, found: &mut Found<'_>) {
    let cardinality = place.cardinality.zip(elements(schema)).map(|(all, each)| all.saturating_mul(each));
    let inner = Place { root: false, cardinality, ..place };
    let alternative = Place { alternative: true, ..inner };
    let errors = &mut *found.errors;
    unsupported(schema, path, place, errors);
    if bool_at(schema, "/uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.forbidden(&path.child("uniqueItems"), why);
    }
    additional(schema, path, inner, found);
    properties(schema, path, Place { cardinality, ..place }, found);
    if let Some(not) = get(schema, "/not") {
        judge(not, &path.child("not"), alternative, found);
    }
    for junctor in ["allOf", "oneOf", "anyOf"] {
        for (i, schema) in list_at(schema, &format!("/{junctor}")).iter().enumerate() {
            judge(schema, &path.child(junctor).index(i), alternative, found);
        }
    }
    if let Some(items) = get(schema, "/items").filter(|items| items.is_object()) {
        let here = path.to_string();
        let uncorrelated = (str_at(schema, "/x-kubernetes-list-type") != "map").then_some(here.as_str());
        let inner = Place { uncorrelated: inner.uncorrelated.or(uncorrelated), ..inner };
        judge(items, &path.child("items"), inner, found);
    }
}

fn unsupported(schema: &Value, path: &Path<'_>, place: Place<'_>, errors: &mut Errors) {
    let kind = str_at(schema, "/type");
    if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.not_supported(&path.child("type"), &kind.into(), TYPES);
    }
    if let Some(why) = place.no_defaults.filter(|_| schema.get("default").is_some()) {
        errors.forbidden(&path.child("default"), &format!("must not be set {why}"));
    }
    for field in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
        if schema.get(field).is_some_and(|v| !v.is_null()) {
            errors.forbidden(&path.child(field), &format!("{field} is not supported"));
        }
    }
    if kind == "null" {
        let why = "type cannot be set to null, use nullable as an alternative";
        errors.forbidden(&path.child("type"), why);
    }
    if at(schema, "/items").is_array() {
        errors.forbidden(&path.child("items"), "items must be a schema object and not an array");
    }
    if place.inside_metadata && bool_at(schema, "/x-kubernetes-embedded-resource") {
        let why = "must not be used inside of resource meta";
        errors.forbidden(&path.child("x-kubernetes-embedded-resource"), why);
    }
}

fn additional(schema: &Value, path: &Path<'_>, place: Place<'_>, found: &mut Found<'_>) {
    let Some(additional) = get(schema, "/additionalProperties") else { return };
    let path = path.child("additionalProperties");
    if map_at(schema, "/properties").is_some_and(|p| !p.is_empty()) && *additional != Value::Bool(true) {
        found.errors.forbidden(&path, "additionalProperties and properties are mutual exclusive");
    }
    if additional.is_object() {
        let inside = Some("inside additionalProperties applying to object metadata");
        let no_defaults = if place.inside_metadata { inside } else { place.no_defaults };
        judge(additional, &path, Place { no_defaults, ..place }, found);
    }
}

fn properties(schema: &Value, path: &Path<'_>, place: Place<'_>, found: &mut Found<'_>) {
    for (name, property) in entries(schema, "/properties") {
        let mut inner = Place { root: false, ..place };
        let of_whole = matches!(name.as_str(), "metadata" | "kind" | "apiVersion");
        let why = format!("in top-level {name}");
        if of_whole && (place.root || bool_at(schema, "/x-kubernetes-embedded-resource")) {
            inner.inside_metadata = true;
            if place.root {
                inner.no_defaults = Some(&why);
            }
        }
        judge(property, &path.child("properties").key(name), inner, found);
    }
}

/// The type that an extension demands of its schema.
fn demand(schema: &Value, path: &Path<'_>, wanted: &str, why: &str, errors: &mut Errors) -> bool {
    match str_at(schema, "/type") {
        kind if kind == wanted => true,
        "" => {
            errors.required(&path.child("type"), why);
            false
        }
        kind => {
            errors.invalid_str(&path.child("type"), kind, why);
            false
        }
    }
}

fn map_type(schema: &Value, path: &Path<'_>, errors: &mut Errors) {
    const KINDS: &[&str] = &["atomic", "granular"];
    let Some(map_type) = opt_str(schema, "/x-kubernetes-map-type") else { return };
    demand(schema, path, "object", "must be object if x-kubernetes-map-type is specified", errors);
    if !KINDS.contains(&map_type) {
        errors.not_supported(&path.child("x-kubernetes-map-type"), &map_type.into(), KINDS);
    }
}

fn list_type(schema: &Value, path: &Path<'_>, errors: &mut Errors) {
    const KINDS: &[&str] = &["atomic", "set", "map"];
    let Some(list_type) = opt_str(schema, "/x-kubernetes-list-type") else { return };
    let is_list =
        demand(schema, path, "array", "must be array if x-kubernetes-list-type is specified", errors);
    if is_list && list_type == "set" {
        let items = at(schema, "/items");
        let path = path.child("items");
        let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
        let inner = opt_str(items, "/x-kubernetes-list-type");
        match str_at(items, "/type") {
            "array" if inner.is_some_and(|t| t != "atomic") => {
                errors.invalid(&path.child("x-kubernetes-list-type"), &inner.into(), why);
            }
            "object" if str_at(items, "/x-kubernetes-map-type") != "atomic" => {
                errors.invalid(&path.child("x-kubernetes-map-type"), &inner.into(), why);
            }
            _ => {}
        }
    }
    if !KINDS.contains(&list_type) {
        errors.not_supported(&path.child("x-kubernetes-list-type"), &list_type.into(), KINDS);
    }
}

fn list_keys(schema: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list_type = opt_str(schema, "/x-kubernetes-list-type");
    let keys: Vec<&str> = strs_at(schema, "/x-kubernetes-list-map-keys").collect();
    let keys_path = path.child("x-kubernetes-list-map-keys");
    if !keys.is_empty() && list_type != Some("map") {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        let path = path.child("x-kubernetes-list-type");
        match list_type {
            None => errors.required(&path, why),
            Some(other) => errors.invalid_str(&path, other, why),
        }
    }
    let items = at(schema, "/items");
    let items_path = path.child("items");
    if list_type == Some("map") {
        if keys.is_empty() {
            errors.required(&keys_path, "must not be empty if x-kubernetes-list-type is map");
        }
        if items.is_null() {
            errors.required(&items_path, "must have a schema if x-kubernetes-list-type is map");
        } else if items.is_object() && str_at(items, "/type") != "object" {
            let why = "must be object if parent array's x-kubernetes-list-type is map";
            errors.invalid_str(&items_path.child("type"), str_at(items, "/type"), why);
        } else if items.is_object() {
            named_keys(&keys, items, &items_path, &keys_path, errors);
        }
    }
    if matches!(list_type, Some("map" | "set")) && items.is_object() {
        never_null(list_type.unwrap_or_default(), &keys, items, &items_path, errors);
    }
}

fn named_keys(keys: &[&str], items: &Value, path: &Path<'_>, keys_path: &Path<'_>, errors: &mut Errors) {
    let shown = || Value::from(keys.to_vec());
    for (i, key) in keys.iter().enumerate() {
        match items.get("properties").and_then(|p| p.get(*key)) {
            None => errors.invalid(keys_path, &shown(), "entries must all be names of item properties"),
            Some(property) if matches!(str_at(property, "/type"), "array" | "object") => {
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                let path = path.child("properties");
                errors.invalid_str(&path.key(key).child("type"), str_at(items, "/type"), why);
            }
            Some(_) => {}
        }
        if keys[..i].contains(key) {
            errors.invalid(keys_path, &shown(), "must not contain duplicate entries");
        }
    }
}

fn never_null(list_type: &str, keys: &[&str], items: &Value, path: &Path<'_>, errors: &mut Errors) {
    if bool_at(items, "/nullable") {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        errors.forbidden(&path.child("nullable"), &why);
    }
    if list_type != "map" {
        return;
    }
    let properties = path.child("properties");
    for key in keys {
        let Some(property) = items.get("properties").and_then(|p| p.get(*key)) else { continue };
        let path = properties.key(key);
        if !strs_at(items, "/required").any(|r| r == *key) && !has(property, "/default") {
            let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.required(&path.child("default"), why);
        }
        if bool_at(property, "/nullable") {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.forbidden(&path.child("nullable"), why);
        }
    }
}
