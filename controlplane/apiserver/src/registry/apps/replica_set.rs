//! Replica sets.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{Errors, Reason};
use crate::registry::access::{at, int_at, make_map, set_default};
use crate::registry::core::pod_spec::{default_template, workload_warnings};
use crate::registry::kind::{Column, Kind, Writer};
use crate::registry::workload::{self, SPEC};
use crate::table::{AGE, NAME, age, column, containers, label_selector, name, wide};

/// The rules of replica sets.
pub struct ReplicaSet;

impl Kind for ReplicaSet {
    fn default(&self, set: &mut Value) {
        set_default(set, "/spec/replicas", 1);
        default_template(set, "/spec/template");
        default_status(set);
    }

    fn prepare_create(&self, set: &mut Value, _writer: &Writer<'_>) {
        default_status(set);
    }

    fn prepare_status_update(&self, set: &mut Value, _old: &Value) {
        default_status(set);
    }

    fn warnings(&self, set: &Value, old: Option<&Value>) -> Vec<String> {
        workload_warnings(set, old, "spec.template")
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
            "replicas",
            "fullyLabeledReplicas",
            "readyReplicas",
            "availableReplicas",
            "observedGeneration",
            "terminatingReplicas",
        ];
        let limited = &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
        workload::validate_status(set, old, COUNTS, limited)
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
            int_at(set, "/spec/replicas").into(),
            int_at(set, "/status/replicas").into(),
            int_at(set, "/status/readyReplicas").into(),
            age(set, now),
            names,
            images,
            label_selector(set, "/spec/selector"),
        ]
    }
}

fn default_status(set: &mut Value) {
    make_map(set, "/status").entry("replicas").or_insert(0.into());
}

fn validate(set: &Value) -> Errors {
    let mut errors = Errors::default();
    workload::validate_counts(&mut errors, set, &["replicas", "minReadySeconds"]);
    workload::validate_selector(&mut errors, set, "deployment");
    let selector = at(set, "/spec/selector");
    if workload::is_selector(selector) {
        let path = SPEC.child("template");
        workload::validate_selected(&mut errors, &path, selector, at(set, "/spec/template"));
        let why = "activeDeadlineSeconds in ReplicaSet is not Supported";
        workload::validate_lasting_template(&mut errors, set, Reason::Forbidden, why);
    } else {
        errors.invalid(&SPEC.child("selector"), selector, "invalid label selector");
    }
    errors
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Desired",
        "integer",
        "Replicas is the number of desired pods. This is a pointer to distinguish between explicit zero and unspecified. Defaults to 1. More info: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset",
    ),
    column(
        "Current",
        "integer",
        "Replicas is the most recently observed number of non-terminating pods. More info: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset",
    ),
    column(
        "Ready",
        "integer",
        "The number of non-terminating pods targeted by this ReplicaSet with a Ready Condition.",
    ),
    AGE,
    wide("Containers", "string", "Names of each container in the template."),
    wide("Images", "string", "Images referenced by each container in the template."),
    wide(
        "Selector",
        "string",
        "Selector is a label query over pods that should match the replica count. Label keys and values that must match in order to be controlled by this replica set. It must match the pod template's labels. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_changed_set_is_checked_twice_and_keeps_its_selector() {
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let set = |value: &str| {
            let mut set = json!({"spec": {"selector": {"matchLabels": {"a": value}}, "template": template}});
            ReplicaSet.default(&mut set);
            set
        };
        let errors = ReplicaSet.validate_update(&set("z"), &set("b"));
        let fields: Vec<&str> = errors.0.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(
            fields,
            ["spec.template.metadata.labels", "spec.template.metadata.labels", "spec.selector"]
        );
    }
}
