//! Whether a configuration fits its type, before it is merged.

use std::collections::BTreeSet;

use serde_json::Value;

use super::shape::{Atom, ListAtom, MapAtom};
use crate::{
    patch::printed,
    schema::types::{Scalar, Type},
};

/// Checks `value`; the errors are in the words of the real server, all in one text.
/// Lists told apart by keys must not have duplicates.
pub(super) fn validate(value: &Value, ty: Type<'_>) -> Result<(), String> {
    let mut errors = Errors::default();
    check(value, ty, &mut String::new(), &mut errors);
    match errors.0.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("errors:\n  {}", many.join("\n  "))),
    }
}

#[derive(Default)]
struct Errors(Vec<String>);

impl Errors {
    fn push(&mut self, path: &str, message: &str) {
        self.0.push(if path.is_empty() { message.into() } else { format!("{path}: {message}") });
    }
}

fn check(value: &Value, ty: Type<'_>, path: &mut String, errors: &mut Errors) {
    match Atom::of(ty, Some(value)) {
        _ if value.is_null() => {}
        Atom::Map(map) => check_map(value, &map, path, errors),
        Atom::List(list) => check_list(value, &list, path, errors),
        Atom::Untyped => {
            if value.is_array() || value.is_object() {
                errors.push(path, &format!("expected any scalar, got {}", pointer(value)));
            }
        }
        Atom::Scalar(scalar) => {
            if let Some(message) = check_scalar(value, scalar) {
                errors.push(path, &message);
            }
        }
    }
}

fn check_scalar(value: &Value, scalar: Scalar) -> Option<String> {
    match scalar {
        Scalar::Int32 | Scalar::Int64 | Scalar::Double => (!value.is_number())
            .then(|| format!("expected numeric (int or float), got {}", printed::type_name(value))),
        Scalar::Boolean => (!value.is_boolean()).then(|| format!("expected boolean, got {}", pointer(value))),
        _ => (!value.is_string()).then(|| {
            format!("expected string, got &value.valueUnstructured{{Value:{}}}", printed::syntax(value))
        }),
    }
}

fn check_map(value: &Value, map: &MapAtom<'_>, path: &mut String, errors: &mut Errors) {
    let Value::Object(fields) = value else {
        errors.push(path, &format!("expected map, got {}", pointer(value)));
        return;
    };
    for (name, value) in fields {
        let end = path.len();
        path.push('.');
        path.push_str(name);
        let child = map.child(name);
        match child {
            Some(ty) => check(value, ty, path, errors),
            None => errors.push(path, "field not declared in schema"),
        }
        path.truncate(end);
        if child.is_none() {
            return;
        }
    }
}

fn check_list(value: &Value, list: &ListAtom<'_>, path: &mut String, errors: &mut Errors) {
    let Value::Array(items) = value else {
        errors.push(path, &format!("expected list, got {}", pointer(value)));
        return;
    };
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let shown = if list.is_atomic() {
            format!("[{index}]")
        } else {
            let element = match list.element(item) {
                Ok(element) => element,
                Err(message) => {
                    errors.push(path, &format!("element {index}: {message}"));
                    return;
                }
            };
            let shown = element.to_string();
            if !seen.insert(element) {
                errors.push(path, &format!("duplicate entries for key {shown}"));
            }
            shown
        };
        let end = path.len();
        path.push_str(&shown);
        check(item, list.items, path, errors);
        path.truncate(end);
    }
}

fn pointer(value: &Value) -> String {
    format!("&{{{}}}", printed::plain(value))
}
