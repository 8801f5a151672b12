//! What a node's conditions mean for pods, as taints; and its labels under their old names.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::clock::time;

/// Of nodes that say that they are not ready.
pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Of nodes that say nothing.
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// The taint that a condition of this type and status stands for.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];

/// Labels whose old names old programs still look for.
const OLD_NAMES: [(&str, &str); 2] =
    [("kubernetes.io/os", "beta.kubernetes.io/os"), ("kubernetes.io/arch", "beta.kubernetes.io/arch")];

/// The node with the `NoSchedule` taints that its conditions stand for, no others of those, and its labels under
/// their old names too.
pub(super) fn mark(node: &Node, now: Timestamp) -> Node {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut wanted: Vec<&str> = conditions
        .filter_map(|condition| {
            let is = |(type_, status, _): &&(&str, &str, &str)| {
                *type_ == condition.type_ && *status == condition.status
            };
            BY_CONDITION.iter().find(is).map(|(_, _, key)| *key)
        })
        .collect();
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        wanted.push(UNSCHEDULABLE);
    }
    let known = |key: &str| key == UNSCHEDULABLE || BY_CONDITION.iter().any(|(_, _, one)| *one == key);

    let mut marked = node.clone();
    swap(&mut marked, "NoSchedule", known, &wanted, now);
    if let Some(labels) = &mut marked.metadata.labels {
        for (name, old) in OLD_NAMES {
            if let Some(value) = labels.get(name).cloned() {
                labels.insert(old.to_owned(), value);
            }
        }
    }
    marked
}

/// Whether pods leave the node because of what this controller found.
pub(super) fn is_evicting(node: &Node) -> bool {
    let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.any(|taint| taint.effect == "NoExecute" && is_ours(&taint.key))
}

/// The node with the `NoExecute` taint `wanted` and not the other, unless that is so already.
pub(super) fn evict(node: &Node, wanted: Option<&str>, now: Timestamp) -> Option<Node> {
    let mut tainted = node.clone();
    swap(&mut tainted, "NoExecute", is_ours, wanted.as_slice(), now);
    (tainted != *node).then_some(tainted)
}

fn is_ours(key: &str) -> bool {
    key == NOT_READY || key == UNREACHABLE
}

/// Of the taints with this effect that are `known`, leaves and adds those that are `wanted`.
fn swap(node: &mut Node, effect: &str, known: impl Fn(&str) -> bool, wanted: &[&str], now: Timestamp) {
    let Some(spec) = &mut node.spec else {
        if !wanted.is_empty() {
            node.spec = Some(k8s_openapi::api::core::v1::NodeSpec::default());
            swap(node, effect, known, wanted, now);
        }
        return;
    };
    let mut taints = spec.taints.take().unwrap_or_default();
    taints
        .retain(|taint| taint.effect != effect || !known(&taint.key) || wanted.contains(&taint.key.as_str()));
    for key in wanted {
        if !taints.iter().any(|taint| taint.effect == effect && taint.key == *key) {
            taints.push(Taint {
                key: (*key).to_owned(),
                effect: effect.to_owned(),
                time_added: Some(time(now)),
                value: None,
            });
        }
    }
    spec.taints = Some(taints).filter(|taints| !taints.is_empty());
}
