//! Structural schemas: each value has one type, said outside of all alternatives
//! (<https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>).

use serde_json::{Value, json};

use super::defaults;
use crate::{
    custom::pattern,
    field::{Errors, Path},
    registry::access::{at, bool_at, entries, get, has, list_at, str_at},
};

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Judges the structure of a schema and, if it is sound, its defaults; whether all of that is as it should be.
pub fn validate(schema: &Value, path: &Path<'_>, errors: &mut Errors) -> bool {
    if is_unsupported(schema) {
        // What it has that no structure can have is told by the rules for schemas.
        return false;
    }
    let mut found = Errors::default();
    invariants(schema, Level::Root, path, &mut found);
    for (junctor, alternatives) in alternatives(schema) {
        for (name, alternative) in alternatives {
            complete(alternative, Some(schema), path, &junctor_path(path, junctor, name), &mut found);
        }
    }
    if found.is_empty() {
        let before = errors.0.len();
        defaults::validate(schema, path, errors);
        return errors.0.len() == before;
    }
    found.0.sort_by_key(ToString::to_string);
    errors.extend(found);
    false
}

/// Whether a schema or one within it uses what CRDs do not support at all.
fn is_unsupported(schema: &Value) -> bool {
    const UNSUPPORTED: &[&str] =
        &["id", "$schema", "$ref", "patternProperties", "dependencies", "additionalItems", "definitions"];
    UNSUPPORTED.iter().any(|field| schema.get(*field).is_some_and(|v| !v.is_null()))
        || at(schema, "/items").is_array()
        || children(schema).any(is_unsupported)
}

fn children(schema: &Value) -> impl Iterator<Item = &Value> {
    let one = ["items", "additionalProperties", "not"].into_iter().filter_map(|field| schema.get(field));
    let many = ["/allOf", "/anyOf", "/oneOf"].into_iter().flat_map(|field| list_at(schema, field));
    let properties = entries(schema, "/properties").map(|(_, schema)| schema);
    one.filter(|child| child.is_object()).chain(many).chain(properties)
}

/// A junctor with its alternatives, and their index where there is one.
type Junctor<'a> = (&'static str, Vec<(Option<usize>, &'a Value)>);

/// The alternatives of a schema: the junctor, and each with its index where there is one.
fn alternatives(schema: &Value) -> [Junctor<'_>; 4] {
    let many = |junctor| list_at(schema, junctor).iter().enumerate().map(|(i, s)| (Some(i), s)).collect();
    [
        ("not", get(schema, "/not").map(|s| (None, s)).into_iter().collect()),
        ("allOf", many("/allOf")),
        ("anyOf", many("/anyOf")),
        ("oneOf", many("/oneOf")),
    ]
}

fn junctor_path(path: &Path<'_>, junctor: &str, index: Option<usize>) -> String {
    match index {
        Some(index) => format!("{path}.{junctor}[{index}]"),
        None => format!("{path}.{junctor}"),
    }
}

fn invariants(schema: &Value, level: Level, path: &Path<'_>, errors: &mut Errors) {
    let kind = str_at(schema, "/type");
    let flag = |name: &str| bool_at(schema, &format!("/x-kubernetes-{name}"));
    let (embedded, preserves, int_or_string) =
        (flag("embedded-resource"), flag("preserve-unknown-fields"), flag("int-or-string"));
    match get(schema, "/items") {
        Some(items) => invariants(items, Level::Item, &path.child("items"), errors),
        None if kind == "array" => errors.required(&path.child("items"), "must be specified"),
        None => {}
    }
    for (name, property) in entries(schema, "/properties") {
        invariants(property, Level::Field, &path.child("properties").key(name), errors);
    }
    if let Some(additional) = get(schema, "/additionalProperties") {
        let path = path.child("additionalProperties");
        if level == Level::Root {
            errors.forbidden(&path, "must not be used at the root");
        }
        if additional.is_object() {
            invariants(additional, Level::Field, &path, errors);
        }
        if embedded {
            errors.forbidden(&path, "must not be used if x-kubernetes-embedded-resource is set");
        }
    }
    for (set, name) in [(preserves, "preserve-unknown-fields"), (embedded, "embedded-resource")] {
        if int_or_string && set {
            let name = format!("x-kubernetes-{name}");
            errors.invalid(
                &path.child(&name),
                &true.into(),
                "must be false if x-kubernetes-int-or-string is true",
            );
        }
    }
    values(schema, path, is_int_or_string(at(schema, "/anyOf")), true, errors);

    let type_path = path.child("type");
    if embedded && kind != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        if kind.is_empty() {
            errors.required(&type_path, why);
        } else {
            errors.invalid_str(&type_path, kind, why);
        }
    } else if kind.is_empty() && !int_or_string && !preserves {
        errors.required(
            &type_path,
            match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            },
        );
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.invalid_str(&type_path, kind, "must be object at the root");
    }
    whole_object(schema, level, embedded, path, errors);
    if embedded && !preserves && entries(schema, "/properties").next().is_none() {
        let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.required(&path.child("properties"), why);
    }
}

