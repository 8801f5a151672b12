use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::cluster::{Cluster, selector, template};

fn web(replicas: i32, image: &str) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": selector("web"), "template": template("web", image)},
    })
}

fn available(deployment: &Deployment, wanted: i32) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    status.observed_generation == deployment.metadata.generation
        && status.available_replicas == Some(wanted)
        && status.updated_replicas == Some(wanted)
        && status.replicas == Some(wanted)
}

fn condition(deployment: &Deployment, type_: &str) -> String {
    let conditions = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let found = conditions.into_iter().find(|condition| condition.type_ == type_);
    found.and_then(|condition| condition.reason.clone()).unwrap_or_default()
}

#[tokio::test]
async fn a_deployment_brings_up_pods_and_rolls_them() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(web(3, "pause")).await;
    let deployment = cluster.until_one("web", "it is available", |one| available(one, 3)).await;
    assert_eq!(deployment.metadata.generation, Some(1), "the controller does not change the specification");
    assert_eq!(deployment.annotations()["deployment.kubernetes.io/revision"], "1");
    let first = cluster.until::<ReplicaSet>("there is a set", |sets| sets.len() == 1).await.remove(0);
    let message = cluster.event("web", "ScalingReplicaSet").await;
    assert_eq!(message, format!("Scaled up replica set {} from 0 to 3", first.name_any()));
    let done = cluster
        .until_one("web", "it is done", |one| condition(one, "Progressing") == "NewReplicaSetAvailable");
    assert_eq!(condition(&done.await, "Available"), "MinimumReplicasAvailable");

    cluster.patch::<Deployment>("web", json!({"spec": {"template": template("web", "pause:2")}})).await;
    let done = |one: &Deployment| {
        available(one, 3)
            && one.annotations().get("deployment.kubernetes.io/revision").is_some_and(|n| n == "2")
    };
    cluster.until_one("web", "it has rolled", done).await;
    let pods = cluster.until::<Pod>("old pods are gone", |pods| pods.len() == 3).await;
    assert!(
        pods.iter().all(|pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some("pause:2"))
    );
    let sets = cluster.until::<ReplicaSet>("the old set is empty", |sets| sets.len() == 2).await;
    let old = sets.iter().find(|set| set.name_any() == first.name_any()).unwrap();
    assert_eq!(old.spec.as_ref().unwrap().replicas, Some(0));
    cluster.stop().await;
}

#[tokio::test]
async fn a_deployment_with_a_broken_template_keeps_the_old_pods() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(web(4, "pause")).await;
    cluster.until_one("web", "it is available", |one| available(one, 4)).await;
    cluster.patch::<Deployment>("web", json!({"spec": {"template": template("web", "broken")}})).await;
    let stuck = |one: &Deployment| {
        let status = one.status.clone().unwrap_or_default();
        (status.available_replicas, status.updated_replicas, status.unavailable_replicas)
            == (Some(3), Some(2), Some(2))
    };
    let stuck = cluster.until_one("web", "it is stuck", stuck).await;
    assert_eq!(condition(&stuck, "Available"), "MinimumReplicasAvailable");
    cluster.patch::<Deployment>("web", json!({"spec": {"template": template("web", "pause")}})).await;
    cluster.until_one("web", "it is back", |one| available(one, 4)).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_recreated_deployment_never_mixes_templates() {
    let cluster = Cluster::start().await;
    let mut deployment = web(2, "pause");
    deployment["spec"]["strategy"] = json!({"type": "Recreate"});
    cluster.create::<Deployment>(deployment).await;
    cluster.until_one("web", "it is available", |one| available(one, 2)).await;
    cluster.patch::<Deployment>("web", json!({"spec": {"template": template("web", "pause:2")}})).await;
    let new = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some("pause:2");
    let mixed = std::sync::atomic::AtomicBool::new(false);
    cluster
        .until::<Pod>("all pods are new", |pods| {
            let (fresh, old): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| new(pod));
            if !fresh.is_empty() && !old.is_empty() {
                mixed.store(true, std::sync::atomic::Ordering::SeqCst);
            }
            fresh.len() == 2 && old.is_empty()
        })
        .await;
    assert!(!mixed.into_inner());
    cluster.stop().await;
}

#[tokio::test]
async fn a_replica_set_replaces_lost_pods_and_adopts_matching_ones() {
    let cluster = Cluster::start().await;
    let mut orphan = template("db", "pause");
    orphan["metadata"]["name"] = json!("stray");
    cluster.create::<Pod>(orphan).await;
    cluster
        .create::<ReplicaSet>(json!({
            "metadata": {"name": "db"},
            "spec": {"replicas": 3, "selector": selector("db"), "template": template("db", "pause")},
        }))
        .await;
    let ready = |set: &ReplicaSet| set.status.as_ref().and_then(|status| status.ready_replicas) == Some(3);
    let set = cluster.until_one("db", "it is ready", ready).await;
    let stray = cluster.api::<Pod>().get("stray").await.unwrap();
    assert_eq!(stray.owner_references()[0].uid, set.uid().unwrap());

    cluster.api::<Pod>().delete("stray", &DeleteParams::default()).await.unwrap();
    let replaced = |pods: &[Pod]| pods.len() == 3 && pods.iter().all(|pod| pod.name_any() != "stray");
    cluster.until::<Pod>("it is replaced", replaced).await;

    let name = cluster.api::<Pod>().list(&Default::default()).await.unwrap().items[0].name_any();
    cluster.patch::<Pod>(&name, json!({"metadata": {"labels": {"app": "other"}}})).await;
    let released = |pods: &[Pod]| pods.len() == 4 && pods.iter().any(|pod| pod.owner_references().is_empty());
    cluster.until::<Pod>("the relabelled pod is released and replaced", released).await;

    cluster.patch::<ReplicaSet>("db", json!({"spec": {"replicas": 0}})).await;
    cluster.until::<Pod>("only the released pod is left", |pods| pods.len() == 1).await;
    assert!(cluster.event("db", "SuccessfulDelete").await.starts_with("Deleted pod: db-"));
    cluster.stop().await;
}
