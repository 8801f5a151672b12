use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use crate::cluster::{Cluster, template};

#[tokio::test]
async fn a_replication_controller_keeps_its_pods() {
    let cluster = Cluster::start().await;
    let spec = json!({"replicas": 2, "selector": {"app": "old"}, "template": template("old", "pause")});
    cluster.create::<ReplicationController>(json!({"metadata": {"name": "old"}, "spec": spec})).await;
    let ready = |count: i32| {
        move |one: &ReplicationController| {
            let status = one.status.clone().unwrap_or_default();
            (status.replicas, status.available_replicas) == (count, Some(count))
        }
    };
    let one = cluster.until_one("old", "two are ready", ready(2)).await;
    assert_eq!(one.status.unwrap().observed_generation, one.metadata.generation);
    assert!(cluster.event("old", "SuccessfulCreate").await.starts_with("Created pod: old-"));

    let pods = cluster.api::<Pod>().list(&Default::default()).await.unwrap().items;
    let owner = &pods[0].owner_references()[0];
    assert_eq!((owner.api_version.as_str(), owner.kind.as_str()), ("v1", "ReplicationController"));
    let lost = pods[0].name_any();
    cluster.api::<Pod>().delete(&lost, &DeleteParams::default()).await.unwrap();
    cluster
        .until::<Pod>("another takes its place", |pods| {
            pods.len() == 2 && pods.iter().all(|pod| pod.name_any() != lost)
        })
        .await;
    cluster.patch::<ReplicationController>("old", json!({"spec": {"replicas": 1}})).await;
    cluster.until_one("old", "one is left", ready(1)).await;
    cluster.stop().await;
}
