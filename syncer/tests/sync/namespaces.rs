//! Virtual namespaces that have namespaces of their own on the host. The test plays the operator.

use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use vkube_crds::{Answer, NamespaceMap, answers_name, claims_name};
use vkube_syncer::{Config, Direction, MappedNamespaces};

use super::world::{World, annotation, eventually, rule, rules, until};

/// The namespace on the host that `shop` has for itself.
const PLACE: &str = "acme-shop";

fn mapped(only: bool) -> impl FnOnce(&mut Config) {
    move |config| {
        let map = NamespaceMap::parse("demo", &[("sho*".to_owned(), "acme-sho*".to_owned())].into()).unwrap();
        config.namespaces = Some(MappedNamespaces { map, only });
        config.kinds.network_policies = true;
        config.rules = rules(&[rule(Direction::ToHost, "serviceaccounts")]);
    }
}

async fn asked(world: &World, test: impl Fn(&ConfigMap) -> bool) {
    eventually(world.host_api::<ConfigMap>(), &claims_name("demo"), test).await;
}

fn names(claims: &ConfigMap) -> Vec<&str> {
    claims.data.iter().flatten().map(|(name, _)| name.as_str()).collect()
}

async fn answer(world: &World, namespace: &str, answer: &Answer) {
    let text = serde_json::to_string(answer).unwrap();
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": answers_name("demo") },
        "data": { namespace: text },
    });
    let params = PatchParams::apply("operator").force();
    world.host_api::<ConfigMap>().patch(&answers_name("demo"), &params, &Patch::Apply(map)).await.unwrap();
}

async fn make(client: &kube::Client, name: &str) {
    let namespace = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
}

async fn grant(world: &World) {
    asked(world, |claims| names(claims) == ["shop"]).await;
    make(&world.host, PLACE).await;
    answer(world, "shop", &Answer::Granted).await;
}

fn place<K: super::world::Namespaced>(world: &World) -> Api<K> {
    Api::namespaced(world.host.clone(), PLACE)
}

