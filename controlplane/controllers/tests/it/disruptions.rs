use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::EvictParams;
use serde_json::json;

use crate::cluster::{Cluster, selector, template};

#[tokio::test]
async fn evictions_go_as_far_as_the_budget() {
    let cluster = Cluster::start().await;
    let spec = json!({"replicas": 3, "selector": selector("web"), "template": template("web", "pause")});
    cluster.create::<Deployment>(json!({"metadata": {"name": "web"}, "spec": spec})).await;
    let spec = json!({"maxUnavailable": 0, "selector": selector("web")});
    cluster.create::<PodDisruptionBudget>(json!({"metadata": {"name": "web"}, "spec": spec})).await;
    let figures = |budget: &PodDisruptionBudget| {
        let status = budget.status.clone().unwrap_or_default();
        let numbers = (status.expected_pods, status.desired_healthy, status.current_healthy);
        (numbers, status.disruptions_allowed)
    };
    let all_needed = |budget: &PodDisruptionBudget| figures(budget) == ((Some(3), Some(3), Some(3)), Some(0));
    let budget = cluster.until_one("web", "all are needed", all_needed).await;
    assert_eq!(budget.status.unwrap().conditions.unwrap()[0].reason, "InsufficientPods");

    let pod = cluster.api::<Pod>().list(&Default::default()).await.unwrap().items[0].name_any();
    let evict = || async { cluster.api::<Pod>().evict(&pod, &EvictParams::default()).await };
    let refused = evict().await.unwrap_err();
    assert!(refused.to_string().contains("violate the pod's disruption budget"), "{refused}");

    cluster.patch::<PodDisruptionBudget>("web", json!({"spec": {"maxUnavailable": 1}})).await;
    let one_may_go = |budget: &PodDisruptionBudget| figures(budget) == ((Some(3), Some(2), Some(3)), Some(1));
    let budget = cluster.until_one("web", "one may go", one_may_go).await;
    assert_eq!(budget.status.unwrap().conditions.unwrap()[0].reason, "SufficientPods");
    evict().await.unwrap();
    cluster
        .until::<Pod>("another takes its place", |pods| {
            pods.len() == 3 && pods.iter().all(|one| one.name_any() != pod)
        })
        .await;
    cluster.until_one::<PodDisruptionBudget>("web", "its successor counts", one_may_go).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_budget_over_pods_without_scale_allows_nothing_and_says_why() {
    let cluster = Cluster::start().await;
    let spec = json!({"selector": selector("agent"), "template": template("agent", "pause")});
    cluster
        .create::<k8s_openapi::api::apps::v1::DaemonSet>(json!({"metadata": {"name": "agent"}, "spec": spec}))
        .await;
    let spec = json!({"maxUnavailable": 1, "selector": selector("agent")});
    cluster.create::<PodDisruptionBudget>(json!({"metadata": {"name": "agent"}, "spec": spec})).await;
    let failed = |budget: &PodDisruptionBudget| {
        let conditions = budget.status.clone().unwrap_or_default().conditions.unwrap_or_default();
        conditions.iter().any(|one| {
            one.reason == "SyncFailed"
                && one.message == "daemonsets.apps does not implement the scale subresource"
        })
    };
    let budget = cluster.until_one("agent", "it failed", failed).await;
    assert_eq!(budget.status.unwrap().disruptions_allowed, Some(0));
    assert_eq!(
        cluster.event("agent", "CalculateExpectedPodCountFailed").await,
        "Failed to calculate the number of expected pods: \
         daemonsets.apps does not implement the scale subresource"
    );
    cluster.stop().await;
}
