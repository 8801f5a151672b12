//! Kinds that are synchronised by rule.

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use vkube_syncer::{ChangeSpec, Direction, PatchSpec, RuleSpec};

use super::pod_behaviours::pod;
use super::world::{HOST_NAMESPACE, World, annotation, eventually, gone, rule, rules};

const WIDGETS: &str = "widgets.example.com";

fn widgets(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &widget_resource())
}

fn widget_resource() -> ApiResource {
    ApiResource {
        group: "example.com".into(),
        version: "v1".into(),
        api_version: "example.com/v1".into(),
        kind: "Widget".into(),
        plural: "widgets".into(),
    }
}

fn widget(name: &str, spec: Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "example.com/v1", "kind": "Widget", "metadata": { "name": name }, "spec": spec,
    }))
    .unwrap()
}

pub fn selector(key: &str, value: &str) -> LabelSelector {
    LabelSelector { match_labels: Some([(key.into(), value.into())].into()), ..LabelSelector::default() }
}

fn set(path: &str, expression: &str) -> PatchSpec {
    PatchSpec { path: path.into(), change: ChangeSpec::Expression(expression.into()) }
}

async fn define_widgets(world: &World) {
    let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let definition = json!({
        "metadata": { "name": WIDGETS },
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": { "kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList" },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                    "spec": open, "status": open,
                } } },
            }],
        },
    });
    let api: Api<CustomResourceDefinition> = Api::all(world.host.clone());
    api.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
}

/// Waits until the virtual cluster serves widgets.
async fn served(world: &World) {
    super::world::served(&world.tenant, WIDGETS).await;
}

/// Waits until a dynamic object satisfies `test`.
async fn widget_has(
    api: &Api<DynamicObject>,
    name: &str,
    test: impl Fn(&DynamicObject) -> bool,
) -> DynamicObject {
    eventually(api.clone(), name, test).await
}

async fn widget_gone(api: &Api<DynamicObject>, name: &str) {
    gone(api.clone(), name).await;
}

pub async fn create_in<K>(client: &Client, namespace: &str, document: Value) -> K
where
    K: super::world::Namespaced,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &serde_json::from_value(document).unwrap()).await.unwrap()
}

pub async fn create_all<K>(client: &Client, document: Value) -> K
where
    K: kube::Resource<Scope = k8s_openapi::ClusterResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    api.create(&PostParams::default(), &serde_json::from_value(document).unwrap()).await.unwrap()
}

/// Waits for a complaint of the syncer about an object of `shop`.
pub async fn complaint(world: &World, about: &str) -> String {
    let api: Api<Event> = Api::namespaced(world.tenant.clone(), "shop");
    let all = kube::runtime::watcher(api, kube::runtime::watcher::Config::default());
    let told = kube::runtime::WatchStreamExt::applied_objects(all).filter_map(|event| {
        let event = event.unwrap();
        let is_it = event.reason.as_deref() == Some("SyncError")
            && event.involved_object.name.as_deref() == Some(about);
        std::future::ready(is_it.then(|| event.message.unwrap_or_default()))
    });
    let first = tokio::time::timeout(std::time::Duration::from_secs(60), Box::pin(told).next()).await;
    first.unwrap_or_else(|_| panic!("nobody complains about {about}")).unwrap()
}

