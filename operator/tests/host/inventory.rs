//! What the status tells of a cluster's objects, and of what its workloads use.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use serde_json::json;
use vkube_crds::{InventoryItem, VirtualCluster};

use crate::world::{World, host_namespace};

fn inventory(cluster: &VirtualCluster) -> Vec<InventoryItem> {
    cluster.status.as_ref().unwrap().inventory.clone()
}

fn has(items: &[InventoryItem], kind: &str, name: &str) -> bool {
    items.iter().any(|item| item.kind == kind && item.name == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_names_what_was_made_and_no_longer_what_went() {
    let world = World::start().await;
    world.create("demo", json!({"expose": {"type": "NodePort"}})).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    let made = inventory(&cluster);
    assert!(made.is_sorted(), "{made:?}");
    assert_eq!(made.iter().collect::<BTreeSet<_>>().len(), made.len());
    for (kind, name) in [
        ("Namespace", namespace.as_str()),
        ("StatefulSet", "demo"),
        ("Service", "demo"),
        ("Service", "demo-external"),
        ("Secret", "demo-kubeconfig"),
        ("Secret", "vc-demo-pki"),
        ("PersistentVolumeClaim", "vc-demo-data"),
        ("NetworkPolicy", "vc-deny"),
        ("ResourceQuota", "vc-compute"),
    ] {
        assert!(has(&made, kind, name), "{kind} {name}: {made:?}");
    }
    let set = made.iter().find(|item| item.kind == "StatefulSet").unwrap();
    assert_eq!((set.group.as_str(), set.namespace.as_str()), ("apps", namespace.as_str()));

    world.merge(&world.clusters(), "demo", json!({"spec": {"expose": null}})).await;
    world.ready("demo").await;
    let is_told = |cluster: Option<&VirtualCluster>| {
        cluster.is_some_and(|cluster| !has(&inventory(cluster), "Service", "demo-external"))
    };
    world.until(world.clusters(), "demo", "told of the Service's end", is_told).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_workloads_use_is_told_and_nothing_is_written_while_it_stays_so() {
    let world = World::start().await;
    world.create("demo", json!({"isolation": {"resourceQuota": {"hard": {"pods": "7"}}}})).await;
    let cluster = world.ready("demo").await;
    let used = |amount: &'static str| {
        move |cluster: Option<&VirtualCluster>| {
            let quota = cluster.and_then(|cluster| cluster.status.as_ref()?.quota.as_ref());
            let amount_of = |quota: &vkube_crds::QuotaStatus| {
                (quota.hard["pods"].0.clone(), quota.used.get("pods").map(|pods| pods.0.clone()))
            };
            quota.map(amount_of) == Some(("7".into(), Some(amount.into())))
        }
    };
    world.until(world.clusters(), "demo", "told of its quota", used("0")).await;

    let container = json!({"name": "app", "image": "app:1"});
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [container]}});
    let pods = world.within::<Pod>(&host_namespace(&cluster));
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    world.until(world.clusters(), "demo", "told of the pod", used("1")).await;

    let writes = world.mirrored();
    world.reconciled("demo").await;
    assert_eq!(world.mirrored(), writes, "nobody uses more or less");
    let cluster = world.clusters().get("demo").await.unwrap();
    assert!(used("1")(Some(&cluster)), "reconciling leaves the quota as it is");
    world.stop().await;
}
