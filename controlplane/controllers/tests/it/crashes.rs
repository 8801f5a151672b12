//! Every step derives from the API: controllers that die anywhere go on from there.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ReplicationController, ResourceQuota};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::DeleteParams;
use serde_json::json;

use crate::cluster::{Cluster, selector, template};

#[tokio::test]
async fn a_job_is_counted_right_however_often_the_controllers_crash() {
    let cluster = Cluster::without_controllers().await;
    let pod = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "true"}]}});
    let spec = json!({"completions": 3, "parallelism": 3, "template": pod});
    cluster.create::<Job>(json!({"metadata": {"name": "work"}, "spec": spec})).await;
    let done = |job: &Job| job.status.as_ref().is_some_and(|status| status.completion_time.is_some());
    // Crash after each single write, so that every pair of writes is torn apart once.
    while cluster.controllers(Some(1)).crash(cluster.until_one("work", "it is complete", done)).await {}
    let controllers = cluster.controllers(None);
    let job = cluster.until_one("work", "it is complete", done).await;
    assert_eq!(job.status.unwrap().succeeded, Some(3));
    let pods = cluster.api::<Pod>().list(&Default::default()).await.unwrap().items;
    assert_eq!(pods.len(), 3, "no pod was created twice");
    controllers.stop().await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_rollout_survives_crashes_without_a_pod_too_many() {
    let cluster = Cluster::without_controllers().await;
    let spec =
        |image| json!({"replicas": 2, "selector": selector("web"), "template": template("web", image)});
    cluster.create::<Deployment>(json!({"metadata": {"name": "web"}, "spec": spec("pause")})).await;
    let done = |one: &Deployment| {
        let status = one.status.clone().unwrap_or_default();
        status.observed_generation == one.metadata.generation
            && (status.updated_replicas, status.replicas, status.available_replicas)
                == (Some(2), Some(2), Some(2))
    };
    while cluster.controllers(Some(2)).crash(cluster.until_one("web", "it is there", done)).await {}
    cluster.patch::<Deployment>("web", json!({"spec": spec("pause:2")})).await;
    while cluster.controllers(Some(3)).crash(cluster.until_one("web", "it has rolled", done)).await {}
    let controllers = cluster.controllers(None);
    cluster.until_one("web", "it has rolled", done).await;
    cluster.until::<Pod>("old pods are gone", |pods| pods.len() == 2).await;
    let sets = cluster.api::<ReplicaSet>().list(&Default::default()).await.unwrap().items;
    assert_eq!(sets.len(), 2, "no replica set was created twice");
    controllers.stop().await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_foreground_deletion_survives_crashes() {
    let cluster = Cluster::without_controllers().await;
    let spec = json!({"replicas": 2, "selector": selector("web"), "template": template("web", "pause")});
    cluster.create::<Deployment>(json!({"metadata": {"name": "web"}, "spec": spec})).await;
    let controllers = cluster.controllers(None);
    let ready = |one: &Deployment| one.status.as_ref().and_then(|status| status.ready_replicas) == Some(2);
    cluster.until_one("web", "it is ready", ready).await;
    controllers.stop().await;
    cluster.api::<Deployment>().delete("web", &DeleteParams::foreground()).await.unwrap();
    let gone = || cluster.until::<Deployment>("it is gone", <[_]>::is_empty);
    while cluster.controllers(Some(1)).crash(gone()).await {}
    let controllers = cluster.controllers(None);
    cluster.until::<Deployment>("it is gone", <[_]>::is_empty).await;
    cluster.until::<Pod>("its pods are gone", <[_]>::is_empty).await;
    controllers.stop().await;
    cluster.stop().await;
}

#[tokio::test]
async fn controllers_that_start_on_a_settled_cluster_write_nothing_to_it() {
    let cluster = Cluster::without_controllers().await;
    let first = cluster.controllers(None);
    let web = json!({"replicas": 2, "selector": selector("web"), "template": template("web", "pause")});
    cluster.create::<Deployment>(json!({"metadata": {"name": "web"}, "spec": web})).await;
    let db = json!({"replicas": 2, "serviceName": "db", "selector": selector("db"), "template": template("db", "pause")});
    cluster.create::<StatefulSet>(json!({"metadata": {"name": "db"}, "spec": db})).await;
    let spec = json!({"selector": {"app": "web"}, "ports": [{"port": 80}]});
    cluster
        .create::<k8s_openapi::api::core::v1::Service>(json!({"metadata": {"name": "web"}, "spec": spec}))
        .await;
    let spec = json!({"maxUnavailable": 1, "selector": selector("web")});
    cluster.create::<PodDisruptionBudget>(json!({"metadata": {"name": "web"}, "spec": spec})).await;
    let spec = json!({"replicas": 1, "selector": {"app": "old"}, "template": template("old", "pause")});
    cluster.create::<ReplicationController>(json!({"metadata": {"name": "old"}, "spec": spec})).await;
    let hard = json!({"services": "9", "count/statefulsets.apps": "9"});
    cluster.create::<ResourceQuota>(json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await;
    let settled = |one: &Deployment| {
        let conditions = one.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.reason.as_deref() == Some("NewReplicaSetAvailable"))
    };
    cluster.until_one("web", "it is settled", settled).await;
    let complete = |set: &StatefulSet| {
        let status = set.status.clone().unwrap_or_default();
        status.available_replicas == Some(2) && status.current_replicas == Some(2)
    };
    cluster.until_one("db", "it is settled", complete).await;
    let allows = |budget: &PodDisruptionBudget| {
        budget.status.as_ref().and_then(|status| status.disruptions_allowed) == Some(1)
    };
    cluster.until_one("web", "one may go", allows).await;
    let available = |one: &ReplicationController| {
        one.status.as_ref().and_then(|status| status.available_replicas) == Some(1)
    };
    cluster.until_one("old", "it is settled", available).await;
    let counted = |quota: &ResourceQuota| {
        quota.status.as_ref().and_then(|status| status.used.as_ref()).is_some_and(|used| used.len() == 2)
    };
    cluster.until_one("q", "it is counted", counted).await;
    first.stop().await;

    // What was under way when the first ones ended may be finished by the next. Queues are in order: when what came
    // last is done, so is what was there before.
    let mut strange = Vec::new();
    for generation in ["second", "third", "fourth"] {
        let controllers = cluster.controllers(None);
        for order in ["late", "later"] {
            let name = format!("{order}-{generation}");
            let spec =
                json!({"replicas": 1, "selector": selector(&name), "template": template(&name, "pause")});
            cluster.create::<Deployment>(json!({"metadata": {"name": name}, "spec": spec})).await;
            cluster.until_one(&name, "it is settled", settled).await;
        }
        strange = controllers.writes();
        strange.retain(|write| !write.contains("late") && !write.starts_with("POST "));
        controllers.stop().await;
        if strange.is_empty() {
            break;
        }
    }
    assert!(strange.is_empty(), "{strange:#?}");
    cluster.stop().await;
}
