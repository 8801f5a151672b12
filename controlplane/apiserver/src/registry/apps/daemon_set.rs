//! Daemon sets.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{Errors, Path, Reason};
use crate::registry::access::{at, int_at, make_map, restore, set_default, str_at};
use crate::registry::core::pod_spec::{default_template, template_warnings};
use crate::registry::kind::{Column, Kind, Writer};
use crate::registry::workload::{self, SPEC};
use crate::table::{AGE, NAME, age, column, containers, label_selector, labels, name, wide};
use crate::validation::fields::{at_most_100_percent, int_or_percent, int_or_percent_value};
use crate::validation::labels;

/// Counts the changes of the template, for clients from before controller revisions.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The rules of daemon sets.
pub struct DaemonSet;

impl Kind for DaemonSet {
    fn default(&self, set: &mut Value) {
        set_default(set, "/spec/updateStrategy/type", "RollingUpdate");
        if str_at(set, "/spec/updateStrategy/type") == "RollingUpdate" {
            set_default(set, "/spec/updateStrategy/rollingUpdate/maxUnavailable", 1);
            set_default(set, "/spec/updateStrategy/rollingUpdate/maxSurge", 0);
        }
        set_default(set, "/spec/revisionHistoryLimit", 10);
        default_template(set, "/spec/template");
        default_status(set);
        // Whoever writes the set owns the annotation, even when the server counts on.
        if at(set, "/metadata/annotations").get(TEMPLATE_GENERATION).is_none() {
            count_template(set, 0);
        }
    }

    fn prepare_create(&self, set: &mut Value, _writer: &Writer<'_>) {
        default_status(set);
        count_template(set, 1);
    }

    fn prepare_update(&self, set: &mut Value, old: &Value, _writer: &Writer<'_>) {
        let counted = template_generation(old);
        let changed = at(set, "/spec/template") != at(old, "/spec/template");
        count_template(set, counted + i64::from(changed));
        if changed {
            restore(set, old, "/metadata/generation");
        }
    }

    fn prepare_status_update(&self, set: &mut Value, _old: &Value) {
        default_status(set);
    }

    fn warnings(&self, set: &Value, old: Option<&Value>) -> Vec<String> {
        template_warnings(set, old, "spec.template")
    }

    fn validate(&self, set: &Value) -> Errors {
        validate(set)
    }

    fn validate_update(&self, set: &Value, old: &Value) -> Errors {
        let mut errors = self.validate_twice(set);
        workload::validate_selector_kept(&mut errors, set, old);
        errors
    }

    fn validate_status_update(&self, set: &Value, old: &Value) -> Errors {
        const COUNTS: &[&str] = &[
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ];
        workload::validate_status(set, old, COUNTS, &[])
    }

    fn annotations_of_versions(&self) -> &'static [&'static str] {
        &[TEMPLATE_GENERATION]
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, set: &Value, now: Timestamp) -> Vec<Value> {
        let [names, images] = containers(set, "/spec/template/spec/containers");
        vec![
            name(set),
            int_at(set, "/status/desiredNumberScheduled").into(),
            int_at(set, "/status/currentNumberScheduled").into(),
            int_at(set, "/status/numberReady").into(),
            int_at(set, "/status/updatedNumberScheduled").into(),
            int_at(set, "/status/numberAvailable").into(),
            labels(set, "/spec/template/spec/nodeSelector"),
            age(set, now),
            names,
            images,
            label_selector(set, "/spec/selector"),
        ]
    }
}

fn default_status(set: &mut Value) {
    let status = make_map(set, "/status");
    for count in ["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"] {
        status.entry(count).or_insert(0.into());
    }
}

fn template_generation(set: &Value) -> i64 {
    let annotation = at(set, "/metadata/annotations").get(TEMPLATE_GENERATION).and_then(Value::as_str);
    annotation.and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn count_template(set: &mut Value, generation: i64) {
    make_map(set, "/metadata/annotations").insert(TEMPLATE_GENERATION.into(), generation.to_string().into());
}

fn validate(set: &Value) -> Errors {
    let mut errors = Errors::default();
    let (selector, template) = (at(set, "/spec/selector"), at(set, "/spec/template"));
    let selector_path = SPEC.child("selector");
    labels::selector(&mut errors, &selector_path, selector);
    if workload::is_selector(selector) {
        workload::validate_selected(&mut errors, &SPEC.child("template"), selector, template);
    }
    if !selector.is_null() && labels::is_empty(selector) {
        errors.invalid(&selector_path, selector, "empty selector is invalid for daemonset");
    }
    workload::validate_lasting_template(&mut errors, set, Reason::Invalid, "must not be specified");
    workload::validate_counts(&mut errors, set, &["minReadySeconds"]);
    validate_strategy(&mut errors, &SPEC.child("updateStrategy"), at(set, "/spec/updateStrategy"));
    workload::validate_counts(&mut errors, set, &["revisionHistoryLimit"]);
    errors
}

fn validate_strategy(errors: &mut Errors, path: &Path<'_>, strategy: &Value) {
    match str_at(strategy, "/type") {
        "OnDelete" => {}
        "RollingUpdate" => {
            let (unavailable, surge) =
                (at(strategy, "/rollingUpdate/maxUnavailable"), at(strategy, "/rollingUpdate/maxSurge"));
            let path = path.child("rollingUpdate");
            let (unavailable_path, surge_path) = (path.child("maxUnavailable"), path.child("maxSurge"));
            int_or_percent(errors, &unavailable_path, unavailable);
            int_or_percent(errors, &surge_path, surge);
            let (without, beyond) = (int_or_percent_value(unavailable), int_or_percent_value(surge));
            if without != 0 && beyond != 0 {
                errors.invalid(&surge_path, surge, "may not be set when maxUnavailable is non-zero");
            }
            if without == 0 && beyond == 0 {
                errors.required(&unavailable_path, "cannot be 0 when maxSurge is 0");
            }
            at_most_100_percent(errors, &unavailable_path, unavailable);
            at_most_100_percent(errors, &surge_path, surge);
        }
        _ => workload::unknown_strategy(errors, path, strategy, &["RollingUpdate", "OnDelete"]),
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Desired",
        "integer",
        "The total number of nodes that should be running the daemon pod (including nodes correctly running the daemon pod). More info: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/",
    ),
    column(
        "Current",
        "integer",
        "The number of nodes that are running at least 1 daemon pod and are supposed to run the daemon pod. More info: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/",
    ),
    column(
        "Ready",
        "integer",
        "numberReady is the number of nodes that should be running the daemon pod and have one or more of the daemon pod running with a Ready Condition.",
    ),
    column("Up-to-date", "integer", "The total number of nodes that are running updated daemon pod"),
    column(
        "Available",
        "integer",
        "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running and available (ready for at least spec.minReadySeconds)",
    ),
    column(
        "Node Selector",
        "string",
        "NodeSelector is a selector which must be true for the pod to fit on a node. Selector which must match a node's labels for the pod to be scheduled on that node. More info: https://kubernetes.io/docs/concepts/configuration/assign-pod-node/",
    ),
    AGE,
    wide("Containers", "string", "Names of each container in the template."),
    wide("Images", "string", "Images referenced by each container in the template."),
    wide(
        "Selector",
        "string",
        "A label query over pods that are managed by the daemon set. Must match in order to be controlled. It must match the pod template's labels. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors",
    ),
];
