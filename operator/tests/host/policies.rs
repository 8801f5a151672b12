use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use vkube_crds::VirtualClusterPolicy;

use crate::world::{TENANTS, World, host_namespace};

async fn create(world: &World, name: &str, spec: Value) {
    let policy = VirtualClusterPolicy::new(name, serde_json::from_value(spec).unwrap());
    world.all::<VirtualClusterPolicy>().create(&PostParams::default(), &policy).await.unwrap();
}

fn matched(count: i32) -> impl Fn(Option<&VirtualClusterPolicy>) -> bool {
    move |policy| {
        let status = policy.and_then(|policy| policy.status.as_ref());
        status.is_some_and(|status| status.matched_virtual_clusters == count)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_shapes_the_clusters_that_it_matches() {
    let world = World::start().await;
    create(
        &world,
        "dev",
        json!({
            "selector": {"namespaceSelector": {"matchLabels": {"tier": "dev"}}},
            "enforced": {"isolation": {"podSecurity": "restricted"}},
            "constraints": {"maxResourceQuota": {"pods": "7"}},
        }),
    )
    .await;
    world.create("demo", json!({"isolation": {"podSecurity": "privileged"}})).await;
    let cluster = world.ready("demo").await;
    let status = cluster.status.clone().unwrap().policy.unwrap();
    assert_eq!(status.name, "dev");
    assert_eq!(status.enforced_fields[0].path, "isolation.podSecurity");
    let namespace = host_namespace(&cluster);
    let labels = world.all::<Namespace>().get(&namespace).await.unwrap().labels().clone();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    let quota = world.within::<ResourceQuota>(&namespace).get("vc-compute").await.unwrap();
    assert_eq!(quota.spec.unwrap().hard.unwrap()["pods"].0, "7");
    world.until(world.all(), "dev", "counted", matched(1)).await;

    // An edit of the policy reaches its clusters.
    let looser = json!({"spec": {"enforced": {"isolation": {"podSecurity": "baseline"}}}});
    world.merge(&world.all::<VirtualClusterPolicy>(), "dev", looser).await;
    let baseline = |namespace: Option<&Namespace>| {
        namespace
            .is_some_and(|namespace| namespace.labels()["pod-security.kubernetes.io/enforce"] == "baseline")
    };
    world.until(world.all(), &namespace, "of the new standard", baseline).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_forbids_is_not_built() {
    let world = World::start().await;
    create(&world, "strict", json!({"default": true, "constraints": {"allowedExposeTypes": ["ClusterIP"]}}))
        .await;
    world.create("demo", json!({"expose": {"type": "LoadBalancer"}})).await;
    let cluster = world.condition("demo", "PolicyAccepted", "False", "PolicyRejected").await;
    assert!(world.all::<Namespace>().get_opt(&host_namespace(&cluster)).await.unwrap().is_none());
    // Whoever looks after the policy is told too.
    let events = kube::Api::<Event>::all(world.admin.clone());
    let told = events.list(&ListParams::default()).await.unwrap().items.into_iter().find(|event| {
        event.regarding.as_ref().and_then(|about| about.kind.as_deref()) == Some("VirtualClusterPolicy")
    });
    assert!(told.unwrap().note.unwrap().starts_with("VirtualCluster tenants/demo: "));
    world.merge(&world.clusters(), "demo", json!({"spec": {"expose": null}})).await;
    world.ready("demo").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_in_use_is_kept_until_nobody_uses_it() {
    let world = World::start().await;
    create(&world, "standard", json!({})).await;
    world.create("demo", json!({"policyRef": {"name": "standard"}})).await;
    world.ready("demo").await;
    let policies = world.all::<VirtualClusterPolicy>();
    world.until(policies.clone(), "standard", "counted", matched(1)).await;
    policies.delete("standard", &DeleteParams::default()).await.unwrap();
    world.ready("demo").await;
    assert!(policies.get("standard").await.unwrap().metadata.deletion_timestamp.is_some());
    world.merge(&world.clusters(), "demo", json!({"spec": {"policyRef": null}})).await;
    world.gone(policies, "standard").await;
    world.ready("demo").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_waits_for_the_policy_that_it_names() {
    let world = World::start().await;
    world.create("demo", json!({"policyRef": {"name": "later"}})).await;
    world.condition("demo", "PolicyAccepted", "Unknown", "PolicyMissing").await;
    create(&world, "later", json!({})).await;
    world.ready("demo").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_the_namespace_choose_the_policy() {
    let world = World::start().await;
    create(&world, "prod", json!({"selector": {"namespaceSelector": {"matchLabels": {"tier": "prod"}}}}))
        .await;
    world.create("demo", json!({})).await;
    let cluster = world.ready("demo").await;
    assert!(cluster.status.unwrap().policy.is_none());
    let prod = json!({"metadata": {"labels": {"tier": "prod"}}});
    world.merge(&world.all::<Namespace>(), TENANTS, prod).await;
    world.condition("demo", "PolicyAccepted", "True", "PolicyApplied").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_cannot_be_applied_says_so() {
    let world = World::start().await;
    let wrong = json!({"defaults": {"certificates": {"validity": "1h", "renewBefore": "2h"}}});
    create(&world, "wrong", wrong).await;
    let stalled = |policy: Option<&VirtualClusterPolicy>| {
        let conditions = policy.and_then(|policy| policy.status.as_ref()).map(|status| &status.conditions);
        conditions.is_some_and(|all| all.iter().any(|condition| condition.type_ == "Stalled"))
    };
    world.until(world.all(), "wrong", "stalled", stalled).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_comes_first_by_its_name_alone_is_told() {
    let world = World::start().await;
    let policies = world.all::<VirtualClusterPolicy>();
    let dev = json!({"selector": {"namespaceSelector": {"matchLabels": {"tier": "dev"}}}, "priority": 5});
    for name in ["second", "first"] {
        create(&world, name, dev.clone()).await;
    }
    world.create("demo", json!({})).await;
    let cluster = world.condition("demo", "PolicyAccepted", "True", "PolicyAmbiguous").await;
    let conditions = &cluster.status.as_ref().unwrap().conditions;
    let told = conditions.iter().find(|one| one.type_ == "PolicyAccepted").unwrap();
    let message = "VirtualClusterPolicy first is in force; of the same priority and later by name: second";
    assert_eq!(told.message, message);
    let cluster = world.ready("demo").await;
    assert_eq!(cluster.status.unwrap().policy.unwrap().name, "first");

    world.merge(&policies, "second", json!({"spec": {"priority": 9}})).await;
    world.condition("demo", "PolicyAccepted", "True", "PolicyApplied").await;
    assert_eq!(world.ready("demo").await.status.unwrap().policy.unwrap().name, "second");
    world.stop().await;
}
