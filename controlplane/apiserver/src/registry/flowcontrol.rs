//! The kinds of `flowcontrol.apiserver.k8s.io`.

pub mod flow_schema;
pub mod priority_level;

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{list_at, str_at};

/// The conditions of a status.
fn validate_conditions(errors: &mut Errors, object: &Value) {
    let status = Path::new("status");
    let path = status.child("conditions");
    let conditions = list_at(object, "/status/conditions");
    for (index, condition) in conditions.iter().enumerate() {
        let kind = str_at(condition, "/type");
        let path = path.index(index);
        if conditions[..index].iter().any(|other| str_at(other, "/type") == kind) {
            errors.duplicate(&path.child("type"), &kind.into());
        }
        if kind.is_empty() {
            errors.required(&path.child("type"), "must not be empty");
        }
    }
}
