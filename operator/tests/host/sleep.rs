//! Clusters that sleep by their own rule.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::PostParams;
use serde_json::json;
use vkube_crds::VirtualCluster;

use crate::world::{World, host_namespace};

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_sleeps_by_its_schedule_until_it_is_woken() {
    let world = World::start().await;
    // A second after it was made, or woken, for ever.
    world.create("demo", json!({"lifecycle": {"sleep": {"schedule": "@every 1s"}}})).await;
    let asleep = world.condition("demo", "Ready", "False", "Sleeping").await;
    assert_eq!(asleep.spec.replicas, Some(1), "what the user owns is as it was");
    let far = json!({"metadata": {"annotations": {"vkube.dev/wake": "2999-01-01T00:00:00Z"}}});
    world.merge(&world.clusters(), "demo", far).await;
    let awake = world.ready("demo").await;
    let set = world.within::<StatefulSet>(&host_namespace(&awake)).get("demo").await.unwrap();
    assert_eq!(set.spec.unwrap().replicas, Some(1));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_decides_when_a_cluster_sleeps_and_ends() {
    let world = World::start().await;
    let lifecycle = json!({"sleep": {"after": "1h"}, "deleteAfter": {"sinceLastActivity": "2h"}});
    world.create("demo", json!({"lifecycle": lifecycle})).await;
    let namespace = host_namespace(&world.ready("demo").await);
    let set = world.within::<StatefulSet>(&namespace).get("demo").await.unwrap();
    let arguments = set.spec.unwrap().template.spec.unwrap().containers.remove(0).args.unwrap();
    assert!(arguments.contains(&"--report-activity".to_owned()), "{arguments:?}");

    // As the control plane tells it.
    let told =
        json!({"metadata": {"name": "vc-demo-activity"}, "data": {"lastRequest": "2998-01-01T00:00:00Z"}});
    let maps = world.within::<ConfigMap>(&namespace);
    maps.create(&PostParams::default(), &serde_json::from_value(told).unwrap()).await.unwrap();
    world.merge(&world.clusters(), "demo", json!({"metadata": {"labels": {"look": "again"}}})).await;
    let known = |cluster: Option<&VirtualCluster>| {
        let status = cluster.and_then(|cluster| cluster.status.as_ref());
        let text = |time: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
            time.map(|time| time.0.to_string()).unwrap_or_default()
        };
        status.is_some_and(|status| {
            text(status.last_activity_time.as_ref()) == "2998-01-01T00:00:00Z"
                && text(status.delete_at.as_ref()) == "2998-01-01T02:00:00Z"
        })
    };
    world.until(world.clusters(), "demo", "known to be used", known).await;
    assert!(world.clusters().get("demo").await.unwrap().labels().contains_key("look"));
    world.stop().await;
}
