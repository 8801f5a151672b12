//! What comes from the host by rule: classes by selector, ConfigMaps, Secrets and Services by mapping.

use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Namespace, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use vkube_syncer::{Direction, RuleSpec};

use super::pod_behaviours::pod;
use super::rules::{complaint, config_map, create_all, create_in, holds, selector};
use super::world::{HOST_NAMESPACE, World, eventually, gone, rule, rules};

#[tokio::test]
async fn f12_f13_f14_ingress_classes_come_by_selector_and_limit_ingresses() {
    let classes = "ingressclasses.networking.k8s.io";
    let world = World::with(|config| {
        config.rules = rules(&[
            RuleSpec { selector: selector("tenants", "yes"), ..rule(Direction::FromHost, classes) },
            rule(Direction::ToHost, "ingresses.networking.k8s.io"),
        ]);
    })
    .await;
    let class = |name: &str, tenants: &str| json!({ "metadata": { "name": name, "labels": { "tenants": tenants } }, "spec": { "controller": "a.b/c" } });
    create_all::<IngressClass>(&world.host, class("private", "no")).await;
    create_all::<IngressClass>(&world.host, class("public", "yes")).await;
    let here: Api<IngressClass> = Api::all(world.tenant.clone());
    eventually(here.clone(), "public", |_| true).await;
    assert!(here.get_opt("private").await.unwrap().is_none());

    let ingress = |name: &str, class: &str| {
        json!({
            "metadata": { "name": name },
            "spec": {
                "ingressClassName": class,
                "defaultBackend": { "service": { "name": "web", "port": { "number": 80 } } },
            },
        })
    };
    world.tenant_create::<Ingress>(ingress("a", "public")).await;
    world.tenant_create::<Ingress>(ingress("b", "private")).await;
    world.host_has::<Ingress>("a", |_| true).await;
    assert_eq!(complaint(&world, "b").await, r#"the host offers no ingress class "private""#);
    assert!(world.host_api::<Ingress>().get_opt(&world.name("b")).await.unwrap().is_none());
    world.stop().await;
}

#[tokio::test]
async fn f15_f16_f17_f18_f19_priority_classes_come_by_selector_and_pods_keep_them() {
    let classes = "priorityclasses.scheduling.k8s.io";
    let world = World::with(|config| {
        let chosen = RuleSpec { selector: selector("tenants", "yes"), ..rule(Direction::FromHost, classes) };
        config.rules = rules(&[chosen]);
    })
    .await;
    let class = json!({ "metadata": { "name": "high", "labels": { "tenants": "yes" } }, "value": 1000 });
    create_all::<PriorityClass>(&world.host, class).await;
    create_all::<PriorityClass>(&world.host, json!({ "metadata": { "name": "hidden" }, "value": 9 })).await;
    let here: Api<PriorityClass> = Api::all(world.tenant.clone());
    let there: Api<PriorityClass> = Api::all(world.host.clone());
    eventually(here.clone(), "high", |class| class.value == Some(1000)).await;

    let pod = |name: &str, class: &str| pod(name, json!({ "priorityClassName": class }));
    let refused = serde_json::from_value(pod("no", "hidden")).unwrap();
    let refused = world.tenant_api::<Pod>().create(&PostParams::default(), &refused).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 403));
    world.tenant_create::<Pod>(pod("p", "high")).await;
    let host = world.host_has::<Pod>("p", |_| true).await;
    assert_eq!(host.spec.unwrap().priority_class_name.as_deref(), Some("high"));

    let patch = Patch::Merge(json!({ "description": "for the hurried" }));
    there.patch("high", &PatchParams::default(), &patch).await.unwrap();
    eventually(here.clone(), "high", |class| class.description.is_some()).await;
    let patch = Patch::Merge(json!({ "metadata": { "labels": { "tenants": "no" } } }));
    there.patch("high", &PatchParams::default(), &patch).await.unwrap();
    gone(here, "high").await;
    world.stop().await;
}

