//! Everything wrong with admission policies.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cel::Type;
use crate::field::{Errors, Path, Reason};
use crate::registry::access::{at, get, has, list_at, opt_str, str_at, strs_at};
use crate::registry::admissionregistration::expression::{
    self, Environment, is_identifier, validate_conditions,
};
use crate::registry::admissionregistration::matching::{FAILURE_POLICIES, validate_match_resources};
use crate::registry::internal;
use crate::validation::fields::{qualified_name, required, required_one_of};
use crate::validation::{conditions, names};

const SPEC: Path<'static> = Path::new("spec");
const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
const MAX_ANNOTATIONS: usize = 20;
const MAX_ANNOTATION: usize = 5 * 1024;

/// A validating policy, new or changed.
pub fn validate_validating(policy: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let spec = at(policy, "/spec");
    let variables = validate_common(&mut errors, spec, old);
    let (validations, annotations) = (list_at(spec, "/validations"), list_at(spec, "/auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        errors.required(&SPEC.child("validations"), why);
        errors.required(&SPEC.child("auditAnnotations"), why);
        return errors;
    }
    let environment = environment(spec, &variables);
    let list = SPEC.child("validations");
    for (index, validation) in validations.iter().enumerate() {
        validate_validation(&mut errors, &list.index(index), validation, environment);
    }
    let list = SPEC.child("auditAnnotations");
    if annotations.len() > MAX_ANNOTATIONS {
        let shown = internal::shown_list("AuditAnnotation", at(spec, "/auditAnnotations"));
        let why =
            format!("Invalid value: {shown}: must not have more than {MAX_ANNOTATIONS} auditAnnotations");
        errors.push(&list, Reason::Invalid, why);
    }
    let mut seen = BTreeSet::new();
    for (index, annotation) in annotations.iter().enumerate() {
        let path = list.index(index);
        let (policy, key) = (str_at(policy, "/metadata/name"), str_at(annotation, "/key"));
        qualified_name(&mut errors, &path.child("key"), &format!("{policy}/{key}"));
        validate_annotation(&mut errors, &path.child("valueExpression"), annotation, environment);
        if !seen.insert(key) {
            errors.duplicate(&path.child("key"), &key.into());
        }
    }
    errors
}

/// A mutating policy, new or changed.
pub fn validate_mutating(policy: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let spec = at(policy, "/spec");
    let variables = validate_common(&mut errors, spec, old);
    validate_mutable(&mut errors, &SPEC.child("matchConstraints"), at(spec, "/matchConstraints"));
    let (mutations, list) = (list_at(spec, "/mutations"), SPEC.child("mutations"));
    if mutations.is_empty() {
        errors.required(&list, "mutations must contain at least one item");
    }
    let environment = Environment { patches: true, ..environment(spec, &variables) };
    for (index, mutation) in mutations.iter().enumerate() {
        validate_mutation(&mut errors, &list.index(index), mutation, environment);
    }
    required_one_of(&mut errors, &SPEC, spec, "reinvocationPolicy", &["Never", "IfNeeded"]);
    errors
}

/// Operations that nothing can be changed in do not match mutating policies.
pub fn validate_mutable(errors: &mut Errors, path: &Path<'_>, resources: &Value) {
    const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];
    let rules = path.child("resourceRules");
    for rule in list_at(resources, "/resourceRules") {
        for operation in strs_at(rule, "/operations").filter(|name| !OPERATIONS.contains(name)) {
            errors.not_supported(&rules.child("operations"), &operation.into(), OPERATIONS);
        }
    }
}

/// The status of a validating policy.
pub fn validate_status(policy: &Value) -> Errors {
    let mut errors = Errors::default();
    let path = Path::new("status");
    let checking = path.child("typeChecking");
    let list = checking.child("expressionWarnings");
    let warnings = list_at(policy, "/status/typeChecking/expressionWarnings");
    for (index, warning) in warnings.iter().enumerate() {
        required(&mut errors, &list.index(index), warning, "warning");
        required(&mut errors, &list.index(index), warning, "fieldRef");
    }
    conditions::validate(&mut errors, &path.child("conditions"), at(policy, "/status"));
    errors
}

