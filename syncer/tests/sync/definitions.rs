//! Kinds of the table that are custom resources: the Gateway API and volume snapshots.

use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use serde_json::{Value, json};
use vkube_syncer::{Direction, RuleSpec};

use super::pod_behaviours::pod;
use super::rules::{complaint, selector};
use super::world::{HOST_NAMESPACE, World, eventually, gone, rule, rules};

pub const GATEWAY_API: &str = "gateway.networking.k8s.io";

pub fn resource(group: &str, version: &str, kind: &str) -> ApiResource {
    let plural = match kind.to_lowercase() {
        lower if lower.ends_with("ss") => format!("{lower}es"),
        lower => format!("{lower}s"),
    };
    ApiResource {
        group: group.into(),
        version: version.into(),
        api_version: format!("{group}/{version}"),
        kind: kind.into(),
        plural,
    }
}

pub fn gateway_api(kind: &str) -> ApiResource {
    resource(GATEWAY_API, "v1", kind)
}

pub async fn define(client: &Client, kind: &ApiResource, scope: &str) {
    let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let definition = json!({
        "metadata": {
            "name": format!("{}.{}", kind.plural, kind.group),
            "annotations": { "api-approved.kubernetes.io": "https://example.com" },
        },
        "spec": {
            "group": kind.group,
            "scope": scope,
            "names": {
                "kind": kind.kind, "plural": kind.plural, "singular": kind.kind.to_lowercase(),
                "listKind": format!("{}List", kind.kind),
            },
            "versions": [{
                "name": kind.version, "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": {
                    "type": "object", "properties": { "spec": open, "status": open },
                } },
            }],
        },
    });
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    api.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
}

pub async fn served(client: &Client, kind: &ApiResource) {
    super::world::served(client, &format!("{}.{}", kind.plural, kind.group)).await;
}

pub struct Side(pub Client, pub &'static str);

impl Side {
    pub fn api(&self, kind: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.0.clone(), self.1, kind)
    }

    pub async fn create(&self, kind: &ApiResource, name: &str, spec: Value) {
        let document = json!({
            "apiVersion": kind.api_version, "kind": kind.kind, "metadata": { "name": name }, "spec": spec,
        });
        let object = serde_json::from_value(document).unwrap();
        self.api(kind).create(&PostParams::default(), &object).await.unwrap();
    }

    pub async fn has(&self, kind: &ApiResource, name: &str, test: impl Fn(&Value) -> bool) -> Value {
        eventually(self.api(kind), name, |object| test(&object.data)).await.data
    }

    pub async fn lacks(&self, kind: &ApiResource, name: &str) {
        gone(self.api(kind), name).await;
    }
}

/// A world with rules to the host for kinds of the Gateway API, served on both sides.
pub async fn gateways(kinds: &[ApiResource]) -> (World, Side, Side) {
    let specs: Vec<RuleSpec> = kinds
        .iter()
        .map(|kind| rule(Direction::ToHost, &format!("{}.{}", kind.plural, kind.group)))
        .collect();
    let world = World::with(|config| config.rules = rules(&specs)).await;
    for kind in kinds {
        define(&world.host, kind, "Namespaced").await;
        served(&world.tenant, kind).await;
    }
    let (here, there) = (Side(world.tenant.clone(), "shop"), Side(world.host.clone(), HOST_NAMESPACE));
    (world, here, there)
}

#[tokio::test]
async fn gw1_gateway_classes_come_by_selector_with_their_definition() {
    let selector = selector("tenants", "yes");
    let classes = format!("gatewayclasses.{GATEWAY_API}");
    let from = RuleSpec { selector, ..rule(Direction::FromHost, &classes) };
    let world = World::with(|config| config.rules = rules(&[from])).await;
    let kind = gateway_api("GatewayClass");
    define(&world.host, &kind, "Cluster").await;
    let there: Api<DynamicObject> = Api::all_with(world.host.clone(), &kind);
    for (name, tenants) in [("hidden", "no"), ("public", "yes")] {
        let document = json!({
            "apiVersion": kind.api_version, "kind": kind.kind,
            "metadata": { "name": name, "labels": { "tenants": tenants } },
            "spec": { "controllerName": "a.b/c" },
        });
        there.create(&PostParams::default(), &serde_json::from_value(document).unwrap()).await.unwrap();
    }
    served(&world.tenant, &kind).await;
    let here: Api<DynamicObject> = Api::all_with(world.tenant.clone(), &kind);
    eventually(here.clone(), "public", |_| true).await;
    assert!(here.get_opt("hidden").await.unwrap().is_none());
    world.stop().await;
}

