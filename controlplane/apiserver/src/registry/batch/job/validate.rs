//! Everything wrong with jobs and job templates.

use std::collections::BTreeSet;

use serde_json::Value;

use super::indexes;
use crate::field::{Errors, Path, Reason, shown};
use crate::registry::access::{
    at, bool_at, get, has, int_at, list_at, list_mut, of_type, opt_int, opt_str, remove, restore, str_at,
};
use crate::registry::core::pod_spec;
use crate::registry::internal::{self, Internal};
use crate::registry::workload::{SPEC, is_selector, validate_selected};
use crate::validation::fields::{self, immutable_field, non_negative, qualified_name};
use crate::validation::{formats, labels, names};

/// Limits of indexed jobs, which keep their status small.
const INDEXED_PARALLELISM_MAX: i64 = 100_000;
const INDEXED_FAILURES_MAX: i64 = 100_000;
const MANY_COMPLETIONS: i64 = 100_000;
const MANY_PARALLELISM_MAX: i64 = 10_000;
const MANY_FAILURES_MAX: i64 = 10_000;

/// A new job.
pub fn validate_create(job: &Value) -> Errors {
    let mut errors = Errors::default();
    validate_generated_selector(&mut errors, job);
    validate_job_spec(&mut errors, job);
    let (name, completions) = (str_at(job, "/metadata/name"), int_at(job, "/spec/completions"));
    if str_at(job, "/spec/completionMode") == "Indexed" && completions > 0 {
        let host = format!("{name}-{}", completions - 1);
        if !names::dns1123_label(&host).is_empty() {
            let why = format!("will not able to create pod with invalid DNS label: {host}");
            errors.invalid_str(&Path::new("metadata").child("name"), name, &why);
        }
    }
    errors
}

/// Selectors that the server makes name the job's uid.
fn validate_generated_selector(errors: &mut Errors, job: &Value) {
    let selector = at(job, "/spec/selector");
    if bool_at(job, "/spec/manualSelector") || selector.is_null() {
        return;
    }
    let (name, uid) = (at(job, "/metadata/name"), at(job, "/metadata/uid"));
    let expected = serde_json::json!({
        "controller-uid": uid,
        "job-name": name,
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
    });
    let template = SPEC.child("template");
    let metadata = template.child("metadata");
    let labels = at(job, "/spec/template/metadata/labels");
    for (key, value) in expected.as_object().into_iter().flatten() {
        let path = metadata.child("labels");
        match labels.get(key) {
            None => errors.required(&path.key(key), &format!("must be {}", shown(value))),
            Some(found) if found != value => {
                let why = format!("must be {}", shown(value));
                errors.invalid(&path.key(key), labels, &why);
            }
            Some(_) => {}
        }
    }
    if is_selector(selector) && !labels::selects(selector, &expected) {
        errors.invalid(&SPEC.child("selector"), selector, "`selector` not auto-generated");
    }
}

fn validate_job_spec(errors: &mut Errors, job: &Value) {
    let spec = at(job, "/spec");
    validate_spec(errors, &SPEC, spec);
    let selector = at(spec, "/selector");
    if selector.is_null() {
        errors.required(&SPEC.child("selector"), "");
    }
    labels::selector(errors, &SPEC.child("selector"), selector);
    if is_selector(selector) {
        validate_selected(errors, &SPEC.child("template"), selector, at(spec, "/template"));
    }
}

/// A job's spec without its selector, as in templates.
pub fn validate_spec(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        non_negative(errors, path, spec, field);
    }
    if has(spec, "/maxFailedIndexes") && !has(spec, "/backoffLimitPerIndex") {
        errors.required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    validate_managed_by(errors, &path.child("managedBy"), spec);
    match opt_str(spec, "/completionMode") {
        Some("Indexed") => validate_indexed(errors, path, spec),
        Some("NonIndexed") | None => {
            for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                if let Some(value) = get(spec, &format!("/{field}")) {
                    errors.invalid(&path.child(field), value, "requires indexed completion mode");
                }
            }
        }
        Some(other) => {
            let path = path.child("completionMode");
            errors.not_supported(&path, &other.into(), &["NonIndexed", "Indexed"]);
        }
    }
    if has(spec, "/podFailurePolicy") {
        validate_failure_policy(errors, &path.child("podFailurePolicy"), spec);
    }
    if let Some(policy) = get(spec, "/successPolicy") {
        let path = path.child("successPolicy");
        if str_at(spec, "/completionMode") == "Indexed" {
            validate_success_policy(errors, &path, spec);
        } else {
            let why = "requires indexed completion mode";
            internal::invalid(errors, &path, "SuccessPolicy", policy, why);
        }
    }
    validate_replacement_policy(errors, &path.child("podReplacementPolicy"), spec);
    let template_path = path.child("template");
    pod_spec::validate_template(errors, &template_path, at(spec, "/template"));
    let policy = str_at(spec, "/template/spec/restartPolicy");
    let template_spec = template_path.child("spec");
    let policy_path = template_spec.child("restartPolicy");
    match policy {
        "Always" | "" => errors.required(&policy_path, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if has(spec, "/podFailurePolicy") => errors.invalid_str(
            &policy_path,
            policy,
            "only \"Never\" is supported when podFailurePolicy is specified",
        ),
        "OnFailure" | "Never" => {}
        _ => errors.not_supported(&policy_path, &policy.into(), &["OnFailure", "Never"]),
    }
}