fn environment<'s>(spec: &Value, variables: &'s [(&'s str, Type)]) -> Environment<'s> {
    Environment {
        parameters: has(spec, "/paramKind"),
        authorizer: true,
        variables: has(spec, "/variables").then_some(variables),
        ..Environment::default()
    }
}

/// Judges what all policies have; the answer is their variables with their types.
fn validate_common<'s>(errors: &mut Errors, spec: &'s Value, old: Option<&Value>) -> Vec<(&'s str, Type)> {
    required_one_of(errors, &SPEC, spec, "failurePolicy", FAILURE_POLICIES);
    if let Some(kind) = get(spec, "/paramKind") {
        validate_kind(errors, &SPEC.child("paramKind"), kind);
    }
    let path = SPEC.child("matchConstraints");
    match get(spec, "/matchConstraints") {
        None => errors.required(&path, ""),
        Some(constraints) => {
            validate_match_resources(errors, &path, constraints);
            if list_at(constraints, "/resourceRules").is_empty() {
                errors.required(&path.child("resourceRules"), "");
            }
        }
    }
    let kept = |field| old.is_some_and(|old| at(at(old, "/spec"), field) == at(spec, field));
    if !kept("/paramKind") || !kept("/matchConditions") {
        let parameters = has(spec, "/paramKind");
        validate_conditions(errors, &SPEC.child("matchConditions"), spec, parameters);
    }
    let list = SPEC.child("variables");
    let mut variables = Vec::new();
    for (index, variable) in list_at(spec, "/variables").iter().enumerate() {
        let (path, name) = (list.index(index), str_at(variable, "/name"));
        if name.trim().is_empty() {
            errors.required(&path.child("name"), "name is not specified");
        } else if !is_identifier(name) {
            errors.invalid_str(&path.child("name"), name, "must be a valid CEL identifier");
        }
        let ty = match str_at(variable, "/expression") {
            text if text.trim().is_empty() => {
                errors.required(&path.child("expression"), "expression is not specified");
                Type::Dyn
            }
            // A variable may speak of those before it.
            text => {
                let environment = environment(spec, &variables);
                expression::validate(errors, &path.child("expression"), text, environment, &[])
            }
        };
        variables.push((name, ty));
    }
    variables
}

fn validate_kind(errors: &mut Errors, path: &Path<'_>, kind: &Value) {
    let version_path = path.child("apiVersion");
    let api_version = str_at(kind, "/apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if required(errors, path, kind, "apiVersion") {
        let wrong = names::dns1123_subdomain(group);
        if version.contains('/') {
            let why = format!("unexpected GroupVersion string: {api_version}");
            errors.invalid_str(&version_path, api_version, &why);
        } else {
            if !group.is_empty() && !wrong.is_empty() {
                errors.invalid_str(&version_path, group, &wrong.join(","));
            }
            let wrong = names::dns1035_label(version);
            if version.is_empty() {
                errors.invalid_str(&version_path, api_version, "version must be specified");
            } else if !wrong.is_empty() {
                errors.invalid_str(&version_path, version, &wrong.join(","));
            }
        }
    }
    if required(errors, path, kind, "kind") {
        let name = str_at(kind, "/kind");
        let wrong = names::dns1035_label(&name.to_lowercase());
        if !wrong.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.invalid_str(&path.child("kind"), name, &why);
        }
    }
}

fn validate_validation(
    errors: &mut Errors,
    path: &Path<'_>,
    validation: &Value,
    environment: Environment<'_>,
) {
    const EMPTY: &str = "must be non-empty if specified";
    let text = str_at(validation, "/expression");
    if text.trim().is_empty() {
        errors.required(&path.child("expression"), "expression is not specified");
    } else {
        expression::validate(errors, &path.child("expression"), text, environment, &[Type::BOOL]);
    }
    let text = str_at(validation, "/messageExpression");
    if !text.is_empty() {
        let path = path.child("messageExpression");
        if text.trim().is_empty() {
            errors.invalid_str(&path, text, EMPTY);
        } else {
            let environment = Environment { authorizer: false, ..environment };
            expression::validate(errors, &path, text, environment, &[Type::TEXT]);
        }
    }
    let message = str_at(validation, "/message");
    if !message.is_empty() && message.trim().is_empty() {
        errors.invalid_str(&path.child("message"), message, EMPTY);
    } else if message.trim().contains(['\n', '\r']) {
        errors.invalid_str(&path.child("message"), message, "must not contain line breaks");
    }
    if let Some(reason) = opt_str(validation, "/reason").filter(|reason| !REASONS.contains(reason)) {
        errors.not_supported(&path.child("reason"), &reason.into(), REASONS);
    }
}

fn validate_annotation(
    errors: &mut Errors,
    path: &Path<'_>,
    annotation: &Value,
    environment: Environment<'_>,
) {
    let text = str_at(annotation, "/valueExpression").trim();
    if text.is_empty() {
        errors.required(path, "valueExpression is not specified");
    } else if text.len() > MAX_ANNOTATION {
        errors.required(path, &format!("must not exceed {MAX_ANNOTATION} bytes in length"));
    } else {
        expression::validate(errors, path, text, environment, &[Type::TEXT, Type::Null]);
    }
}

fn validate_mutation(errors: &mut Errors, path: &Path<'_>, mutation: &Value, environment: Environment<'_>) {
    const TYPES: [(&str, &str); 2] =
        [("ApplyConfiguration", "applyConfiguration"), ("JSONPatch", "jsonPatch")];
    let kind = str_at(mutation, "/patchType");
    if !required_kind(errors, path, mutation) {
        return;
    }
    for (_, field) in TYPES.iter().filter(|(name, _)| *name != kind) {
        if has(mutation, &format!("/{field}")) {
            let why = format!("must not be specified when patchType is {kind}");
            errors.invalid_str(&path.child(field), &format!("{{{field}}}"), &why);
        }
    }
    for (_, field) in TYPES.iter().filter(|(name, _)| *name == kind) {
        let (own, path) = (get(mutation, &format!("/{field}")), path.child(field));
        let Some(own) = own else {
            errors.required(&path, &format!("must be specified when patchType is {kind}"));
            continue;
        };
        match str_at(own, "/expression") {
            text if text.trim().is_empty() => errors.required(&path.child("expression"), ""),
            text => {
                let patch = Type::Named(if kind == "JSONPatch" { "JSONPatch" } else { "Object" }.to_owned());
                let wanted = if kind == "JSONPatch" { Type::list(patch) } else { patch };
                expression::validate(errors, &path.child("expression"), text, environment, &[wanted]);
            }
        }
    }
}

fn required_kind(errors: &mut Errors, path: &Path<'_>, mutation: &Value) -> bool {
    const TYPES: &[&str] = &["ApplyConfiguration", "JSONPatch"];
    required_one_of(errors, path, mutation, "patchType", TYPES);
    TYPES.contains(&str_at(mutation, "/patchType"))
}