#[tokio::test]
async fn a_custom_resource_goes_to_the_host_with_what_it_names_and_its_status_comes_back() {
    let reference =
        PatchSpec { path: "spec.secretName".into(), change: ChangeSpec::Reference("Secret".into()) };
    let patches =
        vec![reference, set("spec.size", "value * 2"), set("spec.note", "source.metadata.name + '!'")];
    let to_host = RuleSpec { patches, ..rule(Direction::ToHost, WIDGETS) };
    let world = World::with(|config| config.rules = rules(&[to_host])).await;
    define_widgets(&world).await;
    served(&world).await;

    world.tenant_create::<Secret>(json!({ "metadata": { "name": "key" }, "stringData": { "a": "b" } })).await;
    let here = widgets(&world.tenant, "shop");
    let spec = json!({ "size": 2, "secretName": "key" });
    here.create(&PostParams::default(), &widget("w", spec)).await.unwrap();

    let there = widgets(&world.host, HOST_NAMESPACE);
    let host = widget_has(&there, &world.name("w"), |_| true).await;
    assert_eq!(host.data["spec"], json!({ "size": 4, "secretName": world.name("key"), "note": "w!" }));
    world.host_has::<Secret>("key", |_| true).await;

    let status = json!({ "status": { "ready": true, "message": format!("{} is fine", world.name("w")) } });
    there.patch_status(&world.name("w"), &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    let told = widget_has(&here, "w", |object| object.data["status"]["ready"] == true).await;
    assert_eq!(told.data["status"]["message"], "w is fine");
    assert_eq!(told.data["spec"]["size"], 2, "the tenant's own spec stays as it was");

    let patch = json!({ "spec": { "size": 5 } });
    here.patch("w", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    widget_has(&there, &world.name("w"), |object| object.data["spec"]["size"] == 10).await;

    here.delete("w", &DeleteParams::default()).await.unwrap();
    widget_gone(&there, &world.name("w")).await;
    world.host_lacks::<Secret>("key").await;
    world.stop().await;
}

#[tokio::test]
async fn a_custom_resource_of_the_host_appears_where_a_mapping_says_and_cannot_be_changed() {
    let mappings = vec![("shared/*".into(), "shop/*".into())];
    let from = RuleSpec { mappings, ..rule(Direction::FromHost, WIDGETS) };
    let world = World::with(|config| config.rules = rules(&[from])).await;
    define_widgets(&world).await;
    create_all::<Namespace>(&world.host, json!({ "metadata": { "name": "shared" } })).await;
    let there = widgets(&world.host, "shared");
    there.create(&PostParams::default(), &widget("w", json!({ "size": 1 }))).await.unwrap();
    served(&world).await;

    let here = widgets(&world.tenant, "shop");
    let shown = widget_has(&here, "w", |_| true).await;
    assert_eq!(annotation(&shown, "vkube.dev/host-object"), "shared/w");
    let patch = Patch::Merge(json!({ "spec": { "size": 9 } }));
    here.patch("w", &PatchParams::default(), &patch).await.unwrap();
    widget_has(&here, "w", |object| object.data["spec"]["size"] == 1).await;

    there.delete("w", &DeleteParams::default()).await.unwrap();
    widget_gone(&here, "w").await;
    world.stop().await;
}

#[tokio::test]
async fn only_chosen_objects_go_to_the_host_and_leave_it_when_they_are_no_longer() {
    let to_host = RuleSpec { selector: selector("sync", "yes"), ..rule(Direction::ToHost, WIDGETS) };
    let world = World::with(|config| config.rules = rules(&[to_host])).await;
    define_widgets(&world).await;
    served(&world).await;
    let here = widgets(&world.tenant, "shop");
    let there = widgets(&world.host, HOST_NAMESPACE);
    here.create(&PostParams::default(), &widget("other", json!({}))).await.unwrap();
    let mut chosen = widget("w", json!({}));
    chosen.labels_mut().insert("sync".into(), "yes".into());
    here.create(&PostParams::default(), &chosen).await.unwrap();
    widget_has(&there, &world.name("w"), |_| true).await;
    assert!(there.get_opt(&world.name("other")).await.unwrap().is_none());

    let patch = Patch::Merge(json!({ "metadata": { "labels": { "sync": "no" } } }));
    here.patch("w", &PatchParams::default(), &patch).await.unwrap();
    widget_gone(&there, &world.name("w")).await;
    world.stop().await;
}

#[tokio::test]
async fn x_edits_while_no_syncer_ran_are_caught_up_with_on_both_sides() {
    let world = World::with(|config| config.rules = rules(&[rule(Direction::ToHost, WIDGETS)])).await;
    define_widgets(&world).await;
    served(&world).await;
    let here = widgets(&world.tenant, "shop");
    let there = widgets(&world.host, HOST_NAMESPACE);
    for name in ["edited", "deleted", "drifted"] {
        here.create(&PostParams::default(), &widget(name, json!({ "size": 1 }))).await.unwrap();
        widget_has(&there, &world.name(name), |_| true).await;
    }
    let world = world.pause().await;
    let patch = |size: i32| Patch::Merge(json!({ "spec": { "size": size } }));
    here.patch("edited", &PatchParams::default(), &patch(2)).await.unwrap();
    here.delete("deleted", &DeleteParams::default()).await.unwrap();
    there.patch(&world.name("drifted"), &PatchParams::default(), &patch(3)).await.unwrap();
    let world = world.resume().await;
    widget_has(&there, &world.name("edited"), |object| object.data["spec"]["size"] == 2).await;
    widget_has(&there, &world.name("drifted"), |object| object.data["spec"]["size"] == 1).await;
    widget_gone(&there, &world.name("deleted")).await;
    world.stop().await;
}

#[tokio::test]
async fn a_full_resync_writes_nothing_when_nothing_changed() {
    let world = World::with(|config| config.rules = rules(&[rule(Direction::ToHost, WIDGETS)])).await;
    define_widgets(&world).await;
    served(&world).await;
    let here = widgets(&world.tenant, "shop");
    let there = widgets(&world.host, HOST_NAMESPACE);
    here.create(&PostParams::default(), &widget("w", json!({ "size": 1 }))).await.unwrap();
    let before = widget_has(&there, &world.name("w"), |_| true).await;
    let world = world.pause().await;
    let writes = world.writes.load(std::sync::atomic::Ordering::SeqCst);
    let world = world.resume().await;
    // Written after the resync has looked at the other one, so it is the proof that it has.
    here.create(&PostParams::default(), &widget("x", json!({ "size": 1 }))).await.unwrap();
    widget_has(&there, &world.name("x"), |_| true).await;
    let after = there.get(&world.name("w")).await.unwrap();
    assert_eq!(before.resource_version(), after.resource_version());
    assert_eq!(world.writes.load(std::sync::atomic::Ordering::SeqCst), writes + 1);
    world.stop().await;
}

#[tokio::test]
async fn a_foreign_object_of_the_name_is_not_taken_over() {
    let world = World::with(|config| config.rules = rules(&[rule(Direction::ToHost, WIDGETS)])).await;
    define_widgets(&world).await;
    served(&world).await;
    let there = widgets(&world.host, HOST_NAMESPACE);
    let foreign = widget(&world.name("w"), json!({ "owner": "host" }));
    there.create(&PostParams::default(), &foreign).await.unwrap();
    let here = widgets(&world.tenant, "shop");
    here.create(&PostParams::default(), &widget("w", json!({ "size": 1 }))).await.unwrap();
    let message = complaint(&world, "w").await;
    assert_eq!(message, r#""w" exists already and belongs to somebody else"#);
    let after = there.get(&world.name("w")).await.unwrap();
    assert_eq!(after.data["spec"], json!({ "owner": "host" }));
    world.stop().await;
}

#[tokio::test]
async fn a_failing_patch_is_told_to_the_tenant_and_nothing_is_written() {
    let patches = vec![set("spec.size", "source.spec.missing")];
    let to_host = RuleSpec { patches, ..rule(Direction::ToHost, WIDGETS) };
    let world = World::with(|config| config.rules = rules(&[to_host])).await;
    define_widgets(&world).await;
    served(&world).await;
    let here = widgets(&world.tenant, "shop");
    here.create(&PostParams::default(), &widget("w", json!({ "size": 1 }))).await.unwrap();
    assert!(complaint(&world, "w").await.contains("no such key"));
    let there = widgets(&world.host, HOST_NAMESPACE);
    assert!(there.get_opt(&world.name("w")).await.unwrap().is_none());
    world.stop().await;
}

#[tokio::test]
async fn patches_and_selectors_hold_for_kinds_with_code_of_their_own() {
    let ingresses = RuleSpec {
        patches: vec![set("spec.ingressClassName", "'shared'")],
        selector: selector("public", "yes"),
        ..rule(Direction::ToHost, "ingresses.networking.k8s.io")
    };
    let pods = RuleSpec {
        patches: vec![
            set("metadata.labels.tier", "'tenant'"),
            set("spec.containers[*].image", "'mirror/' + value"),
        ],
        ..rule(Direction::ToHost, "pods")
    };
    let world = World::with(|config| config.rules = rules(&[ingresses, pods])).await;
    let ingress = |name: &str, public: &str| {
        json!({
            "metadata": { "name": name, "labels": { "public": public } },
            "spec": { "defaultBackend": { "service": { "name": "web", "port": { "number": 80 } } } },
        })
    };
    world.tenant_create::<Ingress>(ingress("hidden", "no")).await;
    world.tenant_create::<Ingress>(ingress("web", "yes")).await;
    let host = world.host_has::<Ingress>("web", |_| true).await;
    assert_eq!(host.spec.unwrap().ingress_class_name.as_deref(), Some("shared"));
    assert!(world.host_api::<Ingress>().get_opt(&world.name("hidden")).await.unwrap().is_none());

    world.tenant_create::<Pod>(pod("p", json!({}))).await;
    let image = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap_or_default();
    let host = world.host_has::<Pod>("p", |_| true).await;
    assert_eq!(image(&host), "mirror/app:1");
    assert_eq!(host.labels()["tier"], "tenant");
    let patch = Patch::Strategic(json!({ "spec": { "containers": [{ "name": "app", "image": "app:2" }] } }));
    world.tenant_api::<Pod>().patch("p", &PatchParams::default(), &patch).await.unwrap();
    world.host_has::<Pod>("p", |pod| image(pod) == "mirror/app:2").await;
    world.stop().await;
}

pub async fn config_map(client: &Client, namespace: &str, name: &str, value: &str) {
    let document = json!({ "metadata": { "name": name }, "data": { "k": value } });
    create_in::<ConfigMap>(client, namespace, document).await;
}

#[tokio::test]
async fn all_config_maps_go_to_the_host_if_all_are_wanted() {
    let all = RuleSpec { all: true, ..rule(Direction::ToHost, "configmaps") };
    let world = World::with(|config| config.rules = rules(&[all])).await;
    config_map(&world.tenant, "shop", "unused", "1").await;
    world.host_has::<ConfigMap>("unused", holds("1")).await;
    world.tenant_api::<ConfigMap>().delete("unused", &DeleteParams::default()).await.unwrap();
    world.host_lacks::<ConfigMap>("unused").await;
    world.stop().await;
}

#[tokio::test]
async fn p6_service_accounts_go_to_the_host_and_pods_run_as_them_without_their_rights() {
    let world =
        World::with(|config| config.rules = rules(&[rule(Direction::ToHost, "serviceaccounts")])).await;
    world.host_has::<ServiceAccount>("robot", |_| true).await;
    let pod: Pod = world.tenant_create(pod("p", json!({}))).await;
    assert_eq!(pod.spec.unwrap().service_account_name.as_deref(), Some("robot"));
    let spec = world.host_has::<Pod>("p", |_| true).await.spec.unwrap();
    assert_eq!(spec.service_account_name.as_deref(), Some(world.name("robot").as_str()));
    assert_eq!(spec.automount_service_account_token, Some(false));
    world.stop().await;
}

#[tokio::test]
async fn cluster_scoped_objects_go_to_the_host_under_names_of_their_own() {
    let classes = "priorityclasses.scheduling.k8s.io";
    let world = World::with(|config| config.rules = rules(&[rule(Direction::ToHost, classes)])).await;
    let class = json!({ "metadata": { "name": "high" }, "value": 7, "globalDefault": true });
    create_all::<PriorityClass>(&world.tenant, class).await;
    let name = world.names.global(HOST_NAMESPACE, "high");
    let there: Api<PriorityClass> = Api::all(world.host.clone());
    let host = eventually(there.clone(), &name, |class| class.value == Some(7)).await;
    assert_ne!(host.global_default, Some(true), "a tenant's default is not the host's");
    world.tenant_create::<Pod>(pod("p", json!({}))).await;
    let spec = world.host_has::<Pod>("p", |_| true).await.spec.unwrap();
    assert_eq!(spec.priority_class_name.as_deref(), Some(name.as_str()));
    let here: Api<PriorityClass> = Api::all(world.tenant.clone());
    here.delete("high", &DeleteParams::default()).await.unwrap();
    gone(there, &name).await;
    world.stop().await;
}

#[tokio::test]
async fn r6_what_a_rule_that_is_taken_back_left_behind_is_removed_at_the_next_start() {
    let mappings = vec![("data/*".into(), "shop/*".into())];
    let from = RuleSpec { mappings, ..rule(Direction::FromHost, "configmaps") };
    let ingresses = "ingresses.networking.k8s.io";
    let all = [from, rule(Direction::ToHost, WIDGETS), rule(Direction::ToHost, ingresses)];
    let world = World::with(|config| config.rules = rules(&all)).await;
    define_widgets(&world).await;
    create_all::<Namespace>(&world.host, json!({ "metadata": { "name": "data" } })).await;
    config_map(&world.host, "data", "settings", "1").await;
    world.tenant_has::<ConfigMap>("settings", |_| true).await;
    served(&world).await;
    let here = widgets(&world.tenant, "shop");
    let there = widgets(&world.host, HOST_NAMESPACE);
    here.create(&PostParams::default(), &widget("w", json!({}))).await.unwrap();
    widget_has(&there, &world.name("w"), |_| true).await;
    there.create(&PostParams::default(), &widget("foreign", json!({}))).await.unwrap();
    let ingress = json!({
        "metadata": { "name": "web" },
        "spec": { "defaultBackend": { "service": { "name": "web", "port": { "number": 80 } } } },
    });
    world.tenant_create::<Ingress>(ingress).await;
    world.host_has::<Ingress>("web", |_| true).await;

    let world = world.pause().await.reconfigure(|config| config.rules = rules(&[])).resume().await;
    widget_gone(&there, &world.name("w")).await;
    world.tenant_lacks::<ConfigMap>("settings").await;
    world.host_lacks::<Ingress>("web").await;
    assert!(there.get_opt("foreign").await.unwrap().is_some());
    assert!(here.get_opt("w").await.unwrap().is_some(), "the tenant's own object stays");
    world.stop().await;
}

#[tokio::test]
async fn n1_network_policies_reach_the_host_and_mark_the_pods_that_they_isolate() {
    use k8s_openapi::api::networking::v1::NetworkPolicy;

    let policies = rule(Direction::ToHost, "networkpolicies.networking.k8s.io");
    let world = World::with(|config| config.rules = rules(&[policies])).await;
    let pod = |name: &str, app: &str| {
        json!({
            "metadata": { "name": name, "labels": { "app": app } },
            "spec": { "serviceAccountName": "robot", "containers": [{ "name": "app", "image": "app:1" }] },
        })
    };
    let is_marked = |pod: &Pod| pod.labels().contains_key("vkube.dev/tenant-ingress");
    world.tenant_create::<Pod>(pod("db", "db")).await;
    world.host_has::<Pod>("db", |pod| !is_marked(pod)).await;
    let policy = json!({
        "metadata": { "name": "db" },
        "spec": { "podSelector": { "matchLabels": { "app": "db" } }, "policyTypes": ["Ingress", "Egress"] },
    });
    world.tenant_create::<NetworkPolicy>(policy).await;
    let host = world.host_has::<NetworkPolicy>("db", |_| true).await;
    assert_eq!(host.spec.unwrap().policy_types.unwrap(), ["Ingress", "Egress"]);
    world.host_has::<Pod>("db", is_marked).await;
    world.tenant_create::<Pod>(pod("web", "web")).await;
    world.host_has::<Pod>("web", |pod| !is_marked(pod)).await;
    world.tenant_api::<NetworkPolicy>().delete("db", &DeleteParams::default()).await.unwrap();
    world.host_lacks::<NetworkPolicy>("db").await;
    world.host_has::<Pod>("db", |pod| !is_marked(pod)).await;
    world.stop().await;
}
pub fn holds(value: &'static str) -> impl Fn(&ConfigMap) -> bool {
    move |map| map.data.as_ref().is_some_and(|data| data.get("k").map(String::as_str) == Some(value))
}
