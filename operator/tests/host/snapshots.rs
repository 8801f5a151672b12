//! Snapshots where the cluster cannot be asked: nothing here runs a control plane. What works is shown by
//! `e2e/tests/lifecycle/snapshots.rs`.

use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_taken_is_told_and_leaves_the_cluster_ready() {
    let world = World::start().await;
    world.create("demo", json!({"snapshots": {"schedule": "@every 1s"}})).await;
    world.condition("demo", "SnapshotsTaken", "False", "SnapshotFailed").await;
    world.ready("demo").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_not_ready_before_it_is_what_it_was_to_start_from() {
    let world = World::start().await;
    world.create("demo", json!({"restoreFrom": {"cluster": "nobody", "snapshot": "x"}})).await;
    let cluster = world.condition("demo", "Ready", "False", "RestoreFailed").await;
    let status = cluster.status.unwrap();
    assert!(status.kubeconfig.is_none(), "nobody is let in");
    let told = status.conditions.iter().find(|one| one.type_ == "Restored").unwrap();
    assert!(told.message.contains("there is no VirtualCluster nobody"), "{}", told.message);
    world.merge(&world.clusters(), "demo", json!({"spec": {"restoreFrom": null}})).await;
    world.ready("demo").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_cannot_be_read_is_refused() {
    let world = World::start().await;
    world.create("demo", json!({"snapshots": {"schedule": "now and then"}})).await;
    let cluster = world.condition("demo", "Ready", "False", "InvalidSpec").await;
    let conditions = cluster.status.unwrap().conditions;
    assert!(conditions.iter().any(|one| one.message.contains("snapshots.schedule")), "{conditions:?}");
    world.stop().await;
}
