//! Bindings of admission policies.

use jiff::Timestamp;
use serde_json::Value;

use super::defaults::default_match_resources;
use super::matching::validate_match_resources;
use super::policy::validate_mutable;
use crate::field::{Errors, Path};
use crate::registry::access::{at, get, get_mut, list_at, opt_str, str_at};
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, name};
use crate::validation::fields::{dns_subdomain, path_segment, required};
use crate::validation::labels;

/// The rules of mutating admission policy bindings.
pub struct MutatingAdmissionPolicyBinding;

/// The rules of validating admission policy bindings.
pub struct ValidatingAdmissionPolicyBinding;

impl Kind for MutatingAdmissionPolicyBinding {
    fn default(&self, binding: &mut Value) {
        default_binding(binding);
    }

    fn validate(&self, binding: &Value) -> Errors {
        let mut errors = Errors::default();
        validate_spec(&mut errors, at(binding, "/spec"));
        validate_mutable(&mut errors, &SPEC.child("matchResources"), at(binding, "/spec/matchResources"));
        errors
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

    fn validate(&self, binding: &Value) -> Errors {
        let mut errors = Errors::default();
        let spec = at(binding, "/spec");
        validate_spec(&mut errors, spec);
        validate_actions(&mut errors, spec);
        errors
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

const SPEC: Path<'static> = Path::new("spec");

fn validate_spec(errors: &mut Errors, spec: &Value) {
    if required(errors, &SPEC, spec, "policyName") {
        dns_subdomain(errors, &SPEC.child("policyName"), str_at(spec, "/policyName"));
    }
    if let Some(reference) = get(spec, "/paramRef") {
        validate_parameter(errors, &SPEC.child("paramRef"), reference);
    }
    if let Some(resources) = get(spec, "/matchResources") {
        validate_match_resources(errors, &SPEC.child("matchResources"), resources);
    }
}

fn validate_parameter(errors: &mut Errors, path: &Path<'_>, reference: &Value) {
    const BOTH: &str = "name and selector are mutually exclusive";
    let (name, selector) = (str_at(reference, "/name"), get(reference, "/selector"));
    if !name.is_empty() {
        path_segment(errors, &path.child("name"), name);
        if selector.is_some() {
            errors.forbidden(&path.child("name"), BOTH);
        }
    }
    if let Some(selector) = selector {
        labels::selector(errors, &path.child("selector"), selector);
        if !name.is_empty() {
            errors.forbidden(&path.child("selector"), BOTH);
        }
    }
    if name.is_empty() && selector.is_none() {
        errors.required(path, "one of name or selector must be specified");
    }
    let path = path.child("parameterNotFoundAction");
    match opt_str(reference, "/parameterNotFoundAction").unwrap_or_default() {
        "" => errors.required(&path, ""),
        "Deny" | "Allow" => {}
        action => errors.not_supported(&path, &action.into(), &["Deny", "Allow"]),
    }
}

fn validate_actions(errors: &mut Errors, spec: &Value) {
    const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];
    let (actions, path) = (list_at(spec, "/validationActions"), SPEC.child("validationActions"));
    for (index, action) in actions.iter().enumerate() {
        if !ACTIONS.iter().any(|known| action == known) {
            errors.not_supported(&path.index(index), action, ACTIONS);
        }
        if actions[..index].contains(action) {
            errors.duplicate(&path.index(index), action);
        }
    }
    if ["Deny", "Warn"].iter().all(|both| actions.iter().any(|action| action == both)) {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.invalid(&path, at(spec, "/validationActions"), why);
    }
    if actions.is_empty() {
        errors.required(&path, "at least one validation action is required");
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
