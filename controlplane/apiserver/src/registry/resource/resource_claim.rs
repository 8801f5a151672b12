//! Resource claims.

mod validate;

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{
    at, count_at, get_mut, has, list_mut, make_map, set_default, set_nonzero, str_at,
};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, name};

pub use validate::validate_spec;

/// The rules of resource claims.
pub struct ResourceClaim;

impl Kind for ResourceClaim {
    fn default(&self, claim: &mut Value) {
        default_claim_spec(claim, "/spec");
        make_map(claim, "/status");
    }

    fn prepare_create(&self, claim: &mut Value, _writer: &Writer<'_>) {
        make_map(claim, "/status");
    }

    fn validate(&self, claim: &Value) -> Errors {
        let mut errors = Errors::default();
        validate_spec(&mut errors, &Path::new("spec"), at(claim, "/spec"));
        errors
    }

    fn validate_update(&self, claim: &Value, old: &Value) -> Errors {
        let mut errors = Errors::default();
        validate::validate_kept(&mut errors, claim, old);
        errors
    }

    fn validate_status_update(&self, claim: &Value, old: &Value) -> Errors {
        validate::validate_status(claim, old)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, claim: &Value, now: Timestamp) -> Vec<Value> {
        let deleted = has(claim, "/metadata/deletionTimestamp");
        let mut states = Vec::new();
        if deleted {
            states.push("deleted");
        }
        if has(claim, "/status/allocation") {
            states.push("allocated");
            if count_at(claim, "/status/reservedFor") != 0 {
                states.push("reserved");
            }
        } else if !deleted {
            states.push("pending");
        }
        vec![name(claim), states.join(",").into(), age(claim, now)]
    }
}

/// Defaults of the claim spec at `path`.
pub fn default_claim_spec(object: &mut Value, path: &str) {
    make_map(object, &format!("{path}/devices"));
    for request in list_mut(object, &format!("{path}/devices/requests")) {
        if let Some(exactly) = get_mut(request, "/exactly") {
            default_count(exactly);
        }
        list_mut(request, "/firstAvailable").for_each(default_count);
    }
}

fn default_count(request: &mut Value) {
    set_default(request, "/allocationMode", "ExactCount");
    if str_at(request, "/allocationMode") == "ExactCount" {
        set_nonzero(request, "/count", 1);
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column("State", "string", "A summary of the current state (allocated, pending, reserved, etc.)."),
    AGE,
];
