//! What users of virtual clusters rely on in pods, by the identifiers of the catalogue of behaviours.

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod, Secret, Service};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::world::{HOST_NAMESPACE, World};

pub fn pod(name: &str, spec: Value) -> Value {
    let mut document = json!({
        "metadata": { "name": name, "labels": { "app": "web" } },
        "spec": { "serviceAccountName": "robot", "containers": [{ "name": "app", "image": "app:1" }] },
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        document["spec"][field] = value.clone();
    }
    document
}

pub fn running() -> Value {
    json!({
        "phase": "Running", "hostIP": "10.0.0.1", "podIP": "10.1.0.4", "podIPs": [{ "ip": "10.1.0.4" }],
        "startTime": "2026-01-01T00:00:00Z",
        "conditions": [
            { "type": "PodScheduled", "status": "True" },
            { "type": "Initialized", "status": "True" },
            { "type": "ContainersReady", "status": "True" },
            { "type": "Ready", "status": "True" },
        ],
        "containerStatuses": [{
            "name": "app", "image": "app:1", "imageID": "x", "ready": true, "restartCount": 0, "started": true,
            "state": { "running": { "startedAt": "2026-01-01T00:00:01Z" } },
        }],
    })
}

pub fn is_running(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

pub async fn started(world: &World, name: &str, spec: Value) -> Pod {
    world.tenant_create::<Pod>(pod(name, spec)).await;
    world.host_has::<Pod>(name, |_| true).await;
    world.run_pod(name, "node-1", running()).await;
    world.tenant_has::<Pod>(name, is_running).await
}

pub fn value<T: serde::Serialize>(object: &T) -> Value {
    serde_json::to_value(object).unwrap()
}

#[tokio::test]
async fn p1_a_pods_status_is_the_hosts_but_for_its_quality_of_service() {
    let world = World::start().await;
    let pod = started(&world, "web", json!({})).await;
    let host = world.host_has::<Pod>("web", is_running).await;
    let (here, there) = (value(&pod.status), value(&host.status));
    for field in ["phase", "hostIP", "podIP", "podIPs", "startTime", "containerStatuses"] {
        assert_eq!(here[field], there[field], "{field}");
    }
    assert_eq!(here["qosClass"], "BestEffort", "that of the virtual spec");
    world.stop().await;
}

#[tokio::test]
async fn p2_a_container_for_debugging_that_is_added_later_gets_a_status() {
    let world = World::start().await;
    started(&world, "web", json!({})).await;
    let patch = json!({ "spec": { "ephemeralContainers": [{ "name": "debug", "image": "sh" }] } });
    let api = world.tenant_api::<Pod>();
    api.patch_ephemeral_containers("web", &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
    world.host_has::<Pod>("web", |pod| pod.spec.as_ref().unwrap().ephemeral_containers.is_some()).await;
    let state = json!({ "running": { "startedAt": "2026-01-01T00:00:02Z" } });
    let status = json!([{
        "name": "debug", "image": "sh", "imageID": "x", "ready": false, "restartCount": 0, "state": state,
    }]);
    world.set_status("web", json!({ "ephemeralContainerStatuses": status })).await;
    world
        .tenant_has::<Pod>("web", |pod| {
            value(&pod.status)["ephemeralContainerStatuses"][0]["name"] == "debug"
        })
        .await;
    world.stop().await;
}

#[tokio::test]
async fn p3_p4_e1_the_schedulers_event_is_told_once_and_in_the_tenants_names() {
    let world = World::start().await;
    started(&world, "web", json!({})).await;
    let host = world.name("web");
    let message = format!("Successfully assigned {HOST_NAMESPACE}/{host} to node-1");
    for count in [1, 2] {
        let name = format!("{host}.17a{count}");
        let event = json!({
            "metadata": { "name": name },
            "involvedObject": { "kind": "Pod", "name": host, "namespace": HOST_NAMESPACE, "apiVersion": "v1" },
            "reason": if count == 1 { "Scheduled" } else { "Pulled" },
            "message": message, "type": "Normal", "reportingComponent": "default-scheduler",
            "reportingInstance": "s", "action": "Binding", "eventTime": "2026-01-01T00:00:00.000000Z",
        });
        world.host_create::<Event>(event).await;
    }
    let api: Api<Event> = world.tenant_api();
    let all = kube::runtime::watcher(api.clone(), kube::runtime::watcher::Config::default());
    let told = kube::runtime::WatchStreamExt::applied_objects(all);
    let mut told = Box::pin(
        told.filter(|event| std::future::ready(event.as_ref().unwrap().reason.as_deref() == Some("Pulled"))),
    );
    tokio::time::timeout(std::time::Duration::from_secs(60), told.next()).await.unwrap();
    // Events are told in their order, so the earlier one is there.
    let events = api.list(&kube::api::ListParams::default()).await.unwrap().items;
    let scheduled: Vec<&Event> =
        events.iter().filter(|event| event.reason.as_deref() == Some("Scheduled")).collect();
    assert_eq!(scheduled.len(), 1);
    assert_eq!(scheduled[0].message.as_deref(), Some("Successfully assigned shop/web to node-1"));
    assert_eq!(scheduled[0].reporting_component.as_deref(), Some("default-scheduler"));
    assert!(!value(&scheduled[0].involved_object).to_string().contains("-x-"));
    world.stop().await;
}

#[tokio::test]
async fn p5_the_condition_of_a_readiness_gate_reaches_the_host() {
    let world = World::start().await;
    started(&world, "web", json!({ "readinessGates": [{ "conditionType": "a.b/ready" }] })).await;
    let condition =
        json!({ "type": "a.b/ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:03Z" });
    let patch = Patch::Strategic(json!({ "status": { "conditions": [condition] } }));
    world.tenant_api::<Pod>().patch_status("web", &PatchParams::default(), &patch).await.unwrap();
    world
        .host_has::<Pod>("web", |pod| {
            let conditions =
                pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
            conditions.len() >= 5 && conditions.iter().any(|c| c.type_ == "a.b/ready" && c.status == "True")
        })
        .await;
    world.stop().await;
}

#[tokio::test]
async fn p7_p8_config_maps_and_secrets_serve_as_variables_and_files() {
    let world = World::start().await;
    world.tenant_create::<ConfigMap>(json!({ "metadata": { "name": "c" }, "data": { "k": "v" } })).await;
    world.tenant_create::<Secret>(json!({ "metadata": { "name": "s" }, "stringData": { "k": "v" } })).await;
    let spec = json!({
        "containers": [{
            "name": "app", "image": "app:1",
            "env": [
                { "name": "A", "valueFrom": { "configMapKeyRef": { "name": "c", "key": "k" } } },
                { "name": "B", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } },
            ],
        }],
        "volumes": [
            { "name": "c", "configMap": { "name": "c" } }, { "name": "s", "secret": { "secretName": "s" } },
        ],
    });
    started(&world, "web", spec).await;
    let host = value(&world.host_has::<Pod>("web", |_| true).await.spec);
    assert_eq!(host["volumes"][0]["configMap"]["name"], world.name("c"));
    assert_eq!(host["volumes"][1]["secret"]["secretName"], world.name("s"));
    let variables = host["containers"][0]["env"].to_string();
    assert!(variables.contains(&world.name("c")) && variables.contains(&world.name("s")), "{variables}");
    let copy = world.host_has::<Secret>("s", |_| true).await;
    assert_eq!(copy.data.unwrap()["k"].0, b"v");
    assert_eq!(world.host_has::<ConfigMap>("c", |_| true).await.data.unwrap()["k"], "v");
    world.stop().await;
}

#[tokio::test]
async fn p9_variables_may_refer_to_those_of_service_links() {
    let world = World::start().await;
    let service = json!({ "metadata": { "name": "db" }, "spec": { "ports": [{ "port": 5432 }] } });
    world.tenant_create::<Service>(service).await;
    let env = json!([{ "name": "URL", "value": "sql://$(DB_SERVICE_HOST)" }]);
    started(&world, "web", json!({ "containers": [{ "name": "app", "image": "app:1", "env": env }] })).await;
    let host = value(&world.host_has::<Pod>("web", |_| true).await.spec);
    let names: Vec<&str> = host["containers"][0]["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    let at = |name: &str| names.iter().position(|other| *other == name).unwrap();
    assert!(at("DB_SERVICE_HOST") < at("URL"), "{names:?}");
    world.stop().await;
}

#[tokio::test]
async fn p10_host_pods_carry_the_labels_of_their_namespace_also_later_ones() {
    let world = World::start().await;
    started(&world, "web", json!({})).await;
    let labels = |pod: &Pod, value: &str| {
        pod.labels().iter().any(|(key, other)| key.starts_with("namespace.vkube.dev/") && other == value)
    };
    world.host_has::<Pod>("web", |pod| labels(pod, "a")).await;
    let namespaces: Api<Namespace> = Api::all(world.tenant.clone());
    let patch = Patch::Merge(json!({ "metadata": { "labels": { "tier": "late" } } }));
    namespaces.patch("shop", &PatchParams::default(), &patch).await.unwrap();
    world.host_has::<Pod>("web", |pod| labels(pod, "late") && labels(pod, "a")).await;
    world.stop().await;
}

#[tokio::test]
async fn p12_what_the_host_adds_to_a_pod_stays_there_and_later_changes_of_the_tenant_arrive() {
    let world = World::start().await;
    started(&world, "web", json!({})).await;
    let add = |key: &str| {
        Patch::Merge(json!({ "metadata": { "labels": { key: "x" }, "annotations": { key: "x" } } }))
    };
    world.host_api::<Pod>().patch(&world.name("web"), &PatchParams::default(), &add("host")).await.unwrap();
    world.tenant_api::<Pod>().patch("web", &PatchParams::default(), &add("tenant")).await.unwrap();
    let both = |pod: &Pod| ["host", "tenant"].iter().all(|key| pod.labels().contains_key(*key));
    let host = world.host_has::<Pod>("web", both).await;
    assert!(host.annotations().contains_key("tenant"));
    let pod = world.tenant_has::<Pod>("web", |_| true).await;
    assert!(!pod.labels().contains_key("host"), "the tenant's object is the tenant's");
    world.stop().await;
}

#[tokio::test]
async fn p13_a_toleration_that_is_added_is_observed() {
    let world = World::start().await;
    started(&world, "web", json!({})).await;
    let tolerations = json!([{ "key": "a", "operator": "Exists" }]);
    let patch = Patch::Strategic(json!({ "spec": { "tolerations": tolerations } }));
    world.tenant_api::<Pod>().patch("web", &PatchParams::default(), &patch).await.unwrap();
    let is_there = |pod: &Pod| value(&pod.spec)["tolerations"].to_string().contains("\"a\"");
    let host = world.host_has::<Pod>("web", is_there).await;
    // As the kubelet says that it has seen it.
    world.set_status("web", json!({ "observedGeneration": host.metadata.generation })).await;
    world
        .tenant_has::<Pod>("web", |pod| {
            pod.metadata.generation == Some(2) && value(&pod.status)["observedGeneration"] == 2
        })
        .await;
    world.stop().await;
}

#[tokio::test]
async fn p14_a_pod_with_a_subdomain_keeps_its_quality_of_service_and_stays_ready() {
    let world = World::start().await;
    let pod = started(&world, "web", json!({ "hostname": "web", "subdomain": "peers" })).await;
    let status = value(&pod.status);
    assert_eq!(status["qosClass"], "BestEffort");
    assert!(
        status["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    );
    let host = value(&world.host_has::<Pod>("web", |_| true).await.spec);
    assert_eq!(host["containers"].as_array().unwrap().len(), 1);
    assert!(host.get("initContainers").is_none(), "nothing is added to the pod for it");
    world.stop().await;
}

#[tokio::test]
async fn p15_p16_p17_a_host_of_another_version_changes_neither_readiness_nor_writes_twice() {
    let world = World::start().await;
    let pod = started(&world, "web", json!({})).await;
    let is_ready = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    assert!(is_ready(&pod));
    // What a newer kubelet says more, and what an older one says otherwise.
    for status in [
        json!({ "observedGeneration": 7 }),
        json!({ "observedGeneration": null, "fieldOfTheFuture": { "a": 1 } }),
    ] {
        world.set_status("web", status).await;
    }
    world.set_status("web", json!({ "message": "last" })).await;
    let is_last = |pod: &Pod| value(&pod.status)["message"] == "last";
    let told = world.tenant_has::<Pod>("web", is_last).await;
    assert!(is_ready(&told));
    assert_eq!(value(&told.status)["qosClass"], "BestEffort");
    // The same once more is no news: the next thing that is written is the next change.
    world.set_status("web", json!({ "fieldOfTheFuture": { "a": 2 } })).await;
    world.set_status("web", json!({ "message": "really last" })).await;
    let versions = std::sync::Mutex::new(std::collections::BTreeSet::new());
    world
        .tenant_has::<Pod>("web", |pod| {
            assert!(is_ready(pod), "readiness does not flap");
            versions.lock().unwrap().insert(pod.resource_version());
            value(&pod.status)["message"] == "really last"
        })
        .await;
    assert!(versions.lock().unwrap().len() <= 2, "what cannot be kept is not written");
    world.stop().await;
}

#[tokio::test]
async fn x_what_the_hosts_admission_makes_of_a_pod_is_never_written_into_the_virtual_one() {
    let world = World::start().await;
    started(&world, "web", json!({})).await;
    let before = world.tenant_api::<Pod>().get("web").await.unwrap();
    let add = json!({
        "metadata": { "labels": { "injected": "yes" } },
        "spec": { "tolerations": [{ "key": "spot", "operator": "Exists" }], "activeDeadlineSeconds": 3600 },
    });
    let host = world.host_api::<Pod>();
    host.patch(&world.name("web"), &PatchParams::default(), &Patch::Merge(add)).await.unwrap();
    world.set_status("web", json!({ "message": "looked at since" })).await;
    let after =
        world.tenant_has::<Pod>("web", |pod| value(&pod.status)["message"] == "looked at since").await;
    assert_eq!(value(&before.spec), value(&after.spec));
    assert!(!after.labels().contains_key("injected"));
    world.stop().await;
}
