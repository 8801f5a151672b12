//! Storage that tenants bring: classes, volumes, contents of snapshots; and claims of devices.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::resource::v1::ResourceClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use vkube_syncer::Direction;

use super::definitions::{Side, define, resource, served};
use super::pod_behaviours::{pod, started, value};
use super::rules::create_all;
use super::world::{HOST_NAMESPACE, World, eventually, gone, rule, rules};

#[tokio::test]
async fn storage_classes_of_the_tenant_go_to_the_host_and_claims_name_them_there() {
    let classes = rule(Direction::ToHost, "storageclasses.storage.k8s.io");
    let world = World::with(|config| config.rules = rules(&[classes])).await;
    let default = json!({ "storageclass.kubernetes.io/is-default-class": "true" });
    let class = json!({ "metadata": { "name": "fast", "annotations": default }, "provisioner": "a.b/c" });
    create_all::<StorageClass>(&world.tenant, class).await;
    let name = world.names.global(HOST_NAMESPACE, "fast");
    let there: Api<StorageClass> = Api::all(world.host.clone());
    let host = eventually(there.clone(), &name, |_| true).await;
    assert_eq!(host.provisioner, "a.b/c");
    assert!(!value(&host).to_string().contains("is-default-class"), "a tenant's default is not the host's");
    let claim = json!({
        "metadata": { "name": "data" },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
            "resources": { "requests": { "storage": "1Gi" } },
        },
    });
    world.tenant_create::<PersistentVolumeClaim>(claim).await;
    let host = world.host_has::<PersistentVolumeClaim>("data", |_| true).await;
    assert_eq!(host.spec.unwrap().storage_class_name.as_deref(), Some(name.as_str()));
    Api::<StorageClass>::all(world.tenant.clone()).delete("fast", &DeleteParams::default()).await.unwrap();
    gone(there, &name).await;
    world.stop().await;
}

#[tokio::test]
async fn runtime_classes_of_the_tenant_go_to_the_host_and_pods_name_them_there() {
    use k8s_openapi::api::node::v1::RuntimeClass;

    let classes = rule(Direction::ToHost, "runtimeclasses.node.k8s.io");
    let world = World::with(|config| config.rules = rules(&[classes])).await;
    let overhead = json!({ "podFixed": { "cpu": "100m" } });
    let class = json!({ "metadata": { "name": "sandboxed" }, "handler": "kata", "overhead": overhead });
    create_all::<RuntimeClass>(&world.tenant, class).await;
    let name = world.names.global(HOST_NAMESPACE, "sandboxed");
    let host = eventually(Api::<RuntimeClass>::all(world.host.clone()), &name, |_| true).await;
    assert_eq!(host.handler, "kata");
    world.tenant_create::<Pod>(pod("web", json!({ "runtimeClassName": "sandboxed" }))).await;
    let host = world.host_has::<Pod>("web", |_| true).await.spec.unwrap();
    assert_eq!(host.runtime_class_name.as_deref(), Some(name.as_str()));
    assert_eq!(host.overhead.unwrap()["cpu"].0, "100m");
    world.stop().await;
}

#[tokio::test]
async fn a_volume_that_the_tenant_brought_is_bound_under_its_own_name() {
    let world =
        World::with(|config| config.rules = rules(&[rule(Direction::ToHost, "persistentvolumes")])).await;
    let volume = |name: &str, source: serde_json::Value| {
        let mut spec = json!({
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "claimRef": { "namespace": "shop", "name": "data" },
        });
        for (field, value) in source.as_object().unwrap() {
            spec[field] = value.clone();
        }
        json!({ "metadata": { "name": name }, "spec": spec })
    };
    let csi = json!({ "csi": { "driver": "a.b", "volumeHandle": "h" } });
    create_all::<PersistentVolume>(&world.tenant, volume("mine", csi)).await;
    create_all::<PersistentVolume>(&world.tenant, volume("escape", json!({ "hostPath": { "path": "/" } })))
        .await;
    let name = world.names.global(HOST_NAMESPACE, "mine");
    let there: Api<PersistentVolume> = Api::all(world.host.clone());
    let host = eventually(there.clone(), &name, |_| true).await;
    let claim = host.spec.unwrap().claim_ref.unwrap();
    assert_eq!(claim.name, Some(world.name("data")));
    assert_eq!(claim.namespace.as_deref(), Some(HOST_NAMESPACE));

    let claim = json!({
        "metadata": { "name": "data" },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": "mine",
            "resources": { "requests": { "storage": "1Gi" } },
        },
    });
    world.tenant_create::<PersistentVolumeClaim>(claim).await;
    let host = world.host_has::<PersistentVolumeClaim>("data", |_| true).await;
    assert_eq!(host.spec.unwrap().volume_name.as_deref(), Some(name.as_str()));
    let bound =
        json!({ "phase": "Bound", "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"] });
    let patch = Patch::Merge(json!({ "status": bound }));
    let claims = world.host_api::<PersistentVolumeClaim>();
    claims.patch_status(&world.name("data"), &PatchParams::default(), &patch).await.unwrap();
    let patch = Patch::Merge(json!({ "status": { "phase": "Bound" } }));
    there.patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
    let claim = world
        .tenant_has::<PersistentVolumeClaim>("data", |claim| value(&claim.status)["phase"] == "Bound")
        .await;
    assert_eq!(claim.spec.as_ref().unwrap().volume_name.as_deref(), Some("mine"));
    let here: Api<PersistentVolume> = Api::all(world.tenant.clone());
    eventually(here, "mine", |volume| {
        let spec = volume.spec.as_ref().unwrap();
        let owner = spec.claim_ref.as_ref().and_then(|bound| bound.uid.clone());
        owner == claim.uid() && value(&volume.status)["phase"] == "Bound"
    })
    .await;
    let escaped = world.names.global(HOST_NAMESPACE, "escape");
    assert!(there.get_opt(&escaped).await.unwrap().is_none(), "the host's own disks are out of reach");
    world.stop().await;
}

