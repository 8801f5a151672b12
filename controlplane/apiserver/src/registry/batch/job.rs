//! Jobs.

mod indexes;
mod status;
mod validate;

use jiff::Timestamp;
use serde_json::Value;

use crate::field::Errors;
use crate::registry::access::{
    at, bool_at, count_at, get, has, int_at, list_at, list_mut, make_map, of_type, opt_int, remove, set,
    set_default, str_at,
};
use crate::registry::core::pod_spec::{default_template, name_warnings, template_warnings};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, containers, human_duration, label_selector, name, time_at, wide};

pub use validate::validate_spec;

/// The rules of jobs.
pub struct Job;

impl Kind for Job {
    fn default(&self, job: &mut Value) {
        if !has(job, "/spec/completions") && !has(job, "/spec/parallelism") {
            set(job, "/spec/completions", 1);
        }
        set_default(job, "/spec/parallelism", 1);
        let retries = if has(job, "/spec/backoffLimitPerIndex") { i64::from(i32::MAX) } else { 6 };
        set_default(job, "/spec/backoffLimit", retries);
        set_default(job, "/spec/completionMode", "NonIndexed");
        set_default(job, "/spec/suspend", false);
        let replacement = if has(job, "/spec/podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
        set_default(job, "/spec/podReplacementPolicy", replacement);
        set_default(job, "/spec/manualSelector", false);
        default_job_spec(job, "/spec");
        default_labels(job);
        make_map(job, "/status");
    }

    fn prepare_create(&self, job: &mut Value, _writer: &Writer<'_>) {
        let follows = get(job, "/metadata/labels") == get(job, "/spec/template/metadata/labels");
        if !bool_at(job, "/spec/manualSelector") {
            generate_selector(job);
        }
        if follows {
            remove(job, "/metadata/labels");
        }
        default_labels(job);
        make_map(job, "/status");
    }

    fn prepare_status_update(&self, job: &mut Value, _old: &Value) {
        make_map(job, "/status");
    }

    fn warnings(&self, job: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if old.is_none() {
            warnings.extend(name_warnings(job, "Pod names and hostnames"));
        }
        warnings.extend(spec_warnings(job, old, "spec"));
        warnings
    }

    fn validate(&self, job: &Value) -> Errors {
        validate::validate_create(job)
    }

    fn validate_update(&self, job: &Value, old: &Value) -> Errors {
        validate::validate_update(job, old)
    }

    fn validate_status_update(&self, job: &Value, old: &Value) -> Errors {
        status::validate_update(job, old)
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, job: &Value, now: Timestamp) -> Vec<Value> {
        let [names, images] = containers(job, "/spec/template/spec/containers");
        vec![
            name(job),
            state(job).into(),
            completions(job).into(),
            duration(job, now).into(),
            age(job, now),
            names,
            images,
            label_selector(job, "/spec/selector"),
        ]
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["status.successful"]
    }

    fn field_values(&self, job: &Value) -> Vec<String> {
        vec![int_at(job, "/status/succeeded").to_string()]
    }
}

/// Defaults of job specs that are not of the job alone, so also in the templates of cron jobs.
pub fn default_job_spec(object: &mut Value, path: &str) {
    for rule in list_mut(object, &format!("{path}/podFailurePolicy/rules")) {
        for pattern in list_mut(rule, "/onPodConditions") {
            set_default(pattern, "/status", "True");
        }
    }
    default_template(object, &format!("{path}/template"));
}

/// What is questionable about the spec of a job, alone or in a template; an update is looked at if it changes the spec.
pub fn spec_warnings(object: &Value, old: Option<&Value>, path: &str) -> Vec<String> {
    const COMPLETIONS: i64 = 100_000;
    const PARALLELISM: i64 = 10_000;
    let generation = |object: &Value| int_at(object, "/metadata/generation");
    if old.is_some_and(|old| generation(old) == generation(object)) {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    let spec = at(object, &format!("/{}", path.replace('.', "/")));
    let large = int_at(spec, "/completions") > COMPLETIONS && int_at(spec, "/parallelism") > PARALLELISM;
    if large && str_at(spec, "/completionMode") == "Indexed" {
        warnings.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    warnings.extend(template_warnings(object, old, &format!("{path}.template")));
    warnings
}

/// A job owns the pods that carry its uid.
fn generate_selector(job: &mut Value) {
    let (name, uid) = (str_at(job, "/metadata/name").to_owned(), str_at(job, "/metadata/uid").to_owned());
    let labels = make_map(job, "/spec/template/metadata/labels");
    for (key, value) in [
        ("batch.kubernetes.io/job-name", &name),
        ("job-name", &name),
        ("batch.kubernetes.io/controller-uid", &uid),
        ("controller-uid", &uid),
    ] {
        labels.entry(key).or_insert_with(|| value.as_str().into());
    }
    let selector = make_map(job, "/spec/selector/matchLabels");
    selector.entry("batch.kubernetes.io/controller-uid").or_insert(uid.into());
}

/// The labels of a job follow its template where it has none of its own.
fn default_labels(job: &mut Value) {
    let labels = get(job, "/spec/template/metadata/labels").cloned();
    if let Some(labels) = labels.filter(|_| count_at(job, "/metadata/labels") == 0) {
        set(job, "/metadata/labels", labels);
    }
}

fn state(job: &Value) -> &'static str {
    let is = |kind| {
        of_type(list_at(job, "/status/conditions"), kind).is_some_and(|c| str_at(c, "/status") == "True")
    };
    if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if has(job, "/metadata/deletionTimestamp") {
        "Terminating"
    } else if is("Suspended") {
        "Suspended"
    } else if is("FailureTarget") {
        "FailureTarget"
    } else if is("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(job: &Value) -> String {
    let done = int_at(job, "/status/succeeded");
    match (opt_int(job, "/spec/completions"), int_at(job, "/spec/parallelism")) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{done}/1 of {parallel}"),
        (None, _) => format!("{done}/1"),
    }
}

fn duration(job: &Value, now: Timestamp) -> String {
    let Some(start) = time_at(job, "/status/startTime") else { return String::new() };
    let end = time_at(job, "/status/completionTime").unwrap_or(now);
    human_duration(end.duration_since(start).as_secs())
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Status", "string", "Status of the job."),
    column(
        "Completions",
        "string",
        "The number of pods which reached phase Succeeded. The value increases monotonically for a given spec. However, it may decrease in reaction to scale down of elastic indexed jobs.",
    ),
    column("Duration", "string", "Time required to complete the job."),
    AGE,
    wide("Containers", "string", "Names of each container in the template."),
    wide("Images", "string", "Images referenced by each container in the template."),
    wide(
        "Selector",
        "string",
        "A label query over pods that should match the pod count. Normally, the system sets this field for you. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_wants_more_than_can_be_tracked_is_warned() {
        let spec = json!({"completionMode": "Indexed", "completions": 100_001, "parallelism": 10_001});
        let job = json!({"metadata": {"name": "a"}, "spec": spec});
        assert!(
            Job.warnings(&job, None)[0].starts_with("spec: In Indexed Jobs with a number of completions")
        );
        assert_eq!(Job.warnings(&job, Some(&job)), [""; 0]);
    }
}
