//! Host namespaces that virtual ones have for themselves. The test asks for them as a control plane does.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, LimitRange, Namespace, Pod, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use vkube_crds::{Answer, Quantity, VirtualCluster, answers_name, claims_name};

use crate::world::{World, host_namespace};

const MARK: &str = "vkube.dev/virtual-cluster";

fn spec() -> Value {
    json!({
        "sync": {"toHost": {"namespaces": {
            "mappings": {"team-*": "${name}-team-*", "prod": "acme-prod"},
            "extraLabels": {"cost-center": "42"},
        }}},
        "isolation": {"resourceQuota": {"enabled": true}, "limitRange": {"enabled": true}},
    })
}

/// Asks as the control plane of `demo` does, with its rights and no others.
async fn ask(plane: &Client, namespace: &str, wanted: &[&str]) {
    let data: serde_json::Map<String, Value> =
        wanted.iter().map(|name| ((*name).to_owned(), json!(format!("uid-of-{name}")))).collect();
    let claims = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": claims_name("demo"), "labels": {"vkube.dev/managed": "true"}},
        "data": data,
    });
    let api: Api<ConfigMap> = Api::namespaced(plane.clone(), namespace);
    let params = PatchParams::apply("vkube-syncer").force();
    api.patch(&claims_name("demo"), &params, &Patch::Apply(claims)).await.unwrap();
}

async fn answered(
    world: &World,
    home: &str,
    namespace: &str,
    wanted: impl Fn(&Answer) -> bool + Send + Sync,
) {
    let says = |map: Option<&ConfigMap>| {
        let text = map.and_then(|map| map.data.as_ref()?.get(namespace));
        text.and_then(|text| serde_json::from_str(text).ok()).is_some_and(|answer| wanted(&answer))
    };
    world.until(world.within::<ConfigMap>(home), &answers_name("demo"), "answered", says).await;
}

