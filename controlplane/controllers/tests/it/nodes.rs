//! Nodes that fall silent, told by a clock that the tests move.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use vkube_controllers::{Clock, Controller, Controllers};

use crate::cluster::{Cluster, until};

/// Seconds that pass only when a test says so.
struct Time {
    start: Timestamp,
    passed: Arc<AtomicI64>,
}

impl Time {
    fn new() -> Self {
        Self { start: Timestamp::now(), passed: Arc::default() }
    }

    fn clock(&self) -> Clock {
        let (start, passed) = (self.start, self.passed.clone());
        Clock::from_fn(move || start + jiff::SignedDuration::from_secs(passed.load(Ordering::SeqCst)))
    }

    fn pass(&self, seconds: i64) {
        self.passed.fetch_add(seconds, Ordering::SeqCst);
    }
}

async fn start(time: &Time, others: &[Controller]) -> Cluster {
    let mut cluster = Cluster::without_controllers().await;
    cluster.clock = time.clock();
    cluster.enabled = Controllers::only(&[&[Controller::NodeLifecycle], others].concat());
    // Nobody looks after it, and an only zone with a lost node would be one that is not well.
    nodes(&cluster).delete("node", &DeleteParams::default()).await.unwrap();
    cluster.create::<ServiceAccount>(json!({"metadata": {"name": "default"}})).await;
    cluster
}

fn nodes(cluster: &Cluster) -> Api<Node> {
    Api::all(cluster.client.clone())
}

/// A node that has told that it is ready.
async fn node(cluster: &Cluster, name: &str) {
    let nodes = nodes(cluster);
    let node = json!({"metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}}});
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    report(cluster, name, "2026-01-01T00:00:00Z").await;
}

async fn report(cluster: &Cluster, name: &str, at: &str) {
    let condition = json!({"type": "Ready", "status": "True", "lastHeartbeatTime": at});
    let status = Patch::Merge(json!({"status": {"conditions": [condition]}}));
    nodes(cluster).patch_status(name, &PatchParams::default(), &status).await.unwrap();
}

/// Has the controllers look at the node again, which its timer would do in time.
async fn touch(cluster: &Cluster, name: &str) {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"touched": "yes"}}}));
    nodes(cluster).patch(name, &PatchParams::default(), &patch).await.unwrap();
}

fn is_ready(node: &Node, status: &str) -> bool {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|one| one.type_ == "Ready" && one.status == status)
}

fn taints(node: &Node) -> Vec<String> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints
        .map(|taint| format!("{}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect))
        .collect()
}

fn find<'a>(all: &'a [Node], name: &str) -> &'a Node {
    all.iter().find(|node| node.name_any() == name).unwrap()
}

/// The controllers know the node, and its labels have been repeated.
async fn known(cluster: &Cluster, name: &str) {
    until(nodes(cluster), "it is known", |all| {
        find(all, name).labels().contains_key("beta.kubernetes.io/os")
    })
    .await;
}

#[tokio::test]
async fn the_pods_of_a_node_that_falls_silent_leave_it() {
    let time = Time::new();
    let cluster = start(&time, &[Controller::TaintEviction]).await;
    for name in ["well", "silent"] {
        node(&cluster, name).await;
    }
    let containers = json!([{"name": "main", "image": "pause"}]);
    let spec = json!({"nodeName": "silent", "containers": containers});
    cluster.create::<Pod>(json!({"metadata": {"name": "web"}, "spec": spec})).await;
    let ready = |status: &'static str| {
        move |pod: &Pod| {
            let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.any(|one| one.type_ == "Ready" && one.status == status)
        }
    };
    cluster.until_one("web", "it is ready", ready("True")).await;
    let controllers = cluster.controllers(None);
    known(&cluster, "well").await;
    known(&cluster, "silent").await;

    time.pass(60);
    report(&cluster, "well", "2026-01-01T00:01:00Z").await;
    touch(&cluster, "silent").await;
    let wanted = ["unreachable:NoSchedule", "unreachable:NoExecute"];
    let all = until(nodes(&cluster), "it is given up", |all| taints(find(all, "silent")) == wanted).await;
    assert!(is_ready(find(&all, "silent"), "Unknown") && is_ready(find(&all, "well"), "True"));
    assert_eq!(taints(find(&all, "well")), [""; 0]);
    cluster.until_one("web", "it is not ready any more", ready("False")).await;
    assert_eq!(cluster.event("web", "NodeNotReady").await, "Node is not ready");
    assert_eq!(cluster.event("silent", "NodeNotReady").await, "Node silent status is now: NodeNotReady");

    // Admission has every pod tolerate that for five minutes.
    time.pass(301);
    cluster.patch::<Pod>("web", json!({"spec": {"tolerations": [
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
        {"key": "any", "operator": "Exists", "effect": "NoExecute"},
    ]}})).await;
    cluster.until::<Pod>("it has left", <[_]>::is_empty).await;

    report(&cluster, "silent", "2026-01-01T00:07:00Z").await;
    let back = |all: &[Node]| taints(find(all, "silent")).is_empty() && is_ready(find(all, "silent"), "True");
    until(nodes(&cluster), "the node is back", back).await;
    controllers.stop().await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_node_that_renews_its_lease_is_not_given_up() {
    let time = Time::new();
    let cluster = start(&time, &[]).await;
    node(&cluster, "steady").await;
    node(&cluster, "silent").await;
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), "kube-node-lease");
    let lease = |at: &str| json!({"metadata": {"name": "steady"}, "spec": {"renewTime": at}});
    let first = serde_json::from_value(lease("2026-01-01T00:00:00.000000Z")).unwrap();
    leases.create(&PostParams::default(), &first).await.unwrap();
    let controllers = cluster.controllers(None);
    known(&cluster, "steady").await;
    known(&cluster, "silent").await;

    time.pass(45);
    let renewed = Patch::Merge(lease("2026-01-01T00:00:45.000000Z"));
    leases.patch("steady", &PatchParams::default(), &renewed).await.unwrap();
    // The renewal comes by a watch of its own; each look at the node takes the lease into account that is known then.
    time.pass(15);
    touch(&cluster, "silent").await;
    until(nodes(&cluster), "one is silent", |all| is_ready(find(all, "silent"), "Unknown")).await;
    let all = nodes(&cluster).list(&Default::default()).await.unwrap().items;
    assert!(is_ready(find(&all, "steady"), "True"));
    controllers.stop().await;
    cluster.stop().await;
}

#[tokio::test]
async fn when_no_node_answers_the_pods_stay_where_they_are() {
    let time = Time::new();
    let cluster = start(&time, &[]).await;
    for name in ["a", "b"] {
        node(&cluster, name).await;
    }
    let controllers = cluster.controllers(None);
    known(&cluster, "a").await;
    known(&cluster, "b").await;
    time.pass(60);
    touch(&cluster, "a").await;
    touch(&cluster, "b").await;
    let lost = |all: &[Node]| {
        all.iter().all(|node| is_ready(node, "Unknown") && taints(node) == ["unreachable:NoSchedule"])
    };
    until(nodes(&cluster), "both are lost, and keep their pods", lost).await;
    controllers.stop().await;
    cluster.stop().await;
}
