use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Service};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use kube::discovery::{ApiGroup, Discovery, verbs};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::world::{PATIENCE, TENANTS, World, host_namespace, text};

/// Every object of every kind, but for what tells of the past and what every namespace is given.
async fn everything(world: &World) -> BTreeSet<String> {
    let discovery = Discovery::new(world.admin.clone()).run().await.unwrap();
    let mut all = BTreeSet::new();
    for (resource, capabilities) in discovery.groups().flat_map(ApiGroup::recommended_resources) {
        if !capabilities.supports_operation(verbs::LIST)
            || ["Event", "Lease"].contains(&resource.kind.as_str())
        {
            continue;
        }
        let api: Api<DynamicObject> = Api::all_with(world.admin.clone(), &resource);
        let objects = api.list(&ListParams::default()).await.unwrap().items;
        let given = ["kube-root-ca.crt", "default"];
        let objects = objects.iter().filter(|one| !given.contains(&one.name_any().as_str()));
        all.extend(objects.map(|one| {
            format!("{} {}/{}", resource.kind, one.namespace().unwrap_or_default(), one.name_any())
        }));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_deleted_cluster() {
    let world = World::start().await;
    let before = everything(&world).await;
    let all = json!({
        "export": {"argocd": {"enabled": true, "namespace": TENANTS}},
        "expose": {"type": "NodePort"},
        "kubeconfig": {"additional": [{"name": "demo-ci", "user": "ci"}]},
        "sync": {"nodes": {"mode": "All"}, "fromHost": {"storageclasses.storage.k8s.io": {"enabled": true}}},
    });
    world.create("demo", all).await;
    world.ready("demo").await;
    let made = everything(&world).await.difference(&before).count();
    assert!(made > 20, "{made} objects are no cluster");
    world.clusters().delete("demo", &DeleteParams::default()).await.unwrap();
    world.gone(world.clusters(), "demo").await;
    // What is beside the cluster goes with its owner, whose end the garbage collector sees a moment later.
    let gone = async {
        while !everything(&world).await.is_subset(&before) {
            tokio::task::yield_now().await;
        }
    };
    let outcome = tokio::time::timeout(PATIENCE, gone).await;
    assert!(outcome.is_ok(), "left behind: {:?}", everything(&world).await.difference(&before));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_namespace_went_first_is_released() {
    let mut world = World::start().await;
    world.create("demo", json!({})).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    world.stop_operator().await;
    world.all::<Namespace>().delete(&namespace, &DeleteParams::default()).await.unwrap();
    world.gone(world.all::<Namespace>(), &namespace).await;
    world.clusters().delete("demo", &DeleteParams::default()).await.unwrap();
    world.start_operator();
    world.gone(world.clusters(), "demo").await;
    assert!(
        world.all::<ClusterRoleBinding>().get_opt(&format!("vkube:{namespace}")).await.unwrap().is_none()
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_never_built_is_released() {
    let world = World::start().await;
    world.create("demo", json!({"version": "1.1"})).await;
    world.condition("demo", "Stalled", "True", "InvalidSpec").await;
    let _ = world.clusters().delete("demo", &DeleteParams::default()).await;
    world.gone(world.clusters(), "demo").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_waits_for_the_namespace_across_a_restart_and_says_so() {
    let mut world = World::start().await;
    world.create("demo", json!({})).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    let configs = world.within::<ConfigMap>(&namespace);
    configs.create(&PostParams::default(), &serde_json::from_value(held).unwrap()).await.unwrap();
    world.clusters().delete("demo", &DeleteParams::default()).await.unwrap();
    world.condition("demo", "Deleting", "True", "Deleting").await;
    world.stop_operator().await;
    world.start_operator();
    world.condition("demo", "Ready", "False", "Deleting").await;
    world.merge(&configs, "held", json!({"metadata": {"finalizers": null}})).await;
    world.gone(world.clusters(), "demo").await;
    assert!(world.all::<Namespace>().get_opt(&namespace).await.unwrap().is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn force_delete_does_not_wait() {
    let world = World::start().await;
    world.create("demo", json!({})).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    let configs = world.within::<ConfigMap>(&namespace);
    configs.create(&PostParams::default(), &serde_json::from_value(held).unwrap()).await.unwrap();
    world.clusters().delete("demo", &DeleteParams::default()).await.unwrap();
    world.condition("demo", "Deleting", "True", "Deleting").await;
    let force = json!({"metadata": {"annotations": {"vkube.dev/force-delete": "true"}}});
    world.merge(&world.clusters(), "demo", force).await;
    world.gone(world.clusters(), "demo").await;
    let left = world.all::<Namespace>().get(&namespace).await.unwrap();
    assert!(left.metadata.deletion_timestamp.is_some());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_namespace_is_adopted_by_a_cluster_of_the_same_name() {
    let world = World::start().await;
    let retain = json!({"lifecycle": {"deletionPolicy": "Retain"}});
    world.create("demo", retain.clone()).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    let claims = world.within::<PersistentVolumeClaim>(&namespace);
    let claim = claims.get("vc-demo-data").await.unwrap().uid();
    let authority = text(&world.secret(&namespace, "vc-demo-pki").await, "ca.crt");

    world.clusters().delete("demo", &DeleteParams::default()).await.unwrap();
    world.gone(world.clusters(), "demo").await;
    let kept = world.all::<Namespace>().get(&namespace).await.unwrap();
    assert!(kept.metadata.deletion_timestamp.is_none());
    assert!(world.within::<StatefulSet>(&namespace).get_opt("demo").await.unwrap().is_none());
    assert!(world.within::<Service>(&namespace).get_opt("demo").await.unwrap().is_none());

    world.create("demo", retain).await;
    world.ready("demo").await;
    assert_eq!(claims.get("vc-demo-data").await.unwrap().uid(), claim);
    assert_eq!(text(&world.secret(&namespace, "vc-demo-pki").await, "ca.crt"), authority);
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_cluster_cannot_be_deleted() {
    let world = World::start().await;
    world.create("demo", json!({"lifecycle": {"deletionProtection": true}})).await;
    world.ready("demo").await;
    // An API server that evaluates admission policies refuses; one that does not leaves it to the operator.
    if world.clusters().delete("demo", &DeleteParams::default()).await.is_ok() {
        let cluster = world.condition("demo", "Deleting", "True", "Deleting").await;
        assert!(world.all::<Namespace>().get_opt(&host_namespace(&cluster)).await.unwrap().is_some());
    }
    world.merge(&world.clusters(), "demo", json!({"spec": {"lifecycle": null}})).await;
    let _ = world.clusters().delete("demo", &DeleteParams::default()).await;
    world.gone(world.clusters(), "demo").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_lifetime_has_ended_deletes_itself() {
    let world = World::start().await;
    let until = |after: &str| json!({"lifecycle": {"deleteAfter": {"sinceCreation": after}}});
    world.create("demo", until("72h")).await;
    let cluster = world.ready("demo").await;
    let end = cluster.status.clone().unwrap().delete_at.unwrap().0;
    let created = cluster.metadata.creation_timestamp.clone().unwrap().0;
    assert_eq!(end.duration_since(created).as_secs(), 72 * 3600);
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new());
    // Protection outlives it.
    let mut protected = until("0s");
    protected["lifecycle"]["deletionProtection"] = json!(true);
    world.merge(&world.clusters(), "demo", json!({"spec": protected})).await;
    let cluster = world.ready("demo").await;
    assert_eq!(cluster.metadata.deletion_timestamp, None);
    world
        .merge(&world.clusters(), "demo", json!({"spec": {"lifecycle": {"deletionProtection": false}}}))
        .await;
    world.gone(world.clusters(), "demo").await;
    world.stop().await;
}
