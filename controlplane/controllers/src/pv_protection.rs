//! The volume protection controller: a deleted volume goes when it is bound to no claim.

use k8s_openapi::api::core::v1::PersistentVolume;

use crate::Context;
use crate::api::Error;
use crate::finalizers;
use crate::informers::Informer;
use crate::ownership::wake_itself;
use crate::queue::Key;

/// Set by admission when a volume is created.
const FINALIZER: &str = "kubernetes.io/pv-protection";

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let shutdown = context.shutdown.clone();
    let volumes: Informer<PersistentVolume> = context.informers.of();
    let queue = context.queue("pvprotection");
    wake_itself(&volumes, &queue);
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = volumes.synced() => {}
        }
        queue.run(1, &shutdown, |key| release(&volumes, key)).await;
    }
}

async fn release(volumes: &Informer<PersistentVolume>, key: Key) -> Result<(), Error> {
    let Some(volume) = volumes.get("", &key.name) else { return Ok(()) };
    let Some(released) = plan(&volume) else { return Ok(()) };
    match volumes.update(&volume, &released).await {
        Err(error) if error.is_not_found() => Ok(()),
        outcome => outcome,
    }
}

/// The deleted volume without its protection, unless it is bound.
fn plan(volume: &PersistentVolume) -> Option<PersistentVolume> {
    volume.metadata.deletion_timestamp.as_ref()?;
    let bound = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let metadata = finalizers::without(&volume.metadata, FINALIZER).filter(|_| !bound)?;
    Some(PersistentVolume { metadata, ..volume.clone() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deleted_volume_goes_unless_it_is_bound() {
        let volume = |phase: &str| -> PersistentVolume {
            serde_json::from_value(json!({
                "metadata": {"name": "v", "finalizers": [FINALIZER], "deletionTimestamp": "2026-01-01T00:00:00Z"},
                "status": {"phase": phase},
            }))
            .unwrap()
        };
        assert_eq!(plan(&volume("Bound")), None);
        assert_eq!(plan(&volume("Released")).unwrap().metadata.finalizers, Some(Vec::new()));
        let mut kept = volume("Available");
        kept.metadata.deletion_timestamp = None;
        assert_eq!(plan(&kept), None);
    }
}
