//! What the workload controllers know about pods.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::api::Error;
use crate::clock::remaining;

/// Lets users say which pods to scale down first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The pod's phase, or empty.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether all containers ended, one way or the other.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the pod was asked to go.
pub(crate) fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether the pod counts as one of its owner's replicas.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !is_terminating(pod)
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether the pod can serve.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some()
}

/// Since when the pod is ready; `None` if it is not.
fn ready_since(pod: &Pod) -> Option<Timestamp> {
    ready_condition(pod)?.last_transition_time.as_ref().map(|at| at.0)
}

/// Whether a pod has been ready for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    /// It is not ready.
    Unready,
    /// It is ready, and available after this time.
    In(Duration),
    /// It is available.
    Available,
}

/// The availability of `pod` where it must be ready for `min_ready_seconds`.
pub(crate) fn availability(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Availability {
    if !is_ready(pod) {
        return Availability::Unready;
    }
    if min_ready_seconds <= 0 {
        return Availability::Available;
    }
    match ready_since(pod).and_then(|since| remaining(since, min_ready_seconds.into(), now)) {
        Some(wait) => Availability::In(wait),
        None => Availability::Available,
    }
}

/// A pod made from `template` for the owner behind `reference`; it is still to be named.
pub(crate) fn from_template(
    template: &PodTemplateSpec,
    namespace: Option<&String>,
    reference: OwnerReference,
) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            namespace: namespace.cloned(),
            generate_name: Some(format!("{}-", reference.name)),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![reference]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Sorts pods so that those to be deleted first come first.
///
/// In this order: not yet on a node; pending, then unknown, then running; not ready; lower deletion cost; more pods
/// of `related` on the same node; ready for a shorter time; more restarts; younger.
pub(crate) fn sort_for_deletion<P: AsRef<Pod>>(pods: &mut [P], related: &[P]) {
    let mut on_node: HashMap<String, usize> = HashMap::new();
    for pod in related.iter().map(AsRef::as_ref).filter(|pod| is_active(pod)) {
        *on_node.entry(node(pod).to_owned()).or_insert(0) += 1;
    }
    let rank = |pod: &Pod| on_node.get(node(pod)).copied().unwrap_or(0);
    pods.sort_by(|a, b| {
        let (a, b) = (a.as_ref(), b.as_ref());
        let assigned = |pod: &Pod| !node(pod).is_empty();
        assigned(a)
            .cmp(&assigned(b))
            .then_with(|| phase_rank(a).cmp(&phase_rank(b)))
            .then_with(|| is_ready(a).cmp(&is_ready(b)))
            .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
            .then_with(|| rank(b).cmp(&rank(a)))
            .then_with(|| younger_first(ready_since(a), ready_since(b)))
            .then_with(|| restarts(b).cmp(&restarts(a)))
            .then_with(|| younger_first(created(a), created(b)))
    });
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn phase_rank(pod: &Pod) -> u8 {
    match phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    }
}

fn deletion_cost(pod: &Pod) -> i32 {
    let cost = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DELETION_COST));
    cost.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|status| status.restart_count).max().unwrap_or(0)
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|at| at.0)
}

fn younger_first(a: Option<Timestamp>, b: Option<Timestamp>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => b.cmp(&a),
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

/// Does `work` for 0..`count`, in batches of 1, 2, 4, …, and stops after a batch with a failure.
///
/// So a quota or an admission policy that refuses one pod is not asked a hundred times.
pub(crate) async fn slow_start<F, Fut>(count: usize, work: F) -> Result<(), Error>
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Result<(), Error>>,
{
    let (mut done, mut batch) = (0, 1);
    while done < count {
        let upto = count.min(done + batch);
        join_all((done..upto).map(&work)).await.into_iter().collect::<Result<(), _>>()?;
        done = upto;
        batch *= 2;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering as Memory};

    use k8s_openapi::api::core::v1::{PodSpec, PodStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    /// A pod for tests: running, on a node, ready since second 0.
    pub(crate) fn running(name: &str) -> Pod {
        let ready = PodCondition {
            type_: "Ready".into(),
            status: "True".into(),
            last_transition_time: Some(Time(Timestamp::UNIX_EPOCH)),
            ..PodCondition::default()
        };
        Pod {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some("default".into()),
                uid: Some(format!("uid-{name}")),
                creation_timestamp: Some(Time(Timestamp::UNIX_EPOCH)),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec { node_name: Some("node".into()), ..PodSpec::default() }),
            status: Some(PodStatus {
                phase: Some("Running".into()),
                conditions: Some(vec![ready]),
                ..PodStatus::default()
            }),
        }
    }

    fn with(name: &str, change: impl FnOnce(&mut Pod)) -> Arc<Pod> {
        let mut pod = running(name);
        change(&mut pod);
        Arc::new(pod)
    }

    #[test]
    fn a_pod_is_available_only_after_min_ready_seconds() {
        let pod = running("a");
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(availability(&pod, 0, at(0)), Availability::Available);
        assert_eq!(availability(&pod, 10, at(4)), Availability::In(Duration::from_secs(6)));
        assert_eq!(availability(&pod, 10, at(10)), Availability::Available);
        assert_eq!(availability(&Pod::default(), 0, at(10)), Availability::Unready);
    }

    #[test]
    fn scaling_down_prefers_the_pods_that_matter_least() {
        let at = |second| Some(Time(Timestamp::from_second(second).unwrap()));
        let mut pods = vec![
            with("old", |_| {}),
            with("young", |pod| pod.metadata.creation_timestamp = at(50)),
            with("dear", |pod| {
                pod.metadata.annotations = Some([(DELETION_COST.to_owned(), "100".to_owned())].into());
            }),
            with("cheap", |pod| {
                pod.metadata.annotations = Some([(DELETION_COST.to_owned(), "-5".to_owned())].into());
            }),
            with("unready", |pod| pod.status.as_mut().unwrap().conditions = None),
            with("pending", |pod| pod.status.as_mut().unwrap().phase = Some("Pending".into())),
            with("unassigned", |pod| pod.spec.as_mut().unwrap().node_name = None),
            with("crowded", |pod| pod.spec.as_mut().unwrap().node_name = Some("crowd".into())),
        ];
        let crowd: Vec<_> = (0..20)
            .map(|n| {
                with(&format!("r{n}"), |pod| pod.spec.as_mut().unwrap().node_name = Some("crowd".into()))
            })
            .collect();
        let related = [pods.clone(), crowd].concat();
        sort_for_deletion(&mut pods, &related);
        let names: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
        assert_eq!(names, ["unassigned", "pending", "unready", "cheap", "crowded", "young", "old", "dear"]);
    }

    #[tokio::test]
    async fn slow_start_stops_after_the_first_refused_batch() {
        let asked = AtomicUsize::new(0);
        let outcome = slow_start(100, |index| {
            asked.fetch_add(1, Memory::SeqCst);
            async move { if index == 1 { Err(Error::NotYet("quota".into())) } else { Ok(()) } }
        })
        .await;
        assert!(outcome.is_err());
        assert_eq!(asked.load(Memory::SeqCst), 3);
    }
}
