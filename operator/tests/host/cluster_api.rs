//! The contract of Cluster API, with the part of its Cluster controller that the contract speaks of played by the tests.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use vkube_crds::{VirtualCluster, VirtualControlPlane};
use vkube_operator::install;

use crate::world::{TENANTS, World, text};

/// A host with Cluster API's Cluster, and the operator as a provider.
pub async fn world() -> World {
    let mut world = World::with(|options| options.cluster_api = true).await;
    world.stop_operator().await;
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "clusters.cluster.x-k8s.io",
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/cluster-api"},
        },
        "spec": {
            "group": "cluster.x-k8s.io",
            "scope": "Namespaced",
            "names": {"kind": "Cluster", "plural": "clusters", "listKind": "ClusterList", "singular": "cluster"},
            "versions": [{"name": "v1beta2", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}}}],
        },
    });
    let [crds, rbac] = install::cluster_api();
    for object in [crds, rbac, vec![crd]].concat() {
        world.apply(serde_json::from_value(object).unwrap()).await;
    }
    for name in ["clusters.cluster.x-k8s.io", "virtualcontrolplanes.vkube.dev"] {
        let established = |crd: Option<&CustomResourceDefinition>| {
            let conditions = crd.and_then(|crd| crd.status.as_ref()?.conditions.as_ref());
            conditions
                .is_some_and(|all| all.iter().any(|one| one.type_ == "Established" && one.status == "True"))
        };
        world.until(world.all::<CustomResourceDefinition>(), name, "established", established).await;
    }
    world.start_operator();
    world
}

fn clusters(world: &World, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("cluster.x-k8s.io", "v1beta2", "Cluster");
    Api::namespaced_with(world.admin.clone(), namespace, &ApiResource::from_gvk(&kind))
}

fn planes(world: &World) -> Api<VirtualControlPlane> {
    world.within(TENANTS)
}

async fn create(world: &World, spec: Value) {
    let cluster = json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
        "metadata": {"name": "demo"}, "spec": {"controlPlaneRef": {"kind": "VirtualControlPlane", "name": "plane"}}});
    let cluster = serde_json::from_value(cluster).unwrap();
    clusters(world, TENANTS).create(&PostParams::default(), &cluster).await.unwrap();
    let plane = VirtualControlPlane::new("plane", serde_json::from_value(spec).unwrap());
    planes(world).create(&PostParams::default(), &plane).await.unwrap();
    said(world, "Ready", "Unknown", "WaitingForCluster").await;
    adopt(world, TENANTS, "demo", "plane").await;
}

/// As the Cluster's controller does to what its Cluster refers to.
pub async fn adopt(world: &World, namespace: &str, cluster: &str, plane: &str) {
    let uid = clusters(world, namespace).get(cluster).await.unwrap().uid();
    let owner = json!([{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": cluster, "uid": uid,
        "controller": true, "blockOwnerDeletion": true}]);
    let owned =
        json!({"metadata": {"ownerReferences": owner, "labels": {"cluster.x-k8s.io/cluster-name": cluster}}});
    world.merge(&world.within::<VirtualControlPlane>(namespace), plane, owned).await;
}

