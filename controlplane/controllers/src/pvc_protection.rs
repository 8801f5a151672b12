//! The claim protection controller: a deleted claim goes when no pod uses it any more.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use crate::Context;
use crate::api::Error;
use crate::finalizers;
use crate::informers::Informer;
use crate::ownership::wake_itself;
use crate::queue::Key;

/// Set by admission when a claim is created.
const FINALIZER: &str = "kubernetes.io/pvc-protection";

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let shutdown = context.shutdown.clone();
    let protection = Protection { claims: context.informers.of(), pods: context.informers.of() };
    let queue = context.queue("pvcprotection");
    wake_itself(&protection.claims, &queue);
    protection.pods.subscribe({
        let queue = queue.clone();
        move |change| {
            if let (Some(pod), None) = (&change.old, &change.new) {
                let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
                for claim in claims_of(pod) {
                    queue.add(Key::new(namespace, &claim));
                }
            }
        }
    });
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = futures::future::join(protection.claims.synced(), protection.pods.synced()) => {}
        }
        queue.run(4, &shutdown, |key| protection.release(key)).await;
    }
}

struct Protection {
    claims: Informer<PersistentVolumeClaim>,
    pods: Informer<Pod>,
}

impl Protection {
    async fn release(&self, key: Key) -> Result<(), Error> {
        let Some(claim) = self.claims.get(&key.namespace, &key.name) else { return Ok(()) };
        let pods = self.pods.list(&key.namespace);
        if plan(&claim, pods.iter().map(AsRef::as_ref)).is_none() {
            return Ok(());
        }
        // What is released cannot be taken back, and a pod may be there that the watch has not told yet.
        let pods = self.pods.fetch_all(&key.namespace).await?;
        let Some(released) = plan(&claim, &pods) else { return Ok(()) };
        match self.claims.update(&claim, &released).await {
            Err(error) if error.is_not_found() => Ok(()),
            outcome => outcome,
        }
    }
}

/// The deleted claim without its protection, if nothing uses it.
fn plan<'a>(
    claim: &PersistentVolumeClaim,
    pods: impl IntoIterator<Item = &'a Pod>,
) -> Option<PersistentVolumeClaim> {
    claim.metadata.deletion_timestamp.as_ref()?;
    let metadata = finalizers::without(&claim.metadata, FINALIZER)?;
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    if pods.into_iter().any(|pod| uses(pod, name)) {
        return None;
    }
    Some(PersistentVolumeClaim { metadata, ..claim.clone() })
}

/// A pod that has no node yet does not: nodes start no pod whose claim is being deleted.
fn uses(pod: &Pod, claim: &str) -> bool {
    let scheduled =
        pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty());
    scheduled && claims_of(pod).any(|used| used == claim)
}

/// The names of a pod's claims, among them those made for its ephemeral volumes.
fn claims_of(pod: &Pod) -> impl Iterator<Item = String> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    volumes.iter().filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => {
            Some(format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name))
        }
        (None, None) => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(deleted: bool) -> PersistentVolumeClaim {
        let mut metadata = json!({"name": "data", "namespace": "a", "finalizers": ["x/y", FINALIZER]});
        if deleted {
            metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn pod(node: &str, volume: &serde_json::Value) -> Pod {
        let spec = json!({"containers": [], "nodeName": node, "volumes": [volume]});
        serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_deleted_claim_that_nothing_uses_loses_only_its_protection() {
        let released = plan(&claim(true), []).unwrap();
        assert_eq!(released.metadata.finalizers, Some(vec!["x/y".to_owned()]));
        assert_eq!(plan(&claim(false), []), None);
        assert_eq!(plan(&released, []), None);
    }

    #[test]
    fn a_pod_on_a_node_keeps_its_claim() {
        let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": "data"}});
        assert_eq!(plan(&claim(true), [&pod("node", &volume)]), None);
        assert!(plan(&claim(true), [&pod("", &volume)]).is_some());
        let other = json!({"name": "v", "persistentVolumeClaim": {"claimName": "other"}});
        assert!(plan(&claim(true), [&pod("node", &other)]).is_some());
    }

    #[test]
    fn ephemeral_volumes_have_claims_named_after_the_pod() {
        let names: Vec<_> = claims_of(&pod("node", &json!({"name": "v", "ephemeral": {}}))).collect();
        assert_eq!(names, ["web-v"]);
    }
}
