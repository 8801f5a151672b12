use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, ResourceQuota};
use k8s_openapi::api::resource::v1::ResourceClaim;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, PostParams};
use kube::core::ApiResource;
use serde_json::{Value, json};

use crate::cluster::{Cluster, until};

fn pod(name: &str, image: &str) -> Value {
    let container = json!({"name": "main", "image": image, "resources": {"requests": {"cpu": "100m"}}});
    json!({"metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": [container]}})
}

fn used(quota: &ResourceQuota) -> BTreeMap<String, String> {
    let used = quota.status.clone().unwrap_or_default().used.unwrap_or_default();
    used.into_iter().map(|(name, amount)| (name, amount.0)).collect()
}

fn is(quota: &ResourceQuota, name: &str, amount: &str) -> bool {
    used(quota).get(name).is_some_and(|found| found == amount)
}

#[tokio::test]
async fn a_quota_tells_what_was_there_before_it() {
    let cluster = Cluster::start().await;
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "one"}})).await;
    cluster.create::<Pod>(pod("web", "pause")).await;
    let hard = json!({"pods": "5", "requests.cpu": "1", "configmaps": "9", "count/jobs.batch": "3"});
    cluster.create::<ResourceQuota>(json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await;
    let quota = cluster
        .until_one::<ResourceQuota>("q", "it is counted", |quota| {
            // The root CA is a config map too.
            is(quota, "configmaps", "2") && used(quota).len() == 4
        })
        .await;
    assert!(
        is(&quota, "pods", "1") && is(&quota, "requests.cpu", "100m") && is(&quota, "count/jobs.batch", "0")
    );
    let status = quota.status.unwrap();
    assert_eq!(status.hard, quota.spec.unwrap().hard);
    cluster.stop().await;
}

#[tokio::test]
async fn a_quota_is_replenished_when_objects_go_or_end() {
    let cluster = Cluster::start().await;
    let hard = json!({"pods": "2", "configmaps": "9"});
    cluster.create::<ResourceQuota>(json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await;
    cluster.until_one::<ResourceQuota>("q", "it is counted", |quota| is(quota, "configmaps", "1")).await;
    cluster.create::<Pod>(pod("stays", "pause")).await;
    cluster.create::<Pod>(pod("ends", "true")).await;
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "one"}})).await;
    cluster
        .until_one::<ResourceQuota>("q", "the ended pod is free", |quota| {
            is(quota, "pods", "1") && is(quota, "configmaps", "2")
        })
        .await;
    cluster.api::<Pod>().delete("stays", &DeleteParams::default()).await.unwrap();
    cluster.api::<ConfigMap>().delete("one", &DeleteParams::default()).await.unwrap();
    cluster
        .until_one::<ResourceQuota>("q", "all is free", |quota| {
            is(quota, "pods", "0") && is(quota, "configmaps", "1")
        })
        .await;
    cluster.stop().await;
}

#[tokio::test]
async fn custom_objects_are_counted_too() {
    let cluster = Cluster::start().await;
    let schema = json!({"type": "object"});
    let version =
        json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    let names = json!({"plural": "widgets", "singular": "widget", "kind": "Widget"});
    let spec = json!({"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]});
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let definition = json!({"metadata": {"name": "widgets.example.com"}, "spec": spec});
    definitions.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
    until(definitions, "widgets are served", |all| {
        let conditions = |one: &CustomResourceDefinition| one.status.clone()?.conditions;
        all.iter().any(|one| {
            conditions(one).into_iter().flatten().any(|c| c.type_ == "Established" && c.status == "True")
        })
    })
    .await;
    let hard = json!({"count/widgets.example.com": "2"});
    cluster.create::<ResourceQuota>(json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await;
    let name = "count/widgets.example.com";
    cluster.until_one::<ResourceQuota>("q", "there are none", |quota| is(quota, name, "0")).await;

    let widgets = ApiResource {
        group: "example.com".to_owned(),
        version: "v1".to_owned(),
        api_version: "example.com/v1".to_owned(),
        kind: "Widget".to_owned(),
        plural: "widgets".to_owned(),
    };
    let api: Api<DynamicObject> = Api::default_namespaced_with(cluster.client.clone(), &widgets);
    api.create(&PostParams::default(), &DynamicObject::new("a", &widgets)).await.unwrap();
    cluster.until_one::<ResourceQuota>("q", "there is one", |quota| is(quota, name, "1")).await;
    api.delete("a", &DeleteParams::default()).await.unwrap();
    cluster.until_one::<ResourceQuota>("q", "it is gone", |quota| is(quota, name, "0")).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_quota_of_a_device_class_counts_what_claims_ask_for() {
    let cluster = Cluster::start().await;
    let hard =
        json!({"gold.deviceclass.resource.k8s.io/devices": "9", "count/resourceclaims.resource.k8s.io": "9"});
    cluster.create::<ResourceQuota>(json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await;
    let name = "gold.deviceclass.resource.k8s.io/devices";
    cluster.until_one::<ResourceQuota>("q", "it is counted", |quota| is(quota, name, "0")).await;
    let exactly = json!({"deviceClassName": "gold", "allocationMode": "ExactCount", "count": 2});
    let spec = json!({"devices": {"requests": [{"name": "all", "exactly": exactly}]}});
    cluster.create::<ResourceClaim>(json!({"metadata": {"name": "claim"}, "spec": spec})).await;
    cluster
        .until_one::<ResourceQuota>("q", "the devices are counted", |quota| {
            is(quota, name, "2") && is(quota, "count/resourceclaims.resource.k8s.io", "1")
        })
        .await;
    cluster.api::<ResourceClaim>().delete("claim", &DeleteParams::default()).await.unwrap();
    cluster.until_one::<ResourceQuota>("q", "they are free again", |quota| is(quota, name, "0")).await;
    cluster.stop().await;
}
