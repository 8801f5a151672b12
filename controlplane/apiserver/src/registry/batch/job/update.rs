//! What of a job can change.

use serde_json::Value;

use super::validate::{validate_create, validate_job_spec};
use crate::field::{Errors, Reason};
use crate::registry::access::{
    at, bool_at, has, int_at, list_at, list_mut, of_type, remove, restore, str_at,
};
use crate::registry::internal::{self, Internal};
use crate::registry::workload::SPEC;
use crate::validation::fields::{self, immutable_field};

/// A changed job.
pub fn validate_update(job: &Value, old: &Value) -> Errors {
    let mut errors = validate_create(job);
    validate_job_spec(&mut errors, job);
    let (spec, old_spec) = (at(job, "/spec"), at(old, "/spec"));
    validate_completions(&mut errors, spec, old_spec);
    immutable_field(&mut errors, &SPEC, spec, old_spec, "selector");
    validate_template_kept(&mut errors, job, old);
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]
    {
        let pointer = format!("/{field}");
        let (new, was) = (at(spec, &pointer), at(old_spec, &pointer));
        let layout = match field {
            "podFailurePolicy" => "PodFailurePolicy",
            "successPolicy" => "SuccessPolicy",
            _ => {
                fields::immutable(&mut errors, &SPEC.child(field), new, was);
                continue;
            }
        };
        if new != was {
            internal::invalid(&mut errors, &SPEC.child(field), layout, new, fields::IMMUTABLE);
        }
    }
    errors
}

/// Indexed jobs can grow and shrink, if their parallelism goes along.
fn validate_completions(errors: &mut Errors, spec: &Value, old: &Value) {
    let path = SPEC.child("completions");
    let (new, was) = (at(spec, "/completions"), at(old, "/completions"));
    let elastic = str_at(spec, "/completionMode") == "Indexed";
    if new == was {
        return;
    }
    if !elastic || new.is_null() {
        return fields::immutable(errors, &path, new, was);
    }
    if new != at(spec, "/parallelism") {
        let why = format!("can only be modified in tandem with {}", SPEC.child("parallelism"));
        errors.invalid(&path, new, &why);
    }
}

/// The template stays, but where pods may run and what their containers ask for can change while the job is
/// suspended, and nothing of it runs any more.
fn validate_template_kept(errors: &mut Errors, job: &Value, old: &Value) {
    let template = at(job, "/spec/template");
    let mut kept = at(old, "/spec/template").clone();
    let path = SPEC.child("template");
    if !can_change_template(old) {
        if *template != kept {
            let shown = Internal::pod_template(template).compact();
            errors.push(&path, Reason::Invalid, format!("Invalid value: {shown}: {}", fields::IMMUTABLE));
        }
        return;
    }
    for field in [
        "/spec/nodeSelector",
        "/spec/tolerations",
        "/spec/schedulingGates",
        "/metadata/annotations",
        "/metadata/labels",
        "/spec/affinity/nodeAffinity",
    ] {
        if has(template, field) || has(&kept, field) {
            restore(&mut kept, template, field);
        }
    }
    let emptied = at(&kept, "/spec/affinity").as_object().is_some_and(serde_json::Map::is_empty);
    if emptied && !has(template, "/spec/affinity") {
        remove(&mut kept, "/spec/affinity");
    }
    for list in ["/spec/containers", "/spec/initContainers"] {
        let new = list_at(template, list);
        if new.len() == list_at(&kept, list).len() {
            for (kept, new) in list_mut(&mut kept, list).zip(new) {
                if str_at(kept, "/name") == str_at(new, "/name") {
                    restore(kept, new, "/resources");
                }
            }
        }
    }
    if at(template, "/spec") != at(&kept, "/spec") {
        let shown = Internal::pod_spec(at(template, "/spec")).compact();
        let why = format!("Invalid value: {shown}: {}", fields::IMMUTABLE);
        errors.push(&path.child("spec"), Reason::Invalid, why);
    }
}

/// Whether a job is suspended and has no pods: it has not been started, or its controller has seen the suspension.
fn can_change_template(job: &Value) -> bool {
    let seen = of_type(list_at(job, "/status/conditions"), "Suspended")
        .is_some_and(|condition| str_at(condition, "/status") == "True");
    bool_at(job, "/spec/suspend")
        && (seen || !has(job, "/status/startTime"))
        && int_at(job, "/status/active") == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(job: &Value, old: &Value) -> Vec<String> {
        let mut errors = Errors::default();
        validate_template_kept(&mut errors, job, old);
        errors.0.iter().map(|error| error.field.clone()).collect()
    }

    fn job(spec: &Value, status: &Value) -> Value {
        json!({"spec": {"suspend": true, "template": {"spec": spec}}, "status": status})
    }

    #[test]
    fn a_suspended_job_without_pods_may_ask_for_other_resources() {
        let asking =
            |cpu: &str| json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
        let running = json!({"startTime": "2026-01-01T00:00:00Z"});
        let suspended = json!({
            "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Suspended", "status": "True"}],
        });
        for status in [json!({}), suspended] {
            assert_eq!(told(&job(&asking("2"), &status), &job(&asking("1"), &status)), [""; 0]);
        }
        for status in [running, json!({"active": 1})] {
            assert_eq!(told(&job(&asking("2"), &status), &job(&asking("1"), &status)), ["spec.template"]);
        }
    }

    #[test]
    fn a_suspended_job_keeps_its_images() {
        let with = |image: &str| json!({"containers": [{"name": "c", "image": image}]});
        let status = json!({});
        assert_eq!(told(&job(&with("b"), &status), &job(&with("a"), &status)), ["spec.template.spec"]);
    }
}