#[tokio::test]
async fn gw3_a_gateway_and_its_routes_go_to_the_host_and_their_status_comes_back() {
    let (gateway, route) = (gateway_api("Gateway"), gateway_api("HTTPRoute"));
    let (world, here, there) = gateways(&[gateway.clone(), route.clone()]).await;
    world
        .tenant_create::<Secret>(json!({ "metadata": { "name": "cert" }, "stringData": { "k": "v" } }))
        .await;
    let listener = json!({
        "name": "https", "port": 443, "protocol": "HTTPS",
        "tls": { "certificateRefs": [{ "name": "cert" }] },
        "allowedRoutes": { "namespaces": { "from": "All" }, "kinds": [] },
    });
    here.create(&gateway, "gw", json!({ "gatewayClassName": "public", "listeners": [listener] })).await;
    let rule = json!({ "backendRefs": [{ "name": "web", "port": 80 }] });
    here.create(&route, "r", json!({ "parentRefs": [{ "name": "gw" }], "rules": [rule] })).await;

    let host = there.has(&gateway, &world.name("gw"), |_| true).await;
    assert_eq!(host["spec"]["listeners"][0]["tls"]["certificateRefs"][0]["name"], world.name("cert"));
    assert_eq!(
        host["spec"]["listeners"][0]["allowedRoutes"],
        json!({ "kinds": [] }),
        "the host's namespaces are not its"
    );
    world.host_has::<Secret>("cert", |_| true).await;
    let host = there.has(&route, &world.name("r"), |_| true).await;
    assert_eq!(host["spec"]["parentRefs"][0]["name"], world.name("gw"));
    assert_eq!(host["spec"]["rules"][0]["backendRefs"][0]["name"], world.name("web"));

    let parent = json!({ "controllerName": "a.b/c", "parentRef": { "name": world.name("gw") } });
    let patch = Patch::Merge(json!({ "status": { "parents": [parent] } }));
    there.api(&route).patch_status(&world.name("r"), &PatchParams::default(), &patch).await.unwrap();
    here.has(&route, "r", |route| route["status"]["parents"][0]["parentRef"]["name"] == "gw").await;

    here.api(&route).delete("r", &DeleteParams::default()).await.unwrap();
    there.lacks(&route, &world.name("r")).await;
    world.stop().await;
}

#[tokio::test]
async fn gw4_a_reference_to_another_namespace_waits_for_its_grant() {
    let route = gateway_api("HTTPRoute");
    let (world, here, there) = gateways(std::slice::from_ref(&route)).await;
    let grants = resource(GATEWAY_API, "v1beta1", "ReferenceGrant");
    define(&world.tenant, &grants, "Namespaced").await;
    served(&world.tenant, &grants).await;
    let namespaces: Api<Namespace> = Api::all(world.tenant.clone());
    let backend = serde_json::from_value(json!({ "metadata": { "name": "backend" } })).unwrap();
    namespaces.create(&PostParams::default(), &backend).await.unwrap();

    let rule = json!({ "backendRefs": [{ "name": "api", "namespace": "backend", "port": 80 }] });
    here.create(&route, "r", json!({ "rules": [rule] })).await;
    let message = complaint(&world, "r").await;
    assert!(message.contains("ReferenceGrant"), "{message}");
    assert!(there.api(&route).get_opt(&world.name("r")).await.unwrap().is_none());

    let grant = json!({
        "from": [{ "group": GATEWAY_API, "kind": "HTTPRoute", "namespace": "shop" }],
        "to": [{ "group": "", "kind": "Service" }],
    });
    Side(world.tenant.clone(), "backend").create(&grants, "g", grant).await;
    let host = there.has(&route, &world.name("r"), |_| true).await;
    let backend = &host["spec"]["rules"][0]["backendRefs"][0];
    assert_eq!(backend["name"], world.names.host("backend", "api"));
    assert_eq!(backend["namespace"], HOST_NAMESPACE);
    world.stop().await;
}

