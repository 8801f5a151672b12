//! What the scheduler writes: bindings, what it asks of volumes, evictions, and why a pod has no node.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        core::v1::{Binding, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod, PodCondition},
        resource::v1::{ResourceClaim, ResourceClaimConsumerReference},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::{Value, json};
use vkube_watch::feed::{self, Key};

use crate::{
    devices::Grant,
    events::{self, Recorder},
    preempt::Candidate,
    profile,
    volumes::SELECTED_NODE,
};

/// Keeps a claim for as long as it has devices (`resource.k8s.io`).
const DELETE_PROTECTION: &str = "resource.kubernetes.io/delete-protection";

/// What came of a write.
#[derive(Debug)]
pub(crate) enum Done {
    /// Something was told, or nothing has to be done about it.
    Told,
    /// The pod is bound.
    Bound(Key),
    /// The pod's claims have been told what they need.
    Prepared(Key, Prepared),
    /// The pod could not get to its node.
    Failed(Key, String),
}

/// Claims as they are after they were told what they need.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// Those that were told the node, for which volumes are made there.
    pub claims: Vec<PersistentVolumeClaim>,
    /// Those that have devices.
    pub devices: Vec<ResourceClaim>,
}

/// Why a pod has no node, as its condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It fits nowhere.
    Unschedulable,
    /// Something failed.
    SchedulerError,
}

/// Claims for volumes that wait for their pod's node, each with the volume that is there for it, if there is one.
pub(crate) type Wanted = Vec<(Arc<PersistentVolumeClaim>, Option<Arc<PersistentVolume>>)>;

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
    /// Binds the pod.
    pub async fn bind(&self, pod: Arc<Pod>, node: String) -> Done {
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
                Done::Bound((namespace, name))
            }
            // The pod is gone, or another scheduler was faster: its events tell the rest.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Done::Told,
            Err(error) => {
                let why =
                    format!("binding rejected: running Bind plugin \"DefaultBinder\": {}", words(&error));
                Done::Failed((namespace, name), why)
            }
        }
    }

    /// Gives the pod's claims their devices, promises the volumes that are there to its other claims, and has the
    /// rest made for the node.
    pub async fn prepare(&self, pod: Arc<Pod>, node: String, grants: Vec<Grant>, wanted: Wanted) -> Done {
        let key = feed::key(&*pod);
        let mut prepared = Prepared::default();
        for (claim, volume) in wanted {
            let done = match volume {
                Some(volume) => self.promise(&volume, &claim).await,
                None => self.select_node(&claim, &node).await.map(|claim| prepared.claims.push(claim)),
            };
            if let Err(error) = done {
                let why = words(&error);
                let why = format!("running PreBind plugin \"VolumeBinding\": binding volumes: {why}");
                return Done::Failed(key, why);
            }
        }
        for grant in grants {
            match self.give(&pod, grant).await {
                Ok(claim) => prepared.devices.push(claim),
                Err(error) => {
                    let why = words(&error);
                    return Done::Failed(key, format!("running PreBind plugin \"DynamicResources\": {why}"));
                }
            }
        }
        Done::Prepared(key, prepared)
    }

    /// Writes into a claim that it has its devices, and that the pod uses it.
    async fn give(&self, pod: &Pod, Grant { claim, allocation }: Grant) -> kube::Result<ResourceClaim> {
        let (namespace, name) = feed::key(&*claim);
        let api: Api<ResourceClaim> = Api::namespaced(self.client.clone(), &namespace);
        let mut claim = (*claim).clone();
        let protected = claim.finalizers().iter().any(|one| one == DELETE_PROTECTION);
        if allocation.is_some() && !protected {
            claim.finalizers_mut().push(DELETE_PROTECTION.to_owned());
            claim = api.replace(&name, &PostParams::default(), &claim).await?;
        }
        let status = claim.status.get_or_insert_default();
        if let Some(allocation) = allocation {
            status.allocation = Some(allocation);
        }
        let consumer = ResourceClaimConsumerReference {
            api_group: None,
            name: pod.name_any(),
            resource: "pods".into(),
            uid: pod.uid().unwrap_or_default(),
        };
        let consumers = status.reserved_for.get_or_insert_default();
        if !consumers.iter().any(|one| one.uid == consumer.uid) {
            consumers.push(consumer);
        }
        api.replace_status(&name, &PostParams::default(), &claim).await
    }

    /// Has a claim give back devices that its pod cannot use where it could run.
    pub async fn take_back(&self, claim: &ResourceClaim) {
        let (namespace, name) = feed::key(claim);
        let api: Api<ResourceClaim> = Api::namespaced(self.client.clone(), &namespace);
        let mut claim = claim.clone();
        claim.status = None;
        if let Err(error) = api.replace_status(&name, &PostParams::default(), &claim).await {
            tracing::debug!(%error, namespace, name, "devices not taken back");
        }
    }

    async fn promise(&self, volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> kube::Result<()> {
        let reference = claim.object_ref(&());
        let annotations = json!({"pv.kubernetes.io/bound-by-controller": "yes"});
        let metadata = json!({"resourceVersion": volume.resource_version(), "annotations": annotations});
        let patch = Patch::Merge(json!({"metadata": metadata, "spec": {"claimRef": reference}}));
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        api.patch(&volume.name_any(), &PatchParams::default(), &patch).await.map(drop)
    }

    async fn select_node(
        &self,
        claim: &PersistentVolumeClaim,
        node: &str,
    ) -> kube::Result<PersistentVolumeClaim> {
        let annotations = json!({SELECTED_NODE: node});
        let metadata = json!({"resourceVersion": claim.resource_version(), "annotations": annotations});
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(self.client.clone(), &claim.namespace().unwrap_or_default());
        api.patch(&claim.name_any(), &PatchParams::default(), &patch).await
    }

    /// Tells why the pod has no node, and which one is kept for it.
    pub async fn report(&self, pod: &Pod, reason: Reason, message: String, node: Option<String>) {
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
            reason: Some(format!("{reason:?}")),
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

/// What the server says, without what the client adds.
fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
