//! What users rely on in services, nodes and failures, by the identifiers of the catalogue of behaviours; `x` stands for
//! what it does not number.

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Namespace, Node, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use vkube_syncer::{Direction, NodeSync};

use super::pod_behaviours::{pod, started, value};
use super::rules::{complaint, selector};
use super::world::{HOST_NAMESPACE, World, eventually, rule, rules, until};

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
    let chosen = selector("pool", "tenants");
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
async fn x_objects_that_churn_by_the_thousand_end_in_step() {
    let world = World::start().await;
    let all = 1000;
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

#[tokio::test]
async fn i2_a_pod_that_asks_for_more_than_the_hosts_limits_never_runs_and_its_tenant_is_told_why() {
    use k8s_openapi::api::core::v1::LimitRange;

    let world = World::start().await;
    let limits = json!([{ "type": "Container", "default": { "cpu": "1" } }]);
    let limits = json!({ "metadata": { "name": "limits" }, "spec": { "limits": limits } });
    world.host_create::<LimitRange>(limits).await;
    let greedy = json!([{ "name": "app", "image": "app:1", "resources": { "requests": { "cpu": "2" } } }]);
    world.tenant_create::<Pod>(pod("web", json!({ "containers": greedy }))).await;
    let message = complaint(&world, "web").await;
    assert!(message.contains("must be less than or equal to cpu limit"), "{message}");
    assert!(!message.contains(HOST_NAMESPACE) && !message.contains(&world.name("web")), "{message}");
    let host = world.host_api::<Pod>();
    assert!(host.get_opt(&world.name("web")).await.unwrap().is_none());
    world.stop().await;
}

#[tokio::test]
async fn x_a_disruption_budget_counts_pods_of_its_virtual_namespace_only() {
    use k8s_openapi::api::policy::v1::PodDisruptionBudget;

    let world = World::start().await;
    let spec = json!({ "minAvailable": 1, "selector": { "matchLabels": { "app": "web" } } });
    let budget = json!({ "metadata": { "name": "web" }, "spec": spec });
    world.tenant_create::<PodDisruptionBudget>(budget).await;
    let host = world.host_has::<PodDisruptionBudget>("web", |_| true).await;
    let labels = value(&host.spec)["selector"]["matchLabels"].clone();
    assert_eq!(labels["app"], "web");
    assert_eq!(labels["vkube.dev/virtual-namespace"], "shop");
    assert_eq!(labels["vkube.dev/virtual-cluster"], "demo");
    world.stop().await;
}

#[tokio::test]
async fn d1_x_services_and_stateful_pods_are_found_by_their_names() {
    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::{Name, RecordType};
    use vkube_syncer::DnsServer;

    let world = World::start().await;
    let service: Service = world
        .tenant_create(json!({ "metadata": { "name": "nginx" }, "spec": { "ports": [{ "port": 80 }] } }))
        .await;
    let peers =
        json!({ "clusterIP": "None", "selector": { "app": "web" }, "ports": [{ "name": "p", "port": 1 }] });
    world.tenant_create::<Service>(json!({ "metadata": { "name": "peers" }, "spec": peers })).await;
    let slice = json!({
        "metadata": { "name": "peers-1", "labels": { "kubernetes.io/service-name": "peers" } },
        "addressType": "IPv4", "ports": [{ "name": "p", "port": 1, "protocol": "TCP" }],
        "endpoints": [{ "addresses": ["10.1.0.7"], "hostname": "web-0", "conditions": { "ready": true } }],
    });
    world.tenant_create::<k8s_openapi::api::discovery::v1::EndpointSlice>(slice).await;

    let server = DnsServer::bind("127.0.0.1:0".parse().unwrap(), world.syncer.zone()).await.unwrap();
    let address = server.local_addr().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    let resolve = |name: &'static str| async move {
        let mut question = Message::new(7, MessageType::Query, OpCode::Query);
        question.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&question.to_vec().unwrap(), address).await.unwrap();
        let mut bytes = vec![0; 1232];
        let length = socket.recv(&mut bytes).await.unwrap();
        let answer = Message::from_vec(&bytes[..length]).unwrap();
        answer.answers.iter().map(|record| record.data.to_string()).collect::<Vec<_>>()
    };
    let address = service.spec.unwrap().cluster_ip.unwrap();
    let (nginx, web) = ("nginx.shop.svc.cluster.local.", "web-0.peers.shop.svc.cluster.local.");
    until(|| async { resolve(nginx).await == [address.as_str()] }).await;
    until(|| async { resolve(web).await == ["10.1.0.7"] }).await;
    stop.cancel();
    running.await.unwrap();
    world.stop().await;
}
