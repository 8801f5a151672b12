//! Conditions, as most status fields have them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::labels;
use crate::field::{Errors, Path};
use crate::registry::access::{has, int_at, list_at, str_at};

const MAX_REASON: usize = 1024;
const MAX_MESSAGE: usize = 32 * 1024;
const BAD_REASON: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

/// A list of conditions.
pub fn validate(errors: &mut Errors, path: &Path<'_>, owner: &Value) {
    let mut seen = BTreeSet::new();
    for (index, condition) in list_at(owner, "/conditions").iter().enumerate() {
        let path = path.index(index);
        let (kind, status) = (str_at(condition, "/type"), str_at(condition, "/status"));
        if !seen.insert(kind) {
            errors.duplicate(&path.child("type"), &kind.into());
        }
        labels::label_name(errors, &path.child("type"), kind);
        let statuses = ["False", "True", "Unknown"];
        if !statuses.contains(&status) {
            errors.not_supported(&path.child("status"), &status.into(), &statuses);
        }
        let generation = int_at(condition, "/observedGeneration");
        if generation < 0 {
            errors.invalid(
                &path.child("observedGeneration"),
                &generation.into(),
                "must be greater than or equal to zero",
            );
        }
        if !has(condition, "/lastTransitionTime") {
            errors.required(&path.child("lastTransitionTime"), "must be set");
        }
        validate_reason(errors, &path.child("reason"), str_at(condition, "/reason"));
        if str_at(condition, "/message").len() > MAX_MESSAGE {
            errors.too_long(&path.child("message"), MAX_MESSAGE);
        }
    }
}

fn validate_reason(errors: &mut Errors, path: &Path<'_>, reason: &str) {
    if reason.is_empty() {
        return errors.required(path, "must be set");
    }
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let well_formed = reason.starts_with(|c: char| c.is_ascii_alphabetic())
        && reason.bytes().all(|byte| word(byte) || matches!(byte, b',' | b':'))
        && reason.bytes().last().is_some_and(word);
    if !well_formed {
        errors.invalid_str(path, reason, BAD_REASON);
    }
    if reason.len() > MAX_REASON {
        errors.too_long(path, MAX_REASON);
    }
}
