//! Checks of single fields that nearly every kind needs.

use serde_json::Value;

use super::{formats, names};
use crate::field::{Errors, Path};
use crate::registry::access::{at, get, opt_int, str_at};
use crate::schema::quantity::Quantity;

/// The message for a number below 0.
pub const NEGATIVE: &str = "must be greater than or equal to 0";
/// The message for a number below 1.
pub const NOT_POSITIVE: &str = "must be greater than zero";
/// The message for a field that cannot change.
pub const IMMUTABLE: &str = "field is immutable";
/// The message for an amount that is no whole number.
pub const NOT_INTEGER: &str = "must be an integer";

/// Demands a text; returns whether it is there.
pub fn required(errors: &mut Errors, path: &Path<'_>, owner: &Value, field: &str) -> bool {
    let present = !str_at(owner, &format!("/{field}")).is_empty();
    if !present {
        errors.required(&path.child(field), "");
    }
    present
}

/// Demands that a text, if not empty, is one of these; shown sorted as given.
pub fn one_of(errors: &mut Errors, path: &Path<'_>, owner: &Value, field: &str, supported: &[&str]) {
    let value = str_at(owner, &format!("/{field}"));
    if !value.is_empty() && !supported.contains(&value) {
        errors.not_supported(&path.child(field), &value.into(), supported);
    }
}

/// Demands one of these texts.
pub fn required_one_of(errors: &mut Errors, path: &Path<'_>, owner: &Value, field: &str, supported: &[&str]) {
    if required(errors, path, owner, field) {
        one_of(errors, path, owner, field, supported);
    }
}

/// Demands that a number, if there, is not negative.
pub fn non_negative(errors: &mut Errors, path: &Path<'_>, owner: &Value, field: &str) {
    if let Some(number) = opt_int(owner, &format!("/{field}")).filter(|number| *number < 0) {
        errors.invalid(&path.child(field), &number.into(), NEGATIVE);
    }
}

/// Demands that an amount is not negative.
pub fn non_negative_quantity(errors: &mut Errors, path: &Path<'_>, amount: &Value) {
    if Quantity::from_value(amount).is_ok_and(|quantity| quantity.signum() < 0) {
        errors.invalid(path, amount, NEGATIVE);
    }
}

/// Demands that a value is what it was.
pub fn immutable(errors: &mut Errors, path: &Path<'_>, new: &Value, old: &Value) {
    if new != old {
        errors.invalid(path, new, IMMUTABLE);
    }
}

/// Demands that the field of an object is what it was.
pub fn immutable_field(errors: &mut Errors, path: &Path<'_>, new: &Value, old: &Value, field: &str) {
    let pointer = format!("/{field}");
    immutable(errors, &path.child(field), at(new, &pointer), at(old, &pointer));
}

/// Demands that an object that is said to be immutable keeps its content.
pub fn validate_kept_content(errors: &mut Errors, new: &Value, old: &Value, content: &[&str]) {
    const WHY: &str = "field is immutable when `immutable` is set";
    if at(old, "/immutable") != true {
        return;
    }
    if at(new, "/immutable") != true {
        errors.forbidden(&Path::new("immutable"), WHY);
    }
    for field in content {
        let pointer = format!("/{field}");
        if at(new, &pointer) != at(old, &pointer) {
            errors.forbidden(&Path::new(field), WHY);
        }
    }
}

/// A port by number or name.
pub fn port_number_or_name(errors: &mut Errors, path: &Path<'_>, port: &Value) {
    match port {
        Value::String(name) => {
            for why in formats::port_name(name) {
                errors.invalid_str(path, name, &why);
            }
        }
        other => {
            let number = other.as_i64().unwrap_or_default();
            for why in formats::port_number(number) {
                errors.invalid(path, &number.into(), &why);
            }
        }
    }
}

/// A number or a share of at most 100%, not negative.
pub fn int_or_percent(errors: &mut Errors, path: &Path<'_>, value: &Value) {
    match value {
        Value::String(text) => {
            for why in formats::percent(text) {
                errors.invalid_str(path, text, &why);
            }
        }
        Value::Number(number) if number.as_i64().is_some_and(|number| number < 0) => {
            errors.invalid(path, value, NEGATIVE);
        }
        _ => {}
    }
}

/// Demands that a share is at most 100%.
pub fn at_most_100_percent(errors: &mut Errors, path: &Path<'_>, value: &Value) {
    if percent_of(value).is_some_and(|percent| percent > 100) {
        errors.invalid(path, value, "must not be greater than 100%");
    }
}

/// The number before `%`.
pub fn percent_of(value: &Value) -> Option<i64> {
    value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|number| number.parse().ok())
}

/// The number of a number or share.
pub fn int_or_percent_value(value: &Value) -> i64 {
    percent_of(value).or_else(|| value.as_i64()).unwrap_or_default()
}

/// An RFC 1123 label.
pub fn dns_label(errors: &mut Errors, path: &Path<'_>, text: &str) {
    for why in names::dns1123_label(text) {
        errors.invalid_str(path, text, &why);
    }
}

/// An RFC 1123 subdomain.
pub fn dns_subdomain(errors: &mut Errors, path: &Path<'_>, text: &str) {
    for why in names::dns1123_subdomain(text) {
        errors.invalid_str(path, text, &why);
    }
}

/// A name with an optional domain before it.
pub fn qualified_name(errors: &mut Errors, path: &Path<'_>, text: &str) {
    for why in names::qualified_name(text) {
        errors.invalid_str(path, text, &why);
    }
}

/// Demands that a reference has a valid name.
pub fn required_subdomain(errors: &mut Errors, path: &Path<'_>, owner: &Value, field: &str) {
    if required(errors, path, owner, field) {
        dns_subdomain(errors, &path.child(field), str_at(owner, &format!("/{field}")));
    }
}

/// A name that can stand in a URL.
pub fn path_segment(errors: &mut Errors, path: &Path<'_>, text: &str) {
    for why in names::path_segment(text) {
        errors.invalid_str(path, text, &why);
    }
}

/// Demands a name that can stand in a URL.
pub fn required_segment(errors: &mut Errors, path: &Path<'_>, owner: &Value, field: &str) {
    if required(errors, path, owner, field) {
        path_segment(errors, &path.child(field), str_at(owner, &format!("/{field}")));
    }
}

/// Whether a field is there and true.
pub fn is_true(owner: &Value, path: &str) -> bool {
    get(owner, path).and_then(Value::as_bool).unwrap_or_default()
}
