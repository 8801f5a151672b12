//! The pod garbage collector: pods that nobody will end any more.
//!
//! - Pods of a node that does not exist, after 40 seconds in which it might appear, and after asking the API
//!   server.
//! - Terminating pods of a node that is down and marked as out of service.
//! - Terminating pods that never got a node.
//! - Ended pods beyond 12,500, those that were evicted and the oldest first.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use kube::api::DeleteParams;

use crate::Context;
use crate::api::Error;
use crate::clock::{Clock, time};
use crate::informers::Informer;
use crate::pods;
use crate::queue::{Key, Queue};

/// How long a node may be missing: its pods can be seen before it is.
const QUARANTINE: Duration = Duration::from_secs(40);
/// Ended pods are counted this long after one more ended.
const GATHER: Duration = Duration::from_secs(20);
/// How many ended pods are kept (`--terminated-pod-gc-threshold`).
const KEPT: usize = 12_500;
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Work {
    /// A node that pods name and that was not there.
    Missing(String),
    /// The pods of a node that may be out of service.
    Down(String),
    /// A pod.
    Pod(Key),
    /// The number of ended pods.
    Ended,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(node) => write!(f, "missing node {node}"),
            Self::Down(node) => write!(f, "node {node}"),
            Self::Pod(key) => write!(f, "pod {key}"),
            Self::Ended => f.write_str("ended pods"),
        }
    }
}

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let collector = Collector {
        pods: context.informers.of(),
        nodes: context.informers.of(),
        clock: context.clock.clone(),
        quarantined: Arc::default(),
        queue: context.queue("orphaned_pods_nodes"),
    };
    let shutdown = context.shutdown.clone();
    async move {
        // Nodes first: a pod must not be taken for an orphan because of the order in which kinds were listed.
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = join(collector.pods.synced(), collector.nodes.synced()) => {}
        }
        collector.subscribe();
        collector.queue.run(4, &shutdown, |work| collector.attend(work)).await;
    }
}

struct Collector {
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    clock: Clock,
    /// Missing nodes that are looked for already.
    quarantined: Arc<Mutex<HashSet<String>>>,
    queue: Queue<Work>,
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
}

/// Whether a node is down, and a person said that it will not come back by itself.
fn is_out_of_service(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    !ready && taints.into_iter().flatten().any(|taint| taint.key == OUT_OF_SERVICE)
}

/// Which of all pods have ended and are too many: evicted ones first, then the oldest.
fn surplus(pods: Vec<Arc<Pod>>, kept: usize) -> Vec<Arc<Pod>> {
    let mut ended: Vec<_> = pods.into_iter().filter(|pod| pods::is_finished(pod)).collect();
    let count = ended.len().saturating_sub(kept);
    if count == 0 {
        return Vec::new();
    }
    let evicted = |pod: &Pod| {
        pod.status.as_ref().is_some_and(|status| {
            status.phase.as_deref() == Some("Failed") && status.reason.as_deref() == Some("Evicted")
        })
    };
    let order = |a: &Arc<Pod>, b: &Arc<Pod>| -> Ordering {
        evicted(b)
            .cmp(&evicted(a))
            .then_with(|| a.metadata.creation_timestamp.cmp(&b.metadata.creation_timestamp))
            .then_with(|| a.metadata.name.cmp(&b.metadata.name))
    };
    ended.sort_by(order);
    ended.truncate(count);
    ended
}

/// The pod as failed, if it has not ended; with the reason in a condition for pods of lost nodes.
fn failed(pod: &Pod, orphaned: bool, now: Timestamp) -> Option<Pod> {
    if pods::is_finished(pod) {
        return None;
    }
    let mut failed = pod.clone();
    let status = failed.status.get_or_insert_default();
    status.phase = Some("Failed".to_owned());
    if orphaned {
        let conditions = status.conditions.get_or_insert_default();
        conditions.retain(|condition| condition.type_ != "DisruptionTarget");
        conditions.push(PodCondition {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
            reason: Some("DeletionByPodGC".to_owned()),
            message: Some("PodGC: node no longer exists".to_owned()),
            last_transition_time: Some(time(now)),
            ..PodCondition::default()
        });
    }
    Some(failed)
}

impl Collector {
    fn subscribe(&self) {
        let (queue, nodes, quarantined) = (self.queue.clone(), self.nodes.clone(), self.quarantined.clone());
        self.pods.subscribe(move |change| {
            let Some(pod) = &change.new else { return };
            let was_finished = change.old.as_ref().is_some_and(|old| pods::is_finished(old));
            if pods::is_finished(pod) && !was_finished {
                queue.add_after(Work::Ended, GATHER);
            }
            match node_of(pod) {
                None if pods::is_terminating(pod) => queue.add(Work::Pod(Key::of(&**pod))),
                None => {}
                Some(name) => match nodes.get("", name) {
                    None => {
                        let mut quarantined = quarantined.lock().unwrap_or_else(PoisonError::into_inner);
                        if quarantined.insert(name.to_owned()) {
                            queue.add_after(Work::Missing(name.to_owned()), QUARANTINE);
                        }
                    }
                    Some(node) if pods::is_terminating(pod) && is_out_of_service(&node) => {
                        queue.add(Work::Pod(Key::of(&**pod)));
                    }
                    Some(_) => {}
                },
            }
        });
        let (queue, quarantined) = (self.queue.clone(), self.quarantined.clone());
        self.nodes.subscribe(move |change| match (&change.old, &change.new) {
            (Some(old), None) => {
                let name = old.metadata.name.clone().unwrap_or_default();
                quarantined.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
                queue.add_after(Work::Missing(name), QUARANTINE);
            }
            (_, Some(node)) if is_out_of_service(node) => {
                queue.add(Work::Down(node.metadata.name.clone().unwrap_or_default()));
            }
            _ => {}
        });
    }

