use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use crate::cluster::{Cluster, selector, template};

fn ready(slices: &[EndpointSlice]) -> usize {
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    endpoints
        .filter(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true))
        .count()
}

fn of<'a>(slices: &'a [EndpointSlice], service: &str) -> Vec<&'a EndpointSlice> {
    let label = |slice: &&EndpointSlice| {
        slice.labels().get("kubernetes.io/service-name").is_some_and(|n| n == service)
    };
    slices.iter().filter(label).collect()
}

#[tokio::test]
async fn a_service_has_the_addresses_of_its_ready_pods() {
    let cluster = Cluster::start().await;
    let spec = json!({"replicas": 2, "selector": selector("web"), "template": template("web", "pause")});
    cluster.create::<ReplicaSet>(json!({"metadata": {"name": "web"}, "spec": spec})).await;
    let ports = json!([{"name": "http", "port": 80, "targetPort": 8080}]);
    let service = json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}});
    cluster.create::<Service>(service).await;

    let slices = cluster
        .until::<EndpointSlice>("both are ready", |slices| {
            ready(&of(slices, "web").into_iter().cloned().collect::<Vec<_>>()) == 2
        })
        .await;
    let slice = of(&slices, "web")[0];
    assert!(slice.name_any().starts_with("web-"));
    assert_eq!(slice.labels()["endpointslice.kubernetes.io/managed-by"], "endpointslice-controller.k8s.io");
    assert_eq!(slice.ports.as_ref().unwrap()[0].port, Some(8080));
    assert_eq!(slice.endpoints.as_ref().unwrap()[0].zone.as_deref(), Some("a"));
    let full = |one: &Endpoints| {
        let subsets = one.subsets.clone().unwrap_or_default();
        subsets.iter().map(|subset| subset.addresses.as_ref().map_or(0, Vec::len)).sum::<usize>() == 2
    };
    cluster.until_one::<Endpoints>("web", "both are there", full).await;

    let pod = cluster.api::<Pod>().list(&Default::default()).await.unwrap().items.remove(0);
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let (params, patch) = (Default::default(), kube::api::Patch::Merge(unready));
    cluster.api::<Pod>().patch_status(&pod.name_any(), &params, &patch).await.unwrap();
    let one_left =
        |slices: &[EndpointSlice]| ready(&of(slices, "web").into_iter().cloned().collect::<Vec<_>>()) == 1;
    cluster.until::<EndpointSlice>("one is left", one_left).await;

    cluster.api::<Service>().delete("web", &DeleteParams::default()).await.unwrap();
    cluster.until::<EndpointSlice>("slices are gone", |slices| of(slices, "web").is_empty()).await;
    cluster
        .until::<Endpoints>("endpoints are gone", |all| all.iter().all(|one| one.name_any() != "web"))
        .await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_headless_service_is_marked() {
    let cluster = Cluster::start().await;
    let spec = json!({"clusterIP": "None", "selector": {"app": "x"}});
    cluster.create::<Service>(json!({"metadata": {"name": "x"}, "spec": spec})).await;
    let slices = cluster.until::<EndpointSlice>("there is one", |slices| !of(slices, "x").is_empty()).await;
    assert_eq!(of(&slices, "x")[0].labels()["service.kubernetes.io/headless"], "");
    let endpoints = cluster.until_one::<Endpoints>("x", "they exist", |_| true).await;
    assert_eq!(endpoints.labels()["service.kubernetes.io/headless"], "");
    cluster.stop().await;
}
