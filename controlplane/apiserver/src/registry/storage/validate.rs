//! What the kinds of storage share.

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, entries, str_at};
use crate::validation::names;

const MAX_PARAMETERS: usize = 512;
const MAX_PARAMETERS_SIZE: usize = 256 * 1024;

/// The name of a provisioner or driver.
pub fn validate_provisioner(errors: &mut Errors, object: &Value, field: &str) {
    let path = Path::ROOT.child(field);
    let name = str_at(object, &format!("/{field}")).to_lowercase();
    if name.is_empty() {
        return errors.required(&path, "");
    }
    for why in names::qualified_name(&name) {
        errors.invalid_str(&path, &name, &why);
    }
}

/// The parameters of a class.
pub fn validate_parameters(errors: &mut Errors, object: &Value, required: bool) {
    let path = Path::new("parameters");
    let count = entries(object, "/parameters").count();
    if count > MAX_PARAMETERS {
        return errors.too_long(&path, MAX_PARAMETERS);
    }
    let mut size = 0;
    for (key, value) in entries(object, "/parameters") {
        if key.is_empty() {
            errors.invalid_str(&path, key, "field can not be empty.");
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_PARAMETERS_SIZE {
        errors.too_long(&path, MAX_PARAMETERS_SIZE);
    }
    if count == 0 && required {
        errors.required(&path, "must contain at least one key/value pair");
    }
}

/// Fields of a class that its volumes rely on.
pub fn forbid_changes(errors: &mut Errors, object: &Value, old: &Value, fields: &[&str]) {
    for field in fields {
        let pointer = format!("/{field}");
        if at(object, &pointer) != at(old, &pointer) {
            errors.forbidden(&Path::new(field), &format!("updates to {field} are forbidden."));
        }
    }
}
