//! What the host reports about a pod, told to the virtual one.
//!
//! The host owns the status, with four exceptions:
//!
//! | field                      | owner                                                             |
//! |----------------------------|-------------------------------------------------------------------|
//! | `qosClass`                 | virtual; immutable, and the host's containers may differ          |
//! | `observedGeneration`       | the virtual generation the host has seen                          |
//! | readiness gates' conditions | who changed last, against the base kept on the host pod           |
//! | other foreign conditions   | virtual, unless the host has one of that type                     |
//!
//! Containers that host admission injected are left out.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodCondition, PodStatus};

use crate::sanitise::Sanitiser;

/// Host annotation: the readiness gates' states when both sides last agreed.
pub(crate) const GATES: &str = "vkube.dev/gates";

/// Conditions that kubelet and scheduler of the host set. That a pod is to be disrupted (`DisruptionTarget`), either side
/// may say: tenants evict too.
const HOST_CONDITIONS: [&str; 8] = [
    "PodScheduled",
    "Initialized",
    "ContainersReady",
    "Ready",
    "PodReadyToStartContainers",
    "PodResizePending",
    "PodResizeInProgress",
    "AllContainersRestarting",
];

/// The outcome of comparing both sides' status.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Exchange {
    /// The status the virtual pod should have.
    pub status: PodStatus,
    /// Conditions of readiness gates that the host has to learn.
    pub push: Vec<PodCondition>,
    /// The new base to keep on the host pod, if it changed.
    pub base: Option<String>,
}

/// Compares the status of a virtual pod and its host pod.
pub(crate) fn exchange(pod: &Pod, host: &Pod, sanitiser: &Sanitiser) -> Exchange {
    let mut status = host.status.clone().unwrap_or_default();
    let current = pod.status.clone().unwrap_or_default();
    let observed = observed_generation(pod, host);

    keep_own(pod, &mut status);
    status.qos_class = current.qos_class;
    status.observed_generation = observed;
    status.resource_claim_statuses = None;
    status.extended_resource_claim_status = None;
    status.message = status.message.map(|message| sanitiser.clean(&message));

    let (push, base) = merge_conditions(pod, host, current.conditions.unwrap_or_default(), &mut status);
    for condition in status.conditions.iter_mut().flatten() {
        condition.observed_generation = condition.observed_generation.and(observed);
        condition.message = condition.message.take().map(|message| sanitiser.clean(&message));
    }
    let containers = status
        .container_statuses
        .iter_mut()
        .chain(status.init_container_statuses.iter_mut())
        .chain(status.ephemeral_container_statuses.iter_mut())
        .flatten();
    for container in containers {
        clean_states(container, sanitiser);
    }
    Exchange { status, push, base }
}

/// The virtual generation, once the host has observed everything that was written to it.
fn observed_generation(pod: &Pod, host: &Pod) -> Option<i64> {
    let seen = host.status.as_ref().and_then(|status| status.observed_generation)?;
    if seen >= host.metadata.generation.unwrap_or(0) {
        return pod.metadata.generation;
    }
    pod.status.as_ref().and_then(|status| status.observed_generation)
}

fn keep_own(pod: &Pod, status: &mut PodStatus) {
    let Some(spec) = &pod.spec else { return };
    let keep = |statuses: &mut Option<Vec<ContainerStatus>>, names: &[&str]| {
        if let Some(list) = statuses {
            list.retain(|status| names.contains(&status.name.as_str()));
        }
    };
    let names: Vec<&str> = spec.containers.iter().map(|container| container.name.as_str()).collect();
    keep(&mut status.container_statuses, &names);
    let names: Vec<&str> = spec.init_containers.iter().flatten().map(|c| c.name.as_str()).collect();
    keep(&mut status.init_container_statuses, &names);
    let names: Vec<&str> = spec.ephemeral_containers.iter().flatten().map(|c| c.name.as_str()).collect();
    keep(&mut status.ephemeral_container_statuses, &names);
}

fn merge_conditions(
    pod: &Pod,
    host: &Pod,
    virtual_conditions: Vec<PodCondition>,
    status: &mut PodStatus,
) -> (Vec<PodCondition>, Option<String>) {
    let mut merged = status.conditions.take().unwrap_or_default();
    let stored = host.metadata.annotations.as_ref().and_then(|annotations| annotations.get(GATES));
    let base: BTreeMap<String, String> =
        stored.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let gates: Vec<&str> = gates.map(|gate| gate.condition_type.as_str()).collect();

    let mut push = Vec::new();
    let mut agreed = BTreeMap::new();
    for condition in virtual_conditions {
        let at = merged.iter().position(|other| other.type_ == condition.type_);
        if gates.contains(&condition.type_.as_str()) {
            let changed_here = base.get(&condition.type_) != Some(&condition.status);
            match at.and_then(|at| merged.get_mut(at)) {
                Some(other) if !changed_here => {
                    agreed.insert(condition.type_.clone(), other.status.clone());
                }
                Some(other) => {
                    if other.status != condition.status {
                        push.push(condition.clone());
                    }
                    agreed.insert(condition.type_.clone(), condition.status.clone());
                    *other = condition;
                }
                None => {
                    push.push(condition.clone());
                    agreed.insert(condition.type_.clone(), condition.status.clone());
                    merged.push(condition);
                }
            }
        } else if at.is_none() && !HOST_CONDITIONS.contains(&condition.type_.as_str()) {
            merged.push(condition);
        }
    }
    for condition in &merged {
        if gates.contains(&condition.type_.as_str()) && !agreed.contains_key(&condition.type_) {
            agreed.insert(condition.type_.clone(), condition.status.clone());
        }
    }

    status.conditions = Some(merged).filter(|conditions| !conditions.is_empty());
    let base = (agreed != base).then(|| serde_json::to_string(&agreed).unwrap_or_default());
    (push, base)
}

fn clean_states(status: &mut ContainerStatus, sanitiser: &Sanitiser) {
    let clean = |state: &mut Option<ContainerState>| {
        let Some(state) = state else { return };
        if let Some(message) = state.waiting.as_mut().and_then(|waiting| waiting.message.as_mut()) {
            *message = sanitiser.clean(message);
        }
    };
    clean(&mut status.state);
    clean(&mut status.last_state);
}