fn web() -> Value {
    json!({
        "metadata": { "name": "web", "labels": { "app": "web" } },
        "spec": {
            "serviceAccountName": "robot",
            "containers": [{
                "name": "main", "image": "nginx",
                "envFrom": [{ "configMapRef": { "name": "settings" } }],
            }],
            "volumes": [{ "name": "token", "projected": { "sources": [
                { "serviceAccountToken": { "path": "token" } },
            ] } }],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_objects_of_a_mapped_namespace_keep_their_names_in_one_of_their_own() {
    let world = World::with(mapped(false)).await;
    world
        .tenant_create::<ConfigMap>(json!({ "metadata": { "name": "settings" }, "data": { "a": "1" } }))
        .await;
    world.tenant_create::<Pod>(web()).await;
    grant(&world).await;
    let pod = eventually(place::<Pod>(&world), "web", |_| true).await;
    assert_eq!(annotation(&pod, "vkube.dev/object-namespace"), "shop");
    let spec = pod.spec.unwrap();
    assert_eq!(spec.service_account_name.as_deref(), Some("robot"));
    let from = spec.containers[0].env_from.as_ref().unwrap()[0].config_map_ref.as_ref().unwrap();
    assert_eq!(from.name, "settings");
    eventually(place::<ConfigMap>(&world), "settings", |_| true).await;
    eventually(place::<ServiceAccount>(&world), "robot", |_| true).await;
    let tokens = place::<Secret>(&world).list(&ListParams::default()).await.unwrap().items;
    assert_eq!(tokens.len(), 1, "{tokens:?}");

    // The host made the Service before the tenant had the answer.
    let service = world
        .tenant_create::<Service>(json!({
            "metadata": { "name": "web" },
            "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
        }))
        .await;
    let host = place::<Service>(&world).get("web").await.unwrap();
    assert_eq!(host.spec.unwrap().cluster_ip, service.spec.unwrap().cluster_ip);

    // A helper of the host's own, and names that could be taken for others.
    world
        .tenant_create::<Pod>(json!({
            "metadata": { "name": "vc-a" }, "spec": { "containers": [{ "name": "main", "image": "nginx" }] },
        }))
        .await;
    let hashed = world.host_name_in_mapped("vc-a");
    eventually(place::<Pod>(&world), &hashed, |pod| annotation(pod, "vkube.dev/object-name") == "vc-a").await;

    let peer = json!({ "podSelector": {}, "ingress": [{ "from": [{ "namespaceSelector": {} }] }] });
    world.tenant_create::<NetworkPolicy>(json!({ "metadata": { "name": "open" }, "spec": peer })).await;
    let policy = eventually(place::<NetworkPolicy>(&world), "open", |_| true).await;
    let rules = policy.spec.unwrap().ingress.unwrap();
    let namespaces = rules[0].from.as_ref().unwrap()[0].namespace_selector.clone().unwrap();
    assert_eq!(namespaces.match_labels.unwrap()["vkube.dev/host-namespace"], super::world::HOST_NAMESPACE);

    // What becomes of the host pod is told, and its end.
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "web" },
        "target": { "kind": "Node", "name": "node-1" },
    });
    let _: Value = place::<Pod>(&world)
        .create_subresource("binding", "web", &PostParams::default(), &binding)
        .await
        .unwrap();
    let status = Patch::Merge(json!({ "status": { "phase": "Running", "podIP": "10.0.0.9" } }));
    place::<Pod>(&world).patch_status("web", &PatchParams::default(), &status).await.unwrap();
    world
        .tenant_has::<Pod>("web", |pod| {
            pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()) == Some("10.0.0.9")
        })
        .await;
    world.tenant_api::<Pod>().delete("web", &DeleteParams::default().grace_period(0)).await.unwrap();
    // No kubelet is there that could end it.
    until(|| async {
        let pod = place::<Pod>(&world).get_opt("web").await.unwrap();
        pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some())
    })
    .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_the_host_refuses_is_told_by_an_event_on_it() {
    let world = World::with(mapped(false)).await;
    asked(&world, |claims| names(claims) == ["shop"]).await;
    answer(&world, "shop", &Answer::Refused("namespace acme-shop is somebody else's".into())).await;
    let events: Api<Event> = Api::namespaced(world.tenant.clone(), "default");
    until(|| async {
        let found = events.list(&ListParams::default()).await.unwrap().items;
        found.iter().any(|event| {
            let about = &event.involved_object;
            about.kind.as_deref() == Some("Namespace")
                && about.name.as_deref() == Some("shop")
                && event.message.as_deref().is_some_and(|message| message.contains("somebody else's"))
        })
    })
    .await;
    let service = json!({ "metadata": { "name": "web" }, "spec": { "ports": [{ "port": 80 }] } });
    let service: Service = serde_json::from_value(service).unwrap();
    let refused = world.tenant_api::<Service>().create(&PostParams::default(), &service).await;
    assert!(refused.unwrap_err().to_string().contains("somebody else's"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mappings_only_other_namespaces_stay_off_the_host() {
    let world = World::with(mapped(true)).await;
    grant(&world).await;
    let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": "unmapped" } })).unwrap();
    let namespaces: Api<Namespace> = Api::all(world.tenant.clone());
    // The policy is there soon, and in force some time after.
    until(|| async {
        match namespaces.create(&PostParams::default(), &namespace).await {
            Err(error) => {
                error.to_string().contains("only namespaces that are mapped to the host can be made")
            }
            Ok(_) => {
                let _ = namespaces.delete("unmapped", &DeleteParams::default()).await;
                false
            }
        }
    })
    .await;
    make(&world.tenant, "shoes").await;
    make(&world.tenant, "kube-other").await;
    let other: Api<Pod> = Api::namespaced(world.tenant.clone(), "kube-other");
    let pod = json!({
        "metadata": { "name": "web" }, "spec": { "containers": [{ "name": "main", "image": "nginx" }] },
    });
    other.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let events: Api<Event> = Api::namespaced(world.tenant.clone(), "kube-other");
    until(|| async {
        let found = events.list(&ListParams::default()).await.unwrap().items;
        found.iter().any(|event| {
            event.message.as_deref().is_some_and(|message| message.contains("no mapping leads namespace"))
        })
    })
    .await;
    let service = json!({ "metadata": { "name": "web" }, "spec": { "ports": [{ "port": 80 }] } });
    let services: Api<Service> = Api::namespaced(world.tenant.clone(), "kube-other");
    let refused = services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await;
    assert!(refused.unwrap_err().to_string().contains("no mapping leads namespace"));
    assert_eq!(world.host_api::<Pod>().list(&ListParams::default()).await.unwrap().items.len(), 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_asked_for_while_it_is_there_and_a_restart_changes_nothing() {
    let world = World::with(mapped(false)).await;
    grant(&world).await;
    world.tenant_create::<Service>(json!({
        "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
    }))
    .await;
    // First for the address, and then with it.
    let is_settled = |service: &Service| {
        service
            .managed_fields()
            .iter()
            .any(|entry| json!(entry.fields_v1).to_string().contains("f:clusterIP"))
    };
    let before = eventually(place::<Service>(&world), "web", is_settled).await;
    let world = world.pause().await.resume().await;
    // Written after the restart, so that everything before it has been looked at.
    world.tenant_create::<Service>(json!({
        "metadata": { "name": "late" }, "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
    }))
    .await;
    eventually(place::<Service>(&world), "late", |_| true).await;
    let after = place::<Service>(&world).get("web").await.unwrap();
    assert_eq!(before.resource_version(), after.resource_version());

    make(&world.tenant, "shoes").await;
    asked(&world, |claims| names(claims) == ["shoes", "shop"]).await;
    let namespaces: Api<Namespace> = Api::all(world.tenant.clone());
    namespaces.delete("shoes", &DeleteParams::default()).await.unwrap();
    finalize(&world, "shoes").await;
    asked(&world, |claims| names(claims) == ["shop"]).await;
    world.stop().await;
}

/// Plays the namespace controller, which removes what is in a namespace and then lets it go.
async fn finalize(world: &World, name: &str) {
    let namespaces: Api<Namespace> = Api::all(world.tenant.clone());
    let Some(mut namespace) = namespaces.get_opt(name).await.unwrap() else { return };
    namespace.spec = Some(k8s_openapi::api::core::v1::NamespaceSpec::default());
    let params = PostParams::default();
    let _: Namespace = namespaces.replace_subresource("finalize", name, &params, &namespace).await.unwrap();
}
