//! What tenants' network policies mean on the host, by a reading of the host's policies as a network plugin reads them.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::pod_behaviours::pod;
use super::world::{HOST_NAMESPACE, World, eventually};

fn matches(selector: &LabelSelector, metadata: &ObjectMeta) -> bool {
    let empty = std::collections::BTreeMap::new();
    let labels = metadata.labels.as_ref().unwrap_or(&empty);
    let exact = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    exact
        && selector.match_expressions.iter().flatten().all(|rule| {
            let is_listed = |value: &String| rule.values.iter().flatten().any(|listed| listed == value);
            match rule.operator.as_str() {
                "In" => labels.get(&rule.key).is_some_and(is_listed),
                "NotIn" => !labels.get(&rule.key).is_some_and(is_listed),
                "Exists" => labels.contains_key(&rule.key),
                "DoesNotExist" => !labels.contains_key(&rule.key),
                other => panic!("{other}"),
            }
        })
}

/// Whether the host's policies let one pod of its namespace reach another.
fn reaches(policies: &[NetworkPolicy], from: &Pod, to: &Pod) -> bool {
    let specs = policies.iter().filter_map(|policy| policy.spec.as_ref());
    let isolating: Vec<_> = specs
        .filter(|spec| spec.policy_types.iter().flatten().any(|kind| kind == "Ingress"))
        .filter(|spec| matches(&spec.pod_selector.clone().unwrap_or_default(), &to.metadata))
        .collect();
    let allows = |spec: &&k8s_openapi::api::networking::v1::NetworkPolicySpec| {
        spec.ingress.iter().flatten().any(|rule| match rule.from.as_deref() {
            None | Some([]) => true,
            Some(peers) => peers.iter().any(|peer| {
                assert!(peer.namespace_selector.is_none(), "all pods are in one namespace");
                peer.pod_selector.as_ref().is_some_and(|pods| matches(pods, &from.metadata))
            }),
        })
    };
    isolating.is_empty() || isolating.iter().any(allows)
}

async fn policy(world: &World, name: &str, spec: Value) -> Vec<NetworkPolicy> {
    world.tenant_create::<NetworkPolicy>(json!({ "metadata": { "name": name }, "spec": spec })).await;
    world.host_has::<NetworkPolicy>(name, |_| true).await;
    world.host_api::<NetworkPolicy>().list(&ListParams::default()).await.unwrap().items
}

/// The host pods of `front` and `back` in `shop`, of `front` in `other`, and one of another cluster's `shop`.
async fn pods(world: &World) -> [Pod; 4] {
    let labelled = |name: &str| {
        let mut document = pod(name, json!({}));
        document["metadata"]["labels"] = json!({ "app": name });
        document
    };
    for name in ["front", "back"] {
        world.tenant_create::<Pod>(labelled(name)).await;
    }
    let namespace = json!({ "metadata": { "name": "other", "labels": { "team": "b" } } });
    let namespaces: Api<Namespace> = Api::all(world.tenant.clone());
    namespaces.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
    let mut elsewhere = labelled("front");
    elsewhere["spec"]["serviceAccountName"] = Value::Null;
    let api: Api<Pod> = Api::namespaced(world.tenant.clone(), "other");
    api.create(&PostParams::default(), &serde_json::from_value(elsewhere).unwrap()).await.unwrap();
    let own = world.host_has::<Pod>("front", |_| true).await;
    let back = world.host_has::<Pod>("back", |_| true).await;
    let name = world.names.host("other", "front");
    let other = eventually(Api::<Pod>::namespaced(world.host.clone(), HOST_NAMESPACE), &name, |_| true).await;
    let mut strange = own.clone();
    strange.labels_mut().insert("vkube.dev/virtual-cluster".into(), "another".into());
    [own, back, other, strange]
}

#[tokio::test]
async fn x_network_policies_of_tenants_are_enforced_among_their_pods_and_against_all_others() {
    let world = World::with(|config| config.kinds.network_policies = true).await;
    let [front, back, other, strange] = pods(&world).await;
    let who =
        |policies: &[NetworkPolicy]| [&front, &other, &strange].map(|from| reaches(policies, from, &back));
    assert_eq!(who(&[]), [true, true, true]);

    let select = json!({ "matchLabels": { "app": "back" } });
    let denied = policy(&world, "deny", json!({ "podSelector": select, "policyTypes": ["Ingress"] })).await;
    assert_eq!(who(&denied), [false, false, false]);
    assert!(reaches(&denied, &back, &front), "what no policy selects is open");
    assert!(reaches(&denied, &strange, &other), "and so are other namespaces");

    let same = json!([{ "podSelector": { "matchLabels": { "app": "front" } } }]);
    let spec = json!({ "podSelector": select, "ingress": [{ "from": same }] });
    assert_eq!(who(&policy(&world, "same-namespace", spec).await), [true, false, false]);

    let team = json!([{ "namespaceSelector": { "matchLabels": { "team": "b" } } }]);
    let spec = json!({ "podSelector": select, "ingress": [{ "from": team }] });
    assert_eq!(who(&policy(&world, "other-namespace", spec).await), [true, true, false]);
    world.stop().await;
}
