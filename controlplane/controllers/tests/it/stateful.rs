use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::cluster::{Cluster, selector, template};

fn db(replicas: i32) -> Value {
    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    json!({
        "metadata": {"name": "db"},
        "spec": {
            "replicas": replicas,
            "serviceName": "db",
            "selector": selector("db"),
            "template": template("db", "pause"),
            "volumeClaimTemplates": [claim],
        },
    })
}

fn ready(set: &StatefulSet, wanted: i32) -> bool {
    let status = set.status.clone().unwrap_or_default();
    status.ready_replicas == Some(wanted)
        && status.replicas == wanted
        && status.observed_generation == set.metadata.generation
}

fn names(pods: &[Pod]) -> Vec<String> {
    pods.iter().map(ResourceExt::name_any).collect()
}

#[tokio::test]
async fn pods_and_claims_have_stable_names_and_claims_outlive_them() {
    let cluster = Cluster::start().await;
    cluster.create::<StatefulSet>(db(3)).await;
    let set = cluster.until_one("db", "it is ready", |set| ready(set, 3)).await;
    let pods = cluster.api::<Pod>().list(&Default::default()).await.unwrap().items;
    assert_eq!(names(&pods), ["db-0", "db-1", "db-2"]);
    let created: Vec<_> = pods.iter().map(|pod| pod.metadata.creation_timestamp.clone()).collect();
    assert!(created.is_sorted());
    let revision = set.status.unwrap().update_revision.unwrap();
    assert!(pods.iter().all(|pod| pod.labels()["controller-revision-hash"] == revision));
    let claims = cluster.api::<PersistentVolumeClaim>().list(&Default::default()).await.unwrap().items;
    let claimed: Vec<_> = claims.iter().map(ResourceExt::name_any).collect();
    assert_eq!(claimed, ["data-db-0", "data-db-1", "data-db-2"]);
    let message = cluster.event("db", "SuccessfulCreate").await;
    assert_eq!(message, "create Claim data-db-0 Pod db-0 in StatefulSet db success");

    cluster.patch::<StatefulSet>("db", json!({"spec": {"replicas": 1}})).await;
    cluster.until::<Pod>("one is left", |pods| names(pods) == ["db-0"]).await;
    assert_eq!(
        cluster.api::<PersistentVolumeClaim>().list(&Default::default()).await.unwrap().items.len(),
        3
    );
    cluster.stop().await;
}

#[tokio::test]
async fn an_update_reaches_the_partition_and_a_revision_is_kept() {
    let cluster = Cluster::start().await;
    cluster.create::<StatefulSet>(db(3)).await;
    cluster.until_one("db", "it is ready", |set| ready(set, 3)).await;
    let partition = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    let change = json!({"spec": {"template": template("db", "pause:2"), "updateStrategy": partition}});
    cluster.patch::<StatefulSet>("db", change).await;
    let image = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap();
    let partly =
        |set: &StatefulSet| ready(set, 3) && set.status.as_ref().unwrap().updated_replicas == Some(1);
    cluster.until_one("db", "one is updated", partly).await;
    let pods = cluster.api::<Pod>().list(&Default::default()).await.unwrap().items;
    assert_eq!(pods.iter().map(image).collect::<Vec<_>>(), ["pause", "pause", "pause:2"]);

    let all = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}});
    cluster.patch::<StatefulSet>("db", all).await;
    let done = |set: &StatefulSet| {
        let status = set.status.clone().unwrap_or_default();
        ready(set, 3)
            && status.current_revision == status.update_revision
            && status.updated_replicas == Some(3)
    };
    cluster.until_one("db", "all are updated", done).await;
    let revisions = cluster.api::<ControllerRevision>().list(&Default::default()).await.unwrap().items;
    let mut numbers: Vec<_> = revisions.iter().map(|one| one.revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    cluster.stop().await;
}
