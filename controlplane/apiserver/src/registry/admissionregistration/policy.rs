//! Admission policies in CEL.

mod validate;

use jiff::Timestamp;
use serde_json::Value;

use super::defaults::default_match_resources;
pub use validate::validate_mutable;

use crate::field::Errors;
use crate::registry::access::{count_at, get, get_mut, make_map, set_default, str_at};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, name};

/// The rules of mutating admission policies.
pub struct MutatingAdmissionPolicy;

/// The rules of validating admission policies.
pub struct ValidatingAdmissionPolicy;

impl Kind for MutatingAdmissionPolicy {
    fn default(&self, policy: &mut Value) {
        default_policy(policy);
    }

    fn validate(&self, policy: &Value) -> Errors {
        validate::validate_mutating(policy, None)
    }

    fn validate_update(&self, policy: &Value, old: &Value) -> Errors {
        validate::validate_mutating(policy, Some(old))
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        MUTATING_COLUMNS
    }

    fn cells(&self, policy: &Value, now: Timestamp) -> Vec<Value> {
        cells(policy, "/spec/mutations", now)
    }
}

impl Kind for ValidatingAdmissionPolicy {
    fn default(&self, policy: &mut Value) {
        default_policy(policy);
        make_map(policy, "/status");
    }

    fn prepare_create(&self, policy: &mut Value, _writer: &Writer<'_>) {
        make_map(policy, "/status");
    }

    fn validate(&self, policy: &Value) -> Errors {
        validate::validate_validating(policy, None)
    }

    fn validate_update(&self, policy: &Value, old: &Value) -> Errors {
        validate::validate_validating(policy, Some(old))
    }

    fn validate_status_update(&self, policy: &Value, _old: &Value) -> Errors {
        validate::validate_status(policy)
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        VALIDATING_COLUMNS
    }

    fn cells(&self, policy: &Value, now: Timestamp) -> Vec<Value> {
        cells(policy, "/spec/validations", now)
    }
}

fn default_policy(policy: &mut Value) {
    set_default(policy, "/spec/failurePolicy", "Fail");
    if let Some(constraints) = get_mut(policy, "/spec/matchConstraints") {
        default_match_resources(constraints);
    }
}

fn cells(policy: &Value, rules: &str, now: Timestamp) -> Vec<Value> {
    let parameters = match get(policy, "/spec/paramKind") {
        Some(kind) => format!("{}/{}", str_at(kind, "/apiVersion"), str_at(kind, "/kind")),
        None => "<unset>".into(),
    };
    vec![name(policy), count_at(policy, rules).into(), parameters.into(), age(policy, now)]
}

const MUTATING_COLUMNS: &[Column] = &[
    NAME,
    column(
        "Mutations",
        "integer",
        "Mutation indicates the number of mutations rules defined in this configuration",
    ),
    column(
        "ParamKind",
        "string",
        "ParamKind specifies the kind of resources used to parameterize this policy",
    ),
    AGE,
];

const VALIDATING_COLUMNS: &[Column] = &[
    NAME,
    column(
        "Validations",
        "integer",
        "Validations indicates the number of validation rules defined in this configuration",
    ),
    column(
        "ParamKind",
        "string",
        "ParamKind specifies the kind of resources used to parameterize this policy",
    ),
    AGE,
];
