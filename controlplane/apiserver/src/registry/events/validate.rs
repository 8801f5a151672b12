//! Everything wrong with events, in their stored form. Those of core/v1 are hardly judged.

use serde_json::{Value, json};

use crate::field::{Errors, Path};
use crate::registry::access::{at, get, has, int_at, str_at};
use crate::registry::internal;
use crate::validation::fields::{self, immutable_field, qualified_name};

const ROOT: Path<'static> = Path::ROOT;
const MAX: usize = 128;
const MAX_NOTE: usize = 1024;

/// What every event must be; `controller` is what the version of the request calls the reporter.
pub fn validate(event: &Value, controller: &str) -> Errors {
    let mut errors = Errors::default();
    let (namespace, involved) =
        (str_at(event, "/metadata/namespace"), str_at(event, "/involvedObject/namespace"));
    let involved_path = Path::new("involvedObject");
    let mismatch = |errors: &mut Errors| {
        errors.invalid_str(&involved_path.child("namespace"), involved, "does not match event.namespace");
    };
    if has(event, "/eventTime") {
        if involved.is_empty() && !["default", "kube-system"].contains(&namespace) {
            mismatch(&mut errors);
        }
        let reporter = str_at(event, "/reportingComponent");
        if reporter.is_empty() {
            errors.required(&ROOT.child(controller), "");
        }
        qualified_name(&mut errors, &ROOT.child(controller), reporter);
        for (field, required, max) in [
            ("reportingInstance", true, MAX),
            ("action", true, MAX),
            ("reason", true, MAX),
            ("message", false, MAX_NOTE),
        ] {
            let text = str_at(event, &format!("/{field}"));
            if required && text.is_empty() {
                errors.required(&ROOT.child(field), "");
            }
            if text.len() > max {
                let why = format!("can have at most {max} characters");
                errors.invalid_str(&ROOT.child(field), "", &why);
            }
        }
    } else if if involved.is_empty() { !["", "default"].contains(&namespace) } else { namespace != involved }
    {
        mismatch(&mut errors);
    }
    errors
}

/// A new event of events.k8s.io/v1.
pub fn validate_create(event: &Value) -> Errors {
    let mut errors = validate(event, "reportingController");
    validate_series(&mut errors, event);
    if !has(event, "/eventTime") {
        errors.required(&ROOT.child("eventTime"), "");
    }
    let kind = str_at(event, "/type");
    if !["Normal", "Warning"].contains(&kind) {
        errors.invalid_str(&ROOT.child("type"), "", &format!("has invalid value: {kind}"));
    }
    let source = !str_at(event, "/source/component").is_empty() || !str_at(event, "/source/host").is_empty();
    for (field, set) in [
        ("firstTimestamp", has(event, "/firstTimestamp")),
        ("lastTimestamp", has(event, "/lastTimestamp")),
        ("count", int_at(event, "/count") != 0),
        ("source", source),
    ] {
        if set {
            errors.invalid_str(&ROOT.child(field), "", "needs to be unset");
        }
    }
    errors
}

/// A changed event of events.k8s.io/v1: only its series changes.
pub fn validate_update(event: &Value, old: &Value) -> Errors {
    let mut errors = validate(event, "reportingController");
    if at(event, "/series") != at(old, "/series") {
        validate_series(&mut errors, event);
    }
    kept(&mut errors, event, old, "involvedObject", "ObjectReference");
    for field in ["reason", "message"] {
        immutable_field(&mut errors, &ROOT, event, old, field);
    }
    kept(&mut errors, event, old, "source", "EventSource");
    for field in ["firstTimestamp", "lastTimestamp", "count", "reason", "type"] {
        immutable_field(&mut errors, &ROOT, event, old, field);
    }
    for field in ["eventTime", "action"] {
        immutable_field(&mut errors, &ROOT, event, old, field);
    }
    kept(&mut errors, event, old, "related", "ObjectReference");
    let path = ROOT.child("reportingController");
    fields::immutable(&mut errors, &path, at(event, "/reportingComponent"), at(old, "/reportingComponent"));
    immutable_field(&mut errors, &ROOT, event, old, "reportingInstance");
    errors
}

fn validate_series(errors: &mut Errors, event: &Value) {
    let Some(series) = get(event, "/series") else { return };
    if int_at(series, "/count") < 2 {
        errors.invalid(&Path::new("series.count"), &json!(""), "should be at least 2");
    }
    if !has(series, "/lastObservedTime") {
        errors.required(&Path::new("series.lastObservedTime"), "");
    }
}

/// Demands that a field of an internal type is what it was.
fn kept(errors: &mut Errors, event: &Value, old: &Value, field: &str, layout: &str) {
    let pointer = format!("/{field}");
    let value = at(event, &pointer);
    if value != at(old, &pointer) {
        internal::invalid(errors, &ROOT.child(field), layout, value, fields::IMMUTABLE);
    }
}
