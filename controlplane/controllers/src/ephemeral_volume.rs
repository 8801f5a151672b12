//! The ephemeral volume controller: the claims of pods that bring their own.
//!
//! A pod with a generic ephemeral volume gets a claim called after the pod and the volume; the pod owns it,
//! so it goes with the pod.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::Context;
use crate::api::Error;
use crate::events::{Note, Recorder};
use crate::informers::Informer;
use crate::ownership::{controller_name, controller_reference, is_controlled_by};
use crate::pods;
use crate::queue::Key;

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let controller = Controller {
        pods: context.informers.of(),
        claims: context.informers.of(),
        recorder: context.recorder.named("ephemeral_volume"),
    };
    let queue = context.queue("ephemeral_volume");
    controller.pods.subscribe({
        let queue = queue.clone();
        move |change| {
            // A pod's volumes never change.
            if let (None, Some(pod)) = (&change.old, &change.new)
                && volumes(pod).next().is_some()
            {
                queue.add(Key::of(&**pod));
            }
        }
    });
    controller.claims.subscribe({
        let queue = queue.clone();
        move |change| {
            if let (Some(claim), None) = (&change.old, &change.new)
                && let Some(pod) = controller_name::<Pod>(&claim.metadata)
            {
                queue.add(Key::new(claim.metadata.namespace.as_deref().unwrap_or_default(), pod));
            }
        }
    });
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = futures::future::join(controller.pods.synced(), controller.claims.synced()) => {}
        }
        queue.run(4, &shutdown, |key| controller.reconcile(key)).await;
    }
}

struct Controller {
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    recorder: Recorder,
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    volumes.iter().filter(|volume| volume.ephemeral.is_some())
}

/// What a volume needs.
#[derive(Debug, PartialEq)]
enum Plan {
    /// Its claim is there.
    Nothing,
    Create(Box<PersistentVolumeClaim>),
    /// Another claim has the name.
    Refuse(String),
}

fn plan(pod: &Pod, volume: &Volume, existing: Option<&PersistentVolumeClaim>) -> Plan {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let claim = format!("{name}-{}", volume.name);
    if let Some(existing) = existing {
        return if is_controlled_by(&existing.metadata, &pod.metadata) {
            Plan::Nothing
        } else {
            let why = format!(
                "PVC {namespace}/{claim} was not created for pod {namespace}/{name} (pod is not owner)"
            );
            Plan::Refuse(why)
        };
    }
    let Some(template) = volume.ephemeral.as_ref().and_then(|one| one.volume_claim_template.clone()) else {
        return Plan::Nothing;
    };
    let meta = template.metadata.unwrap_or_default();
    Plan::Create(Box::new(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(claim),
            namespace: pod.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            owner_references: Some(vec![controller_reference(pod)]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec),
        status: None,
    }))
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        let Some(pod) = self.pods.get(&key.namespace, &key.name) else { return Ok(()) };
        if !pods::is_active(&pod) {
            return Ok(());
        }
        for volume in volumes(&pod) {
            let name = format!("{}-{}", key.name, volume.name);
            let existing = self.claims.get(&key.namespace, &name);
            let outcome = match plan(&pod, volume, existing.as_deref()) {
                Plan::Nothing => continue,
                Plan::Refuse(why) => Err((Error::NotYet(why.clone()), why)),
                Plan::Create(claim) => match self.claims.create(&claim).await {
                    Ok(_) => continue,
                    Err(error) if error.is_namespace_terminating() => return Ok(()),
                    Err(error) => {
                        let why = format!("create PVC {name}: {}", error.message());
                        Err((error, why))
                    }
                },
            };
            outcome.map_err(|(error, why)| {
                let message = format!("ephemeral volume {}: {why}", volume.name);
                self.recorder.tell(&*pod, Note::warning("FailedBinding", message));
                error
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        let template = json!({
            "metadata": {"labels": {"type": "scratch"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        });
        let volumes = json!([
            {"name": "cache", "ephemeral": {"volumeClaimTemplate": template}},
            {"name": "tmp", "emptyDir": {}},
        ]);
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "1"},
            "spec": {"containers": [], "volumes": volumes},
        }))
        .unwrap()
    }

    fn created() -> PersistentVolumeClaim {
        let pod = pod();
        let volumes: Vec<_> = volumes(&pod).collect();
        assert_eq!(volumes.len(), 1);
        match plan(&pod, volumes[0], None) {
            Plan::Create(claim) => *claim,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_ephemeral_volume_gets_a_claim_that_its_pod_owns() {
        let claim = created();
        assert_eq!(claim.metadata.name.as_deref(), Some("web-cache"));
        assert_eq!(claim.metadata.labels.as_ref().unwrap()["type"], "scratch");
        let owner = &claim.metadata.owner_references.as_ref().unwrap()[0];
        assert_eq!((owner.kind.as_str(), owner.uid.as_str(), owner.controller), ("Pod", "1", Some(true)));
        let pod = pod();
        assert_eq!(plan(&pod, volumes(&pod).next().unwrap(), Some(&claim)), Plan::Nothing);
    }

    #[test]
    fn a_claim_of_somebody_else_is_not_used() {
        let mut claim = created();
        claim.metadata.owner_references = None;
        let pod = pod();
        let why = "PVC shop/web-cache was not created for pod shop/web (pod is not owner)".to_owned();
        assert_eq!(plan(&pod, volumes(&pod).next().unwrap(), Some(&claim)), Plan::Refuse(why));
    }
}