fn pod(name: &str, more: Value) -> Pod {
    let mut spec = json!({"containers": [{"name": "main", "image": "example.com/main:1"}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let metadata = json!({"name": name, "labels": {MARK: "demo"}});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapped_namespace_is_made_bounded_and_opened_to_its_control_plane_alone() {
    let world = World::start().await;
    world.create("demo", spec()).await;
    let home = host_namespace(&world.ready("demo").await);
    let plane = world.account(&home, "vc-demo");
    let place = "demo-team-a";
    let pods: Api<Pod> = Api::namespaced(plane.clone(), place);
    assert!(pods.list(&ListParams::default()).await.is_err(), "nothing is granted before it is asked for");
    ask(&plane, &home, &["team-a"]).await;
    answered(&world, &home, "team-a", |answer| *answer == Answer::Granted).await;

    let namespace = world.all::<Namespace>().get(place).await.unwrap();
    let own = world.all::<Namespace>().get(&home).await.unwrap();
    let label = |namespace: &Namespace, key: &str| namespace.labels().get(key).cloned();
    for key in ["pod-security.kubernetes.io/enforce", "vkube.dev/cluster-uid", "vkube.dev/managed"] {
        assert!(label(&own, key).is_some(), "{key}");
        assert_eq!(label(&namespace, key), label(&own, key), "{key}");
    }
    assert_eq!(label(&namespace, "cost-center").as_deref(), Some("42"));
    assert_eq!(label(&namespace, "vkube.dev/host-namespace").as_deref(), Some(home.as_str()));
    assert_eq!(namespace.annotations()["vkube.dev/object-name"], "team-a");
    assert_eq!(namespace.annotations()["vkube.dev/object-uid"], "uid-of-team-a");

    let count =
        |here: usize, there: usize, what: &str| assert!(here > 0 && here == there, "{what}: {here} {there}");
    let all = ListParams::default();
    count(
        world.within::<ResourceQuota>(place).list(&all).await.unwrap().items.len(),
        world.within::<ResourceQuota>(&home).list(&all).await.unwrap().items.len(),
        "quotas",
    );
    count(
        world.within::<LimitRange>(place).list(&all).await.unwrap().items.len(),
        world.within::<LimitRange>(&home).list(&all).await.unwrap().items.len(),
        "limits",
    );
    let policies = world.within::<NetworkPolicy>(place).list(&all).await.unwrap().items;
    count(
        policies.len(),
        world.within::<NetworkPolicy>(&home).list(&all).await.unwrap().items.len(),
        "network policies",
    );
    let text = serde_json::to_string(&policies).unwrap();
    let uid = label(&own, "vkube.dev/cluster-uid").unwrap();
    assert!(
        text.contains(&format!(r#""namespaceSelector":{{"matchLabels":{{"vkube.dev/cluster-uid":"{uid}""#))
    );

    // The rights, and where they end.
    world.create_account(place, "default").await;
    pods.create(&PostParams::default(), &pod("web", json!({}))).await.unwrap();
    let bare: Pod = serde_json::from_value(json!({
        "metadata": {"name": "bare"}, "spec": {"containers": [{"name": "main", "image": "x"}]},
    }))
    .unwrap();
    let refused = pods.create(&PostParams::default(), &bare).await.unwrap_err().to_string();
    assert!(refused.contains("carries its vkube.dev/virtual-cluster label"), "{refused}");
    let refused = pods.create(&PostParams::default(), &pod("node", json!({"hostNetwork": true}))).await;
    assert!(refused.is_err());
    let elsewhere: Api<Pod> = Api::namespaced(plane.clone(), "default");
    assert!(elsewhere.list(&all).await.is_err());
    let other = world.account("vc-other", "vc-demo");
    assert!(Api::<Pod>::namespaced(other, place).list(&all).await.is_err());
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new(), "what is there is not written again");

    // What may be used and is, in both namespaces together and in each.
    let pods = |amounts: &BTreeMap<String, Quantity>| amounts.get("pods").map(|pods| pods.0.clone());
    let told = |cluster: Option<&VirtualCluster>| {
        let quota = cluster.and_then(|cluster| cluster.status.as_ref()?.quota.as_ref());
        quota.is_some_and(|quota| {
            let each: Vec<_> =
                quota.namespaces.iter().map(|one| (one.name.as_str(), pods(&one.used))).collect();
            (pods(&quota.hard), pods(&quota.used)) == (Some("200".into()), Some("1".into()))
                && each == [(place, Some("1".into())), (home.as_str(), Some("0".into()))]
        })
    };
    world.until(world.clusters(), "demo", "told of both quotas", told).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_of_somebody_else_is_refused_and_left_alone() {
    let world = World::start().await;
    world.create_namespace("acme-prod", json!({"team": "other"})).await;
    world.create("demo", spec()).await;
    let home = host_namespace(&world.ready("demo").await);
    let plane = world.account(&home, "vc-demo");
    ask(&plane, &home, &["prod", "unmapped"]).await;
    answered(
        &world,
        &home,
        "prod",
        |answer| matches!(answer, Answer::Refused(why) if why.contains("belongs to somebody else")),
    )
    .await;
    answered(&world, &home, "unmapped", |answer| matches!(answer, Answer::Refused(_))).await;
    let theirs = world.all::<Namespace>().get("acme-prod").await.unwrap();
    assert!(!theirs.labels().contains_key("vkube.dev/cluster-uid"));
    // It becomes free, and is had.
    world.all::<Namespace>().delete("acme-prod", &DeleteParams::default()).await.unwrap();
    world.gone(world.all::<Namespace>(), "acme-prod").await;
    let touch = json!({"metadata": {"annotations": {"touched": "1"}}});
    world.merge(&world.clusters(), "demo", touch).await;
    answered(&world, &home, "prod", |answer| *answer == Answer::Granted).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mapped_namespaces_go_with_the_virtual_one_sleep_and_end_with_the_cluster() {
    let world = World::start().await;
    world.create("demo", spec()).await;
    let home = host_namespace(&world.ready("demo").await);
    let plane = world.account(&home, "vc-demo");
    ask(&plane, &home, &["team-a", "team-b"]).await;
    for namespace in ["team-a", "team-b"] {
        answered(&world, &home, namespace, |answer| *answer == Answer::Granted).await;
    }
    ask(&plane, &home, &["team-b"]).await;
    world.gone(world.all::<Namespace>(), "demo-team-a").await;

    world.create_account("demo-team-b", "default").await;
    let pods: Api<Pod> = Api::namespaced(plane, "demo-team-b");
    pods.create(&PostParams::default(), &pod("web", json!({}))).await.unwrap();
    world.merge(&world.clusters(), "demo", json!({"spec": {"replicas": 0}})).await;
    world.gone(world.within::<Pod>("demo-team-b"), "web").await;
    assert!(world.all::<Namespace>().get_opt("demo-team-b").await.unwrap().is_some());

    world.clusters().delete("demo", &DeleteParams::default()).await.unwrap();
    world.gone(world.clusters(), "demo").await;
    assert!(world.all::<Namespace>().get_opt("demo-team-b").await.unwrap().is_none());
    assert!(world.all::<Namespace>().get_opt(&home).await.unwrap().is_none());
    world.stop().await;
}
