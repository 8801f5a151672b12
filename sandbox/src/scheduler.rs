//! Gives every pod that waits for one a node.
//!
//! Driven by events alone: a pod is tried when it appears or changes, and those that fit nowhere are tried
//! again when a node changes or a placed pod gives its resources back. A placement counts from the moment
//! it is decided, before the API server has confirmed the binding. For a pod that fits nowhere, others of lower
//! priority may have to go: it is nominated for their node, whose room is kept for it until they are gone.

mod decide;
mod filter;
mod preempt;
mod score;
mod spread;
mod state;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::{Binding, Node, ObjectReference, Pod, PodCondition},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    events::{self, Recorder},
    feed::{self, Change, Key},
};
use decide::{Decision, Nominated, decide};
use preempt::{Candidate, priority};
use state::Cluster;

/// The name that pods ask for in `spec.schedulerName`.
const NAME: &str = "default-scheduler";
/// How long a pod waits after its binding was refused.
const RETRY: Duration = Duration::from_millis(200);

/// Schedules pods for as long as it is polled.
pub async fn run(client: Client) {
    let (recorder, mut events) = Recorder::new(client.clone(), NAME, None);
    tokio::select! {
        () = schedule(client, recorder) => {}
        () = events.run() => {}
    }
}

async fn schedule(client: Client, recorder: Recorder) {
    let mut scheduler = Scheduler {
        recorder,
        client: client.clone(),
        cluster: Cluster::default(),
        waiting: BTreeMap::new(),
        nominated: BTreeMap::new(),
        bindings: JoinSet::new(),
    };
    let mut nodes = feed::changes::<Node>(Api::all(client.clone()), "");
    let mut budgets = feed::changes::<PodDisruptionBudget>(Api::all(client.clone()), "");
    let mut pods = feed::changes::<Pod>(Api::all(client), "");
    let (mut nodes_known, mut pods_known) = (false, false);

    loop {
        tokio::select! {
            Some(change) = nodes.next() => {
                let first = matches!(change, Change::Synced) && !nodes_known;
                nodes_known |= first;
                if scheduler.node_changed(change) || first {
                    scheduler.try_all(nodes_known && pods_known);
                }
            }
            Some(change) = budgets.next() => scheduler.budget_changed(change),
            Some(change) = pods.next() => {
                let first = matches!(change, Change::Synced) && !pods_known;
                pods_known |= first;
                let touched = scheduler.pod_changed(change);
                let ready = nodes_known && pods_known;
                match touched {
                    _ if first => scheduler.try_all(ready),
                    Touched::Room => scheduler.try_all(ready),
                    Touched::Waiting(key) if ready => scheduler.try_one(&key),
                    Touched::Waiting(_) | Touched::Nothing => {}
                }
            }
            Some(Ok(refused)) = scheduler.bindings.join_next() => {
                if let Some(pod) = refused {
                    scheduler.binding_refused(pod);
                }
            }
            else => return,
        }
    }
}

struct Scheduler {
    client: Client,
    recorder: Recorder,
    cluster: Cluster,
    waiting: BTreeMap<Key, Arc<Pod>>,
    /// Those of them for which others leave a node.
    nominated: Nominated,
    /// Writes in flight; a pod comes back if it still needs a node.
    bindings: JoinSet<Option<Arc<Pod>>>,
}

/// What a pod's change means for scheduling.
enum Touched {
    /// Resources became free.
    Room,
    /// This pod waits.
    Waiting(Key),
    /// Nothing.
    Nothing,
}

impl Scheduler {
    fn node_changed(&mut self, change: Change<Node>) -> bool {
        match change {
            Change::Applied(node) => self.cluster.set_node(&node),
            Change::Deleted(node) => {
                self.cluster.remove_node(&node.name_any());
                false
            }
            Change::Synced => false,
        }
    }

    fn budget_changed(&mut self, change: Change<PodDisruptionBudget>) {
        match change {
            Change::Applied(budget) => self.cluster.set_budget(&budget),
            Change::Deleted(budget) => self.cluster.remove_budget(&feed::key(&*budget)),
            Change::Synced => {}
        }
    }

