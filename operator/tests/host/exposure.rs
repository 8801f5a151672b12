use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::task::JoinHandle;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

use crate::crd;
use crate::world::{TENANTS, World, host_namespace, text};

/// The names in the serving certificate.
async fn served_names(world: &World, namespace: &str) -> BTreeSet<String> {
    let pem = text(&world.secret(namespace, "vc-demo-pki").await, "tls.crt");
    let pem = Pem::iter_from_buffer(pem.as_bytes()).next().unwrap().unwrap();
    let certificate = pem.parse_x509().unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    names.collect()
}

fn routes(world: &World) -> Api<DynamicObject> {
    let resource =
        ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "TLSRoute"));
    Api::all_with(world.admin.clone(), &resource)
}

/// The Gateway API with a gateway that accepts every route.
pub async fn install_gateway(world: &World) -> JoinHandle<()> {
    crd::install(world, "gateway.networking.k8s.io", "TLSRoute").await;
    let (all, admin) = (routes(world), world.admin.clone());
    tokio::spawn(async move {
        let mut events = watcher(all, watcher::Config::default()).default_backoff().applied_objects().boxed();
        while let Ok(Some(route)) = events.try_next().await {
            if route.data.get("status").is_some() {
                continue;
            }
            let resource =
                ApiResource::from_gvk(&GroupVersionKind::try_from(route.types.as_ref().unwrap()).unwrap());
            let within: Api<DynamicObject> =
                Api::namespaced_with(admin.clone(), &route.namespace().unwrap(), &resource);
            let accepted = json!({"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let status = json!({"status": {"parents": [
                {"parentRef": route.data["spec"]["parentRefs"][0], "conditions": [accepted]}]}});
            let _ =
                within.patch_status(&route.name_any(), &PatchParams::default(), &Patch::Merge(status)).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_passes_tls_through_under_the_name_in_the_certificate() {
    let world = World::start().await;
    let expose = json!({"type": "Ingress", "externalAddress": "demo.example.com",
        "ingress": {"className": "edge", "annotations": {"a": "b"}}});
    world.create("demo", json!({"expose": expose})).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    let ingresses = world.within::<Ingress>(&namespace);
    let ingress = ingresses.get("demo-external").await.unwrap();
    let annotations = ingress.annotations();
    assert_eq!(annotations["nginx.ingress.kubernetes.io/ssl-passthrough"], "true");
    assert_eq!(annotations["a"], "b");
    let spec = ingress.spec.unwrap();
    assert_eq!(spec.ingress_class_name.as_deref(), Some("edge"));
    assert_eq!(spec.rules.unwrap()[0].host.as_deref(), Some("demo.example.com"));
    let external = cluster.status.unwrap().endpoints.unwrap().external_url;
    assert_eq!(external.as_deref(), Some("https://demo.example.com:443"));
    assert_eq!(text(&world.secret(TENANTS, "demo-kubeconfig").await, "server"), external.unwrap());
    assert!(served_names(&world, &namespace).await.contains("demo.example.com"));
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new());

    // The certificate follows the name, and what is no longer asked for goes.
    let renamed = json!({"spec": {"expose": {"externalAddress": "other.example.com"}}});
    world.merge(&world.clusters(), "demo", renamed).await;
    world.ready("demo").await;
    let names = served_names(&world, &namespace).await;
    assert!(names.contains("other.example.com") && !names.contains("demo.example.com"), "{names:?}");
    world.merge(&world.clusters(), "demo", json!({"spec": {"expose": null}})).await;
    world.gone(ingresses, "demo-external").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_carries_the_route_once_it_accepts_it() {
    let world = World::start().await;
    let expose = json!({"type": "Gateway", "externalAddress": "demo.example.com",
        "gateway": {"parentRefs": [{"name": "edge", "namespace": "gateways", "sectionName": "tls"}]}});
    world.create("demo", json!({"expose": expose})).await;
    world.condition("demo", "Ready", "False", "GatewayApiMissing").await;

    let gateway = install_gateway(&world).await;
    let touch = json!({"metadata": {"annotations": {"touched": "1"}}});
    world.merge(&world.clusters(), "demo", touch).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    let route = routes(&world).list(&Default::default()).await.unwrap().items.remove(0);
    assert_eq!(route.namespace().as_deref(), Some(namespace.as_str()));
    let parents = json!([{"name": "edge", "namespace": "gateways", "sectionName": "tls"}]);
    assert_eq!(route.data["spec"]["parentRefs"], parents);
    assert_eq!(route.data["spec"]["hostnames"], json!(["demo.example.com"]));
    assert!(served_names(&world, &namespace).await.contains("demo.example.com"));
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new());

    world.merge(&world.clusters(), "demo", json!({"spec": {"expose": null}})).await;
    world.ready("demo").await;
    assert!(routes(&world).list(&Default::default()).await.unwrap().items.is_empty());
    gateway.abort();
    world.stop().await;
}
