//! Node selectors, of pods and of persistent volumes.

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, int_at, list_at, str_at, strs_at};
use crate::validation::labels::label_name;
use crate::validation::names;

/// Terms of which one must match.
pub fn validate_node_selector(errors: &mut Errors, path: &Path<'_>, selector: &Value) {
    let path = path.child("nodeSelectorTerms");
    let terms = list_at(selector, "/nodeSelectorTerms");
    if terms.is_empty() {
        errors.required(&path, "must have at least one node selector term");
    }
    for (index, term) in terms.iter().enumerate() {
        validate_term(errors, &path.index(index), term, true);
    }
}

/// Terms that are preferred by weight.
pub fn validate_preferred_terms(errors: &mut Errors, path: &Path<'_>, terms: &[Value]) {
    for (index, term) in terms.iter().enumerate() {
        let path = path.index(index);
        validate_weight(errors, &path, term);
        validate_term(errors, &path.child("preference"), at(term, "/preference"), false);
    }
}

/// A weight from 1 to 100.
pub fn validate_weight(errors: &mut Errors, path: &Path<'_>, term: &Value) {
    let weight = int_at(term, "/weight");
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.child("weight"), &weight.into(), "must be in the range 1-100");
    }
}

fn validate_term(errors: &mut Errors, path: &Path<'_>, term: &Value, strict: bool) {
    for (index, expression) in list_at(term, "/matchExpressions").iter().enumerate() {
        validate_expression(errors, &path.child("matchExpressions").index(index), expression, strict);
    }
    for (index, requirement) in list_at(term, "/matchFields").iter().enumerate() {
        validate_field(errors, &path.child("matchFields").index(index), requirement);
    }
}

fn validate_expression(errors: &mut Errors, path: &Path<'_>, expression: &Value, strict: bool) {
    let values = list_at(expression, "/values");
    let values_path = path.child("values");
    match str_at(expression, "/operator") {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&values_path, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => errors
            .forbidden(&values_path, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
        "Gt" | "Lt" if values.len() != 1 => {
            errors.required(&values_path, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        operator => {
            errors.invalid_str(&path.child("operator"), operator, "not a valid selector operator");
        }
    }
    label_name(errors, &path.child("key"), str_at(expression, "/key"));
    if strict {
        for (index, value) in strs_at(expression, "/values").enumerate() {
            for why in names::label_value(value) {
                errors.invalid_str(&values_path.index(index), value, &why);
            }
        }
    }
}

fn validate_field(errors: &mut Errors, path: &Path<'_>, requirement: &Value) {
    match str_at(requirement, "/operator") {
        "In" | "NotIn" => {
            if list_at(requirement, "/values").len() != 1 {
                errors.required(
                    &path.child("values"),
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
                );
            }
        }
        operator => {
            errors.invalid_str(&path.child("operator"), operator, "not a valid selector operator");
        }
    }
    let key = str_at(requirement, "/key");
    if key != "metadata.name" {
        return errors.invalid_str(&path.child("key"), key, "not a valid field selector key");
    }
    for (index, value) in strs_at(requirement, "/values").enumerate() {
        for why in names::dns1123_subdomain(value) {
            errors.invalid_str(&path.child("values").index(index), value, &why);
        }
    }
}
