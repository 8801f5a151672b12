//! Pods.

mod cells;
mod created;

mod validate;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod_spec::{self, qos_class};
use crate::field::{Errors, Path};
use crate::registry::access::{
    bool_at, get_mut, has, int_at, list_at, list_mut, make_map, of_type, restore, set, str_at,
};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, column, wide};
use crate::validation::ip;

/// The rules of pods.
pub struct Pod;

impl Kind for Pod {
    fn default(&self, pod: &mut Value) {
        if let Some(spec) = get_mut(pod, "/spec") {
            pod_spec::default_spec(spec);
            pod_spec::default_pod(spec);
            if int_at(spec, "/terminationGracePeriodSeconds") < 0 {
                set(spec, "/terminationGracePeriodSeconds", 1);
            }
        }
        default_addresses(pod);
    }

    fn prepare_create(&self, pod: &mut Value, writer: &Writer<'_>) {
        if let Some(spec) = get_mut(pod, "/spec") {
            pod_spec::default_service_account(spec);
        }
        let quality = qos_class(crate::registry::access::at(pod, "/spec"));
        set(pod, "/status", json!({"phase": "Pending", "qosClass": quality}));
        if !list_at(pod, "/spec/schedulingGates").is_empty() {
            let condition = json!({
                "type": "PodScheduled",
                "status": "False",
                "lastProbeTime": null,
                "lastTransitionTime": seconds(writer.now),
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            });
            set(pod, "/status/conditions", json!([condition]));
        }
        created::merge_label_keys(pod);
        created::sync_app_armor(pod);
    }

    fn early_warnings(&self, pod: &Value) -> Vec<String> {
        created::app_armor_warnings(pod)
    }

    fn warnings(&self, pod: &Value, old: Option<&Value>) -> Vec<String> {
        // Pods are changed by machines.
        if old.is_some() {
            return Vec::new();
        }
        let mut warnings = Vec::new();
        warnings.extend(pod_spec::name_warnings(pod, "the Pod's hostname"));
        warnings.extend(pod_spec::warnings(&Path::ROOT, pod));
        warnings
    }

    fn status_warnings(&self, pod: &Value) -> Vec<String> {
        let status = Path::new("status");
        let mut warnings = Vec::new();
        for field in ["podIPs", "hostIPs"] {
            let list = status.child(field);
            for (index, address) in list_at(pod, &format!("/status/{field}")).iter().enumerate() {
                warnings.extend(ip::address_warnings(&list.index(index).child("ip"), str_at(address, "/ip")));
            }
        }
        warnings
    }

    fn validate(&self, pod: &Value) -> Errors {
        validate::validate_create(pod)
    }

    fn validate_update(&self, pod: &Value, old: &Value) -> Errors {
        validate::validate_update(pod, old)
    }

    fn validate_status_update(&self, pod: &Value, old: &Value) -> Errors {
        validate::validate_status_update(pod, old)
    }

    fn validate_part_update(&self, pod: &Value, old: &Value, part: &str) -> Errors {
        match part {
            "ephemeralcontainers" => validate::validate_ephemeral_containers_update(pod, old),
            "resize" => validate::validate_resize(pod, old),
            _ => Errors::default(),
        }
    }

    fn prepare_update(&self, pod: &mut Value, _old: &Value, _writer: &Writer<'_>) {
        if let Some(spec) = get_mut(pod, "/spec") {
            pod_spec::default_service_account(spec);
        }
    }

    fn prepare_status_update(&self, pod: &mut Value, old: &Value) {
        make_map(pod, "/status");
        default_addresses(pod);
        if str_at(pod, "/status/qosClass").is_empty() {
            restore(pod, old, "/status/qosClass");
        }
        restore(pod, old, "/metadata/ownerReferences");
        if !has(pod, "/status/observedGeneration") {
            restore(pod, old, "/status/observedGeneration");
        }
        keep_generations_of_conditions(pod, old);
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, pod: &Value, now: Timestamp) -> Vec<Value> {
        cells::cells(pod, now)
    }

    fn row_conditions(&self, pod: &Value) -> Vec<Value> {
        let (reason, message) = match str_at(pod, "/status/phase") {
            "Succeeded" => ("Succeeded", "The pod has completed successfully."),
            "Failed" => ("Failed", "The pod failed."),
            _ => return Vec::new(),
        };
        vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    }

