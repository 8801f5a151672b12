//! What a tenant may reach through nodes, and what it learns of their and its pods' resource usage.

use http::{Request, Response};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, PostParams};
use kube::core::ApiResource;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use vkube_syncer::{Body, Direction, MetricsError, NodeSync, RuleSpec, StreamTarget};

use super::pod_behaviours::{pod, started};
use super::rules::create_all;
use super::world::{HOST_NAMESPACE, World, eventually, gone, rule, rules, served, until};

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Asks for a path of a node.
async fn ask(world: &World, node: &str, path: &str) -> (u16, String) {
    let target = StreamTarget {
        resource: "nodes".into(),
        name: node.into(),
        subresource: "proxy".into(),
        rest: path.into(),
        ..StreamTarget::default()
    };
    let body = http_body_util::Full::new(bytes::Bytes::new()).map_err(|never| match never {}).boxed_unsync();
    let request = Request::get(format!("/{path}")).body(body).unwrap();
    let response = world.syncer.hypervisor().connect(&target, request).await;
    (response.status().as_u16(), text(response).await)
}

/// A pod of the tenant's on `node-1`, and one of somebody else's.
async fn world_with_pods() -> World {
    let world = World::start().await;
    let foreign = json!({
        "metadata": { "name": "foreign" },
        "spec": { "nodeName": "node-1", "serviceAccountName": "default", "containers": [{ "name": "c", "image": "i" }] },
    });
    world.host_create::<Pod>(foreign).await;
    started(&world, "web", json!({})).await;
    eventually(Api::<Node>::all(world.tenant.clone()), "node-1", |_| true).await;
    // The syncer's own view may be behind.
    until(|| async { ask(&world, "node-1", "pods").await.1.contains("\"web\"") }).await;
    world
}

#[tokio::test]
async fn l1_d2_every_node_says_that_it_is_well() {
    let world = world_with_pods().await;
    let nodes: Api<Node> = Api::all(world.tenant.clone());
    for node in nodes.list(&kube::api::ListParams::default()).await.unwrap() {
        let name = format!("https:{}:10250", node.name_any());
        assert_eq!(ask(&world, &name, "healthz").await, (200, "ok".into()));
    }
    assert_eq!(ask(&world, "unknown", "healthz").await.0, 404);
    world.stop().await;
}

#[tokio::test]
async fn l2_l3_a_node_lists_the_tenants_own_pods_only() {
    let world = world_with_pods().await;
    for path in ["pods", "runningpods/"] {
        let (code, text) = ask(&world, "node-1", path).await;
        let list: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(code, 200);
        let names: Vec<&str> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pod| pod["metadata"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["web"], "{path}");
    }
    world.stop().await;
}

#[tokio::test]
async fn l4_l6_logs_of_unknown_pods_and_containers_are_out_of_reach() {
    let world = world_with_pods().await;
    for path in [
        "containerLogs/shop/unknown/app",
        "containerLogs/shop/web/injected",
        &format!("containerLogs/{HOST_NAMESPACE}/foreign/c"),
        "exec/shop/web/app",
        "logs/",
        "configz",
    ] {
        assert_eq!(ask(&world, "node-1", path).await.0, 403, "{path}");
    }
    assert_eq!(ask(&world, "node-1:9100", "metrics").await.0, 403, "another port");
    world.stop().await;
}

#[tokio::test]
async fn without_nodes_pods_run_all_the_same() {
    let world = World::with(|config| config.nodes = NodeSync::None).await;
    let pod = started(&world, "web", json!({})).await;
    assert_eq!(pod.spec.unwrap().node_name.as_deref(), Some("node-1"));
    let nodes: Api<Node> = Api::all(world.tenant.clone());
    assert!(nodes.list(&kube::api::ListParams::default()).await.unwrap().items.is_empty());
    world.stop().await;
}

fn metrics_kind(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: "metrics.k8s.io".into(),
        version: "v1beta1".into(),
        api_version: "metrics.k8s.io/v1beta1".into(),
        kind: kind.into(),
        plural: plural.into(),
    }
}