async fn said(world: &World, type_: &str, status: &str, reason: &str) {
    let wanted = |plane: Option<&VirtualControlPlane>| {
        let conditions =
            plane.and_then(|plane| plane.status.as_ref()).map(|status| status.conditions.as_slice());
        conditions.unwrap_or_default().iter().any(|condition| {
            condition.type_ == type_ && condition.status == status && condition.reason == reason
        })
    };
    world.until(planes(world), "plane", &format!("{type_}={status}/{reason}"), wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_cluster_api_gets_its_control_plane() {
    let world = world().await;
    create(
        &world,
        json!({"version": "v1.36.2", "virtualCluster": {"isolation": {"podSecurity": "restricted"}}}),
    )
    .await;
    let done = |plane: Option<&VirtualControlPlane>| {
        let status = plane.and_then(|plane| plane.status.as_ref());
        status.is_some_and(|status| status.initialized && status.up_to_date_replicas == 1)
            && plane.is_some_and(|plane| plane.spec.control_plane_endpoint.is_some())
    };
    world.until(planes(&world), "plane", "initialised", done).await;
    said(&world, "Available", "True", "Applied").await;
    said(&world, "Paused", "False", "NotPaused").await;
    let plane = planes(&world).get("plane").await.unwrap();
    let status = plane.status.unwrap();
    assert!(status.initialization.unwrap().control_plane_initialized);
    assert!(status.external_managed_control_plane && status.ready);
    assert_eq!((status.replicas, status.ready_replicas, status.available_replicas), (1, 1, 1));
    assert_eq!(plane.spec.control_plane_endpoint.unwrap().port, 443);
    let made = world.clusters().get("demo").await.unwrap();
    assert_eq!(made.spec.version.as_deref(), Some("1.36"));
    assert_eq!(made.spec.isolation.unwrap().pod_security.unwrap().as_str(), "restricted");
    let secret = world.secret(TENANTS, "demo-kubeconfig").await;
    assert_eq!(secret.type_.as_deref(), Some("cluster.x-k8s.io/secret"));
    assert_eq!(secret.labels()["cluster.x-k8s.io/cluster-name"], "demo");
    assert!(text(&secret, "value").contains("client-certificate-data"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_cluster_keeps_its_control_plane_as_it_is() {
    let world = world().await;
    create(&world, json!({})).await;
    said(&world, "Available", "True", "Applied").await;
    world.merge(&clusters(&world, TENANTS), "demo", json!({"spec": {"paused": true}})).await;
    said(&world, "Paused", "True", "Paused").await;
    world.merge(&planes(&world), "plane", json!({"spec": {"replicas": 0}})).await;
    let seen = |plane: Option<&VirtualControlPlane>| {
        plane.is_some_and(|plane| {
            plane.status.as_ref().and_then(|status| status.observed_generation) == plane.metadata.generation
        })
    };
    world.until(planes(&world), "plane", "looked at", seen).await;
    assert_eq!(world.clusters().get("demo").await.unwrap().spec.replicas, Some(1));
    world.merge(&clusters(&world, TENANTS), "demo", json!({"spec": {"paused": false}})).await;
    said(&world, "Paused", "False", "NotPaused").await;
    let asleep =
        |cluster: Option<&VirtualCluster>| cluster.is_some_and(|cluster| cluster.spec.replicas == Some(0));
    world.until(world.clusters(), "demo", "put to sleep", asleep).await;
    world
        .merge(
            &planes(&world),
            "plane",
            json!({"metadata": {"annotations": {"cluster.x-k8s.io/paused": ""}}}),
        )
        .await;
    said(&world, "Paused", "True", "Paused").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_is_gone_when_its_virtual_cluster_is() {
    let world = world().await;
    create(&world, json!({})).await;
    said(&world, "Available", "True", "Applied").await;
    planes(&world).delete("plane", &DeleteParams::default()).await.unwrap();
    world.gone(planes(&world), "plane").await;
    assert!(world.clusters().get_opt("demo").await.unwrap().is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_cluster_of_someone_else_is_not_taken_for_a_control_plane() {
    let world = world().await;
    let theirs = world.create("demo", json!({})).await;
    create(&world, json!({"replicas": 0})).await;
    said(&world, "Ready", "False", "NameConflict").await;
    let still = world.clusters().get("demo").await.unwrap();
    assert_eq!((still.uid(), still.spec.replicas), (theirs.uid(), Some(1)));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cluster_api_asks_for_wrongly_is_told() {
    let world = world().await;
    create(&world, json!({"virtualCluster": {"expose": {"type": "Nowhere"}}})).await;
    said(&world, "Ready", "False", "InvalidSpec").await;
    let patch = Patch::Merge(json!({"spec": {"virtualCluster": null}}));
    planes(&world).patch("plane", &PatchParams::default(), &patch).await.unwrap();
    said(&world, "Available", "True", "Applied").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_changes_its_type_when_cluster_api_begins_to_read_it() {
    let world = World::start().await;
    world.create("demo", json!({})).await;
    world.ready("demo").await;
    let before = world.secret(TENANTS, "demo-kubeconfig").await;
    world
        .merge(&world.clusters(), "demo", json!({"spec": {"export": {"clusterAPI": {"enabled": true}}}}))
        .await;
    let typed = |secret: Option<&Secret>| {
        secret.is_some_and(|secret| secret.type_.as_deref() == Some("cluster.x-k8s.io/secret"))
    };
    world.until(world.within::<Secret>(TENANTS), "demo-kubeconfig", "of the type", typed).await;
    let after = world.secret(TENANTS, "demo-kubeconfig").await;
    assert_eq!(text(&before, "client-certificate"), text(&after, "client-certificate"));
    world.stop().await;
}