    fn field_values(&self, pod: &Value) -> Vec<String> {
        let address = str_at(pod, "/status/podIP").to_owned();
        vec![
            str_at(pod, "/spec/nodeName").to_owned(),
            str_at(pod, "/spec/restartPolicy").to_owned(),
            str_at(pod, "/spec/schedulerName").to_owned(),
            str_at(pod, "/spec/serviceAccountName").to_owned(),
            bool_at(pod, "/spec/hostNetwork").to_string(),
            str_at(pod, "/status/phase").to_owned(),
            address,
            // A selector may name the list, but nothing is selected by it.
            String::new(),
            str_at(pod, "/status/nominatedNodeName").to_owned(),
        ]
    }
}

/// Conditions that say nothing of their generation keep that of the old condition of their type: the first of the
/// first, and so on.
fn keep_generations_of_conditions(pod: &mut Value, old: &Value) {
    let mut seen: Vec<String> = Vec::new();
    for condition in list_mut(pod, "/status/conditions") {
        let kind = str_at(condition, "/type").to_owned();
        let nth = seen.iter().filter(|other| **other == kind).count();
        let before =
            list_at(old, "/status/conditions").iter().filter(|was| str_at(was, "/type") == kind).nth(nth);
        if let Some(before) = before.filter(|_| int_at(condition, "/observedGeneration") == 0) {
            restore(condition, before, "/observedGeneration");
        }
        seen.push(kind);
    }
}

/// `podIP` is the first of `podIPs`; where they differ the single one counts.
fn default_addresses(pod: &mut Value) {
    let single = str_at(pod, "/status/podIP").to_owned();
    let first = list_at(pod, "/status/podIPs").first().map(|ip| str_at(ip, "/ip").to_owned());
    match first {
        Some(first) if single.is_empty() => set(pod, "/status/podIP", first),
        Some(first) if first == single => {}
        _ if single.is_empty() => {}
        _ => set(pod, "/status/podIPs", json!([{"ip": single}])),
    }
}

/// A time as `metav1.Time` is written.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Whether the pod's condition of this type is true.
fn is_true(pod: &Value, condition: &str) -> bool {
    of_type(list_at(pod, "/status/conditions"), condition).is_some_and(|c| str_at(c, "/status") == "True")
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "string", "The aggregate readiness state of this pod for accepting traffic."),
    column("Status", "string", "The aggregate status of the containers in this pod."),
    column(
        "Restarts",
        "string",
        "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
    ),
    AGE,
    wide(
        "IP",
        "string",
        "podIP address allocated to the pod. Routable at least within the cluster. Empty if not yet allocated.",
    ),
    wide(
        "Node",
        "string",
        "NodeName indicates in which node this pod is scheduled. If empty, this pod is a candidate for scheduling by the scheduler defined in schedulerName. Once this field is set, the kubelet for this node becomes responsible for the lifecycle of this pod. This field should not be used to express a desire for the pod to be scheduled on a specific node. https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename",
    ),
    wide(
        "Nominated Node",
        "string",
        "nominatedNodeName is set only when this pod preempts other pods on the node, but it cannot be scheduled right away as preemption victims receive their graceful termination periods. This field does not guarantee that the pod will be scheduled on this node. Scheduler may decide to place the pod elsewhere if other nodes become available sooner. Scheduler may also decide to give the resources on this node to a higher priority pod that is created after preemption. As a result, this field may be different than PodSpec.nodeName when the pod is scheduled.",
    ),
    wide(
        "Readiness Gates",
        "string",
        "If specified, all readiness gates will be evaluated for pod readiness. A pod is ready when all its containers are ready AND all conditions specified in the readiness gates have status equal to \"True\" More info: https://git.k8s.io/enhancements/keps/sig-network/580-pod-readiness-gates",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_keep_the_generation_that_they_were_observed_at() {
        let old = json!({"status": {"conditions": [
            {"type": "Ready", "observedGeneration": 3},
            {"type": "Initialized"},
        ]}});
        let mut pod = json!({"status": {"conditions": [
            {"type": "Initialized", "observedGeneration": 4},
            {"type": "Ready"},
            {"type": "Ready"},
        ]}});
        Pod.prepare_status_update(&mut pod, &old);
        assert_eq!(
            pod["status"]["conditions"],
            json!([
                {"type": "Initialized", "observedGeneration": 4},
                {"type": "Ready", "observedGeneration": 3},
                {"type": "Ready"},
            ])
        );
    }

    #[test]
    fn only_who_creates_a_pod_is_warned() {
        let pod = json!({"metadata": {"name": "a.b"}, "spec": {"terminationGracePeriodSeconds": -1}});
        assert_eq!(Pod.warnings(&pod, None).len(), 2);
        assert_eq!(Pod.warnings(&pod, Some(&pod)), [""; 0]);
    }
}
