//! What the scheduler writes: bindings, what it asks of volumes, evictions, and why a pod has no node.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::{Binding, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod, PodCondition},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::{Value, json};
use vkube_watch::feed;

use crate::{
    events::{self, Recorder},
    preempt::Candidate,
    profile,
    volumes::SELECTED_NODE,
};

/// How long a pod waits after its binding was refused.
const RETRY: Duration = Duration::from_millis(200);

/// Writes for the scheduler; clones are the same hand.
#[derive(Clone)]
pub(crate) struct Hand {
    pub client: Client,
    pub recorder: Recorder,
}

fn scheduler(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or(profile::DEFAULT)
}

impl Hand {
    /// Binds the pod; gives it back, after a moment, if the binding was refused.
    pub async fn bind(&self, pod: Arc<Pod>, node: String) -> Option<Arc<Pod>> {
        let (namespace, name) = feed::key(&*pod);
        let binding = Binding {
            metadata: ObjectMeta { name: Some(name.clone()), uid: pod.uid(), ..ObjectMeta::default() },
            target: ObjectReference {
                kind: Some("Node".into()),
                name: Some(node.clone()),
                ..ObjectReference::default()
            },
        };
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let answer: kube::Result<Value> =
            api.create_subresource("binding", &name, &PostParams::default(), &binding).await;
        match answer {
            Ok(_) => {
                let message = format!("Successfully assigned {namespace}/{name} to {node}");
                self.recorder.scheduled(events::reference(&*pod), scheduler(&pod), message);
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

    /// Promises the volumes that are there to the pod's claims, and has the others made for the node; gives the pod
    /// back, after a moment, if that was refused.
    pub async fn reserve(
        &self,
        pod: Arc<Pod>,
        node: String,
        wanted: Vec<(Arc<PersistentVolumeClaim>, Option<Arc<PersistentVolume>>)>,
    ) -> Option<Arc<Pod>> {
        for (claim, volume) in wanted {
            let done = match volume {
                Some(volume) => self.promise(&volume, &claim).await,
                None => self.select_node(&claim, &node).await,
            };
            if let Err(error) = done {
                tracing::debug!(%error, claim = claim.name_any(), "volume not reserved");
                tokio::time::sleep(RETRY).await;
                return Some(pod);
            }
        }
        None
    }

    async fn promise(&self, volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> kube::Result<()> {
        let reference = claim.object_ref(&());
        let annotations = json!({"pv.kubernetes.io/bound-by-controller": "yes"});
        let metadata = json!({"resourceVersion": volume.resource_version(), "annotations": annotations});
        let patch = Patch::Merge(json!({"metadata": metadata, "spec": {"claimRef": reference}}));
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        api.patch(&volume.name_any(), &PatchParams::default(), &patch).await.map(drop)
    }

    async fn select_node(&self, claim: &PersistentVolumeClaim, node: &str) -> kube::Result<()> {
        let annotations = json!({SELECTED_NODE: node});
        let metadata = json!({"resourceVersion": claim.resource_version(), "annotations": annotations});
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(self.client.clone(), &claim.namespace().unwrap_or_default());
        api.patch(&claim.name_any(), &PatchParams::default(), &patch).await.map(drop)
    }

    /// Tells why the pod has no node, and which one is kept for it.
    pub async fn report(&self, pod: &Pod, message: String, node: Option<String>) {
        self.recorder.unscheduled(events::reference(pod), scheduler(pod), &*message);
        let status = pod.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let told = conditions.iter().any(|condition| {
            condition.type_ == "PodScheduled" && condition.message.as_deref() == Some(&message)
        });
        let known =
            status.and_then(|status| status.nominated_node_name.clone()).filter(|name| !name.is_empty());
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
        self.patch_status(pod, json!({"conditions": [condition], "nominatedNodeName": node})).await;
    }

    /// Has the victims leave, which they do as any deleted pod does.
    pub async fn evict(&self, pod: &Pod, candidate: Candidate) {
        for victim in &candidate.victims {
            let victim = &*victim.pod;
            if victim.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let name = scheduler(pod);
            let condition = PodCondition {
                type_: "DisruptionTarget".into(),
                status: "True".into(),
                reason: Some("PreemptionByScheduler".into()),
                message: Some(format!("{name}: preempting to accommodate a higher priority pod")),
                last_transition_time: Some(Time(events::now())),
                observed_generation: victim.metadata.generation,
                ..PodCondition::default()
            };
            self.patch_status(victim, json!({"conditions": [condition]})).await;
            let api: Api<Pod> = Api::namespaced(self.client.clone(), &victim.namespace().unwrap_or_default());
            let this_one = Preconditions { uid: victim.uid(), resource_version: None };
            let params = DeleteParams { preconditions: Some(this_one), ..DeleteParams::default() };
            match api.delete(&victim.name_any(), &params).await {
                Ok(_) => {
                    let message = format!(
                        "Preempted by pod {} on node {}",
                        pod.uid().unwrap_or_default(),
                        candidate.node
                    );
                    self.recorder.preempted(events::reference(victim), events::reference(pod), name, message);
                }
                // It went by itself, which is as good.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => tracing::warn!(%error, pod = victim.name_any(), "victim not deleted"),
            }
        }
    }

    async fn patch_status(&self, pod: &Pod, status: Value) {
        let patch = Patch::Strategic(json!({"status": status}));
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        if let Err(error) = api.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await {
            tracing::debug!(%error, pod = pod.name_any(), "status not written");
        }
    }
}
