//! What users of virtual clusters rely on, by the identifiers of the catalogue of behaviours.

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Event, Namespace, Node, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use vkube_syncer::{Direction, NodeSync};

use super::rules::complaint;
use super::world::{HOST_NAMESPACE, World, eventually, rule, rules};

fn pod(name: &str, spec: Value) -> Value {
    let mut document = json!({
        "metadata": { "name": name, "labels": { "app": "web" } },
        "spec": { "serviceAccountName": "robot", "containers": [{ "name": "app", "image": "app:1" }] },
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        document["spec"][field] = value.clone();
    }
    document
}

fn running() -> Value {
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

fn is_running(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

async fn started(world: &World, name: &str, spec: Value) -> Pod {
    world.tenant_create::<Pod>(pod(name, spec)).await;
    world.host_has::<Pod>(name, |_| true).await;
    world.run_pod(name, "node-1", running()).await;
    world.tenant_has::<Pod>(name, is_running).await
}

fn value<T: serde::Serialize>(object: &T) -> Value {
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
async fn s1_addresses_and_ports_of_a_load_balancer_are_the_same_on_both_sides() {
    let world = World::start().await;
    let service: Service = world
        .tenant_create(json!({
            "metadata": { "name": "web" },
            "spec": { "type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{ "port": 80 }] },
        }))
        .await;
    let host = world.host_has::<Service>("web", |_| true).await;
    let (here, there) = (value(&service.spec), value(&host.spec));
    for field in ["clusterIP", "clusterIPs", "healthCheckNodePort"] {
        assert_eq!(here[field], there[field], "{field}");
        assert!(!here[field].is_null(), "{field}");
    }
    assert_eq!(here["ports"][0]["nodePort"], there["ports"][0]["nodePort"]);
    world.stop().await;
}

#[tokio::test]
async fn s2_a_service_without_its_kind_in_the_body_is_created_and_synchronised() {
    let world = World::start().await;
    let body = json!({ "metadata": { "name": "web" }, "spec": { "ports": [{ "port": 80 }] } }).to_string();
    let request = http::Request::post("/api/v1/namespaces/shop/services")
        .header("content-type", "application/json")
        .body(body.into_bytes())
        .unwrap();
    let service: Service = world.tenant.request(request).await.unwrap();
    let host = world.host_has::<Service>("web", |_| true).await;
    assert_eq!(value(&service.spec)["clusterIP"], value(&host.spec)["clusterIP"]);
    world.stop().await;
}

#[tokio::test]
async fn s3_a_services_status_can_be_read_and_written_and_its_labels_patched() {
    let world = World::start().await;
    let spec = json!({ "type": "LoadBalancer", "ports": [{ "port": 80 }] });
    world.tenant_create::<Service>(json!({ "metadata": { "name": "web" }, "spec": spec })).await;
    let api = world.tenant_api::<Service>();
    let condition = json!({
        "type": "Own", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let patch = Patch::Merge(json!({ "status": { "conditions": [condition] } }));
    api.patch_status("web", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(value(&api.get_status("web").await.unwrap().status)["conditions"][0]["type"], "Own");
    let patch = Patch::Merge(json!({ "metadata": { "labels": { "patched": "yes" } } }));
    api.patch("web", &PatchParams::default(), &patch).await.unwrap();
    world.host_has::<Service>("web", |service| service.labels().contains_key("patched")).await;
    api.delete("web", &DeleteParams::default()).await.unwrap();
    world.host_lacks::<Service>("web").await;
    world.stop().await;
}

#[tokio::test]
async fn s4_labels_of_a_headless_service_arrive_and_those_of_the_host_are_kept() {
    let world = World::start().await;
    let metadata = json!({ "name": "peers", "labels": { "own": "1" }, "annotations": { "own": "1" } });
    let spec = json!({ "clusterIP": "None", "ports": [{ "port": 80 }] });
    world.tenant_create::<Service>(json!({ "metadata": metadata, "spec": spec })).await;
    world.host_has::<Service>("peers", |_| true).await;
    let add = |key: &str| {
        Patch::Merge(json!({ "metadata": { "labels": { key: "x" }, "annotations": { key: "x" } } }))
    };
    let name = world.name("peers");
    world.host_api::<Service>().patch(&name, &PatchParams::default(), &add("host")).await.unwrap();
    world.tenant_api::<Service>().patch("peers", &PatchParams::default(), &add("tenant")).await.unwrap();
    let all =
        |object: &Service| ["own", "host", "tenant"].iter().all(|key| object.labels().contains_key(*key));
    let host = world.host_has::<Service>("peers", all).await;
    assert!(host.annotations().contains_key("own") && host.annotations().contains_key("host"));
    world.stop().await;
}

#[tokio::test]
async fn s5_the_endpoints_of_the_kubernetes_service_are_those_of_the_api_servers() {
    let world = World::start().await;
    let api: Api<Endpoints> = Api::namespaced(world.tenant.clone(), "default");
    let endpoints = value(&eventually(api, "kubernetes", |_| true).await);
    assert_eq!(endpoints["subsets"][0]["addresses"][0]["ip"], "10.9.8.7");
    assert_eq!(endpoints["subsets"][0]["ports"][0]["port"], 8443);
    world.stop().await;
}

async fn host_node(world: &World, name: &str, pool: &str) {
    let nodes: Api<Node> = Api::all(world.host.clone());
    let node = json!({ "metadata": { "name": name, "labels": { "pool": pool } } });
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let addresses =
        json!([{ "type": "InternalIP", "address": "10.0.0.1" }, { "type": "Hostname", "address": name }]);
    let patch = Patch::Merge(json!({ "status": { "addresses": addresses } }));
    nodes.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn k1_k3_only_chosen_nodes_appear_with_their_internal_address() {
    let chosen = LabelSelector {
        match_labels: Some([("pool".into(), "tenants".into())].into()),
        ..LabelSelector::default()
    };
    let world = World::with(|config| config.nodes = NodeSync::Selected(chosen)).await;
    host_node(&world, "other", "system").await;
    host_node(&world, "mine", "tenants").await;
    let nodes: Api<Node> = Api::all(world.tenant.clone());
    eventually(nodes.clone(), "mine", |node| value(&node.status)["addresses"][0]["type"] == "InternalIP")
        .await;
    assert!(nodes.get_opt("other").await.unwrap().is_none());
    started(&world, "web", json!({})).await;
    world.stop().await;
}

#[tokio::test]
async fn k2_all_nodes_appear_with_their_labels_if_all_are_wanted() {
    let world = World::with(|config| config.nodes = NodeSync::Selected(LabelSelector::default())).await;
    host_node(&world, "a", "system").await;
    host_node(&world, "b", "tenants").await;
    let nodes: Api<Node> = Api::all(world.tenant.clone());
    eventually(nodes.clone(), "a", |node| node.labels()["pool"] == "system").await;
    eventually(nodes, "b", |node| node.labels()["pool"] == "tenants").await;
    world.stop().await;
}

#[tokio::test]
async fn x_certificates_and_annotations_of_an_ingress_lead_to_the_hosts_secrets() {
    let ingresses = rule(Direction::ToHost, "ingresses.networking.k8s.io");
    let world = World::with(|config| config.rules = rules(&[ingresses])).await;
    for name in ["cert", "users"] {
        world
            .tenant_create::<Secret>(json!({ "metadata": { "name": name }, "stringData": { "k": "v" } }))
            .await;
    }
    world
        .tenant_create::<Ingress>(json!({
            "metadata": { "name": "web", "annotations": { "nginx.ingress.kubernetes.io/auth-secret": "users" } },
            "spec": {
                "tls": [{ "hosts": ["a.example"], "secretName": "cert" }],
                "defaultBackend": { "service": { "name": "web", "port": { "number": 80 } } },
            },
        }))
        .await;
    let host = world.host_has::<Ingress>("web", |_| true).await;
    assert_eq!(value(&host.spec)["tls"][0]["secretName"], world.name("cert"));
    let users = format!("{HOST_NAMESPACE}/{}", world.name("users"));
    assert_eq!(host.annotations()["nginx.ingress.kubernetes.io/auth-secret"], users);
    for name in ["cert", "users"] {
        world.host_has::<Secret>(name, |_| true).await;
    }
    let status = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.8" }] } } });
    let api = world.host_api::<Ingress>();
    api.patch_status(&world.name("web"), &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    world
        .tenant_has::<Ingress>("web", |ingress| {
            value(&ingress.status)["loadBalancer"]["ingress"][0]["ip"] == "192.0.2.8"
        })
        .await;
    world.stop().await;
}

#[tokio::test]
async fn x_names_that_collide_when_joined_or_are_too_long_stay_apart() {
    let world = World::start().await;
    let namespaces: Api<Namespace> = Api::all(world.tenant.clone());
    let long = "l".repeat(60);
    let places = [("b-x-c", "a"), ("c", "a-x-b"), ("shop", long.as_str()), ("shop", "l")];
    for (namespace, name) in places {
        let document = json!({ "metadata": { "name": namespace } });
        let _ = namespaces.create(&PostParams::default(), &serde_json::from_value(document).unwrap()).await;
        let services: Api<Service> = Api::namespaced(world.tenant.clone(), namespace);
        let document = json!({ "metadata": { "name": name }, "spec": { "ports": [{ "port": 80 }] } });
        services.create(&PostParams::default(), &serde_json::from_value(document).unwrap()).await.unwrap();
    }
    let mut seen = std::collections::BTreeSet::new();
    for (namespace, name) in places {
        let host = world.names.host(namespace, name);
        let service = world.host_api::<Service>().get(&host).await.unwrap();
        assert_eq!(service.annotations()["vkube.dev/object-namespace"], namespace);
        assert_eq!(service.annotations()["vkube.dev/object-name"], name);
        assert!(seen.insert(host));
    }
    world.stop().await;
}

#[tokio::test]
async fn x_a_quota_that_refuses_a_service_or_a_claim_is_told_to_the_tenant() {
    use k8s_openapi::api::core::v1::PersistentVolumeClaim;

    let world = World::start().await;
    world.refuses.store(true, std::sync::atomic::Ordering::SeqCst);
    let service = json!({ "metadata": { "name": "web" }, "spec": { "ports": [{ "port": 80 }] } });
    let service = serde_json::from_value(service).unwrap();
    let refused = world.tenant_api::<Service>().create(&PostParams::default(), &service).await.unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused}") };
    assert_eq!(status.code, 403);
    assert!(status.message.contains("exceeded quota in shop"), "{}", status.message);

    let claim = json!({
        "metadata": { "name": "data" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    world.tenant_create::<PersistentVolumeClaim>(claim).await;
    let message = complaint(&world, "data").await;
    assert!(message.contains("exceeded quota in shop"), "{message}");
    world.refuses.store(false, std::sync::atomic::Ordering::SeqCst);
    world.host_has::<PersistentVolumeClaim>("data", |_| true).await;
    world.stop().await;
}

#[tokio::test]
async fn x_pods_outlive_the_service_of_the_api_server_and_find_it_again() {
    let world = World::start().await;
    started(&world, "web", json!({})).await;
    let services = world.host_api::<Service>();
    services.delete("demo", &DeleteParams::default()).await.unwrap();
    let document = json!({
        "metadata": { "name": "demo" }, "spec": { "ports": [{ "name": "https", "port": 443, "targetPort": 8443 }] },
    });
    let again: Service = world.host_create(document).await;
    let address = value(&again.spec)["clusterIP"].clone();
    let kubernetes: Api<Service> = Api::namespaced(world.tenant.clone(), "default");
    eventually(kubernetes, "kubernetes", |service| value(&service.spec)["clusterIP"] == address).await;
    world.tenant_create::<Pod>(pod("later", json!({}))).await;
    let later = world.host_has::<Pod>("later", |_| true).await;
    assert!(value(&later.spec).to_string().contains(address.as_str().unwrap()));
    assert!(world.host_api::<Pod>().get_opt(&world.name("web")).await.unwrap().is_some());
    world.stop().await;
}

#[tokio::test]
async fn x_pods_services_and_config_maps_of_others_are_not_taken_over() {
    let world = World::start().await;
    let (pod_name, map_name, service_name) = (world.name("web"), world.name("settings"), world.name("api"));
    let container = json!([{ "name": "app", "image": "other:1" }]);
    let foreign = json!({
        "metadata": { "name": pod_name }, "spec": { "serviceAccountName": "default", "containers": container },
    });
    world.host_create::<Pod>(foreign).await;
    let foreign = json!({ "metadata": { "name": map_name }, "data": { "k": "theirs" } });
    world.host_create::<ConfigMap>(foreign).await;
    let foreign = json!({ "metadata": { "name": service_name }, "spec": { "ports": [{ "port": 1 }] } });
    world.host_create::<Service>(foreign).await;

    world
        .tenant_create::<ConfigMap>(json!({ "metadata": { "name": "settings" }, "data": { "k": "ours" } }))
        .await;
    let uses = json!({ "volumes": [{ "name": "c", "configMap": { "name": "settings", "optional": true } }] });
    world.tenant_create::<Pod>(pod("web", json!({}))).await;
    world.tenant_create::<Pod>(pod("user", uses)).await;
    let service = json!({ "metadata": { "name": "api" }, "spec": { "ports": [{ "port": 80 }] } });
    let service = serde_json::from_value(service).unwrap();
    let refused = world.tenant_api::<Service>().create(&PostParams::default(), &service).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 409), "{refused}");
    for name in ["web", "settings"] {
        assert_eq!(
            complaint(&world, name).await,
            format!("{name:?} exists already and belongs to somebody else")
        );
    }
    let map = world.host_api::<ConfigMap>().get(&map_name).await.unwrap();
    assert_eq!(map.data.unwrap()["k"], "theirs");
    let theirs = world.host_api::<Pod>().get(&pod_name).await.unwrap();
    assert_eq!(value(&theirs.spec)["containers"][0]["image"], "other:1");
    world.stop().await;
}

#[tokio::test]
async fn x_objects_that_churn_by_the_hundred_end_in_step() {
    let world = World::start().await;
    let all = 300;
    let service = |at: usize, port: i32| json!({ "metadata": { "name": format!("s{at}") }, "spec": { "ports": [{ "port": port }] } });
    let api = world.tenant_api::<Service>();
    futures::stream::iter(0..all)
        .for_each_concurrent(8, |at| {
            let api = api.clone();
            async move {
                let name = format!("s{at}");
                let object = serde_json::from_value(service(at, 80)).unwrap();
                api.create(&PostParams::default(), &object).await.unwrap();
                let patch = Patch::Merge(json!({ "spec": { "ports": [{ "port": 81 }] } }));
                api.patch(&name, &PatchParams::default(), &patch).await.unwrap();
                if at % 3 == 0 {
                    api.delete(&name, &DeleteParams::default()).await.unwrap();
                }
            }
        })
        .await;
    for at in 0..all {
        let name = format!("s{at}");
        if at % 3 == 0 {
            world.host_lacks::<Service>(&name).await;
        } else {
            let is_current = |host: &Service| value(&host.spec)["ports"][0]["port"] == 81;
            world.host_has::<Service>(&name, is_current).await;
        }
    }
    world.stop().await;
}
