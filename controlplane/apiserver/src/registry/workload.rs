//! What workloads with a selector and a pod template share.

use serde_json::Value;

use crate::field::{Errors, Path, Reason, shown};
use crate::registry::access::{at, get, has, opt_int, str_at};
use crate::registry::core::pod_spec;
use crate::validation::fields::{self, non_negative};
use crate::validation::labels;

/// `spec`
pub const SPEC: Path<'static> = Path::new("spec");
/// `status`
pub const STATUS: Path<'static> = Path::new("status");

/// Demands a selector that selects something; `kind` is for the message.
pub fn validate_selector(errors: &mut Errors, object: &Value, kind: &str) {
    let path = SPEC.child("selector");
    let selector = at(object, "/spec/selector");
    if selector.is_null() {
        return errors.required(&path, "");
    }
    labels::selector(errors, &path, selector);
    if labels::is_empty(selector) {
        errors.invalid(&path, selector, &format!("empty selector is invalid for {kind}"));
    }
}

/// Whether a selector's expressions can be evaluated at all.
pub fn is_selector(selector: &Value) -> bool {
    labels::is_valid(selector)
}

/// Demands that the template's labels are selected.
pub fn validate_selected(errors: &mut Errors, template_path: &Path<'_>, selector: &Value, template: &Value) {
    let template_labels = at(template, "/metadata/labels");
    if !labels::selects(selector, template_labels) {
        errors.invalid(
            &template_path.child("metadata").child("labels"),
            template_labels,
            "`selector` does not match template `labels`",
        );
    }
}

/// The template of pods that run for ever.
pub fn validate_lasting_template(errors: &mut Errors, object: &Value, deadline: Reason, why: &str) {
    let path = SPEC.child("template");
    let template = at(object, "/spec/template");
    pod_spec::validate_template(errors, &path, template);
    validate_lasting(errors, &path, template, deadline, why);
}

/// Pods that run for ever are always restarted and have no deadline.
pub fn validate_lasting(errors: &mut Errors, path: &Path<'_>, template: &Value, deadline: Reason, why: &str) {
    let spec = path.child("spec");
    let policy = str_at(template, "/spec/restartPolicy");
    if policy != "Always" {
        errors.not_supported(&spec.child("restartPolicy"), &policy.into(), &["Always"]);
    }
    if let Some(seconds) = get(template, "/spec/activeDeadlineSeconds") {
        let path = spec.child("activeDeadlineSeconds");
        match deadline {
            Reason::Forbidden => errors.forbidden(&path, why),
            _ => errors.invalid(&path, seconds, why),
        }
    }
}

/// The numbers that every workload's spec may have.
pub fn validate_counts(errors: &mut Errors, object: &Value, counts: &[&str]) {
    for field in counts {
        non_negative(errors, &SPEC, at(object, "/spec"), field);
    }
}

/// Everything wrong with the counts of a status, of which none exceeds `replicas`.
pub fn validate_status(object: &Value, old: &Value, counts: &[&str], limited: &[&str]) -> Errors {
    let mut errors = Errors::default();
    let status = at(object, "/status");
    let count = |field: &str| opt_int(status, &format!("/{field}")).unwrap_or_default();
    for field in counts {
        non_negative(&mut errors, &STATUS, status, field);
    }
    for field in limited {
        if count(field) > count("replicas") {
            errors.invalid(
                &STATUS.child(field),
                &count(field).into(),
                "cannot be greater than status.replicas",
            );
        }
    }
    if limited.contains(&"availableReplicas") && count("availableReplicas") > count("readyReplicas") {
        errors.invalid(
            &STATUS.child("availableReplicas"),
            &count("availableReplicas").into(),
            "cannot be greater than readyReplicas",
        );
    }
    let before = opt_int(old, "/status/collisionCount");
    if before.is_some_and(|before| count("collisionCount") < before) {
        errors.invalid(
            &STATUS.child("collisionCount"),
            &count("collisionCount").into(),
            "cannot be decremented",
        );
    }
    errors
}

/// The selector of a workload stays.
pub fn validate_selector_kept(errors: &mut Errors, object: &Value, old: &Value) {
    let path = SPEC.child("selector");
    fields::immutable(errors, &path, at(object, "/spec/selector"), at(old, "/spec/selector"));
}

/// An update strategy of an unknown type, shown as the real server does.
pub fn unknown_strategy(errors: &mut Errors, path: &Path<'_>, strategy: &Value, supported: &[&str]) {
    let kind = at(strategy, "/type");
    let rolling = if has(strategy, "/rollingUpdate") { "{}" } else { "null" };
    let list: Vec<String> = supported.iter().map(|name| format!("\"{name}\"")).collect();
    let detail = format!(
        "Unsupported value: {{\"Type\":{},\"RollingUpdate\":{rolling}}}: supported values: {}",
        shown(kind),
        list.join(", ")
    );
    errors.push(path, Reason::NotSupported, detail);
}
