use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

use crate::cluster::{Cluster, selector, template};

async fn web(cluster: &Cluster) {
    let spec = json!({"replicas": 2, "selector": selector("web"), "template": template("web", "pause")});
    cluster.create::<Deployment>(json!({"metadata": {"name": "web"}, "spec": spec})).await;
    let ready = |one: &Deployment| one.status.as_ref().and_then(|status| status.ready_replicas) == Some(2);
    cluster.until_one("web", "it is ready", ready).await;
}

fn owned_by(name: &str, owner: &impl Resource<DynamicType = ()>, blocks: bool) -> Value {
    let mut reference = json!(owner.owner_ref(&()).unwrap());
    reference["blockOwnerDeletion"] = json!(blocks);
    json!({"metadata": {"name": name, "ownerReferences": [reference]}})
}

fn without<K: Resource>(name: &'static str) -> impl Fn(&[K]) -> bool {
    move |all| all.iter().all(|one| one.name_any() != name)
}

#[tokio::test]
async fn deleting_in_the_background_takes_everything_below() {
    let cluster = Cluster::start().await;
    web(&cluster).await;
    cluster.api::<Deployment>().delete("web", &DeleteParams::background()).await.unwrap();
    cluster.until::<ReplicaSet>("sets are gone", <[_]>::is_empty).await;
    cluster.until::<Pod>("pods are gone", <[_]>::is_empty).await;
    cluster.stop().await;
}

#[tokio::test]
async fn deleting_in_the_foreground_takes_dependents_first() {
    let cluster = Cluster::start().await;
    web(&cluster).await;
    cluster.api::<Deployment>().delete("web", &DeleteParams::foreground()).await.unwrap();
    cluster.until::<Deployment>("the deployment is gone", <[_]>::is_empty).await;
    assert!(cluster.api::<ReplicaSet>().list(&Default::default()).await.unwrap().items.is_empty());
    assert!(cluster.api::<Pod>().list(&Default::default()).await.unwrap().items.is_empty());
    cluster.stop().await;
}

#[tokio::test]
async fn orphaning_leaves_dependents_without_owner() {
    let cluster = Cluster::start().await;
    web(&cluster).await;
    cluster.api::<Deployment>().delete("web", &DeleteParams::orphan()).await.unwrap();
    cluster.until::<Deployment>("the deployment is gone", <[_]>::is_empty).await;
    let sets = cluster
        .until::<ReplicaSet>("the set has no owner", |sets| {
            sets.len() == 1 && sets[0].owner_references().is_empty()
        })
        .await;
    assert_eq!(sets[0].status.as_ref().unwrap().ready_replicas, Some(2));
    cluster.stop().await;
}

#[tokio::test]
async fn an_object_whose_owner_never_existed_is_deleted() {
    let cluster = Cluster::start().await;
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "ghost", "uid": "6f1e6f5e-0000-4000-8000-000000000000"});
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "child", "ownerReferences": [owner]}})).await;
    cluster.until::<ConfigMap>("it is collected", without("child")).await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_object_with_one_owner_left_loses_only_the_reference() {
    let cluster = Cluster::start().await;
    let a = cluster.create::<ConfigMap>(json!({"metadata": {"name": "a"}})).await;
    let b = cluster.create::<ConfigMap>(json!({"metadata": {"name": "b"}})).await;
    let mut child = owned_by("child", &a, false);
    child["metadata"]["ownerReferences"].as_array_mut().unwrap().push(json!(b.owner_ref(&()).unwrap()));
    cluster.create::<ConfigMap>(child).await;
    cluster.api::<ConfigMap>().delete("a", &DeleteParams::background()).await.unwrap();
    let child =
        cluster.until_one::<ConfigMap>("child", "one owner is left", |one| one.owner_references().len() == 1);
    assert_eq!(child.await.owner_references()[0].name, "b");
    cluster.api::<ConfigMap>().delete("b", &DeleteParams::background()).await.unwrap();
    cluster.until::<ConfigMap>("it is collected", without("child")).await;
    cluster.stop().await;
}

#[tokio::test]
async fn only_blocking_dependents_hold_up_a_foreground_deletion() {
    let cluster = Cluster::start().await;
    let parent = cluster.create::<ConfigMap>(json!({"metadata": {"name": "parent"}})).await;
    for (name, blocks) in [("blocking", true), ("loose", false)] {
        let mut child = owned_by(name, &parent, blocks);
        child["metadata"]["finalizers"] = json!(["example.com/hold"]);
        cluster.create::<ConfigMap>(child).await;
    }
    cluster.api::<ConfigMap>().delete("parent", &DeleteParams::foreground()).await.unwrap();
    let deleting =
        |maps: &[ConfigMap]| maps.iter().filter(|map| map.meta().deletion_timestamp.is_some()).count() == 3;
    cluster.until::<ConfigMap>("all are being deleted", deleting).await;
    cluster.patch::<ConfigMap>("blocking", json!({"metadata": {"finalizers": null}})).await;
    let maps = cluster.until::<ConfigMap>("the parent is gone", without("parent")).await;
    assert!(maps.iter().any(|map| map.name_any() == "loose"));
    cluster.patch::<ConfigMap>("loose", json!({"metadata": {"finalizers": null}})).await;
    cluster.until::<ConfigMap>("the loose one is gone", without("loose")).await;
    cluster.stop().await;
}

#[tokio::test]
async fn custom_owners_count_as_soon_as_their_kind_is_served() {
    let cluster = Cluster::start().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({
        "metadata": {"name": "shops.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Cluster",
            "names": {"plural": "shops", "singular": "shop", "kind": "Shop"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    definitions.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
    await_condition(definitions, "shops.example.com", is_crd_established()).await.unwrap();

    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("example.com", "v1", "Shop"), "shops");
    let shops: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &resource);
    let shop = shops.create(&PostParams::default(), &DynamicObject::new("one", &resource)).await.unwrap();
    let owner =
        json!({"apiVersion": "example.com/v1", "kind": "Shop", "name": "one", "uid": shop.uid().unwrap()});
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "child", "ownerReferences": [owner]}})).await;
    shops.delete("one", &DeleteParams::background()).await.unwrap();
    cluster.until::<ConfigMap>("it is collected", without("child")).await;
    cluster.stop().await;
}
