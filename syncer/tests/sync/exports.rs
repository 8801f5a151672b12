//! Services under other names on the host, and by way of it in other virtual clusters.

use k8s_openapi::api::core::v1::{Endpoints, Event, Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use vkube_syncer::{Direction, RuleSpec};

use super::pod_behaviours::value;
use super::rules::{complaint, create_all};
use super::world::{World, eventually, gone, rule, rules};

fn exporting(pairs: &[(&str, &str)]) -> RuleSpec {
    let mappings = pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    RuleSpec { mappings, ..rule(Direction::ToHost, "services") }
}

fn service(name: &str, address: Value) -> Value {
    let ports = json!([{ "name": "sql", "port": 5432 }]);
    let spec = json!({ "clusterIP": address, "selector": { "app": "db" }, "ports": ports });
    json!({ "metadata": { "name": name, "labels": { "tier": "data" } }, "spec": spec })
}

fn endpoints(name: &str, ips: &[&str]) -> Value {
    let addresses: Vec<Value> = ips
        .iter()
        .map(|ip| json!({ "ip": ip, "nodeName": "n", "targetRef": { "kind": "Pod", "name": "db-0" } }))
        .collect();
    let subset = json!({ "addresses": addresses, "ports": [{ "name": "sql", "port": 5432 }] });
    json!({ "metadata": { "name": name }, "subsets": if ips.is_empty() { json!([]) } else { json!([subset]) } })
}

fn ips(endpoints: &Endpoints) -> Vec<String> {
    let subsets = endpoints.subsets.iter().flatten();
    subsets.flat_map(|subset| subset.addresses.iter().flatten().map(|address| address.ip.clone())).collect()
}

#[tokio::test]
async fn r2_a_service_has_another_name_on_the_host_and_selects_its_pods_there() {
    let world = World::with(|config| config.rules = rules(&[exporting(&[("shop/db", "/database")])])).await;
    world.tenant_create::<Service>(service("db", Value::Null)).await;
    let host = eventually(world.host_api::<Service>(), "database", |_| true).await;
    let selector = host.spec.as_ref().unwrap().selector.clone().unwrap();
    assert_eq!(selector["app"], "db");
    assert_eq!(selector["vkube.dev/virtual-namespace"], "shop");
    assert_eq!(host.labels()["tier"], "data");
    assert_eq!(value(&host.spec)["ports"][0]["port"], 5432);

    let patch = Patch::Merge(json!({ "spec": { "ports": [{ "name": "sql", "port": 5433 }] } }));
    world.tenant_api::<Service>().patch("db", &PatchParams::default(), &patch).await.unwrap();
    let is_changed = |host: &Service| value(&host.spec)["ports"][0]["port"] == 5433;
    eventually(world.host_api::<Service>(), "database", is_changed).await;
    let edit = Patch::Merge(json!({ "spec": { "selector": { "app": "hacked" } } }));
    world.host_api::<Service>().patch("database", &PatchParams::default(), &edit).await.unwrap();
    let is_back = |host: &Service| host.spec.as_ref().unwrap().selector.as_ref().unwrap()["app"] == "db";
    eventually(world.host_api::<Service>(), "database", is_back).await;

    world.tenant_api::<Service>().delete("db", &DeleteParams::default()).await.unwrap();
    gone(world.host_api::<Service>(), "database").await;
    world.stop().await;
}

#[tokio::test]
async fn r4_endpoints_of_a_headless_service_in_another_namespace_follow_the_virtual_ones() {
    let world = World::with(|config| config.rules = rules(&[exporting(&[("shop/db", "data/db")])])).await;
    create_all::<Namespace>(&world.host, json!({ "metadata": { "name": "data" } })).await;
    world.tenant_create::<Service>(service("db", json!("None"))).await;
    world.tenant_create::<Endpoints>(endpoints("db", &["10.1.0.2", "10.1.0.3"])).await;
    let services: Api<Service> = Api::namespaced(world.host.clone(), "data");
    let there: Api<Endpoints> = Api::namespaced(world.host.clone(), "data");
    let host = eventually(services.clone(), "db", |_| true).await;
    assert_eq!(host.spec.unwrap().selector, None, "it can select no pods from there");
    let found = eventually(there.clone(), "db", |found| ips(found).len() == 2).await;
    assert!(!value(&found.subsets).to_string().contains("db-0"), "pods by virtual names mean nothing there");

    let here = world.tenant_api::<Endpoints>();
    for scale in [&[][..], &["10.1.0.4", "10.1.0.5"][..]] {
        here.patch("db", &PatchParams::default(), &Patch::Merge(endpoints("db", scale))).await.unwrap();
        eventually(there.clone(), "db", |found| ips(found) == scale).await;
    }
    world.tenant_api::<Service>().delete("db", &DeleteParams::default()).await.unwrap();
    gone(services, "db").await;
    gone(there, "db").await;
    world.stop().await;
}

#[tokio::test]
async fn an_exported_service_never_takes_over_one_of_the_host() {
    let world = World::with(|config| config.rules = rules(&[exporting(&[("shop/db", "/database")])])).await;
    let theirs = json!({ "metadata": { "name": "database" }, "spec": { "ports": [{ "port": 1 }] } });
    world.host_create::<Service>(theirs).await;
    world.tenant_create::<Service>(service("db", Value::Null)).await;
    assert_eq!(complaint(&world, "db").await, r#""database" exists already and belongs to somebody else"#);
    let host = world.host_api::<Service>().get("database").await.unwrap();
    assert_eq!(value(&host.spec)["ports"][0]["port"], 1);
    world.stop().await;
}

#[tokio::test]
async fn r6_an_export_that_is_taken_back_is_removed_at_the_next_start() {
    let both = exporting(&[("shop/db", "/database"), ("shop/web", "data/web")]);
    let world = World::with(|config| config.rules = rules(&[both])).await;
    create_all::<Namespace>(&world.host, json!({ "metadata": { "name": "data" } })).await;
    for name in ["db", "web"] {
        world.tenant_create::<Service>(service(name, Value::Null)).await;
    }
    let data: Api<Service> = Api::namespaced(world.host.clone(), "data");
    eventually(data.clone(), "web", |_| true).await;
    eventually(world.host_api::<Service>(), "database", |_| true).await;
    let other = rules(&[exporting(&[("shop/db", "/renamed")])]);
    let world = world.pause().await.reconfigure(|config| config.rules = other).resume().await;
    eventually(world.host_api::<Service>(), "renamed", |_| true).await;
    gone(world.host_api::<Service>(), "database").await;
    gone(data, "web").await;
    world.host_has::<Service>("db", |_| true).await;
    world.stop().await;
}

#[tokio::test]
async fn a_service_of_one_virtual_cluster_is_shown_in_another_by_way_of_the_host() {
    use vkube_apiserver::instance::{Instance, Options};
    use vkube_apiserver::user::User;
    use vkube_syncer::{Config, Syncer};

    let world = World::with(|config| config.rules = rules(&[exporting(&[("shop/db", "/database")])])).await;
    world.tenant_create::<Service>(service("db", Value::Null)).await;
    let exported = eventually(world.host_api::<Service>(), "database", |_| true).await;

    let options = Options { disable_admission: vec!["ServiceAccount".into()], ..Options::default() };
    let instance = Instance::start(options).await.unwrap();
    let other = kube::Client::new(instance.server.service(User::component("tenant")), "default");
    let mut config = Config::new("other", super::world::HOST_NAMESPACE);
    let mappings = vec![("/database".into(), "default/db".into())];
    config.rules = rules(&[RuleSpec { mappings, ..rule(Direction::FromHost, "services") }]);
    config.api_service = "demo".into();
    let (stop, syncer) =
        (tokio_util::sync::CancellationToken::new(), Syncer::new(other.clone(), world.host.clone(), config));
    let token = stop.clone();
    let running = tokio::spawn(async move { syncer.run(token).await });
    let ports = json!([{ "name": "sql", "port": 5432 }]);
    let host = endpoints("database", &["10.1.0.9"]);
    assert_eq!(host["subsets"][0]["ports"], ports);
    world.host_create::<Endpoints>(host).await;
    let there: Api<Endpoints> = Api::namespaced(other, "default");
    let address = exported.spec.unwrap().cluster_ip.unwrap();
    eventually(there, "db", |found| ips(found) == [address.as_str()]).await;
    stop.cancel();
    running.await.unwrap();
    instance.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn d3_dns_has_a_service_that_everybody_finds_and_needs_no_image() {
    let world = World::start().await;
    let system: Api<Service> = Api::namespaced(world.tenant.clone(), "kube-system");
    let dns = eventually(system, "kube-dns", |_| true).await;
    let host = world.host_api::<Service>().get("demo").await.unwrap();
    assert_eq!(dns.spec.as_ref().unwrap().cluster_ip, host.spec.unwrap().cluster_ip);
    assert_eq!(dns.labels()["k8s-app"], "kube-dns");
    assert_eq!(value(&dns.spec)["ports"][0]["port"], 53);
    let copy = world.names.host("kube-system", "kube-dns");
    assert!(world.host_api::<Service>().get_opt(&copy).await.unwrap().is_none(), "the host has it already");
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::all(world.tenant.clone());
    assert!(pods.list(&kube::api::ListParams::default()).await.unwrap().items.is_empty());
    let slices: Api<EndpointSlice> = Api::namespaced(world.tenant.clone(), "default");
    eventually(slices, "kubernetes", |_| true).await;
    world.stop().await;
}

#[tokio::test]
async fn f26_an_event_of_the_host_that_is_to_be_told_in_any_case_is_told() {
    let world = World::start().await;
    let event = |name: &str, annotations: Value| {
        json!({
            "metadata": { "name": name, "annotations": annotations },
            "involvedObject": { "kind": "Widget", "name": "w", "namespace": super::world::HOST_NAMESPACE },
            "reason": "Maintenance", "message": "tonight", "type": "Normal",
        })
    };
    world.host_create::<Event>(event("quiet.1", json!({}))).await;
    world.host_create::<Event>(event("loud.1", json!({ "vkube.dev/force-sync": "true" }))).await;
    let here: Api<Event> = Api::namespaced(world.tenant.clone(), "default");
    let told = eventually(here.clone(), "loud.1", |_| true).await;
    assert_eq!(told.message.as_deref(), Some("tonight"));
    assert_eq!(told.involved_object.namespace.as_deref(), Some("default"));
    // Events are told in their order, so the earlier one has been passed over.
    assert!(here.get_opt("quiet.1").await.unwrap().is_none());
    world.stop().await;
}