    async fn attend(&self, work: Work) -> Result<(), Error> {
        match work {
            Work::Missing(name) => self.collect_missing(&name).await,
            Work::Down(name) => {
                for pod in self.of_node(&name).into_iter().filter(|pod| pods::is_terminating(pod)) {
                    self.queue.add(Work::Pod(Key::of(&*pod)));
                }
                Ok(())
            }
            Work::Pod(key) => {
                let Some(pod) = self.pods.get(&key.namespace, &key.name) else { return Ok(()) };
                let node = node_of(&pod).map(|name| self.nodes.get("", name));
                let lost = match node {
                    None => true,
                    Some(node) => node.is_some_and(|node| is_out_of_service(&node)),
                };
                if pods::is_terminating(&pod) && lost { self.remove(&pod, false).await } else { Ok(()) }
            }
            Work::Ended => {
                for pod in surplus(self.pods.all(), KEPT) {
                    self.remove(&pod, false).await?;
                }
                Ok(())
            }
        }
    }

    fn of_node(&self, name: &str) -> Vec<Arc<Pod>> {
        let mut pods = self.pods.all();
        pods.retain(|pod| node_of(pod) == Some(name));
        pods
    }

    async fn collect_missing(&self, name: &str) -> Result<(), Error> {
        if self.nodes.get("", name).is_none() && self.nodes.fetch("", name).await?.is_none() {
            for pod in self.of_node(name) {
                tracing::info!(%name, pod = %Key::of(&*pod), "deleting a pod of a node that is gone");
                self.remove(&pod, true).await?;
            }
        }
        self.quarantined.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        Ok(())
    }

    /// Ends the pod in the API, which its node will not do.
    async fn remove(&self, pod: &Pod, orphaned: bool) -> Result<(), Error> {
        if let Some(failed) = failed(pod, orphaned, self.clock.now()) {
            match self.pods.update_status(pod, &failed).await {
                Err(error) if error.is_not_found() => return Ok(()),
                outcome => outcome?,
            }
        }
        self.pods.delete(pod, DeleteParams::default().grace_period(0)).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pods::tests::running;

    fn ended(name: &str, second: i64, reason: Option<&str>) -> Arc<Pod> {
        let mut pod = running(name);
        pod.metadata.creation_timestamp = Some(time(Timestamp::from_second(second).unwrap()));
        let status = pod.status.as_mut().unwrap();
        status.phase = Some("Failed".to_owned());
        status.reason = reason.map(ToOwned::to_owned);
        Arc::new(pod)
    }

    #[test]
    fn of_too_many_ended_pods_the_evicted_go_first_and_then_the_oldest() {
        let pods = vec![
            ended("young", 9, None),
            ended("old", 1, None),
            ended("evicted", 5, Some("Evicted")),
            Arc::new(running("running")),
        ];
        let names = |kept| {
            let doomed = surplus(pods.clone(), kept);
            doomed.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names(1), ["evicted", "old"]);
        assert!(names(3).is_empty());
    }

    #[test]
    fn a_pod_of_a_lost_node_fails_with_a_reason() {
        let now = Timestamp::UNIX_EPOCH;
        let pod = failed(&running("a"), true, now).unwrap();
        let status = pod.status.as_ref().unwrap();
        let condition = status.conditions.as_ref().unwrap().last().unwrap();
        assert_eq!(status.phase.as_deref(), Some("Failed"));
        assert_eq!(condition.reason.as_deref(), Some("DeletionByPodGC"));
        assert_eq!(failed(&pod, true, now), None, "it has ended");
        let plain = failed(&running("a"), false, now).unwrap();
        assert_eq!(plain.status.unwrap().conditions.unwrap().len(), 1);
    }

    #[test]
    fn a_node_is_out_of_service_only_if_it_is_down_too() {
        let node = |ready: &str, taint: &str| -> Node {
            serde_json::from_value(json!({
                "metadata": {"name": "n"},
                "spec": {"taints": [{"key": taint, "effect": "NoExecute"}]},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            }))
            .unwrap()
        };
        assert!(is_out_of_service(&node("Unknown", OUT_OF_SERVICE)));
        assert!(!is_out_of_service(&node("True", OUT_OF_SERVICE)));
        assert!(!is_out_of_service(&node("Unknown", "other")));
    }
}