    fn pod_changed(&mut self, change: Change<Pod>) -> Touched {
        match change {
            Change::Applied(pod) => self.pod_applied(&pod),
            Change::Deleted(pod) => {
                let key = feed::key(&*pod);
                self.forget(&key);
                if self.cluster.release(&key) { Touched::Room } else { Touched::Nothing }
            }
            Change::Synced => Touched::Nothing,
        }
    }

    fn pod_applied(&mut self, pod: &Arc<Pod>) -> Touched {
        let key = feed::key(&**pod);
        let spec = pod.spec.as_ref();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            self.forget(&key);
            return if self.cluster.release(&key) { Touched::Room } else { Touched::Nothing };
        }
        if let Some(node) = spec.and_then(|spec| spec.node_name.as_deref()).filter(|node| !node.is_empty()) {
            self.forget(&key);
            self.cluster.place(pod, node);
            return Touched::Nothing;
        }

        let ours = spec.is_some_and(|spec| {
            spec.scheduler_name.as_deref().unwrap_or(NAME) == NAME
                && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
        });
        if !ours || pod.metadata.deletion_timestamp.is_some() {
            self.forget(&key);
            return Touched::Nothing;
        }
        let node = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
        if let Some(node) = node.filter(|node| !node.is_empty()) {
            self.nominated.entry(key.clone()).or_insert_with(|| (Arc::clone(pod), node.to_owned()));
        }
        let old = self.waiting.insert(key.clone(), Arc::clone(pod));
        // Our own report of failure changes only the status and is no reason to try again.
        let news = old.is_none_or(|old| old.spec != pod.spec || old.metadata.uid != pod.metadata.uid);
        if news { Touched::Waiting(key) } else { Touched::Nothing }
    }

    fn forget(&mut self, key: &Key) {
        self.waiting.remove(key);
        self.nominated.remove(key);
    }

    fn try_all(&mut self, ready: bool) {
        if !ready {
            return;
        }
        let mut keys: Vec<_> = self.waiting.iter().map(|(key, pod)| (order(pod), key.clone())).collect();
        keys.sort();
        for (_, key) in keys {
            self.try_one(&key);
        }
    }

    fn try_one(&mut self, key: &Key) {
        let Some(pod) = self.waiting.get(key).cloned() else { return };
        match decide(&pod, &self.cluster, &self.nominated) {
            Decision::Bind(node) => {
                self.forget(key);
                self.cluster.place(&pod, &node);
                let (client, recorder) = (self.client.clone(), self.recorder.clone());
                self.bindings.spawn(bind(client, recorder, pod, node));
            }
            Decision::Preempt(candidate, message) => self.preempt(&pod, candidate, message),
            Decision::Wait { message, keeps_nomination } => {
                if !keeps_nomination {
                    self.nominated.remove(key);
                }
                self.report(&pod, message);
            }
        }
    }

    /// Keeps the node for the pod, and has those leave that are in its way.
    fn preempt(&mut self, pod: &Arc<Pod>, candidate: Candidate, message: String) {
        let node = &candidate.node;
        // Less important pods that waited for the same room look for another.
        self.nominated.retain(|_, (other, theirs)| theirs != node || priority(other) >= priority(pod));
        self.nominated.insert(feed::key(&**pod), (Arc::clone(pod), node.clone()));
        self.report(pod, message);
        let (client, recorder, pod) = (self.client.clone(), self.recorder.clone(), Arc::clone(pod));
        self.bindings.spawn(async move {
            evict(&client, &recorder, &pod, candidate).await;
            None
        });
    }

    /// Tells why the pod has no node yet.
    fn report(&mut self, pod: &Arc<Pod>, message: String) {
        self.recorder.warning(events::reference(&**pod), "FailedScheduling", &*message);
        let node = self.nominated.get(&feed::key(&**pod)).map(|(_, node)| node.clone());
        let (client, pod) = (self.client.clone(), Arc::clone(pod));
        self.bindings.spawn(async move {
            report_unschedulable(&client, &pod, message, node).await;
            None
        });
    }

    fn binding_refused(&mut self, pod: Arc<Pod>) {
        let key = feed::key(&*pod);
        self.cluster.release(&key);
        self.waiting.entry(key.clone()).or_insert(pod);
        self.try_one(&key);
    }
}

