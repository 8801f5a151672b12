//! What to do about a pod, given both sides. Pure; the order of the rules is the specification.

use k8s_openapi::api::core::v1::Pod;

use crate::labels::virtual_uid;

/// The next step for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Both sides are as they should be, or a watch event will tell when to look again.
    Nothing,
    /// Create the host pod.
    Create,
    /// Both run: bring the host pod up to date and the status back.
    Exchange,
    /// Like `Exchange`, after deleting the host pod with this grace period.
    Terminate { grace: Option<i64> },
    /// The host pod stands for a virtual pod that is gone: remove it.
    Discard,
    /// The host is taking its pod away: start deleting the virtual one with this grace period.
    Evict { grace: i64 },
    /// The host pod is gone for good: finish the virtual one.
    Finish,
}

/// Who gives pods their nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// The host's scheduler.
    Host,
    /// One in the virtual cluster.
    Virtual,
}

/// Decides the next step.
pub(crate) fn decide(pod: Option<&Pod>, host: Option<&Pod>, placement: Placement) -> Step {
    match (pod, host) {
        (None, None) => Step::Nothing,
        (None, Some(host)) => {
            if is_deleting(host) {
                return Step::Nothing;
            }
            Step::Discard
        }
        (Some(pod), None) => without_host(pod, placement),
        (Some(pod), Some(host)) => with_host(pod, host),
    }
}

fn without_host(pod: &Pod, placement: Placement) -> Step {
    if is_deleting(pod) {
        return Step::Finish;
    }
    if is_terminal(pod) {
        return Step::Nothing;
    }
    if was_started(pod) {
        return Step::Finish;
    }
    match placement {
        Placement::Host if is_scheduled(pod) => Step::Finish,
        Placement::Virtual if node(pod).is_none() => Step::Nothing,
        Placement::Host | Placement::Virtual => Step::Create,
    }
}

fn with_host(pod: &Pod, host: &Pod) -> Step {
    if virtual_uid(&host.metadata) != pod.metadata.uid.as_deref() {
        // An earlier pod of this name; ours is created when it has gone.
        return if is_deleting(host) { Step::Nothing } else { Step::Discard };
    }
    let grace = |pod: &Pod| pod.metadata.deletion_grace_period_seconds;
    match (is_deleting(pod), is_deleting(host)) {
        (true, false) => Step::Terminate { grace: grace(pod) },
        (true, true) => match (grace(pod), grace(host)) {
            (Some(wanted), Some(given)) if wanted < given => Step::Terminate { grace: Some(wanted) },
            _ => Step::Exchange,
        },
        (false, true) => Step::Evict { grace: grace(host).unwrap_or(30) },
        (false, false) if is_misplaced(pod, host) => Step::Evict { grace: 0 },
        (false, false) => Step::Exchange,
    }
}

/// Both run on a node, but not on the same one.
fn is_misplaced(pod: &Pod, host: &Pod) -> bool {
    match (node(pod), node(host)) {
        (Some(here), Some(there)) => here != there,
        _ => false,
    }
}

/// The node a pod is bound to.
pub(crate) fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

pub(crate) fn is_deleting(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether the host had the pod before: only its kubelet sets the start time.
fn was_started(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.start_time.is_some())
}

/// Whether a scheduler has given the pod a node. Where that is the host's, the host had the pod.
fn is_scheduled(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "PodScheduled" && condition.status == "True")
}
