//! Bindings of admission policies.

use jiff::Timestamp;
use serde_json::Value;

use super::defaults::default_match_resources;
use crate::registry::access::{get, get_mut, str_at};
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, name};

/// The rules of mutating admission policy bindings.
pub struct MutatingAdmissionPolicyBinding;

/// The rules of validating admission policy bindings.
pub struct ValidatingAdmissionPolicyBinding;

impl Kind for MutatingAdmissionPolicyBinding {
    fn default(&self, binding: &mut Value) {
        default_binding(binding);
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, binding: &Value, now: Timestamp) -> Vec<Value> {
        cells(binding, now)
    }
}

impl Kind for ValidatingAdmissionPolicyBinding {
    fn default(&self, binding: &mut Value) {
        default_binding(binding);
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, binding: &Value, now: Timestamp) -> Vec<Value> {
        cells(binding, now)
    }
}

fn default_binding(binding: &mut Value) {
    if let Some(resources) = get_mut(binding, "/spec/matchResources") {
        default_match_resources(resources);
    }
}

fn cells(binding: &Value, now: Timestamp) -> Vec<Value> {
    let parameters = match get(binding, "/spec/paramRef") {
        None => "<unset>".into(),
        Some(reference) => match (str_at(reference, "/namespace"), str_at(reference, "/name")) {
            (_, "") => {
                get(reference, "/selector").map_or_else(|| "<unset>".into(), crate::table::selector_text)
            }
            ("", name) => format!("*/{name}"),
            (namespace, name) => format!("{namespace}/{name}"),
        },
    };
    vec![name(binding), str_at(binding, "/spec/policyName").into(), parameters.into(), age(binding, now)]
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "PolicyName",
        "string",
        "PolicyName indicates the policy definition which the policy binding binded to",
    ),
    column("ParamRef", "string", "ParamRef indicates the param resource which sets the configuration param"),
    AGE,
];
