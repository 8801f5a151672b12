use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::EvictParams;
use serde_json::json;

use crate::cluster::{Cluster, selector, template};

fn allowed(budget: &PodDisruptionBudget) -> Option<i32> {
    budget.status.as_ref()?.disruptions_allowed
}

#[tokio::test]
async fn evictions_stop_where_a_budget_ends() {
    let cluster = Cluster::start().await;
    let spec = json!({"replicas": 3, "selector": selector("web"), "template": template("web", "pause")});
    cluster.create::<Deployment>(json!({"metadata": {"name": "web"}, "spec": spec})).await;
    let spec = json!({"maxUnavailable": 1, "selector": selector("web")});
    cluster.create::<PodDisruptionBudget>(json!({"metadata": {"name": "web"}, "spec": spec})).await;
    let ready = |budget: &PodDisruptionBudget| {
        let status = budget.status.clone().unwrap_or_default();
        status.current_healthy == Some(3) && allowed(budget) == Some(1)
    };
    let budget = cluster.until_one("web", "one may go", ready).await;
    let status = budget.status.unwrap();
    assert_eq!((status.expected_pods, status.desired_healthy), (Some(3), Some(2)));
    assert_eq!(status.conditions.unwrap()[0].reason, "SufficientPods");

    let pods = cluster.api::<Pod>().list(&Default::default()).await.unwrap().items;
    let evict =
        |name: String| async move { cluster.api::<Pod>().evict(&name, &EvictParams::default()).await };
    evict(pods[0].name_any()).await.unwrap();
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
    assert_eq!(allowed(&budget), Some(0));
    assert_eq!(
        cluster.event("agent", "CalculateExpectedPodCountFailed").await,
        "Failed to calculate the number of expected pods: \
         daemonsets.apps does not implement the scale subresource"
    );
    cluster.stop().await;
}