#[tokio::test]
async fn f23_f24_f25_storage_classes_come_by_selector_and_limit_claims() {
    use k8s_openapi::api::core::v1::PersistentVolumeClaim;

    let classes = "storageclasses.storage.k8s.io";
    let world = World::with(|config| {
        let chosen = RuleSpec { selector: selector("tenants", "yes"), ..rule(Direction::FromHost, classes) };
        config.rules = rules(&[chosen]);
    })
    .await;
    let class = |name: &str, tenants: &str| json!({ "metadata": { "name": name, "labels": { "tenants": tenants } }, "provisioner": "a.b/c" });
    create_all::<StorageClass>(&world.host, class("fast", "yes")).await;
    create_all::<StorageClass>(&world.host, class("own", "no")).await;
    let here: Api<StorageClass> = Api::all(world.tenant.clone());
    eventually(here.clone(), "fast", |_| true).await;
    assert!(here.get_opt("own").await.unwrap().is_none());
    let claim = |name: &str, class: &str| {
        json!({
            "metadata": { "name": name },
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": class,
                "resources": { "requests": { "storage": "1Gi" } },
            },
        })
    };
    world.tenant_create::<PersistentVolumeClaim>(claim("a", "fast")).await;
    world.tenant_create::<PersistentVolumeClaim>(claim("b", "own")).await;
    world.host_has::<PersistentVolumeClaim>("a", |_| true).await;
    assert_eq!(complaint(&world, "b").await, r#"the host offers no storage class "own""#);
    world.stop().await;
}

#[tokio::test]
async fn f1_f2_f4_f5_f6_config_maps_come_by_mapping_and_follow_the_host() {
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let mappings = vec![
        pair("wild/*", "shop/*"),
        pair("exact/one", "shop/uno"),
        pair("/own", "default/own"),
        pair("same/*", "same/*"),
    ];
    let from = RuleSpec { mappings, ..rule(Direction::FromHost, "configmaps") };
    let world = World::with(|config| config.rules = rules(&[from])).await;
    for namespace in ["wild", "exact", "same"] {
        create_all::<Namespace>(&world.host, json!({ "metadata": { "name": namespace } })).await;
    }
    config_map(&world.host, "wild", "a", "1").await;
    config_map(&world.host, "exact", "one", "1").await;
    config_map(&world.host, "exact", "two", "1").await;
    config_map(&world.host, HOST_NAMESPACE, "own", "1").await;
    config_map(&world.host, "same", "late", "1").await;

    let shop: Api<ConfigMap> = world.tenant_api();
    let default: Api<ConfigMap> = Api::namespaced(world.tenant.clone(), "default");
    eventually(shop.clone(), "a", holds("1")).await;
    eventually(shop.clone(), "uno", holds("1")).await;
    eventually(default, "own", holds("1")).await;
    assert!(shop.get_opt("two").await.unwrap().is_none());

    let patch = |value: &str| Patch::Merge(json!({ "data": { "k": value } }));
    let wild: Api<ConfigMap> = Api::namespaced(world.host.clone(), "wild");
    wild.patch("a", &PatchParams::default(), &patch("2")).await.unwrap();
    eventually(shop.clone(), "a", holds("2")).await;
    shop.patch("uno", &PatchParams::default(), &patch("hacked")).await.unwrap();
    eventually(shop.clone(), "uno", holds("1")).await;
    let extra = Patch::Merge(json!({ "data": { "more": "x" } }));
    shop.patch("uno", &PatchParams::default(), &extra).await.unwrap();
    eventually(shop.clone(), "uno", |map| map.data.as_ref().unwrap().len() == 1).await;
    wild.delete("a", &DeleteParams::default()).await.unwrap();
    gone(shop, "a").await;

    create_all::<Namespace>(&world.tenant, json!({ "metadata": { "name": "same" } })).await;
    let same: Api<ConfigMap> = Api::namespaced(world.tenant.clone(), "same");
    eventually(same, "late", holds("1")).await;
    world.stop().await;
}

#[tokio::test]
async fn f7_f8_f9_f10_secrets_come_by_mapping_but_never_keys_of_the_cluster() {
    let mappings = vec![("/*".into(), "shop/*".into())];
    let from = RuleSpec { mappings, ..rule(Direction::FromHost, "secrets") };
    let world = World::with(|config| config.rules = rules(&[from])).await;
    let secret = |name: &str, labels: Value| json!({ "metadata": { "name": name, "labels": labels }, "stringData": { "k": "v" } });
    world.host_create::<Secret>(secret("pki", json!({ "vkube.dev/managed": "true" }))).await;
    world.host_create::<Secret>(secret("pull", json!({}))).await;
    world.tenant_has::<Secret>("pull", |_| true).await;
    assert!(world.tenant_api::<Secret>().get_opt("pki").await.unwrap().is_none());
    world.host_api::<Secret>().delete("pull", &DeleteParams::default()).await.unwrap();
    world.tenant_lacks::<Secret>("pull").await;
    world.stop().await;
}