fn validate_managed_by(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    const MAX: usize = 63;
    let Some(manager) = opt_str(spec, "/managedBy") else { return };
    if manager.is_empty() {
        errors.required(path, "");
    } else {
        for (value, why) in formats::domain_prefixed_path(manager) {
            errors.invalid_str(path, &value, &why);
        }
    }
    if manager.len() > MAX {
        errors.too_long(path, MAX);
    }
}

fn validate_indexed(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    let (completions, failures) = (opt_int(spec, "/completions"), opt_int(spec, "/maxFailedIndexes"));
    let parallelism = int_at(spec, "/parallelism");
    let (parallelism_path, failures_path) = (path.child("parallelism"), path.child("maxFailedIndexes"));
    if completions.is_none() {
        errors.required(&path.child("completions"), "when completion mode is Indexed");
    }
    if parallelism > INDEXED_PARALLELISM_MAX {
        let why = format!(
            "must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is Indexed"
        );
        errors.invalid(&parallelism_path, &parallelism.into(), &why);
    }
    if let (Some(completions), Some(failures)) = (completions, failures)
        && failures > completions
    {
        errors.invalid(&failures_path, &failures.into(), "must be less than or equal to completions");
    }
    if let Some(failures) = failures.filter(|failures| *failures > INDEXED_FAILURES_MAX) {
        let why = format!("must be less than or equal to {INDEXED_FAILURES_MAX}");
        errors.invalid(&failures_path, &failures.into(), &why);
    }
    if completions.unwrap_or_default() <= MANY_COMPLETIONS || !has(spec, "/backoffLimitPerIndex") {
        return;
    }
    let with_many = |max: i64| {
        format!(
            "must be less than or equal to {max} when completions are above {MANY_COMPLETIONS} and used with backoff limit per index"
        )
    };
    if failures.is_none() {
        let why = format!("must be specified when completions is above {MANY_COMPLETIONS}");
        errors.required(&failures_path, &why);
    }
    if parallelism > MANY_PARALLELISM_MAX {
        errors.invalid(&parallelism_path, &parallelism.into(), &with_many(MANY_PARALLELISM_MAX));
    }
    if let Some(failures) = failures.filter(|failures| *failures > MANY_FAILURES_MAX) {
        errors.invalid(&failures_path, &failures.into(), &with_many(MANY_FAILURES_MAX));
    }
}

