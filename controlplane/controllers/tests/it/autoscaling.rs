//! Metrics are served by custom resources in the place of the metrics APIs: the autoscaler reads what is at a
//! path.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::cluster::{Cluster, selector, until};

fn deployment(replicas: i32) -> Value {
    let container = json!({"name": "main", "image": "pause", "resources": {"requests": {"cpu": "100m"}}});
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}});
    let spec = json!({"replicas": replicas, "selector": selector("web"), "template": template});
    json!({"metadata": {"name": "web"}, "spec": spec})
}

fn autoscaler(spec: Value) -> Value {
    let mut spec = spec;
    spec["scaleTargetRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    json!({"metadata": {"name": "web"}, "spec": spec})
}

fn condition(autoscaler: &HorizontalPodAutoscaler, type_: &str) -> Option<(String, String, String)> {
    let conditions = autoscaler.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == type_)?.clone();
    Some((found.status, found.reason?, found.message?))
}

fn has_reason(autoscaler: &HorizontalPodAutoscaler, type_: &str, reason: &str) -> bool {
    condition(autoscaler, type_).is_some_and(|(_, found, _)| found == reason)
}

/// Serves `pods.metrics.k8s.io` from objects, which have the labels of the pods they are about.
async fn serve_metrics(cluster: &Cluster) {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version =
        json!({"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    let definition = json!({
        "metadata": {
            "name": "pods.metrics.k8s.io",
            "annotations": {"api-approved.kubernetes.io": "unapproved, a test"},
        },
        "spec": {
            "group": "metrics.k8s.io",
            "scope": "Namespaced",
            "names": {"plural": "pods", "kind": "PodMetrics", "listKind": "PodMetricsList"},
            "versions": [version],
        },
    });
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let definition = serde_json::from_value(definition).unwrap();
    definitions.create(&PostParams::default(), &definition).await.unwrap();
    until(definitions, "metrics are served", |all| {
        let conditions = |one: &CustomResourceDefinition| one.status.clone()?.conditions;
        all.iter().any(|one| {
            conditions(one).into_iter().flatten().any(|c| c.type_ == "Established" && c.status == "True")
        })
    })
    .await;
}

async fn measure(cluster: &Cluster, pods: &[Pod], cpu: &str) {
    let resource = ApiResource {
        group: "metrics.k8s.io".to_owned(),
        version: "v1beta1".to_owned(),
        api_version: "metrics.k8s.io/v1beta1".to_owned(),
        kind: "PodMetrics".to_owned(),
        plural: "pods".to_owned(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), "default", &resource);
    for pod in pods {
        let metrics = json!({
            "apiVersion": "metrics.k8s.io/v1beta1",
            "kind": "PodMetrics",
            "metadata": {"name": pod.name_any(), "labels": pod.labels()},
            "timestamp": "2126-01-01T00:00:00Z",
            "window": "30s",
            "containers": [{"name": "main", "usage": {"cpu": cpu}}],
        });
        let params = PatchParams::apply("test");
        api.patch(&pod.name_any(), &params, &Patch::Apply(metrics)).await.unwrap();
    }
}

/// A kubelet tells when a pod started, long ago in this case.
async fn running(cluster: &Cluster, count: usize) -> Vec<Pod> {
    let ready = |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some());
    let pods =
        cluster.until::<Pod>("the pods run", |pods| pods.len() == count && pods.iter().all(ready)).await;
    for pod in &pods {
        let status = Patch::Merge(json!({"status": {"startTime": "2020-01-01T00:00:00Z"}}));
        cluster.api::<Pod>().patch_status(&pod.name_any(), &Default::default(), &status).await.unwrap();
    }
    pods
}

#[tokio::test]
async fn a_busy_deployment_grows() {
    let cluster = Cluster::start().await;
    serve_metrics(&cluster).await;
    cluster.create::<Deployment>(deployment(2)).await;
    let pods = running(&cluster, 2).await;
    measure(&cluster, &pods, "90m").await;
    let target = json!({"type": "Utilization", "averageUtilization": 60});
    let metrics = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
    let spec = json!({"maxReplicas": 10, "metrics": metrics});
    cluster.create::<HorizontalPodAutoscaler>(autoscaler(spec)).await;

    let scaled = cluster
        .until_one::<HorizontalPodAutoscaler>("web", "it has scaled", |one| {
            one.status.as_ref().is_some_and(|status| status.desired_replicas == 3)
        })
        .await;
    assert!(has_reason(&scaled, "AbleToScale", "SucceededRescale"));
    assert_eq!(
        condition(&scaled, "ScalingActive").unwrap().2,
        "the HPA was able to successfully calculate a replica count from \
         cpu resource utilization (percentage of request)"
    );
    let status = scaled.status.unwrap();
    assert_eq!(json!(status.current_metrics)[0]["resource"]["current"]["averageUtilization"], 90);
    assert!(status.last_scale_time.is_some());
    assert_eq!(
        cluster.event("web", "SuccessfulRescale").await,
        "New size: 3; reason: cpu resource utilization (percentage of request) above target"
    );
    cluster.until::<Pod>("there are three", |pods| pods.len() == 3).await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_autoscaler_without_metrics_says_so() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(1)).await;
    running(&cluster, 1).await;
    cluster.create::<HorizontalPodAutoscaler>(autoscaler(json!({"maxReplicas": 3}))).await;
    let told = cluster
        .until_one::<HorizontalPodAutoscaler>("web", "it failed", |one| {
            has_reason(one, "ScalingActive", "FailedGetResourceMetric")
        })
        .await;
    let why = "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics \
               from resource metrics API: the server could not find the requested resource (get \
               pods.metrics.k8s.io)";
    assert_eq!(
        condition(&told, "ScalingActive").unwrap().2,
        format!("the HPA was unable to compute the replica count: {why}")
    );
    assert_eq!(
        cluster.event("web", "FailedComputeMetricsReplicas").await,
        format!(
            "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: {why}"
        )
    );
    cluster.stop().await;
}

#[tokio::test]
async fn replicas_stay_between_the_bounds_whatever_the_metrics() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(1)).await;
    let spec = json!({"minReplicas": 2, "maxReplicas": 3});
    cluster.create::<HorizontalPodAutoscaler>(autoscaler(spec)).await;
    cluster.until::<Pod>("there are two", |pods| pods.len() == 2).await;
    assert_eq!(
        cluster.event("web", "SuccessfulRescale").await,
        "New size: 2; reason: Current number of replicas below Spec.MinReplicas"
    );
    cluster.patch::<Deployment>("web", json!({"spec": {"replicas": 0}})).await;
    // An autoscaler looks every 15 seconds, and at once when it changes.
    cluster.patch::<HorizontalPodAutoscaler>("web", json!({"spec": {"maxReplicas": 4}})).await;
    cluster
        .until_one::<HorizontalPodAutoscaler>("web", "it is off", |one| {
            has_reason(one, "ScalingActive", "ScalingDisabled")
        })
        .await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_target_that_does_not_exist_is_reported() {
    let cluster = Cluster::start().await;
    cluster.create::<HorizontalPodAutoscaler>(autoscaler(json!({"maxReplicas": 3}))).await;
    let told = cluster
        .until_one::<HorizontalPodAutoscaler>("web", "it failed", |one| {
            has_reason(one, "AbleToScale", "FailedGetScale")
        })
        .await;
    assert_eq!(
        condition(&told, "AbleToScale").unwrap().2,
        "the HPA controller was unable to get the target's current scale: deployments.apps \"web\" not found"
    );
    cluster.stop().await;
}
