//! Readiness gates: others have to say that a cluster is ready.

use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::world::{TENANTS, World};

const GATE: &str = "example.com/Seeded";

/// Says so as a controller of somebody else's, with a field manager of its own.
async fn say(world: &World, status: &str) {
    let body = json!({
        "apiVersion": "vkube.dev/v1alpha1", "kind": "VirtualCluster", "metadata": {"name": "demo"},
        "status": {"conditions": [{"type": GATE, "status": status, "reason": "Seeding", "message": "3 of 5 tables",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    });
    let params = PatchParams::apply("seeder").force();
    world.clusters().patch_status("demo", &params, &Patch::Apply(&body)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_not_ready_before_others_have_said_so_and_what_they_say_stays() {
    let world = World::start().await;
    world.create("demo", json!({"readinessGates": [{"conditionType": GATE}]})).await;
    let cluster = world.condition("demo", "Ready", "False", "ReadinessGatesNotReady").await;
    let status = cluster.status.unwrap();
    let ready = status.conditions.iter().find(|one| one.type_ == "Ready").unwrap();
    assert_eq!(ready.message, format!("nobody has set condition {GATE} yet"));
    assert!(status.kubeconfig.is_some(), "whoever has to do something inside can get in");
    world.secret(TENANTS, "demo-kubeconfig").await;

    say(&world, "False").await;
    let tells = |cluster: Option<&vkube_crds::VirtualCluster>| {
        let conditions = cluster.and_then(|cluster| cluster.status.as_ref()).map(|status| &status.conditions);
        conditions.is_some_and(|all| {
            all.iter().any(|one| one.type_ == "Ready" && one.message.contains("3 of 5 tables"))
        })
    };
    world.until(world.clusters(), "demo", "told how far it is", tells).await;
    say(&world, "True").await;
    let cluster = world.ready("demo").await;
    let is_there = |cluster: &vkube_crds::VirtualCluster| {
        let conditions = &cluster.status.as_ref().unwrap().conditions;
        conditions.iter().any(|one| one.type_ == GATE && one.reason == "Seeding")
    };
    assert!(is_there(&cluster));
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new(), "it is compared with its own alone");

    // The operator's own writes leave it, and it counts as long as the cluster lives.
    world
        .merge(&world.clusters(), "demo", json!({"spec": {"isolation": {"podSecurity": "restricted"}}}))
        .await;
    assert!(is_there(&world.ready("demo").await));
    say(&world, "False").await;
    world.condition("demo", "Ready", "False", "ReadinessGatesNotReady").await;
    world.merge(&world.clusters(), "demo", json!({"spec": {"readinessGates": null}})).await;
    world.ready("demo").await;
    world.stop().await;
}
