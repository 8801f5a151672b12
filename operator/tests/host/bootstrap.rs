//! What is applied inside a cluster before it is ready.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::world::{TENANTS, World};

fn manifest(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\ndata: {{v: {value}}}\n"
    )
}

fn spec() -> Value {
    json!({"bootstrap": {
        "manifests": manifest("own", "a"),
        "manifestRefs": [
            {"kind": "ConfigMap", "name": "base", "key": "all.yaml"},
            {"kind": "Secret", "name": "more", "key": "all.yaml"},
        ],
    }})
}

async fn inside(world: &World, name: &str, value: &str) {
    let says = |map: Option<&ConfigMap>| {
        map.and_then(|map| map.data.as_ref()?.get("v")).map(String::as_str) == Some(value)
    };
    world.until(Api::<ConfigMap>::default_namespaced(world.inside()), name, value, says).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_begins_with_manifests_of_its_own_and_of_config_maps_and_secrets() {
    let world = World::with_inside().await;
    world.create("demo", spec()).await;
    let cluster = world.condition("demo", "Bootstrapped", "False", "BootstrapMissing").await;
    let conditions = cluster.status.unwrap().conditions;
    assert!(
        conditions.iter().any(|one| one.message.contains("ConfigMap base does not exist")),
        "{conditions:?}"
    );

    let base = json!({"metadata": {"name": "base"}, "data": {"other.yaml": ""}});
    let maps = world.within::<ConfigMap>(TENANTS);
    maps.create(&PostParams::default(), &serde_json::from_value(base).unwrap()).await.unwrap();
    let says = |cluster: Option<&vkube_crds::VirtualCluster>| {
        let conditions = cluster.and_then(|cluster| cluster.status.as_ref()).map(|status| &status.conditions);
        conditions.is_some_and(|all| all.iter().any(|one| one.message.contains("base has no key all.yaml")))
    };
    world.until(world.clusters(), "demo", "told of the key", says).await;
    world.merge(&maps, "base", json!({"data": {"all.yaml": manifest("base", "b")}})).await;
    let more = json!({"metadata": {"name": "more"}, "stringData": {"all.yaml": "kind: ["}});
    let secrets = world.within::<Secret>(TENANTS);
    secrets.create(&PostParams::default(), &serde_json::from_value(more).unwrap()).await.unwrap();
    let cluster = world.condition("demo", "Bootstrapped", "False", "BootstrapInvalid").await;
    let conditions = cluster.status.unwrap().conditions;
    assert!(conditions.iter().any(|one| one.message.contains("Secret more, key all.yaml")), "{conditions:?}");

    world.merge(&secrets, "more", json!({"stringData": {"all.yaml": manifest("more", "c")}})).await;
    world.ready("demo").await;
    for (name, value) in [("own", "a"), ("base", "b"), ("more", "c")] {
        inside(&world, name, value).await;
    }
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new(), "once for each text");

    world.merge(&maps, "base", json!({"data": {"all.yaml": manifest("base", "changed")}})).await;
    inside(&world, "base", "changed").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_inside_is_told_and_tried_again() {
    let world = World::with_inside().await;
    let spec =
        json!({"bootstrap": {"manifests": "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}\n"}});
    world.create("demo", spec).await;
    world.condition("demo", "Ready", "False", "BootstrapFailed").await;
    let good = json!({"spec": {"bootstrap": {"manifests": manifest("own", "a")}}});
    world.merge(&world.clusters(), "demo", good).await;
    world.ready("demo").await;
    world.stop().await;
}
