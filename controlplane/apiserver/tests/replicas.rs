//! Two API servers over one database, as replicas of a control plane are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../store/tests/common/mod.rs"]
mod postgres;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams, WatchEvent, WatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use vkube_apiserver::instance::{Instance, Options};
use vkube_apiserver::user::User;
use vkube_store::postgres::{Address, Pem};

/// Longer than anything here takes, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(server: &postgres::Server, schema: &str) -> (Instance, Client) {
    let address = Address::parse(&server.url(), None, &Pem::default(), schema).unwrap();
    let options = Options {
        database: Some(address),
        authorization_modes: vec!["AlwaysAllow".into()],
        service_range: "10.96.0.0/24".parse().unwrap(),
        ..Options::default()
    };
    let instance = Instance::start(options).await.unwrap();
    let client = Client::new(instance.server.service(User::component("test")), "default");
    (instance, client)
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"value": value}})).unwrap()
}

fn code<T: std::fmt::Debug>(result: kube::Result<T>) -> u16 {
    match result {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("{other:?}"),
    }
}

async fn eventually<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let trying = async {
        loop {
            if let Some(done) = attempt().await {
                return done;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.expect("it never came to be")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_writes_the_other_reads_watches_and_guards() {
    let Some(server) = postgres::shared() else { return };
    let schema = server.schema();
    let ((one, a), (other, b)) = tokio::join!(start(server, &schema), start(server, &schema));
    let (here, there) = (Api::<ConfigMap>::default_namespaced(a), Api::<ConfigMap>::default_namespaced(b));

    let from = there.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let mut watch = there.watch(&WatchParams::default(), &from).await.unwrap().boxed();
    let mut expected = Vec::new();
    for i in 0..20 {
        let (api, peer) = if i % 2 == 0 { (&here, &there) } else { (&there, &here) };
        let made = api.create(&PostParams::default(), &config_map(&format!("c{i}"), "1")).await.unwrap();
        // It can be read where it was not written, and changed there once only.
        let read = peer.get(&format!("c{i}")).await.unwrap();
        assert_eq!(read, made);
        let mut newer = read.clone();
        newer.data = Some(BTreeMap::from([("value".into(), "2".into())]));
        let newer = peer.replace(&format!("c{i}"), &PostParams::default(), &newer).await.unwrap();
        assert_eq!(code(api.replace(&format!("c{i}"), &PostParams::default(), &read).await), 409);
        assert_eq!(code(peer.create(&PostParams::default(), &config_map(&format!("c{i}"), "3")).await), 409);
        // A revision that one server tells is one that the other knows.
        let at = newer.metadata.resource_version.clone().unwrap();
        let list = api.list(&ListParams::default().at(&at)).await.unwrap();
        assert!(list.items.iter().any(|item| item == &newer));
        expected.extend([made, newer]);
    }
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        match tokio::time::timeout(PATIENCE, watch.try_next()).await.unwrap().unwrap() {
            Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => seen.push(object),
            Some(WatchEvent::Bookmark(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, expected);
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_begun_with_one_goes_on_with_the_other_and_ends_for_both() {
    let Some(server) = postgres::shared() else { return };
    let schema = server.schema();
    let ((one, a), (other, b)) = tokio::join!(start(server, &schema), start(server, &schema));
    let (here, there) = (Api::<ConfigMap>::default_namespaced(a), Api::<ConfigMap>::default_namespaced(b));
    for i in 0..5 {
        here.create(&PostParams::default(), &config_map(&format!("c{i}"), "1")).await.unwrap();
    }
    let first = here.list(&ListParams::default().limit(2)).await.unwrap();
    there.create(&PostParams::default(), &config_map("c2a", "1")).await.unwrap();
    let token = first.metadata.continue_.unwrap();
    let rest = there.list(&ListParams::default().continue_token(&token)).await.unwrap();
    let names: Vec<_> = rest.items.iter().map(|item| item.metadata.name.clone().unwrap()).collect();
    assert_eq!(names, ["c2", "c3", "c4"]);

    let store = one.server.store();
    store.compact(store.newest().await.unwrap()).await.unwrap();
    for api in [&here, &there] {
        assert_eq!(code(api.list(&ListParams::default().continue_token(&token)).await), 410);
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_and_no_port_is_given_twice() {
    let Some(server) = postgres::shared() else { return };
    let schema = server.schema();
    let ((one, a), (other, b)) = tokio::join!(start(server, &schema), start(server, &schema));
    let apis = [Api::<Service>::default_namespaced(a), Api::<Service>::default_namespaced(b)];
    let service = |name: String, extra: Value| -> Service {
        let mut spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    };
    // So many of a range of 253 that they are bound to meet.
    let creating = (0..200).map(|i| {
        let (api, service) = (apis[i % 2].clone(), service(format!("s{i}"), json!({})));
        async move { api.create(&PostParams::default(), &service).await.unwrap() }
    });
    let made: Vec<Service> = futures::stream::iter(creating).buffer_unordered(16).collect().await;
    let addresses: BTreeSet<_> = made.iter().map(|s| s.spec.clone().unwrap().cluster_ip.unwrap()).collect();
    let port = |s: &Service| s.spec.clone().unwrap().ports.unwrap()[0].node_port.unwrap();
    let ports: BTreeSet<_> = made.iter().map(port).collect();
    assert_eq!((addresses.len(), ports.len()), (200, 200));

    // Of two that ask for the same at the same time one has it; who then gives it back, gives it to all.
    for round in 0..10 {
        let asked = json!({"ports": [{"port": 80, "nodePort": 30000}]});
        let try_both = apis.iter().zip(["left", "right"]).map(|(api, name)| {
            let service = service(name.into(), asked.clone());
            async move { api.create(&PostParams::default(), &service).await }
        });
        let results = futures::future::join_all(try_both).await;
        if round == 0 && made.iter().any(|s| port(s) == 30000) {
            break;
        }
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 1));
        assert_eq!(code(lost.into_iter().next().unwrap()), 422);
        let name = won.into_iter().next().unwrap().unwrap().metadata.name.unwrap();
        apis[round % 2].delete(&name, &Default::default()).await.unwrap();
        for api in &apis {
            let probe = service("probe".into(), asked.clone());
            let dry = PostParams { dry_run: true, ..PostParams::default() };
            eventually(async || api.create(&dry, &probe).await.ok()).await;
        }
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_defined_with_one_is_served_by_the_other() {
    let Some(server) = postgres::shared() else { return };
    let schema = server.schema();
    let ((one, a), (other, b)) = tokio::join!(start(server, &schema), start(server, &schema));
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    });
    let definitions = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
        "customresourcedefinitions",
    );
    let gadgets =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("example.com", "v1", "Gadget"), "gadgets");
    let definition: DynamicObject = serde_json::from_value(definition).unwrap();
    let there: Api<DynamicObject> = Api::default_namespaced_with(b, &gadgets);
    let here: Api<DynamicObject> = Api::default_namespaced_with(a.clone(), &gadgets);
    let all = Api::<DynamicObject>::all_with(a, &definitions);
    all.create(&PostParams::default(), &definition).await.unwrap();
    let gadget = DynamicObject::new("g", &gadgets);
    let made = eventually(async || there.create(&PostParams::default(), &gadget).await.ok()).await;
    assert_eq!(here.get("g").await.unwrap().metadata.uid, made.metadata.uid);

    all.delete("gadgets.example.com", &Default::default()).await.unwrap();
    for api in [&here, &there] {
        eventually(async || match api.list(&ListParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Some(()),
            _ => None,
        })
        .await;
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_database_a_server_says_so_and_stays() {
    let Some(server) = postgres::start() else { return };
    let (instance, client) = start(&server, "alone").await;
    let api = Api::<ConfigMap>::default_namespaced(client.clone());
    api.create(&PostParams::default(), &config_map("c", "1")).await.unwrap();
    let health = async |path: &str| {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        client.request_text(request).await.map_err(|error| match error {
            kube::Error::Api(status) => status.code,
            other => panic!("{other:?}"),
        })
    };
    server.stop();
    assert_eq!(code(api.get("c").await), 503);
    assert_eq!(code(api.create(&PostParams::default(), &config_map("d", "1")).await), 503);
    eventually(async || health("/readyz").await.err()).await;
    assert_eq!(health("/livez").await.as_deref(), Ok("ok"));
    server.restart();
    eventually(async || health("/readyz").await.ok()).await;
    assert_eq!(api.get("c").await.unwrap().data.unwrap()["value"], "1");
    api.create(&PostParams::default(), &config_map("d", "1")).await.unwrap();
    instance.stop().await;
}