#[tokio::test]
async fn gw5_gw6_tls_routes_and_backend_policies_are_synchronised_updated_and_deleted() {
    let (route, policy) = (gateway_api("TLSRoute"), resource(GATEWAY_API, "v1", "BackendTLSPolicy"));
    let policy = ApiResource { plural: "backendtlspolicies".into(), ..policy };
    let (world, here, there) = gateways(&[route.clone(), policy.clone()]).await;
    let rules = |port: u16| json!({ "rules": [{ "backendRefs": [{ "name": "web", "port": port }] }] });
    here.create(&route, "r", rules(1)).await;
    here.create(&policy, "p", json!({ "targetRefs": [{ "group": "", "kind": "Service", "name": "web" }] }))
        .await;
    there.has(&route, &world.name("r"), |_| true).await;
    let host = there.has(&policy, &world.name("p"), |_| true).await;
    assert_eq!(host["spec"]["targetRefs"][0]["name"], world.name("web"));
    let patch = Patch::Merge(json!({ "spec": rules(2) }));
    here.api(&route).patch("r", &PatchParams::default(), &patch).await.unwrap();
    there.has(&route, &world.name("r"), |r| r["spec"]["rules"][0]["backendRefs"][0]["port"] == 2).await;
    for (kind, name) in [(&route, "r"), (&policy, "p")] {
        here.api(kind).delete(name, &DeleteParams::default()).await.unwrap();
        there.lacks(kind, &world.name(name)).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_volume_snapshot_is_of_the_hosts_claim_and_never_of_somebody_elses_content() {
    let kind = resource("snapshot.storage.k8s.io", "v1", "VolumeSnapshot");
    let (world, here, there) = gateways(std::slice::from_ref(&kind)).await;
    here.create(&kind, "mine", json!({ "source": { "persistentVolumeClaimName": "data" } })).await;
    let host = there.has(&kind, &world.name("mine"), |_| true).await;
    assert_eq!(host["spec"]["source"]["persistentVolumeClaimName"], world.name("data"));
    here.create(&kind, "theirs", json!({ "source": { "volumeSnapshotContentName": "x" } })).await;
    let message = complaint(&world, "theirs").await;
    assert_eq!(message, "spec.source.volumeSnapshotContentName cannot be used in a virtual cluster");
    assert!(there.api(&kind).get_opt(&world.name("theirs")).await.unwrap().is_none());
    world.stop().await;
}

#[tokio::test]
async fn f20_f21_f22_runtime_classes_come_by_selector_and_pods_need_them() {
    let selector = selector("tenants", "yes");
    let from = RuleSpec { selector, ..rule(Direction::FromHost, "runtimeclasses.node.k8s.io") };
    let world = World::with(|config| config.rules = rules(&[from])).await;
    let there: Api<RuntimeClass> = Api::all(world.host.clone());
    for (name, tenants) in [("hidden", "no"), ("sandboxed", "yes")] {
        let class = json!({ "metadata": { "name": name, "labels": { "tenants": tenants } }, "handler": "h" });
        there.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
    }
    let here: Api<RuntimeClass> = Api::all(world.tenant.clone());
    eventually(here, "sandboxed", |_| true).await;
    let pod = |class: &str| pod("p", json!({ "runtimeClassName": class }));
    let refused = serde_json::from_value(pod("hidden")).unwrap();
    let refused = world.tenant_api::<Pod>().create(&PostParams::default(), &refused).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 403));
    world.tenant_create::<Pod>(pod("sandboxed")).await;
    let host = world.host_has::<Pod>("p", |_| true).await;
    assert_eq!(host.spec.unwrap().runtime_class_name.as_deref(), Some("sandboxed"));
    world.stop().await;
}