#[tokio::test]
async fn a_snapshots_content_goes_to_the_host_and_may_be_named_then() {
    let group = "snapshot.storage.k8s.io";
    let (snapshot, content) =
        (resource(group, "v1", "VolumeSnapshot"), resource(group, "v1", "VolumeSnapshotContent"));
    let all = ["volumesnapshots", "volumesnapshotcontents"];
    let all = all.map(|plural| rule(Direction::ToHost, &format!("{plural}.{group}")));
    let world = World::with(|config| config.rules = rules(&all)).await;
    define(&world.host, &snapshot, "Namespaced").await;
    define(&world.host, &content, "Cluster").await;
    served(&world.tenant, &snapshot).await;
    served(&world.tenant, &content).await;
    let here: Api<DynamicObject> = Api::all_with(world.tenant.clone(), &content);
    let document = json!({
        "apiVersion": content.api_version, "kind": content.kind, "metadata": { "name": "kept" },
        "spec": {
            "source": { "snapshotHandle": "h" },
            "volumeSnapshotRef": { "name": "back", "namespace": "shop", "uid": "virtual" },
        },
    });
    here.create(&PostParams::default(), &serde_json::from_value(document).unwrap()).await.unwrap();
    let name = world.names.global(HOST_NAMESPACE, "kept");
    let there: Api<DynamicObject> = Api::all_with(world.host.clone(), &content);
    let host = eventually(there, &name, |_| true).await;
    let named = &host.data["spec"]["volumeSnapshotRef"];
    assert_eq!(*named, json!({ "name": world.name("back"), "namespace": HOST_NAMESPACE }));
    let source = json!({ "source": { "volumeSnapshotContentName": "kept" } });
    Side(world.tenant.clone(), "shop").create(&snapshot, "back", source).await;
    let host = Side(world.host.clone(), HOST_NAMESPACE).has(&snapshot, &world.name("back"), |_| true).await;
    assert_eq!(host["spec"]["source"]["volumeSnapshotContentName"], name);
    world.stop().await;
}

#[tokio::test]
async fn the_status_of_a_resource_claim_comes_back_with_the_virtual_pod_that_has_it() {
    let claims = rule(Direction::ToHost, "resourceclaims.resource.k8s.io");
    let world = World::with(|config| config.rules = rules(&[claims])).await;
    let pod = started(&world, "web", json!({})).await;
    let request = json!({ "name": "gpu", "exactly": { "deviceClassName": "gpu.example.com" } });
    let claim = json!({ "metadata": { "name": "gpu" }, "spec": { "devices": { "requests": [request] } } });
    world.tenant_create::<ResourceClaim>(claim).await;
    world.host_has::<ResourceClaim>("gpu", |_| true).await;
    let host = world.host_api::<Pod>().get(&world.name("web")).await.unwrap();
    let result = json!({ "request": "gpu", "driver": "gpu.example.com", "pool": "p", "device": "d" });
    let status = json!({ "status": {
        "allocation": { "devices": { "results": [result] } },
        "reservedFor": [{ "resource": "pods", "name": host.name_any(), "uid": host.uid() }],
    }});
    let there = world.host_api::<ResourceClaim>();
    there.patch_status(&world.name("gpu"), &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    world
        .tenant_has::<ResourceClaim>("gpu", |claim| {
            let status = value(&claim.status);
            let user = &status["reservedFor"][0];
            user["name"] == "web"
                && user["uid"].as_str() == pod.uid().as_deref()
                && status["allocation"]["devices"]["results"][0]["device"] == "d"
        })
        .await;
    world.stop().await;
}
