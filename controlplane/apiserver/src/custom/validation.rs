//! Everything wrong with a custom object: what its schema says, its scale, embedded objects, lists whose
//! items must differ, and its rules.

use serde_json::Value;

use super::{
    CustomResource, ScalePointers,
    checks::{Checks, embedded, lists, validate::validate},
    rules,
};
use crate::{
    field::{Errors, Path, Reason},
    registry::access::at,
};

/// Judges a new object.
pub fn create(resource: &CustomResource, object: &Value) -> Errors {
    let checks = resource.schema.checks();
    let mut errors = validate(checks, object, None, "");
    spec_replicas(resource.scale.as_ref(), object, &mut errors);
    status_replicas(resource.scale.as_ref(), object, &mut errors);
    embedded::validate(checks, object, &Path::ROOT, &mut errors);
    lists::validate(checks, object, None, &mut errors);
    obey_rules(checks, object, None, &mut errors);
    errors
}

/// Judges a changed object; what was wrong before may stay so.
pub fn update(resource: &CustomResource, object: &Value, old: &Value) -> Errors {
    let checks = resource.schema.checks();
    let mut errors = validate(checks, object, Some(old), "");
    spec_replicas(resource.scale.as_ref(), object, &mut errors);
    status_replicas(resource.scale.as_ref(), object, &mut errors);
    embedded::validate(checks, object, &Path::ROOT, &mut errors);
    new_repetitions(checks, object, old, &mut errors);
    obey_rules(checks, object, Some(old), &mut errors);
    errors
}

/// Judges a changed status.
pub fn status(resource: &CustomResource, object: &Value, old: &Value) -> Errors {
    let checks = resource.schema.checks();
    let mut errors = Errors::default();
    if let (Some(schema), Some(status)) = (checks.property("status"), object.get("status")) {
        errors = validate(schema, status, Some(at(old, "/status")), "status");
    }
    status_replicas(resource.scale.as_ref(), object, &mut errors);
    new_repetitions(checks, object, old, &mut errors);
    obey_rules(checks, object, Some(old), &mut errors);
    errors
}

fn new_repetitions(checks: &Checks, object: &Value, old: &Value, errors: &mut Errors) {
    let mut before = Errors::default();
    lists::validate(checks, old, None, &mut before);
    if before.is_empty() {
        lists::validate(checks, object, None, errors);
    }
}

/// Rules are for objects that are what they expect: they are not asked about others.
fn obey_rules(checks: &Checks, object: &Value, old: Option<&Value>, errors: &mut Errors) {
    if !checks.has_rules() {
        return;
    }
    let blocks = |reason| {
        matches!(
            reason,
            Reason::NotSupported | Reason::Required | Reason::TooLong | Reason::TooMany | Reason::TypeInvalid
        )
    };
    if errors.0.iter().any(|e| blocks(e.reason)) {
        let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        return errors.invalid(&Path::new("<nil>"), &Value::Null, why);
    }
    rules::validate(checks, object, old, None, errors);
}

fn spec_replicas(scale: Option<&ScalePointers>, object: &Value, errors: &mut Errors) {
    if let Some(scale) = scale {
        replicas(object, &scale.spec_replicas, errors);
    }
}

fn status_replicas(scale: Option<&ScalePointers>, object: &Value, errors: &mut Errors) {
    let Some(scale) = scale else { return };
    replicas(object, &scale.status_replicas, errors);
    if let Some(pointer) = &scale.selector
        && let Some(value) = object.pointer(pointer).filter(|v| !v.is_string())
    {
        let path = pointer.replace('/', ".");
        errors.invalid_str(&Path::new(&path), "", &unexpected(&path, value, "string"));
    }
}

fn replicas(object: &Value, pointer: &str, errors: &mut Errors) {
    let path = pointer.replace('/', ".");
    let path = Path::new(&path);
    match object.pointer(pointer).map(|value| (value, value.as_i64())) {
        None => {}
        Some((value, None)) => {
            errors.invalid(&path, &0.into(), &unexpected(&path.to_string(), value, "int64"));
        }
        Some((value, Some(number))) if number < 0 => {
            errors.invalid(&path, value, "should be a non-negative integer");
        }
        Some((value, Some(number))) if number > i64::from(i32::MAX) => {
            errors.invalid(&path, value, &format!("should be less than or equal to {}", i32::MAX));
        }
        Some(_) => {}
    }
}

fn unexpected(path: &str, value: &Value, wanted: &str) -> String {
    let found = match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    };
    format!("{path} accessor error: {value} is of the type {found}, expected {wanted}")
}
