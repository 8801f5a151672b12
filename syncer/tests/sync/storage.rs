use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::world::{PATIENCE, World, eventually, gone};

async fn bound(world: &World) {
    world
        .tenant_create::<PersistentVolumeClaim>(json!({
            "metadata": { "name": "data" },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "fast",
                "resources": { "requests": { "storage": "1Gi" } },
            },
        }))
        .await;
    world.host_has::<PersistentVolumeClaim>("data", |_| true).await;
    let api = world.host_api::<PersistentVolumeClaim>();
    let name = world.name("data");
    let spec = Patch::Merge(json!({ "spec": { "volumeName": "pvc-7" } }));
    api.patch(&name, &PatchParams::default(), &spec).await.unwrap();
    let status =
        json!({ "phase": "Bound", "capacity": { "storage": "2Gi" }, "accessModes": ["ReadWriteOnce"] });
    api.patch_status(&name, &PatchParams::default(), &Patch::Merge(json!({ "status": status })))
        .await
        .unwrap();
}

fn phase(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

#[tokio::test]
async fn v1_a_claim_is_bound_with_a_volume_of_its_own() {
    let world = World::start().await;
    bound(&world).await;
    let claim = world.tenant_has::<PersistentVolumeClaim>("data", |claim| phase(claim) == "Bound").await;
    assert_eq!(claim.spec.unwrap().volume_name.as_deref(), Some("pvc-7"));
    let volumes: Api<PersistentVolume> = Api::all(world.tenant.clone());
    let volume = eventually(volumes.clone(), "pvc-7", |_| true).await;
    assert_eq!(volume.spec.unwrap().capacity.unwrap()["storage"].0, "2Gi");

    let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    let api = world.tenant_api::<PersistentVolumeClaim>();
    api.patch("data", &PatchParams::default(), &patch).await.unwrap();
    api.delete("data", &DeleteParams::default()).await.unwrap();
    eventually_deleting(&world).await;
    let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    if volumes.get_opt("pvc-7").await.unwrap().is_some() {
        let _ = volumes.patch("pvc-7", &PatchParams::default(), &patch).await;
    }
    gone(volumes, "pvc-7").await;
    world.stop().await;
}

/// The host's own protection may hold its claim for a while.
async fn eventually_deleting(world: &World) {
    let api = world.host_api::<PersistentVolumeClaim>();
    let name = world.name("data");
    let going = kube::runtime::wait::await_condition(api, &name, |claim: Option<&PersistentVolumeClaim>| {
        claim.is_none_or(|claim| claim.metadata.deletion_timestamp.is_some())
    });
    tokio::time::timeout(PATIENCE, going).await.expect("the host's claim goes").unwrap();
}

#[tokio::test]
async fn a_claim_whose_data_is_gone_is_lost_and_not_made_anew() {
    let world = World::start().await;
    bound(&world).await;
    world.tenant_has::<PersistentVolumeClaim>("data", |claim| phase(claim) == "Bound").await;
    let api = world.host_api::<PersistentVolumeClaim>();
    let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    api.patch(&world.name("data"), &PatchParams::default(), &patch).await.unwrap();
    api.delete(&world.name("data"), &DeleteParams::default()).await.unwrap();
    world.tenant_has::<PersistentVolumeClaim>("data", |claim| phase(claim) == "Lost").await;
    world.stop().await;
}
