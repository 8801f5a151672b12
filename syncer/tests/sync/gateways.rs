//! The Gateway API beyond plain copies: classes, gateways of the host, and what tenants get wrong.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use vkube_syncer::{Direction, RuleSpec};

use super::definitions::{GATEWAY_API, Side, define, gateway_api, gateways, served};
use super::rules::{complaint, create_all, selector};
use super::world::{HOST_NAMESPACE, World, eventually, rule, rules};

fn resource(plural: &str) -> String {
    format!("{plural}.{GATEWAY_API}")
}

fn object(api_version: &str, kind: &str, name: &str, rest: Value) -> DynamicObject {
    let mut document = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name } });
    for (field, value) in rest.as_object().unwrap() {
        document[field] = value.clone();
    }
    serde_json::from_value(document).unwrap()
}

#[tokio::test]
async fn gw2_a_gateway_of_a_class_that_the_host_does_not_show_is_not_synchronised() {
    let (classes, gateway) = (gateway_api("GatewayClass"), gateway_api("Gateway"));
    let world = World::with(|config| {
        config.rules = rules(&[
            RuleSpec {
                selector: selector("tenants", "yes"),
                ..rule(Direction::FromHost, &resource("gatewayclasses"))
            },
            rule(Direction::ToHost, &resource("gateways")),
        ]);
    })
    .await;
    define(&world.host, &classes, "Cluster").await;
    define(&world.host, &gateway, "Namespaced").await;
    let there: Api<DynamicObject> = Api::all_with(world.host.clone(), &classes);
    let labels = json!({ "name": "public", "labels": { "tenants": "yes" } });
    let public =
        object(&classes.api_version, "GatewayClass", "public", json!({ "metadata": labels, "spec": {} }));
    there.create(&PostParams::default(), &public).await.unwrap();
    served(&world.tenant, &classes).await;
    served(&world.tenant, &gateway).await;
    let seen: Api<DynamicObject> = Api::all_with(world.tenant.clone(), &classes);
    eventually(seen, "public", |_| true).await;

    let (here, host) = (Side(world.tenant.clone(), "shop"), Side(world.host.clone(), HOST_NAMESPACE));
    here.create(&gateway, "bad", json!({ "gatewayClassName": "internal" })).await;
    here.create(&gateway, "good", json!({ "gatewayClassName": "public" })).await;
    host.has(&gateway, &world.name("good"), |_| true).await;
    assert_eq!(complaint(&world, "bad").await, r#"the host offers no gateway class "internal""#);
    assert!(host.api(&gateway).get_opt(&world.name("bad")).await.unwrap().is_none());
    world.stop().await;
}

#[tokio::test]
async fn gw7_a_route_with_a_wrong_parent_recovers_when_it_is_corrected() {
    let (gateway, route) = (gateway_api("Gateway"), gateway_api("HTTPRoute"));
    let (world, here, there) = gateways(&[gateway.clone(), route.clone()]).await;
    create_all::<Namespace>(&world.tenant, json!({ "metadata": { "name": "infra" } })).await;
    let listener = |from: &str| json!({ "name": "http", "port": 80, "allowedRoutes": { "namespaces": { "from": from } } });
    let infra = Side(world.tenant.clone(), "infra");
    infra
        .create(&gateway, "closed", json!({ "gatewayClassName": "a", "listeners": [listener("Same")] }))
        .await;
    infra.create(&gateway, "open", json!({ "gatewayClassName": "a", "listeners": [listener("All")] })).await;

    let parents = |name: &str| json!({ "parentRefs": [{ "name": name, "namespace": "infra" }] });
    here.create(&route, "r", parents("closed")).await;
    let message = complaint(&world, "r").await;
    assert_eq!(message, "Gateway infra/closed does not let routes of this namespace in");
    assert!(there.api(&route).get_opt(&world.name("r")).await.unwrap().is_none());
    let patch = Patch::Merge(json!({ "spec": parents("open") }));
    here.api(&route).patch("r", &PatchParams::default(), &patch).await.unwrap();
    let host = there.has(&route, &world.name("r"), |_| true).await;
    assert_eq!(host["spec"]["parentRefs"][0]["name"], world.names.host("infra", "open"));
    assert_eq!(host["spec"]["parentRefs"][0]["namespace"], HOST_NAMESPACE);
    world.stop().await;
}

#[tokio::test]
async fn gw8_a_gateway_of_the_host_is_shown_without_its_keys_and_tenants_routes_lead_to_it() {
    let (gateway, route) = (gateway_api("Gateway"), gateway_api("HTTPRoute"));
    let mappings = vec![("infra/edge".into(), "shop/front".into())];
    let world = World::with(|config| {
        config.rules = rules(&[
            RuleSpec { mappings, ..rule(Direction::FromHost, &resource("gateways")) },
            rule(Direction::ToHost, &resource("httproutes")),
        ]);
    })
    .await;
    for kind in [&gateway, &route] {
        define(&world.host, kind, "Namespaced").await;
    }
    create_all::<Namespace>(&world.host, json!({ "metadata": { "name": "infra" } })).await;
    let infra = Side(world.host.clone(), "infra");
    let listener = json!({
        "name": "https", "port": 443, "protocol": "HTTPS", "hostname": "*.tenants.example",
        "tls": { "certificateRefs": [{ "name": "wildcard" }] },
        "allowedRoutes": { "namespaces": { "from": "All" }, "kinds": [] },
    });
    let spec =
        json!({ "gatewayClassName": "a", "addresses": [{ "value": "192.0.2.1" }], "listeners": [listener] });
    infra.create(&gateway, "edge", spec.clone()).await;
    infra.create(&gateway, "other", spec.clone()).await;
    let status =
        Patch::Merge(json!({ "status": { "addresses": [{ "value": "192.0.2.1" }], "conditions": [] } }));
    infra.api(&gateway).patch_status("edge", &PatchParams::default(), &status).await.unwrap();
    for kind in [&gateway, &route] {
        served(&world.tenant, kind).await;
    }

    let here = Side(world.tenant.clone(), "shop");
    let shown = here.has(&gateway, "front", |gateway| gateway["status"].is_object()).await;
    assert_eq!(shown["spec"]["listeners"][0]["hostname"], "*.tenants.example");
    assert_eq!(shown["spec"]["listeners"][0]["allowedRoutes"], json!({ "kinds": [] }));
    for secret in ["wildcard", "192.0.2.1"] {
        assert!(!shown.to_string().contains(secret), "{shown}");
    }
    assert!(here.api(&gateway).get_opt("other").await.unwrap().is_none());

    let edit = Patch::Merge(json!({ "spec": { "gatewayClassName": "mine" } }));
    here.api(&gateway).patch("front", &PatchParams::default(), &edit).await.unwrap();
    here.has(&gateway, "front", |gateway| gateway["spec"]["gatewayClassName"] == "a").await;
    let uid = here.api(&gateway).get("front").await.unwrap().uid();
    here.api(&gateway).delete("front", &DeleteParams::default()).await.unwrap();
    eventually(here.api(&gateway), "front", |gateway| gateway.uid() != uid).await;

    here.create(&route, "r", json!({ "parentRefs": [{ "name": "front" }] })).await;
    let there = Side(world.host.clone(), HOST_NAMESPACE);
    let host = there.has(&route, &world.name("r"), |_| true).await;
    assert_eq!(host["spec"]["parentRefs"], json!([{ "name": "edge", "namespace": "infra" }]));
    let parents =
        json!([{ "controllerName": "a.b/c", "parentRef": { "name": "edge", "namespace": "infra" } }]);
    let status = Patch::Merge(json!({ "status": { "parents": parents } }));
    there.api(&route).patch_status(&world.name("r"), &PatchParams::default(), &status).await.unwrap();
    here.has(&route, "r", |route| route["status"]["parents"][0]["parentRef"]["name"] == "front").await;

    infra.api(&gateway).delete("edge", &DeleteParams::default()).await.unwrap();
    here.lacks(&gateway, "front").await;
    infra.create(&gateway, "edge", spec).await;
    here.has(&gateway, "front", |_| true).await;
    world.stop().await;
}

#[tokio::test]
async fn gw9_a_kind_can_be_switched_off_and_gateways_may_go_both_ways() {
    let (gateway, route) = (gateway_api("Gateway"), gateway_api("HTTPRoute"));
    let mappings = vec![("infra/*".into(), "infra/*".into())];
    let world = World::with(|config| {
        config.rules = rules(&[
            rule(Direction::ToHost, &resource("gateways")),
            RuleSpec { mappings, ..rule(Direction::FromHost, &resource("gateways")) },
            RuleSpec { enabled: false, ..rule(Direction::ToHost, &resource("httproutes")) },
        ]);
    })
    .await;
    define(&world.host, &gateway, "Namespaced").await;
    define(&world.host, &route, "Namespaced").await;
    define(&world.tenant, &route, "Namespaced").await;
    for client in [&world.host, &world.tenant] {
        create_all::<Namespace>(client, json!({ "metadata": { "name": "infra" } })).await;
    }
    Side(world.host.clone(), "infra").create(&gateway, "edge", json!({ "gatewayClassName": "a" })).await;
    served(&world.tenant, &gateway).await;
    served(&world.tenant, &route).await;
    let (here, there) = (Side(world.tenant.clone(), "shop"), Side(world.host.clone(), HOST_NAMESPACE));
    Side(world.tenant.clone(), "infra").has(&gateway, "edge", |_| true).await;
    here.create(&route, "off", json!({})).await;
    here.create(&gateway, "own", json!({ "gatewayClassName": "a" })).await;
    there.has(&gateway, &world.name("own"), |_| true).await;
    let back = world.names.host("infra", "edge");
    assert!(
        there.api(&gateway).get_opt(&back).await.unwrap().is_none(),
        "what the host shows does not come back"
    );
    assert!(there.api(&route).get_opt(&world.name("off")).await.unwrap().is_none());
    world.stop().await;
}
