//! Deployments.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::{at, int_at, make_map, set, set_default, str_at};
use crate::registry::core::pod_spec::default_template;
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, containers, name, selector_text, wide};

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

    fn prepare_status_update(&self, deployment: &mut Value, _old: &Value) {
        make_map(deployment, "/status");
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
