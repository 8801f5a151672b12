//! Deployments.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{Errors, Path, Reason};
use crate::registry::access::{at, has, int_at, make_map, opt_int, restore, set, set_default, str_at};
use crate::registry::core::pod_spec::{default_template, workload_warnings};
use crate::registry::kind::{Column, Kind, Writer};
use crate::registry::workload::{self, SPEC};
use crate::table::{AGE, NAME, age, column, containers, name, selector_text, wide};
use crate::validation::fields::{at_most_100_percent, int_or_percent, int_or_percent_value};

/// The rules of deployments.
pub struct Deployment;

impl Kind for Deployment {
    fn default(&self, deployment: &mut Value) {
        set_default(deployment, "/spec/replicas", 1);
        set_default(deployment, "/spec/strategy/type", "RollingUpdate");
        if str_at(deployment, "/spec/strategy/type") == "RollingUpdate" {
            set_default(deployment, "/spec/strategy/rollingUpdate/maxUnavailable", "25%");
            set_default(deployment, "/spec/strategy/rollingUpdate/maxSurge", "25%");
        }
        set_default(deployment, "/spec/revisionHistoryLimit", 10);
        set_default(deployment, "/spec/progressDeadlineSeconds", 600);
        default_template(deployment, "/spec/template");
        make_map(deployment, "/status");
    }

    fn prepare_create(&self, deployment: &mut Value, _writer: &Writer<'_>) {
        make_map(deployment, "/status");
    }

    /// Annotations are carried to the replica sets, so a change of them counts as well.
    fn prepare_update(&self, deployment: &mut Value, old: &Value, _writer: &Writer<'_>) {
        if at(deployment, "/metadata/annotations") != at(old, "/metadata/annotations") {
            set(deployment, "/metadata/generation", int_at(old, "/metadata/generation") + 1);
        }
    }

    fn prepare_status_update(&self, deployment: &mut Value, old: &Value) {
        restore(deployment, old, "/metadata/labels");
        make_map(deployment, "/status");
    }

    fn warnings(&self, deployment: &Value, old: Option<&Value>) -> Vec<String> {
        workload_warnings(deployment, old, "spec.template")
    }

    fn validate(&self, deployment: &Value) -> Errors {
        validate(deployment)
    }

    fn validate_update(&self, deployment: &Value, old: &Value) -> Errors {
        let mut errors = validate(deployment);
        workload::validate_selector_kept(&mut errors, deployment, old);
        errors
    }

    fn validate_status_update(&self, deployment: &Value, old: &Value) -> Errors {
        const COUNTS: &[&str] = &[
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
            "collisionCount",
        ];
        let limited = &["updatedReplicas", "readyReplicas", "availableReplicas"];
        workload::validate_status(deployment, old, COUNTS, limited)
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, deployment: &Value, now: Timestamp) -> Vec<Value> {
        let [names, images] = containers(deployment, "/spec/template/spec/containers");
        let (ready, desired) =
            (int_at(deployment, "/status/readyReplicas"), int_at(deployment, "/spec/replicas"));
        vec![
            name(deployment),
            format!("{ready}/{desired}").into(),
            int_at(deployment, "/status/updatedReplicas").into(),
            int_at(deployment, "/status/availableReplicas").into(),
            age(deployment, now),
            names,
            images,
            selector_text(at(deployment, "/spec/selector")).into(),
        ]
    }
}

fn validate(deployment: &Value) -> Errors {
    let mut errors = Errors::default();
    workload::validate_counts(&mut errors, deployment, &["replicas"]);
    workload::validate_selector(&mut errors, deployment, "deployment");
    let selector = at(deployment, "/spec/selector");
    if workload::is_selector(selector) {
        let path = SPEC.child("template");
        workload::validate_selected(&mut errors, &path, selector, at(deployment, "/spec/template"));
        let why = "activeDeadlineSeconds in ReplicaSet is not Supported";
        workload::validate_lasting_template(&mut errors, deployment, Reason::Forbidden, why);
    } else {
        errors.invalid(&SPEC.child("selector"), selector, "invalid label selector");
    }
    validate_strategy(&mut errors, &SPEC.child("strategy"), at(deployment, "/spec/strategy"));
    let counts = &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"];
    workload::validate_counts(&mut errors, deployment, counts);
    if let Some(deadline) = opt_int(deployment, "/spec/progressDeadlineSeconds")
        && deadline <= int_at(deployment, "/spec/minReadySeconds")
    {
        let path = SPEC.child("progressDeadlineSeconds");
        errors.invalid(&path, &deadline.into(), "must be greater than minReadySeconds");
    }
    errors
}

fn validate_strategy(errors: &mut Errors, path: &Path<'_>, strategy: &Value) {
    let rolling_path = path.child("rollingUpdate");
    match str_at(strategy, "/type") {
        "Recreate" => {
            if has(strategy, "/rollingUpdate") {
                let why = "may not be specified when strategy `type` is 'Recreate'";
                errors.forbidden(&rolling_path, why);
            }
        }
        "RollingUpdate" => {
            let (unavailable, surge) =
                (at(strategy, "/rollingUpdate/maxUnavailable"), at(strategy, "/rollingUpdate/maxSurge"));
            let unavailable_path = rolling_path.child("maxUnavailable");
            int_or_percent(errors, &unavailable_path, unavailable);
            int_or_percent(errors, &rolling_path.child("maxSurge"), surge);
            if int_or_percent_value(unavailable) == 0
                && int_or_percent_value(surge) == 0
                && surge_is_number(surge)
            {
                errors.invalid(&unavailable_path, unavailable, "may not be 0 when `maxSurge` is 0");
            }
            at_most_100_percent(errors, &unavailable_path, unavailable);
        }
        _ => workload::unknown_strategy(errors, path, strategy, &["Recreate", "RollingUpdate"]),
    }
}

/// Whether it is a number or share at all; Go reads other texts as numbers where it can.
fn surge_is_number(surge: &Value) -> bool {
    surge.as_str().is_none_or(|text| text.ends_with('%') || text.parse::<i64>().unwrap_or_default() == 0)
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "string", "Number of the pod with ready state"),
    column(
        "Up-to-date",
        "string",
        "Total number of non-terminating pods targeted by this deployment that have the desired template spec.",
    ),
    column(
        "Available",
        "string",
        "Total number of available non-terminating pods (ready for at least minReadySeconds) targeted by this deployment.",
    ),
    AGE,
    wide("Containers", "string", "Names of each container in the template."),
    wide("Images", "string", "Images referenced by each container in the template."),
    wide(
        "Selector",
        "string",
        "Label selector for pods. Existing ReplicaSets whose pods are selected by this will be the ones affected by this deployment. It must match the pod template's labels.",
    ),
];
