//! The taint eviction controller: pods leave nodes whose `NoExecute` taints they do not tolerate, or not for ever.
//!
//! 1. A node's taints, or a pod's node or tolerations, change: the pod is looked at.
//! 2. Decide ([`judge`], pure): it stays, leaves at some time, or leaves now.
//! 3. Say so in the pod's `DisruptionTarget` condition, then delete it.
//!
//! How long a toleration lasts counts from when the taint was added, so that a restart does not begin anew.
//!
//! Source: <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, Taint};
use kube::api::DeleteParams;

use crate::Context;
use crate::api::Error;
use crate::clock::{Clock, remaining, time};
use crate::events::{Note, Recorder};
use crate::informers::{Change, Informer};
use crate::node_fit::tolerates;
use crate::pods;
use crate::queue::{Key, Queue};

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let controller = Controller {
        nodes: context.informers.of(),
        pods: context.informers.of(),
        recorder: context.recorder.named("taint-eviction-controller"),
        clock: context.clock.clone(),
        queue: context.queue("noexec_taint_pod"),
        leaving: Mutex::default(),
    };
    controller.wake_on_pods();
    controller.wake_on_nodes();
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = join(controller.nodes.synced(), controller.pods.synced()) => {}
        }
        controller.queue.run(8, &shutdown, |key| controller.reconcile(key)).await;
    }
}

struct Controller {
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    recorder: Recorder,
    clock: Clock,
    queue: Queue<Key>,
    /// Pods that will have to leave, so that it can be told when they need not after all.
    leaving: Mutex<HashSet<Key>>,
}

/// What the taints of its node mean for a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Stays,
    LeavesIn(Duration),
    Leaves,
}

/// The taints that pods must tolerate to stay.
fn evicting(node: &Node) -> impl Iterator<Item = &Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == "NoExecute")
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// Of several tolerations of one taint, the one that ends first counts.
fn judge(pod: &Pod, node: &Node, now: Timestamp) -> Verdict {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let mut first: Option<Duration> = None;
    for taint in evicting(node) {
        let mut matching = tolerations.iter().filter(|one| tolerates(one, taint)).peekable();
        if matching.peek().is_none() {
            return Verdict::Leaves;
        }
        let Some(seconds) = matching.filter_map(|one| one.toleration_seconds).min() else { continue };
        let since = taint.time_added.as_ref().map_or(now, |at| at.0);
        let Some(left) = remaining(since, seconds.max(0), now) else { return Verdict::Leaves };
        first = Some(first.map_or(left, |first| first.min(left)));
    }
    first.map_or(Verdict::Stays, Verdict::LeavesIn)
}

/// The pod with the announcement that it will be deleted.
fn announce(pod: &Pod, now: Timestamp) -> Pod {
    let mut announced = pod.clone();
    let conditions = announced.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != "DisruptionTarget");
    conditions.push(PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some("DeletionByTaintManager".to_owned()),
        message: Some("Taint manager: deleting due to NoExecute taint".to_owned()),
        last_transition_time: Some(time(now)),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    });
    announced
}

impl Controller {
    fn wake_on_pods(&self) {
        let (nodes, queue) = (self.nodes.clone(), self.queue.clone());
        self.pods.subscribe(move |Change { old, new }| {
            let Some(pod) = new else { return };
            let place =
                |pod: &Pod| pod.spec.as_ref().map(|spec| (spec.node_name.clone(), spec.tolerations.clone()));
            if old.as_ref().is_some_and(|old| place(old) == place(pod)) {
                return;
            }
            let node = node_of(pod).and_then(|name| nodes.get("", name));
            if node.is_some_and(|node| evicting(&node).next().is_some()) {
                queue.add(Key::of(&**pod));
            }
        });
    }

    fn wake_on_nodes(&self) {
        let (pods, queue) = (self.pods.clone(), self.queue.clone());
        self.nodes.subscribe(move |Change { old, new }| {
            let Some(node) = new else { return };
            let before = old.as_ref().map(|old| evicting(old).collect::<Vec<_>>()).unwrap_or_default();
            if before == evicting(node).collect::<Vec<_>>() {
                return;
            }
            for pod in pods.all() {
                if node_of(&pod) == node.metadata.name.as_deref() {
                    queue.add(Key::of(&*pod));
                }
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        let found = self.pods.get(&key.namespace, &key.name).filter(|pod| !pods::is_terminating(pod));
        let node = found.as_ref().and_then(|pod| self.nodes.get("", node_of(pod)?));
        let (Some(pod), Some(node)) = (found, node) else {
            self.leaving().remove(&key);
            return Ok(());
        };
        let now = self.clock.now();
        match judge(&pod, &node, now) {
            Verdict::Stays => {
                if self.leaving().remove(&key) {
                    let message = format!("Cancelling deletion of Pod {key}");
                    self.recorder.tell(&*pod, Note::normal("TaintManagerEviction", message));
                }
                Ok(())
            }
            Verdict::LeavesIn(wait) => {
                self.leaving().insert(key.clone());
                self.queue.add_after(key, wait);
                Ok(())
            }
            Verdict::Leaves => {
                let message = format!("Marking for deletion Pod {key}");
                self.recorder.tell(&*pod, Note::normal("TaintManagerEviction", message));
                self.evict(&pod, now).await?;
                self.leaving().remove(&key);
                Ok(())
            }
        }
    }

    async fn evict(&self, pod: &Arc<Pod>, now: Timestamp) -> Result<(), Error> {
        match self.pods.update_status(pod, &announce(pod, now)).await {
            Err(error) if error.is_not_found() => return Ok(()),
            outcome => outcome?,
        }
        self.pods.delete(pod, DeleteParams::default()).await
    }

    fn leaving(&self) -> std::sync::MutexGuard<'_, HashSet<Key>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn verdict(taints: Value, tolerations: Value) -> Verdict {
        let node: Node = serde_json::from_value(json!({"spec": {"taints": taints}})).unwrap();
        let pod = json!({"spec": {"containers": [], "tolerations": tolerations}});
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        judge(&serde_json::from_value(pod).unwrap(), &node, now)
    }

    fn taint(key: &str) -> Value {
        json!({"key": key, "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"})
    }

    #[test]
    fn pods_that_do_not_tolerate_the_taint_are_evicted_immediately() {
        assert_eq!(verdict(json!([taint("a")]), json!([])), Verdict::Leaves);
        assert_eq!(verdict(json!([{"key": "a", "effect": "NoSchedule"}]), json!([])), Verdict::Stays);
    }

    #[test]
    fn pods_that_tolerate_the_taint_without_toleration_seconds_remain_bound_forever() {
        assert_eq!(verdict(json!([taint("a")]), json!([{"key": "a", "operator": "Exists"}])), Verdict::Stays);
    }

    #[test]
    fn pods_that_tolerate_the_taint_with_toleration_seconds_remain_bound_for_that_time() {
        let tolerates =
            |seconds: i64| json!([{"key": "a", "operator": "Exists", "tolerationSeconds": seconds}]);
        let left = Verdict::LeavesIn(Duration::from_secs(240));
        assert_eq!(verdict(json!([taint("a")]), tolerates(300)), left);
        assert_eq!(verdict(json!([taint("a")]), tolerates(60)), Verdict::Leaves);
        assert_eq!(verdict(json!([taint("a"), taint("b")]), tolerates(300)), Verdict::Leaves);
    }
}
