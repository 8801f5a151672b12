//! Replication controllers.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod_spec::{default_template, workload_warnings};
use crate::field::{Errors, Reason};
use crate::registry::access::{at, count_at, entries, get, has, int_at, make_map, remove, set, set_default};
use crate::registry::kind::{Column, Kind, Writer};
use crate::registry::workload::{self, SPEC};
use crate::table::{AGE, NAME, age, column, containers, labels, name, wide};

/// The rules of replication controllers.
pub struct ReplicationController;

impl Kind for ReplicationController {
    fn default(&self, controller: &mut Value) {
        set_default(controller, "/spec/replicas", 1);
        // Declared with a default of 0, which is not shown.
        if int_at(controller, "/spec/minReadySeconds") == 0 {
            remove(controller, "/spec/minReadySeconds");
        }
        if has(controller, "/spec/template") {
            default_template(controller, "/spec/template");
        }
        if let Some(labels) = get(controller, "/spec/template/metadata/labels").cloned() {
            if count_at(controller, "/spec/selector") == 0 {
                set(controller, "/spec/selector", labels.clone());
            }
            if count_at(controller, "/metadata/labels") == 0 {
                set(controller, "/metadata/labels", labels);
            }
        }
        default_status(controller);
    }

    fn prepare_create(&self, controller: &mut Value, _writer: &Writer<'_>) {
        set(controller, "/status", json!({"replicas": 0}));
    }

    fn prepare_status_update(&self, controller: &mut Value, _old: &Value) {
        default_status(controller);
    }

    fn warnings(&self, controller: &Value, old: Option<&Value>) -> Vec<String> {
        workload_warnings(controller, old, "spec.template")
    }

    fn validate(&self, controller: &Value) -> Errors {
        validate(controller)
    }

    /// The counts are checked by declaration, and so once.
    fn validate_update(&self, controller: &Value, _old: &Value) -> Errors {
        let mut errors = validate(controller);
        let again = errors
            .0
            .iter()
            .filter(|error| !matches!(error.field.as_str(), "spec.replicas" | "spec.minReadySeconds"));
        let again = Errors(again.cloned().collect());
        errors.extend(again);
        errors
    }

    fn validate_status_update(&self, controller: &Value, old: &Value) -> Errors {
        const COUNTS: &[&str] =
            &["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"];
        let limited = &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
        workload::validate_status(controller, old, COUNTS, limited)
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, controller: &Value, now: Timestamp) -> Vec<Value> {
        let [names, images] = containers(controller, "/spec/template/spec/containers");
        vec![
            name(controller),
            int_at(controller, "/spec/replicas").into(),
            int_at(controller, "/status/replicas").into(),
            int_at(controller, "/status/readyReplicas").into(),
            age(controller, now),
            names,
            images,
            labels(controller, "/spec/selector"),
        ]
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }

    fn field_values(&self, controller: &Value) -> Vec<String> {
        vec![int_at(controller, "/status/replicas").to_string()]
    }
}

fn default_status(controller: &mut Value) {
    make_map(controller, "/status").entry("replicas").or_insert(0.into());
}

fn validate(controller: &Value) -> Errors {
    let mut errors = Errors::default();
    workload::validate_counts(&mut errors, controller, &["minReadySeconds"]);
    if count_at(controller, "/spec/selector") == 0 {
        errors.required(&SPEC.child("selector"), "");
    }
    workload::validate_counts(&mut errors, controller, &["replicas"]);
    let path = SPEC.child("template");
    let Some(template) = get(controller, "/spec/template") else {
        errors.required(&path, "");
        return errors;
    };
    let labels = at(template, "/metadata/labels");
    if !entries(controller, "/spec/selector").all(|(key, value)| labels.get(key) == Some(value)) {
        errors.invalid(
            &path.child("metadata").child("labels"),
            labels,
            "`selector` does not match template `labels`",
        );
    }
    let why = "activeDeadlineSeconds in ReplicationController is not Supported";
    workload::validate_lasting_template(&mut errors, controller, Reason::Forbidden, why);
    errors
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Desired",
        "integer",
        "Replicas is the number of desired replicas. This is a pointer to distinguish between explicit zero and unspecified. Defaults to 1. More info: https://kubernetes.io/docs/concepts/workloads/controllers/replicationcontroller#what-is-a-replicationcontroller",
    ),
    column(
        "Current",
        "integer",
        "Replicas is the most recently observed number of replicas. More info: https://kubernetes.io/docs/concepts/workloads/controllers/replicationcontroller#what-is-a-replicationcontroller",
    ),
    column("Ready", "integer", "The number of ready replicas for this replication controller."),
    AGE,
    wide("Containers", "string", "Names of each container in the template."),
    wide("Images", "string", "Images referenced by each container in the template."),
    wide(
        "Selector",
        "string",
        "Selector is a label query over pods that should match the Replicas count. If Selector is empty, it is defaulted to the labels present on the Pod template. Label keys and values that must match in order to be controlled by this replication controller, if empty defaulted to labels on Pod template. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors",
    ),
];
