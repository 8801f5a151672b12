//! A virtual cluster that schedules its pods itself: the host gets them when they have a node.

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use vkube_syncer::NodeSync;

use super::pod_behaviours::{is_running, pod, running, value};
use super::world::{World, eventually};

/// A virtual cluster that sees the host's nodes `node-1` and `node-2`, with a scheduler at work.
async fn scheduling() -> (World, AbortOnDropHandle<()>) {
    let world = World::with(|config| {
        config.schedules = true;
        config.nodes = NodeSync::Selected(LabelSelector::default());
    })
    .await;
    for name in ["node-1", "node-2"] {
        host_node(&world, name).await;
        eventually(Api::<Node>::all(world.tenant.clone()), name, |node| {
            value(&node.status)["allocatable"]["pods"] == "10"
        })
        .await;
    }
    let options =
        vkube_scheduler::Options { volumes: vkube_scheduler::Volumes::Elsewhere, ..Default::default() };
    let scheduler = AbortOnDropHandle::new(tokio::spawn(vkube_scheduler::run(world.tenant.clone(), options)));
    (world, scheduler)
}

async fn host_node(world: &World, name: &str) {
    let nodes: Api<Node> = Api::all(world.host.clone());
    let node = json!({ "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } } });
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let size = json!({ "cpu": "4", "memory": "8Gi", "pods": "10" });
    let patch = Patch::Merge(json!({ "status": { "capacity": size, "allocatable": size } }));
    nodes.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

/// The node that the host must choose for a pod.
fn chosen(host: &Pod) -> Value {
    let terms =
        &value(&host.spec)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    terms["nodeSelectorTerms"][0]["matchFields"][0]["values"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_a_taint_of_a_virtual_node_counts_for_its_tenant_and_leaves_the_hosts_node_alone() {
    let (world, scheduler) = scheduling().await;
    let nodes: Api<Node> = Api::all(world.tenant.clone());
    for name in ["node-1", "node-2"] {
        let taints = json!([{ "key": "mine", "value": "yes", "effect": "NoSchedule" }]);
        let patch = Patch::Merge(json!({ "spec": { "taints": taints } }));
        nodes.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }
    let tolerations = json!([{ "key": "mine", "operator": "Exists" }]);
    world.tenant_create::<Pod>(pod("tolerant", json!({ "tolerations": tolerations }))).await;
    world.tenant_create::<Pod>(pod("other", json!({}))).await;
    let node = chosen(&world.host_has::<Pod>("tolerant", |_| true).await);
    world.run_pod("tolerant", node[0].as_str().unwrap(), running()).await;
    world.tenant_has::<Pod>("tolerant", is_running).await;

    let is_told = |pod: &Pod| value(&pod.status)["conditions"][0]["reason"] == "Unschedulable";
    let other = world.tenant_has::<Pod>("other", is_told).await;
    assert!(value(&other.status)["conditions"][0]["message"].as_str().unwrap().contains("untolerated taint"));
    assert!(world.host_api::<Pod>().get_opt(&world.name("other")).await.unwrap().is_none());

    // The host changes its nodes, so that they are written again; what the tenant added is still there.
    let hosts: Api<Node> = Api::all(world.host.clone());
    for name in ["node-1", "node-2"] {
        let patch = Patch::Merge(json!({ "metadata": { "labels": { "zone": "b" } } }));
        hosts.patch(name, &PatchParams::default(), &patch).await.unwrap();
        let node =
            eventually(nodes.clone(), name, |node| value(node)["metadata"]["labels"]["zone"] == "b").await;
        assert_eq!(value(&node.spec)["taints"][0]["key"], "mine");
        assert_eq!(value(&hosts.get(name).await.unwrap().spec)["taints"], Value::Null);
    }
    drop(scheduler);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_a_stateful_pods_claim_is_bound_on_the_host_where_the_virtual_scheduler_puts_the_pod() {
    let (world, scheduler) = scheduling().await;
    // As the controllers of a StatefulSet make them.
    world
        .tenant_create::<PersistentVolumeClaim>(json!({
            "metadata": { "name": "data-db-0" },
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "waits-for-first-consumer",
                "resources": { "requests": { "storage": "1Gi" } },
            },
        }))
        .await;
    let volumes = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "data-db-0" } }]);
    // A label that the host's node lacks.
    let patch = Patch::Merge(json!({ "metadata": { "labels": { "disk": "fast" } } }));
    Api::<Node>::all(world.tenant.clone()).patch("node-2", &PatchParams::default(), &patch).await.unwrap();
    let selector = json!({ "disk": "fast" });
    world.tenant_create::<Pod>(pod("db-0", json!({ "volumes": volumes, "nodeSelector": selector }))).await;
    let host = world.host_has::<Pod>("db-0", |_| true).await;
    assert_eq!(chosen(&host), json!(["node-2"]));
    assert_eq!(value(&host.spec)["nodeSelector"], Value::Null);

    // The host binds the claim of its first consumer.
    let claims = world.host_api::<PersistentVolumeClaim>();
    let claim = world.name("data-db-0");
    let spec = Patch::Merge(json!({ "spec": { "volumeName": "pv-1" } }));
    claims.patch(&claim, &PatchParams::default(), &spec).await.unwrap();
    let status =
        json!({ "phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "1Gi" } });
    let status = Patch::Merge(json!({ "status": status }));
    claims.patch_status(&claim, &PatchParams::default(), &status).await.unwrap();
    world.run_pod("db-0", "node-2", running()).await;
    world
        .tenant_has::<PersistentVolumeClaim>("data-db-0", |claim| value(&claim.status)["phase"] == "Bound")
        .await;
    let pod = world.tenant_has::<Pod>("db-0", is_running).await;
    assert_eq!(value(&pod.spec)["nodeName"], "node-2");
    drop(scheduler);
    world.stop().await;
}

#[tokio::test]
async fn where_the_virtual_cluster_schedules_the_host_gets_a_pod_when_it_has_a_node() {
    let world = World::with(|config| config.schedules = true).await;
    world.tenant_create::<Pod>(pod("first", json!({}))).await;
    world.tenant_create::<Pod>(pod("second", json!({ "nodeName": "node-1" }))).await;
    world.host_has::<Pod>("second", |_| true).await;
    assert!(world.host_api::<Pod>().get_opt(&world.name("first")).await.unwrap().is_none());

    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "first" },
        "target": { "kind": "Node", "name": "node-2" },
    });
    let api = world.tenant_api::<Pod>();
    let _: Value = api.create_subresource("binding", "first", &Default::default(), &binding).await.unwrap();
    let host = world.host_has::<Pod>("first", |_| true).await;
    assert_eq!(chosen(&host), json!(["node-2"]));
    world.run_pod("first", "node-2", running()).await;
    world.tenant_has::<Pod>("first", is_running).await;
    world.stop().await;
}
