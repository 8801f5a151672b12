//! Resource quotas.

mod validate;

use jiff::Timestamp;
use serde_json::Value;

use super::pod_spec::round_up_quantities;
use crate::field::Errors;
use crate::registry::access::{at, entries, make_map};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, name};

/// The rules of resource quotas.
pub struct ResourceQuota;

impl Kind for ResourceQuota {
    fn default(&self, quota: &mut Value) {
        for path in ["/spec/hard", "/status/hard", "/status/used"] {
            round_up_quantities(quota, path);
        }
    }

    fn prepare_create(&self, quota: &mut Value, _writer: &Writer<'_>) {
        make_map(quota, "/status");
    }

    fn validate(&self, quota: &Value) -> Errors {
        validate::validate_create(quota)
    }

    fn validate_update(&self, quota: &Value, old: &Value) -> Errors {
        validate::validate_update(quota, old)
    }

    fn validate_status_update(&self, quota: &Value, _old: &Value) -> Errors {
        validate::validate_status(quota)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, quota: &Value, now: Timestamp) -> Vec<Value> {
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (resource, hard) in entries(quota, "/status/hard") {
            let used = at(quota, "/status/used").get(resource).and_then(Value::as_str).unwrap_or("0");
            let text = format!("{resource}: {used}/{}", hard.as_str().unwrap_or("0"));
            if resource.starts_with("limits.") { limits.push(text) } else { requests.push(text) }
        }
        vec![name(quota), requests.join(", ").into(), limits.join(", ").into(), age(quota, now)]
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Request",
        "string",
        "Request represents a minimum amount of cpu/memory that a container may consume.",
    ),
    column(
        "Limit",
        "string",
        "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node.",
    ),
    AGE,
];