fn validate_replacement_policy(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    let Some(policy) = opt_str(spec, "/podReplacementPolicy") else { return };
    let supported: &[&str] =
        if has(spec, "/podFailurePolicy") { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if !supported.contains(&policy) {
        errors.not_supported(path, &policy.into(), supported);
    }
}

fn validate_failure_policy(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    const RULES_MAX: usize = 20;
    let rules = list_at(spec, "/podFailurePolicy/rules");
    let rules_path = path.child("rules");
    if rules.len() > RULES_MAX {
        errors.too_many(&rules_path, rules.len(), RULES_MAX);
    }
    for (index, rule) in rules.iter().enumerate() {
        validate_failure_rule(errors, &rules_path.index(index), rule, spec);
    }
}

fn validate_failure_rule(errors: &mut Errors, path: &Path<'_>, rule: &Value, spec: &Value) {
    const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
    let action_path = path.child("action");
    match str_at(rule, "/action") {
        "" => errors.required(&action_path, &valid_values(ACTIONS)),
        "FailIndex" if !has(spec, "/backoffLimitPerIndex") => {
            errors.invalid_str(&action_path, "FailIndex", "requires the backoffLimitPerIndex to be set");
        }
        action if !ACTIONS.contains(&action) => errors.not_supported(&action_path, &action.into(), ACTIONS),
        _ => {}
    }
    let (codes, conditions) = (get(rule, "/onExitCodes"), list_at(rule, "/onPodConditions"));
    if let Some(codes) = codes {
        validate_exit_codes(errors, &path.child("onExitCodes"), codes, spec);
    }
    validate_conditions(errors, &path.child("onPodConditions"), conditions);
    let why = match (codes.is_some(), conditions.is_empty()) {
        (true, false) => "specifying both OnExitCodes and OnPodConditions is not supported",
        (false, true) => "specifying one of OnExitCodes and OnPodConditions is required",
        _ => return,
    };
    errors.push(path, Reason::Invalid, format!("Invalid value: {why}"));
}

/// Go's `%q` of a list.
fn valid_values(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
    format!("valid values: [{}]", quoted.join(" "))
}

fn validate_conditions(errors: &mut Errors, path: &Path<'_>, conditions: &[Value]) {
    const MAX: usize = 20;
    const STATUSES: &[&str] = &["False", "True", "Unknown"];
    if conditions.len() > MAX {
        errors.too_many(path, conditions.len(), MAX);
    }
    for (index, pattern) in conditions.iter().enumerate() {
        let path = path.index(index);
        qualified_name(errors, &path.child("type"), str_at(pattern, "/type"));
        match str_at(pattern, "/status") {
            "" => errors.required(&path.child("status"), &valid_values(STATUSES)),
            status if !STATUSES.contains(&status) => {
                errors.not_supported(&path.child("status"), &status.into(), STATUSES);
            }
            _ => {}
        }
    }
}

fn validate_exit_codes(errors: &mut Errors, path: &Path<'_>, codes: &Value, spec: &Value) {
    const MAX: usize = 255;
    const OPERATORS: &[&str] = &["In", "NotIn"];
    let operator = str_at(codes, "/operator");
    match operator {
        "" => errors.required(&path.child("operator"), &valid_values(OPERATORS)),
        _ if !OPERATORS.contains(&operator) => {
            errors.not_supported(&path.child("operator"), &operator.into(), OPERATORS);
        }
        _ => {}
    }
    if let Some(name) = opt_str(codes, "/containerName") {
        let known = ["/template/spec/containers", "/template/spec/initContainers"]
            .iter()
            .flat_map(|list| list_at(spec, list))
            .any(|container| str_at(container, "/name") == name);
        if !known {
            let why = "must be one of the container or initContainer names in the pod template";
            errors.invalid_str(&path.child("containerName"), name, why);
        }
    }
    let values_path = path.child("values");
    let values: Vec<i64> = list_at(codes, "/values").iter().filter_map(Value::as_i64).collect();
    if values.is_empty() {
        let why = "at least one value is required";
        errors.push(
            &values_path,
            Reason::Invalid,
            format!("Invalid value: {}: {why}", shown(at(codes, "/values"))),
        );
    } else if values.len() > MAX {
        errors.too_many(&values_path, values.len(), MAX);
    }
    let mut seen = BTreeSet::new();
    for (index, value) in values.iter().enumerate() {
        let path = values_path.index(index);
        if operator == "In" && *value == 0 {
            errors.invalid(&path, &0.into(), "must not be 0 for the In operator");
        }
        if !seen.insert(value) {
            errors.duplicate(&path, &(*value).into());
        }
    }
    if !values.is_sorted() {
        errors.invalid(&values_path, at(codes, "/values"), "must be ordered");
    }
}

fn validate_success_policy(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    const MAX: usize = 20;
    const INDEXES_MAX: usize = 64 * 1024;
    let rules = list_at(spec, "/successPolicy/rules");
    let rules_path = path.child("rules");
    if rules.is_empty() {
        errors.required(
            &rules_path,
            "at least one rules must be specified when the successPolicy is specified",
        );
    }
    if rules.len() > MAX {
        errors.too_many(&rules_path, rules.len(), MAX);
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = rules_path.index(index);
        let (count, indexes) = (opt_int(rule, "/succeededCount"), opt_str(rule, "/succeededIndexes"));
        if count.is_none() && indexes.is_none() {
            errors.required(&path, "at least one of succeededCount or succeededIndexes must be specified");
        }
        let completions = int_at(spec, "/completions");
        let mut total = completions;
        if let Some(indexes) = indexes {
            let indexes_path = path.child("succeededIndexes");
            if indexes.len() > INDEXES_MAX {
                errors.too_long(&indexes_path, INDEXES_MAX);
            }
            match indexes::count(indexes, completions) {
                Ok(found) => total = found,
                Err(why) => {
                    let why = format!("error parsing succeededIndexes: {why}");
                    total = 0;
                    errors.invalid_str(&indexes_path, indexes, &why);
                }
            }
        }
        if let Some(count) = count {
            let count_path = path.child("succeededCount");
            non_negative(errors, &path, rule, "succeededCount");
            if count > completions {
                let why = format!(
                    "must be less than or equal to {completions} (the number of specified completions)"
                );
                errors.invalid(&count_path, &count.into(), &why);
            }
            if indexes.is_some() && count > total {
                let why = format!(
                    "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
                );
                errors.invalid(&count_path, &count.into(), &why);
            }
        }
    }
}

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
