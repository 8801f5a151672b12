//! The protection of volume attributes classes: a deleted class goes when no claim and no volume uses it.
//!
//! A claim uses the classes that it asks for, that it has, and that it is being changed to (KEP-3751).

use futures::future::join3;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;

use crate::Context;
use crate::api::Error;
use crate::finalizers;
use crate::informers::Informer;
use crate::ownership::wake_itself;
use crate::queue::Key;

/// Set by admission when a class is created.
const FINALIZER: &str = "kubernetes.io/vac-protection";

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let shutdown = context.shutdown.clone();
    let protection = Protection {
        classes: context.informers.of(),
        claims: context.informers.of(),
        volumes: context.informers.of(),
    };
    let queue = context.queue("vacprotection");
    wake_itself(&protection.classes, &queue);
    let wake = queue.clone();
    protection.claims.subscribe(move |change| {
        let used = |claim: &Option<_>| claim.as_deref().map(of_claim).unwrap_or_default();
        let now = used(&change.new);
        for class in used(&change.old).into_iter().filter(|class| !now.contains(class)) {
            wake.add(Key::new("", &class));
        }
    });
    let wake = queue.clone();
    protection.volumes.subscribe(move |change| {
        let used = |volume: &Option<_>| volume.as_deref().and_then(of_volume);
        let (before, now) = (used(&change.old), used(&change.new));
        if let Some(class) = before.filter(|class| now.as_ref() != Some(class)) {
            wake.add(Key::new("", &class));
        }
    });
    async move {
        let Protection { classes, claims, volumes } = &protection;
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = join3(classes.synced(), claims.synced(), volumes.synced()) => {}
        }
        queue.run(1, &shutdown, |key| protection.protect(key)).await;
    }
}

struct Protection {
    classes: Informer<VolumeAttributesClass>,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
}

impl Protection {
    async fn protect(&self, key: Key) -> Result<(), Error> {
        let Some(class) = self.classes.get("", &key.name) else { return Ok(()) };
        let Some(next) = plan(&class) else { return Ok(()) };
        if class.metadata.deletion_timestamp.is_some() && self.is_used(&key.name).await? {
            return Ok(());
        }
        match self.classes.update(&class, &next).await {
            Err(error) if error.is_not_found() => Ok(()),
            outcome => outcome,
        }
    }

    /// What is released cannot be taken back: if nothing is known to use the class, the server is asked to be sure.
    async fn is_used(&self, name: &str) -> Result<bool, Error> {
        let claims = |claim: &PersistentVolumeClaim| of_claim(claim).iter().any(|class| class == name);
        let volumes = |volume: &PersistentVolume| of_volume(volume).as_deref() == Some(name);
        Ok(self.claims.all().iter().any(|claim| claims(claim))
            || self.volumes.all().iter().any(|volume| volumes(volume))
            || self.claims.fetch_all("").await?.iter().any(claims)
            || self.volumes.fetch_all("").await?.iter().any(volumes))
    }
}

/// The class with its protection, or without it once it is deleted, if that is not so already.
fn plan(class: &VolumeAttributesClass) -> Option<VolumeAttributesClass> {
    let change =
        if class.metadata.deletion_timestamp.is_none() { finalizers::with } else { finalizers::without };
    Some(VolumeAttributesClass { metadata: change(&class.metadata, FINALIZER)?, ..class.clone() })
}

fn of_claim(claim: &PersistentVolumeClaim) -> Vec<String> {
    let (spec, status) = (claim.spec.as_ref(), claim.status.as_ref());
    let asked = spec.and_then(|spec| spec.volume_attributes_class_name.clone());
    let current = status.and_then(|status| status.current_volume_attributes_class_name.clone());
    let target = status
        .and_then(|status| status.modify_volume_status.as_ref()?.target_volume_attributes_class_name.clone());
    [asked, current, target].into_iter().flatten().collect()
}

fn of_volume(volume: &PersistentVolume) -> Option<String> {
    volume.spec.as_ref()?.volume_attributes_class_name.clone()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn class(metadata: Value) -> VolumeAttributesClass {
        serde_json::from_value(json!({"metadata": metadata, "driverName": "d"})).unwrap()
    }

    #[test]
    fn a_class_has_its_protection_until_it_is_deleted() {
        let bare = class(json!({"name": "gold"}));
        let held = plan(&bare).unwrap();
        assert_eq!(held.metadata.finalizers, Some(vec![FINALIZER.to_owned()]));
        assert_eq!(plan(&held), None);
        let deleted = class(
            json!({"name": "gold", "finalizers": [FINALIZER], "deletionTimestamp": "2026-01-01T00:00:00Z"}),
        );
        assert_eq!(plan(&deleted).unwrap().metadata.finalizers, Some(Vec::new()));
    }

    #[test]
    fn a_claim_uses_the_class_that_it_wants_the_one_that_it_has_and_the_one_that_it_is_changed_to() {
        let claim = json!({
            "spec": {"volumeAttributesClassName": "gold"},
            "status": {
                "currentVolumeAttributesClassName": "silver",
                "modifyVolumeStatus": {"status": "InProgress", "targetVolumeAttributesClassName": "bronze"},
            },
        });
        assert_eq!(of_claim(&serde_json::from_value(claim).unwrap()), ["gold", "silver", "bronze"]);
        assert!(of_claim(&PersistentVolumeClaim::default()).is_empty());
    }
}