/// What a schema may say of the type and metadata of a whole object.
fn whole_object(schema: &Value, level: Level, embedded: bool, path: &Path<'_>, errors: &mut Errors) {
    if level != Level::Root && !embedded {
        return;
    }
    let properties = path.child("properties");
    for (name, wanted) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
        let Some(property) = schema.get("properties").and_then(|p| p.get(name)) else { continue };
        let kind = str_at(property, "/type");
        if kind != wanted {
            errors.invalid_str(&properties.key(name).child("type"), kind, &format!("must be {wanted}"));
        }
    }
    let Some(metadata) = schema.get("properties").and_then(|p| p.get("metadata")) else { return };
    if level == Level::Root {
        let mut rest = metadata.as_object().cloned().unwrap_or_default();
        let restricted = entries(metadata, "/properties").all(|(n, _)| n == "name" || n == "generateName");
        rest.retain(|field, _| {
            !(matches!(field.as_str(), "type" | "default") || field == "properties" && restricted)
        });
        if !rest.is_empty() {
            let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            errors.forbidden(&properties.key("metadata"), why);
        }
    }
}

fn is_int_or_string(any_of: &Value) -> bool {
    *any_of == json!([{"type": "integer"}, {"type": "string"}])
}

/// The alternatives and the pattern of a schema. The alternatives of integers and strings may be named.
fn values(schema: &Value, path: &Path<'_>, skip_any_of: bool, may_skip: bool, errors: &mut Errors) {
    let all_of = list_at(schema, "/allOf");
    if !skip_any_of {
        let path = path.child("anyOf");
        for (i, alternative) in list_at(schema, "/anyOf").iter().enumerate() {
            nested(alternative, &path.index(i), false, errors);
        }
    }
    let skip_first = may_skip && all_of.first().is_some_and(|first| is_int_or_string(at(first, "/anyOf")));
    for (i, alternative) in all_of.iter().enumerate() {
        nested(alternative, &path.child("allOf").index(i), skip_first && i == 0, errors);
    }
    for (i, alternative) in list_at(schema, "/oneOf").iter().enumerate() {
        nested(alternative, &path.child("oneOf").index(i), false, errors);
    }
    if let Some(not) = get(schema, "/not") {
        nested(not, &path.child("not"), false, errors);
    }
    let text = str_at(schema, "/pattern");
    if let Some(why) = pattern::compile(text).err().filter(|_| !text.is_empty()) {
        let why = format!("must be a valid regular expression, but isn't: {why}");
        errors.invalid_str(&path.child("pattern"), text, &why);
    }
}

/// A schema inside of an alternative can only restrict values.
fn nested(schema: &Value, path: &Path<'_>, skip_any_of: bool, errors: &mut Errors) {
    const FORBIDDEN: &[(&str, &str)] = &[
        ("type", "must be empty to be structural"),
        ("additionalProperties", "must be undefined to be structural"),
        ("default", "must be undefined to be structural"),
        ("title", "must be empty to be structural"),
        ("description", "must be empty to be structural"),
        ("nullable", "must be false to be structural"),
        ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
        ("x-kubernetes-embedded-resource", "must be false to be structural"),
        ("x-kubernetes-int-or-string", "must be false to be structural"),
        ("x-kubernetes-list-map-keys", "must be empty to be structural"),
        ("x-kubernetes-list-type", "must be undefined to be structural"),
        ("x-kubernetes-map-type", "must be undefined to be structural"),
        ("x-kubernetes-validations", "must be empty to be structural"),
    ];
    values(schema, path, skip_any_of, false, errors);
    if let Some(items) = get(schema, "/items") {
        nested(items, &path.child("items"), false, errors);
    }
    for (name, property) in entries(schema, "/properties") {
        nested(property, &path.child("properties").key(name), false, errors);
    }
    for (field, why) in FORBIDDEN {
        let set = schema.get(*field).is_some_and(|v| !matches!(v, Value::Null | Value::Bool(false)));
        if set || *field == "additionalProperties" && schema.get(*field) == Some(&Value::Bool(false)) {
            errors.forbidden(&path.child(field), why);
        }
    }
    if has(schema, "/properties/metadata") {
        let path = path.child("properties");
        errors.forbidden(&path.key("metadata"), "must not be specified in a nested context");
    }
}

/// What an alternative restricts must be there outside of it.
fn complete(
    nested: &Value,
    structure: Option<&Value>,
    path: &Path<'_>,
    at_nested: &str,
    errors: &mut Errors,
) {
    let Some(structure) = structure else {
        return errors.required(path, &format!("because it is defined in {at_nested}"));
    };
    for (junctor, alternatives) in alternatives(nested) {
        for (index, alternative) in alternatives {
            let at_nested = junctor_path(&Path::new(at_nested), junctor, index);
            complete(alternative, Some(structure), path, &at_nested, errors);
        }
    }
    if let Some(items) = get(nested, "/items") {
        let at_nested = format!("{at_nested}.items");
        complete(items, get(structure, "/items"), &path.child("items"), &at_nested, errors);
    }
    for (name, property) in entries(nested, "/properties") {
        let at_nested = format!("{at_nested}.properties[{name}]");
        let same = structure.get("properties").and_then(|p| p.get(name));
        complete(property, same, &path.child("properties").key(name), &at_nested, errors);
    }
}
