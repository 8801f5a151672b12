use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::world::{World, eventually};

fn spec(service: &Service) -> &k8s_openapi::api::core::v1::ServiceSpec {
    service.spec.as_ref().unwrap()
}

#[tokio::test]
async fn a_service_has_the_hosts_address_in_the_answer_to_its_creation() {
    let world = World::start().await;
    let service: Service = world
        .tenant_create(json!({
            "metadata": { "name": "web" },
            "spec": { "type": "NodePort", "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
        }))
        .await;
    let host = world.host_api::<Service>().get(&world.name("web")).await.unwrap();
    assert!(spec(&service).cluster_ip.is_some());
    assert_eq!(spec(&service).cluster_ip, spec(&host).cluster_ip);
    let port = |service: &Service| spec(service).ports.as_ref().unwrap()[0].node_port;
    assert!(port(&service).is_some());
    assert_eq!(port(&service), port(&host));
    assert_eq!(spec(&host).selector.as_ref().unwrap()["vkube.dev/virtual-namespace"], "shop");
    world.stop().await;
}

#[tokio::test]
async fn a_dry_run_leaves_nothing_on_the_host() {
    let world = World::start().await;
    let service = serde_json::from_value(
        json!({ "metadata": { "name": "web" }, "spec": { "ports": [{ "port": 80 }] } }),
    );
    let params = PostParams { dry_run: true, ..PostParams::default() };
    world.tenant_api::<Service>().create(&params, &service.unwrap()).await.unwrap();
    assert!(world.host_api::<Service>().get_opt(&world.name("web")).await.unwrap().is_none());
    world.stop().await;
}

#[tokio::test]
async fn a_second_create_of_a_name_leaves_the_first_alone() {
    let world = World::start().await;
    let document =
        |port: i32| json!({ "metadata": { "name": "web" }, "spec": { "ports": [{ "port": port }] } });
    world.tenant_create::<Service>(document(80)).await;
    let before = world.host_has::<Service>("web", |_| true).await;
    let again = serde_json::from_value(document(81)).unwrap();
    let refused = world.tenant_api::<Service>().create(&PostParams::default(), &again).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 409));
    let after = world.host_has::<Service>("web", |_| true).await;
    assert_eq!(spec(&before).ports, spec(&after).ports);
    world.stop().await;
}

#[tokio::test]
async fn an_address_that_the_host_cannot_give_is_refused_in_the_tenants_names() {
    let world = World::start().await;
    let taken: Service = world
        .tenant_create(json!({ "metadata": { "name": "a" }, "spec": { "ports": [{ "port": 80 }] } }))
        .await;
    let same = json!({
        "metadata": { "name": "b" },
        "spec": { "clusterIP": spec(&taken).cluster_ip, "ports": [{ "port": 80 }] },
    });
    let refused = world
        .tenant_api::<Service>()
        .create(&PostParams::default(), &serde_json::from_value(same).unwrap())
        .await
        .unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused}") };
    assert_eq!(status.code, 422);
    assert!(!status.message.contains("-x-"), "{}", status.message);
    world.stop().await;
}

#[tokio::test]
async fn changes_and_deletion_reach_the_host() {
    let world = World::start().await;
    world
        .tenant_create::<Service>(
            json!({ "metadata": { "name": "web" }, "spec": { "ports": [{ "port": 80 }] } }),
        )
        .await;
    let patch = Patch::Merge(json!({ "spec": { "ports": [{ "port": 8080 }] } }));
    world.tenant_api::<Service>().patch("web", &PatchParams::default(), &patch).await.unwrap();
    world.host_has::<Service>("web", |host| spec(host).ports.as_ref().unwrap()[0].port == 8080).await;
    world.tenant_api::<Service>().delete("web", &DeleteParams::default()).await.unwrap();
    world.host_lacks::<Service>("web").await;
    world.stop().await;
}

#[tokio::test]
async fn the_load_balancers_address_comes_back() {
    let world = World::start().await;
    world
        .tenant_create::<Service>(
            json!({ "metadata": { "name": "web" }, "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }] } }),
        )
        .await;
    let name = world.name("web");
    let patch = Patch::Merge(json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.9" }] } } }));
    world.host_api::<Service>().patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
    world
        .tenant_has::<Service>("web", |service| {
            let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
            balancer.and_then(|balancer| balancer.ingress.as_ref()).is_some()
        })
        .await;
    world.stop().await;
}

#[tokio::test]
async fn the_kubernetes_service_is_the_hosts_service_of_the_api_server() {
    let world = World::start().await;
    let host = world.host_api::<Service>().get("demo").await.unwrap();
    let services: Api<Service> = Api::namespaced(world.tenant.clone(), "default");
    let kubernetes = eventually(services, "kubernetes", |_| true).await;
    assert_eq!(spec(&kubernetes).cluster_ip, spec(&host).cluster_ip);

    let slices: Api<EndpointSlice> = Api::namespaced(world.tenant.clone(), "default");
    let slice = eventually(slices, "kubernetes", |_| true).await;
    assert_eq!(slice.endpoints.unwrap()[0].addresses, ["10.9.8.7"]);
    assert_eq!(slice.ports.unwrap()[0].port, Some(8443));
    world.stop().await;
}

#[tokio::test]
async fn r5_endpoints_without_selector_reach_the_host_even_if_they_came_first() {
    let world = World::start().await;
    world
        .tenant_create::<Endpoints>(json!({
            "metadata": { "name": "legacy" },
            "subsets": [{ "addresses": [{ "ip": "192.0.2.4" }], "ports": [{ "port": 80 }] }],
        }))
        .await;
    world
        .tenant_create::<Service>(
            json!({ "metadata": { "name": "legacy" }, "spec": { "ports": [{ "port": 80 }] } }),
        )
        .await;
    let host = world.host_has::<Endpoints>("legacy", |_| true).await;
    assert_eq!(host.subsets.unwrap()[0].addresses.as_ref().unwrap()[0].ip, "192.0.2.4");
    world.tenant_api::<Service>().delete("legacy", &DeleteParams::default()).await.unwrap();
    world.host_lacks::<Endpoints>("legacy").await;
    world.stop().await;
}