/// Higher priority first, then older first.
fn order(pod: &Pod) -> (i64, Option<Timestamp>) {
    (-i64::from(priority(pod)), pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// Binds the pod; gives it back, after a moment, if the binding was refused.
async fn bind(client: Client, recorder: Recorder, pod: Arc<Pod>, node: String) -> Option<Arc<Pod>> {
    let (namespace, name) = feed::key(&*pod);
    let binding = Binding {
        metadata: ObjectMeta { name: Some(name.clone()), uid: pod.uid(), ..ObjectMeta::default() },
        target: ObjectReference {
            kind: Some("Node".into()),
            name: Some(node.clone()),
            ..ObjectReference::default()
        },
    };
    let api: Api<Pod> = Api::namespaced(client, &namespace);
    let answer: kube::Result<Value> =
        api.create_subresource("binding", &name, &PostParams::default(), &binding).await;
    match answer {
        Ok(_) => {
            let message = format!("Successfully assigned {namespace}/{name} to {node}");
            recorder.normal(events::reference(&*pod), "Scheduled", message);
            None
        }
        // The pod is gone, or another scheduler was faster: its events tell the rest.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => None,
        Err(error) => {
            tracing::debug!(%error, namespace, name, "binding refused");
            tokio::time::sleep(RETRY).await;
            Some(pod)
        }
    }
}

/// Writes the condition, and the node that is kept for the pod.
async fn report_unschedulable(client: &Client, pod: &Pod, message: String, node: Option<String>) {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let told = conditions
        .iter()
        .any(|condition| condition.type_ == "PodScheduled" && condition.message.as_deref() == Some(&message));
    let known = status.and_then(|status| status.nominated_node_name.clone()).filter(|name| !name.is_empty());
    if told && known == node {
        return;
    }
    let condition = PodCondition {
        type_: "PodScheduled".into(),
        status: "False".into(),
        reason: Some("Unschedulable".into()),
        message: Some(message),
        last_transition_time: Some(Time(events::now())),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    };
    patch_status(client, pod, json!({"conditions": [condition], "nominatedNodeName": node})).await;
}

/// Has the victims leave, which they do as any deleted pod does.
async fn evict(client: &Client, recorder: &Recorder, pod: &Pod, candidate: Candidate) {
    for victim in &candidate.victims {
        let victim = &*victim.pod;
        if victim.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let condition = PodCondition {
            type_: "DisruptionTarget".into(),
            status: "True".into(),
            reason: Some("PreemptionByScheduler".into()),
            message: Some(format!("{NAME}: preempting to accommodate a higher priority pod")),
            last_transition_time: Some(Time(events::now())),
            observed_generation: victim.metadata.generation,
            ..PodCondition::default()
        };
        patch_status(client, victim, json!({"conditions": [condition]})).await;
        let api: Api<Pod> = Api::namespaced(client.clone(), &victim.namespace().unwrap_or_default());
        let this_one = Preconditions { uid: victim.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(this_one), ..DeleteParams::default() };
        match api.delete(&victim.name_any(), &params).await {
            Ok(_) => {
                let message =
                    format!("Preempted by pod {} on node {}", pod.uid().unwrap_or_default(), candidate.node);
                recorder.normal(events::reference(victim), "Preempted", message);
            }
            // It went by itself, which is as good.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => tracing::warn!(%error, pod = victim.name_any(), "victim not deleted"),
        }
    }
}

async fn patch_status(client: &Client, pod: &Pod, status: Value) {
    let patch = Patch::Strategic(json!({"status": status}));
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    if let Err(error) = api.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await {
        tracing::debug!(%error, pod = pod.name_any(), "status not written");
    }
}

#[cfg(test)]
#[path = "scheduler/run_tests.rs"]
mod tests;
