//! What of a virtual node is the host's, and what the tenant's: labels, taints and a cordon that a tenant adds stay, and go
//! nowhere; the host's come and go with it. What the host had last is kept on the node, as the base to compare with.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, NodeSpec, Taint};
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

/// Virtual annotation: what the host had when the node was written last.
const BASE: &str = "vkube.dev/host-node";

/// Taints by the state of a node, which only the host knows: admission gives one to every node that is made.
const CONDITIONS: &str = "node.kubernetes.io/";

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Base {
    labels: BTreeSet<String>,
    taints: Vec<Taint>,
    unschedulable: bool,
}

impl Base {
    fn of(node: &Node) -> Self {
        Self {
            labels: node.labels().keys().cloned().collect(),
            taints: taints(node).to_vec(),
            unschedulable: is_cordoned(node),
        }
    }
}

fn taints(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

/// A node with the host's part as `wanted` has it, and the rest as it is. Its status is left alone.
pub(super) fn merged(live: &Node, wanted: &Node) -> Node {
    let text = live.annotations().get(BASE);
    // A node without a base has nothing of the tenant's that could be told from the host's.
    let base = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| Base::of(live));
    let mut node = live.clone();
    if live.metadata.name.is_none() {
        node = wanted.clone();
    }

    let labels = node.labels_mut();
    labels.retain(|key, _| !base.labels.contains(key) || wanted.labels().contains_key(key));
    labels.extend(wanted.labels().clone());

    let same = |a: &Taint, b: &Taint| (&a.key, &a.effect) == (&b.key, &b.effect);
    let mut all = taints(wanted).to_vec();
    let is_own = |taint: &&Taint| {
        let is_hosts = base.taints.iter().chain(taints(wanted)).any(|hosts| same(hosts, taint));
        !is_hosts && !taint.key.starts_with(CONDITIONS)
    };
    all.extend(taints(live).iter().filter(is_own).cloned());
    let is_closed = is_cordoned(wanted) || (is_cordoned(live) && !base.unschedulable);
    node.spec = Some(NodeSpec {
        taints: Some(all).filter(|all| !all.is_empty()),
        unschedulable: is_closed.then_some(true),
        ..node.spec.unwrap_or_default()
    });

    let text = serde_json::to_string(&Base::of(wanted)).unwrap_or_default();
    node.annotations_mut().insert(BASE.into(), text);
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(yaml: &str) -> Node {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn keys(node: &Node) -> Vec<&str> {
        taints(node).iter().map(|taint| taint.key.as_str()).collect()
    }

    #[test]
    fn what_a_tenant_adds_to_a_node_stays_and_the_hosts_comes_and_goes() {
        let hosts = node(
            "{metadata: {name: n, labels: {zone: a, old: x}}, spec: {taints: [{key: gpu, effect: NoSchedule}]}}",
        );
        let mut seen = merged(&Node::default(), &hosts);
        assert_eq!(keys(&seen), ["gpu"]);
        seen.labels_mut().insert("tenant".into(), "yes".into());
        let spec = seen.spec.as_mut().unwrap();
        spec.unschedulable = Some(true);
        spec.taints.as_mut().unwrap().push(Taint {
            key: "mine".into(),
            effect: "NoSchedule".into(),
            ..Taint::default()
        });

        let mut seen = merged(&seen, &hosts);
        assert_eq!(keys(&seen), ["gpu", "mine"]);
        assert!(is_cordoned(&seen));
        seen.spec.as_mut().unwrap().taints.as_mut().unwrap().push(Taint {
            key: "node.kubernetes.io/not-ready".into(),
            effect: "NoSchedule".into(),
            ..Taint::default()
        });
        let later = node(
            "{metadata: {name: n, labels: {zone: b}}, spec: {taints: [{key: slow, effect: NoExecute}]}}",
        );
        let seen = merged(&seen, &later);
        assert_eq!(keys(&seen), ["slow", "mine"]);
        let labels: Vec<(&str, &str)> =
            seen.labels().iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(labels, [("tenant", "yes"), ("zone", "b")]);
    }

    #[test]
    fn a_cordon_of_the_host_ends_with_it() {
        let cordoned = node("{metadata: {name: n}, spec: {unschedulable: true}}");
        let seen = merged(&Node::default(), &cordoned);
        assert!(is_cordoned(&seen));
        assert!(!is_cordoned(&merged(&seen, &node("{metadata: {name: n}}"))));
    }
}
