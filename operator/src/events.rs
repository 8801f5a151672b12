//! Events, on transitions only.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder};
use vkube_crds::{Phase, VirtualCluster, VirtualClusterPolicy, VirtualClusterStatus};

use crate::reason::Reason;

/// What became different between two statuses, as events. Pure.
pub fn transitions(before: &VirtualClusterStatus, after: &VirtualClusterStatus) -> Vec<Event> {
    let mut events = Vec::new();
    if before.phase != after.phase
        && let Some(phase) = after.phase
        && let Some((reason, note)) = announcement(phase, before.phase)
    {
        events.push(event(EventType::Normal, reason.as_str(), note));
    }
    for type_ in ["Stalled", "Reconciling", "PolicyAccepted", "ConfigAccepted", "Available"] {
        let (old, new) = (find(&before.conditions, type_), find(&after.conditions, type_));
        let Some(new) = new else { continue };
        let same = old.is_some_and(|old| old.status == new.status && old.reason == new.reason);
        if !same && is_trouble(new) {
            events.push(event(EventType::Warning, &new.reason, &new.message));
        }
    }
    let ended = |status: &VirtualClusterStatus| {
        status.certificates.iter().map(|one| (one.name.clone(), one.not_after.clone())).collect::<Vec<_>>()
    };
    if !before.certificates.is_empty() && before.kubeconfig.is_some() && ended(before) != ended(after) {
        events.push(event(EventType::Normal, Reason::Rotated.as_str(), "certificates were reissued"));
    }
    events
}

/// Publishes events of a cluster. A lost event is logged and not retried: the status has it all.
pub async fn publish(recorder: &Recorder, cluster: &VirtualCluster, events: Vec<Event>) {
    publish_on(recorder, &cluster.object_ref(&()), events).await;
}

/// Tells a policy of a cluster that asks for what it forbids, unless that cluster has been told the same already.
pub async fn publish_violation(
    recorder: &Recorder,
    policy: &VirtualClusterPolicy,
    cluster: &VirtualCluster,
    message: &str,
) {
    let rejected = Reason::PolicyRejected.as_str();
    let conditions = cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let before = find(conditions, "PolicyAccepted");
    if before.is_some_and(|before| before.reason == rejected && before.message == message) {
        return;
    }
    let metadata = &cluster.metadata;
    let name = |part: &Option<String>| part.clone().unwrap_or_default();
    let note = format!("VirtualCluster {}/{}: {message}", name(&metadata.namespace), name(&metadata.name));
    let event = event(EventType::Warning, rejected, &note);
    publish_on(recorder, &policy.object_ref(&()), vec![event]).await;
}

async fn publish_on(recorder: &Recorder, reference: &ObjectReference, events: Vec<Event>) {
    for event in events {
        if let Err(error) = recorder.publish(&event, reference).await {
            tracing::debug!(%error, reason = event.reason, "failed to publish an event");
        }
    }
}

/// An event of the operator.
pub fn event(type_: EventType, reason: &str, note: &str) -> Event {
    // The API limits a note to 1 kB.
    const LIMIT: usize = 1000;
    let end = (0..=note.len().min(LIMIT)).rev().find(|end| note.is_char_boundary(*end)).unwrap_or_default();
    let note = note.get(..end).unwrap_or_default().to_owned();
    Event { type_, reason: reason.to_owned(), note: Some(note), action: "Reconcile".into(), secondary: None }
}

fn announcement(phase: Phase, before: Option<Phase>) -> Option<(Reason, &'static str)> {
    Some(match phase {
        Phase::Provisioning => (Reason::Provisioning, "the cluster is being built"),
        Phase::Running => (Reason::Running, "the cluster is ready"),
        Phase::Updating if before == Some(Phase::Running) => {
            (Reason::Updating, "the cluster is being changed")
        }
        Phase::Sleeping => (Reason::Sleeping, "the cluster is asleep"),
        Phase::Paused => (Reason::Paused, "the operator leaves the cluster as it is"),
        Phase::Deleting => (Reason::Deleting, "the cluster is being deleted"),
        // A stalled cluster has a warning of its own.
        Phase::Pending | Phase::Failed | Phase::Updating => return None,
    })
}

fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

fn is_trouble(condition: &Condition) -> bool {
    match condition.type_.as_str() {
        "Stalled" => true,
        "Reconciling" => condition.reason == Reason::ProgressingWithRetry.as_str(),
        "PolicyAccepted" => {
            let is_unknown = condition.status == "Unknown" && condition.reason != Reason::Waiting.as_str();
            is_unknown || condition.reason == Reason::PolicyAmbiguous.as_str()
        }
        "ConfigAccepted" => condition.reason == Reason::ConfigMissing.as_str(),
        _ => condition.reason == Reason::ApiUnreachable.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn mk(phase: Phase, conditions: &[(&str, &str, Reason)]) -> VirtualClusterStatus {
        VirtualClusterStatus {
            phase: Some(phase),
            conditions: conditions
                .iter()
                .map(|(type_, status, reason)| Condition {
                    type_: (*type_).into(),
                    status: (*status).into(),
                    reason: reason.as_str().into(),
                    message: "why".into(),
                    observed_generation: None,
                    last_transition_time: Time(Timestamp::UNIX_EPOCH),
                })
                .collect(),
            ..VirtualClusterStatus::default()
        }
    }

    fn reasons(before: &VirtualClusterStatus, after: &VirtualClusterStatus) -> Vec<String> {
        transitions(before, after).into_iter().map(|event| event.reason).collect()
    }

    #[test]
    fn nothing_new_is_no_event() {
        let status = mk(Phase::Failed, &[("Stalled", "True", Reason::InvalidSpec)]);
        assert!(transitions(&status, &status).is_empty());
    }

    #[test]
    fn becoming_ready_is_an_event() {
        assert_eq!(reasons(&mk(Phase::Provisioning, &[]), &mk(Phase::Running, &[])), ["Running"]);
    }

    #[test]
    fn stalling_for_another_reason_is_another_event() {
        let before = mk(Phase::Failed, &[("Stalled", "True", Reason::InvalidSpec)]);
        let after = mk(Phase::Failed, &[("Stalled", "True", Reason::PolicyRejected)]);
        assert_eq!(reasons(&before, &after), ["PolicyRejected"]);
    }

    #[test]
    fn progress_is_no_warning_but_retrying_is() {
        let none = mk(Phase::Provisioning, &[]);
        let working = mk(Phase::Provisioning, &[("Reconciling", "True", Reason::Progressing)]);
        let retrying = mk(Phase::Provisioning, &[("Reconciling", "True", Reason::ProgressingWithRetry)]);
        assert!(reasons(&none, &working).is_empty());
        assert_eq!(reasons(&working, &retrying), ["ProgressingWithRetry"]);
    }
}
