//! What the rules of schemas must be.

use serde_json::Value;

use super::{internal, schema::has_field};
use crate::{
    cel::{Issues, Program, Scope, Type},
    field::{Errors, Path},
    registry::access::{get, list_at, opt_str, str_at},
};

const REASONS: &[&str] =
    &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// Judges the rules of one schema.
pub fn validate(schema: &Value, path: &Path<'_>, uncorrelated: Option<&str>, errors: &mut Errors) {
    let path = path.child("x-kubernetes-validations");
    for (i, rule) in list_at(schema, "/x-kubernetes-validations").iter().enumerate() {
        let path = path.index(i);
        let sound = errors.0.len();
        form(rule, schema, &path, errors);
        if errors.0.len() == sound {
            expressions(rule, &path, uncorrelated, errors);
        }
    }
}

fn expressions(rule: &Value, path: &Path<'_>, uncorrelated: Option<&str>, errors: &mut Errors) {
    let text = str_at(rule, "/rule");
    match compile(text) {
        Err(why) => {
            let why = format!("compilation failed: {why}");
            internal::invalid(errors, &path.child("rule"), &internal::rule(rule), &why);
        }
        Ok(program) if program.mentions("oldSelf") => {
            if let Some(schema) = uncorrelated {
                let why = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {schema}"
                );
                errors.invalid_str(&path.child("rule"), text, &why);
            }
        }
        Ok(_) => {
            if let Some(optional) = get(rule, "/optionalOldSelf") {
                let why = "may not be set if oldSelf is not used in rule";
                errors.invalid(&path.child("optionalOldSelf"), optional, why);
            }
        }
    }
    if let Some(text) = opt_str(rule, "/messageExpression")
        && let Err(why) = compile(text)
    {
        let why = format!("messageExpression compilation failed: {why}");
        internal::invalid(errors, &path.child("messageExpression"), &internal::rule(rule), &why);
    }
}

fn compile(text: &str) -> Result<Program, Issues> {
    let program = Program::parse(text)?;
    let variables = [("self", Type::Dyn), ("oldSelf", Type::Dyn)];
    program.check(text, &Scope { variables: &variables, ..Scope::default() })?;
    Ok(program)
}

fn form(rule: &Value, schema: &Value, path: &Path<'_>, errors: &mut Errors) {
    let has_newlines = |text: &str| text.contains(['\n', '\r']);
    let (expression, message) = (str_at(rule, "/rule").trim(), str_at(rule, "/message"));
    if expression.is_empty() {
        errors.required(&path.child("rule"), "rule is not specified");
    } else if !message.is_empty() && message.trim().is_empty() {
        errors.invalid_str(&path.child("message"), message, "must be non-empty if specified");
    } else if has_newlines(message.trim()) {
        errors.invalid_str(&path.child("message"), message, "must not contain line breaks");
    } else if has_newlines(expression) && message.trim().is_empty() {
        errors.required(&path.child("message"), "message must be specified if rule contains line breaks");
    }
    let message_expression = str_at(rule, "/messageExpression");
    if !message_expression.is_empty() && message_expression.trim().is_empty() {
        errors.required(&path.child("messageExpression"), "messageExpression must be non-empty if specified");
    }
    if let Some(reason) = opt_str(rule, "/reason").filter(|r| !REASONS.contains(r)) {
        errors.not_supported(&path.child("reason"), &reason.into(), REASONS);
    }
    let field_path = str_at(rule, "/fieldPath");
    let path = path.child("fieldPath");
    if field_path.is_empty() {
        return;
    }
    if field_path.trim().is_empty() {
        errors.invalid_str(&path, field_path, "must be non-empty if specified");
    }
    if has_newlines(field_path) {
        errors.invalid_str(&path, field_path, "must not contain line breaks");
    }
    if !has_field(schema, field_path) {
        errors.invalid_str(&path, field_path, "must be a valid path");
    }
}