#[tokio::test]
async fn f3_f11_what_came_from_the_host_can_be_used_by_pods() {
    let mappings = vec![("wild/*".into(), "shop/*".into())];
    let from = RuleSpec { mappings, ..rule(Direction::FromHost, "configmaps") };
    let world = World::with(|config| config.rules = rules(&[from])).await;
    create_all::<Namespace>(&world.host, json!({ "metadata": { "name": "wild" } })).await;
    config_map(&world.host, "wild", "settings", "1").await;
    world.tenant_has::<ConfigMap>("settings", |_| true).await;
    let from = json!([{ "configMapRef": { "name": "settings" } }]);
    let container = json!({ "name": "app", "image": "app:1", "envFrom": from });
    world.tenant_create::<Pod>(pod("p", json!({ "containers": [container] }))).await;
    world.host_has::<ConfigMap>("settings", holds("1")).await;
    world.stop().await;
}

#[tokio::test]
async fn a_tenants_object_of_the_name_is_left_to_the_tenant() {
    let mappings = vec![("wild/*".into(), "shop/*".into())];
    let from = RuleSpec { mappings, ..rule(Direction::FromHost, "configmaps") };
    let world = World::with(|config| config.rules = rules(&[from])).await;
    create_all::<Namespace>(&world.host, json!({ "metadata": { "name": "wild" } })).await;
    config_map(&world.tenant, "shop", "mine", "tenant").await;
    config_map(&world.host, "wild", "mine", "host").await;
    let message = complaint(&world, "mine").await;
    assert_eq!(message, r#""mine" exists already and belongs to somebody else"#);
    let kept = world.tenant_api::<ConfigMap>().get("mine").await.unwrap();
    assert!(holds("tenant")(&kept));
    world.stop().await;
}

fn endpoint_ips(endpoints: &Endpoints) -> Vec<String> {
    let subsets = endpoints.subsets.iter().flatten();
    subsets.flat_map(|subset| subset.addresses.iter().flatten().map(|address| address.ip.clone())).collect()
}

#[tokio::test]
async fn r1_r3_services_of_the_host_are_shown_by_where_they_are_reached() {
    let pair = |name: &str| (format!("data/{name}"), format!("shop/{name}"));
    let from =
        RuleSpec { mappings: vec![pair("db"), pair("peers")], ..rule(Direction::FromHost, "services") };
    let world = World::with(|config| config.rules = rules(&[from])).await;
    create_all::<Namespace>(&world.host, json!({ "metadata": { "name": "data" } })).await;
    let service = |name: &str, ip: Value| json!({ "metadata": { "name": name }, "spec": { "clusterIP": ip, "ports": [{ "port": 5432 }] } });
    let endpoints = |name: &str, ips: &[&str]| {
        let addresses: Vec<Value> = ips.iter().map(|ip| json!({ "ip": ip })).collect();
        let subsets = json!([{ "addresses": addresses, "ports": [{ "port": 5432 }] }]);
        json!({ "metadata": { "name": name }, "subsets": if ips.is_empty() { json!([]) } else { subsets } })
    };
    let db: Service = create_in(&world.host, "data", service("db", Value::Null)).await;
    create_in::<Endpoints>(&world.host, "data", endpoints("db", &["10.1.0.1"])).await;
    create_in::<Service>(&world.host, "data", service("peers", json!("None"))).await;
    create_in::<Endpoints>(&world.host, "data", endpoints("peers", &["10.1.0.2", "10.1.0.3"])).await;

    let address = db.spec.unwrap().cluster_ip.unwrap();
    let shown = world.tenant_has::<Service>("db", |_| true).await;
    assert_eq!(shown.spec.unwrap().cluster_ip.as_deref(), Some("None"));
    world.tenant_has::<Endpoints>("db", |shown| endpoint_ips(shown) == [address.as_str()]).await;
    world.tenant_has::<Endpoints>("peers", |shown| endpoint_ips(shown).len() == 2).await;

    let there: Api<Endpoints> = Api::namespaced(world.host.clone(), "data");
    for ips in [&[][..], &["10.1.0.2", "10.1.0.3"][..]] {
        let next = Patch::Merge(endpoints("peers", ips));
        there.patch("peers", &PatchParams::default(), &next).await.unwrap();
        world.tenant_has::<Endpoints>("peers", |shown| endpoint_ips(shown).len() == ips.len()).await;
    }
    let services: Api<Service> = Api::namespaced(world.host.clone(), "data");
    services.delete("db", &DeleteParams::default()).await.unwrap();
    world.tenant_lacks::<Service>("db").await;
    world.tenant_lacks::<Endpoints>("db").await;
    world.stop().await;
}