/// Plays metrics-server on the host.
async fn measure(world: &World, pods: &[(&str, Value)]) {
    let kind = metrics_kind("PodMetrics", "pods");
    let definition = json!({
        "metadata": {
            "name": "pods.metrics.k8s.io", "annotations": { "api-approved.kubernetes.io": "https://example.com" },
        },
        "spec": {
            "group": kind.group, "scope": "Namespaced",
            "names": { "kind": kind.kind, "plural": "pods", "singular": "pod", "listKind": "PodMetricsList" },
            "versions": [{ "name": kind.version, "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            } } }],
        },
    });
    create_all::<CustomResourceDefinition>(&world.host, definition).await;
    served(&world.host, "pods.metrics.k8s.io").await;
    let api: Api<DynamicObject> = Api::namespaced_with(world.host.clone(), HOST_NAMESPACE, &kind);
    for (name, labels) in pods {
        let container = |name: &str| json!({ "name": name, "usage": { "cpu": "5m", "memory": "2Mi" } });
        let measured = json!({
            "apiVersion": kind.api_version, "kind": kind.kind, "metadata": { "name": name, "labels": labels },
            "timestamp": "2026-01-01T00:00:00Z", "window": "15s",
            "containers": [container("app"), container("injected")],
        });
        api.create(&PostParams::default(), &serde_json::from_value(measured).unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn a1_a2_usage_of_the_tenants_pods_and_nodes_is_told_in_its_names() {
    let world =
        World::with(|config| config.rules = rules(&[rule(Direction::FromHost, "pods.metrics.k8s.io")])).await;
    started(&world, "web", json!({})).await;
    let (own, host) = (json!({ "vkube.dev/virtual-cluster": "demo" }), world.name("web"));
    measure(&world, &[(&host, own.clone()), ("foreign", json!({})), ("copy", own)]).await;

    let services: Api<DynamicObject> = Api::all_with(
        world.tenant.clone(),
        &ApiResource {
            group: "apiregistration.k8s.io".into(),
            version: "v1".into(),
            api_version: "apiregistration.k8s.io/v1".into(),
            kind: "APIService".into(),
            plural: "apiservices".into(),
        },
    );
    let is_available = |service: &DynamicObject| service.data["status"]["conditions"][0]["status"] == "True";
    eventually(services.clone(), "v1beta1.metrics.k8s.io", is_available).await;
    let group = Request::get("/apis/metrics.k8s.io/v1beta1").body(Vec::new()).unwrap();
    let served: Value = world.tenant.request(group).await.unwrap();
    assert_eq!(served["resources"].as_array().unwrap().len(), 2);

    let hypervisor = world.syncer.hypervisor();
    // The syncer's own view may be behind.
    until(|| async { !hypervisor.pod_metrics("").await.unwrap().is_empty() }).await;
    let pods = hypervisor.pod_metrics("").await.unwrap();
    assert_eq!(pods.len(), 1, "{pods:?}");
    assert_eq!(pods[0]["metadata"]["name"], "web");
    assert_eq!(pods[0]["metadata"]["namespace"], "shop");
    assert_eq!(pods[0]["metadata"]["labels"]["app"], "web");
    assert_eq!(pods[0]["containers"].as_array().unwrap().len(), 1, "none that the host injected");
    assert!(hypervisor.pod_metrics("default").await.unwrap().is_empty());
    let get = |path: &str| {
        let path = format!("/apis/metrics.k8s.io/v1beta1/{path}");
        world.tenant.request::<Value>(Request::get(path).body(Vec::new()).unwrap())
    };
    for (selector, found) in [("app%3Dweb", 1), ("app%3Dother", 0)] {
        let list = get(&format!("namespaces/shop/pods?labelSelector={selector}")).await.unwrap();
        assert_eq!(list["kind"], "PodMetricsList");
        assert_eq!(list["items"].as_array().unwrap().len(), found, "{selector}");
    }
    let one = get("namespaces/shop/pods/web").await.unwrap();
    assert_eq!((one["kind"].as_str(), one["window"].as_str()), (Some("PodMetrics"), Some("15s")));
    let kube::Error::Api(unknown) = get("namespaces/shop/pods/foreign").await.unwrap_err() else { panic!() };
    assert_eq!((unknown.code, unknown.message.as_str()), (404, r#"pods.metrics.k8s.io "foreign" not found"#));
    until(|| async { !hypervisor.node_metrics().await.unwrap().is_empty() }).await;
    let nodes = hypervisor.node_metrics().await.unwrap();
    assert_eq!(nodes[0]["metadata"]["name"], "node-1");
    assert_eq!(nodes[0]["usage"], json!({ "cpu": "5000000n", "memory": "2048Ki" }));

    let world = world.pause().await.reconfigure(|config| config.rules = rules(&[])).resume().await;
    gone(services, "v1beta1.metrics.k8s.io").await;
    assert!(matches!(world.syncer.hypervisor().pod_metrics("").await, Err(MetricsError::Off)));
    world.stop().await;
}

#[tokio::test]
async fn a_tenants_own_metrics_server_is_left_alone() {
    let world = World::start().await;
    let own = json!({
        "metadata": { "name": "v1beta1.metrics.k8s.io" },
        "spec": {
            "group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "insecureSkipTLSVerify": true, "service": { "namespace": "kube-system", "name": "metrics-server" },
        },
    });
    let request = Request::post("/apis/apiregistration.k8s.io/v1/apiservices")
        .header("content-type", "application/json")
        .body(own.to_string().into_bytes())
        .unwrap();
    let _: Value = world.tenant.request(request).await.unwrap();
    let metrics: RuleSpec = rule(Direction::FromHost, "pods.metrics.k8s.io");
    let world = world.pause().await.reconfigure(|config| config.rules = rules(&[metrics])).resume().await;
    // Proof that the syncer is past its start.
    world.tenant_create::<Pod>(pod("later", json!({}))).await;
    world.host_has::<Pod>("later", |_| true).await;
    let request = Request::get("/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io");
    let kept: Value = world.tenant.request(request.body(Vec::new()).unwrap()).await.unwrap();
    assert_eq!(kept["spec"]["service"]["name"], "metrics-server");
    world.stop().await;
}
