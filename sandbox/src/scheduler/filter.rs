//! Whether a node can take a pod: pure decisions, in the order and wording of the default scheduler.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodAffinityTerm, PodSpec, Taint,
    Toleration,
};
use kube::{
    ResourceExt,
    core::{Selector, SelectorExt},
};

use super::{
    spread::spreads,
    state::{Cluster, Placed},
};
use crate::quantity::{self, Amounts};

/// Why a node cannot take a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unfit {
    /// The reasons; only resources give more than one.
    pub reasons: Vec<String>,
    /// Whether evicting other pods could change it.
    pub preemption_helps: bool,
}

impl Unfit {
    pub fn unresolvable(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], preemption_helps: false }
    }

    pub fn resolvable(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], preemption_helps: true }
    }
}

/// Whether `node` can take `pod`.
pub(crate) fn fits(pod: &Pod, node: &Node, cluster: &Cluster) -> Result<(), Unfit> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    tolerates_unschedulable(spec, node)?;
    tolerates_taints(spec, node)?;
    matches_selectors(spec, node)?;
    has_ports(spec, node, cluster)?;
    has_resources(pod, node, cluster)?;
    for spread in spreads(pod, cluster, "DoNotSchedule") {
        spread.allows(node)?;
    }
    matches_pod_affinity(pod, spec, node, cluster)
}

fn tolerates_unschedulable(spec: &PodSpec, node: &Node) -> Result<(), Unfit> {
    let unschedulable = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        effect: "NoSchedule".into(),
        ..Taint::default()
    };
    if unschedulable && !tolerated(spec, &taint) {
        return Err(Unfit::unresolvable("node(s) were unschedulable"));
    }
    Ok(())
}

pub(super) fn tolerates_taints(spec: &PodSpec, node: &Node) -> Result<(), Unfit> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let mut hard = taints.filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    match hard.find(|taint| !tolerated(spec, taint)) {
        None => Ok(()),
        Some(_) => Err(Unfit::unresolvable("node(s) had untolerated taint(s)")),
    }
}

pub(super) fn tolerated(spec: &PodSpec, taint: &Taint) -> bool {
    spec.tolerations.iter().flatten().any(|toleration| tolerates(toleration, taint))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !(effect.is_empty() || effect == taint.effect) || !(key.is_empty() || key == taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        _ => toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default(),
    }
}

pub(super) fn matches_selectors(spec: &PodSpec, node: &Node) -> Result<(), Unfit> {
    let labels = node.labels();
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    if selected && required.is_none_or(|selector| matches_node_selector(selector, node)) {
        return Ok(());
    }
    Err(Unfit::unresolvable("node(s) didn't match Pod's node affinity/selector"))
}

/// Whether any term of the selector matches; an empty term matches nothing.
pub(crate) fn matches_node_selector(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| matches_term(term, node))
}

pub(super) fn matches_term(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let field = BTreeMap::from([("metadata.name".to_owned(), node.name_any())]);
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|requirement| meets(requirement, node.labels()))
        && fields.iter().all(|requirement| meets(requirement, &field))
}

fn meets(requirement: &NodeSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let values = requirement.values.as_deref().unwrap_or_default();
    let compare = |holds: fn(i64, i64) -> bool| {
        let left = value.and_then(|value| value.parse().ok());
        let right = values.first().and_then(|value| value.parse().ok());
        left.zip(right).is_some_and(|(left, right)| holds(left, right))
    };
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(|left, right| left > right),
        "Lt" => compare(|left, right| left < right),
        _ => false,
    }
}

fn has_ports(spec: &PodSpec, node: &Node, cluster: &Cluster) -> Result<(), Unfit> {
    let wanted = host_ports(spec);
    let taken =
        |port: &(i32, String)| cluster.pods_on(&node.name_any()).any(|placed| placed.ports.contains(port));
    if wanted.iter().any(taken) {
        return Err(Unfit::resolvable("node(s) didn't have free ports for the requested pod ports"));
    }
    Ok(())
}

/// The host ports that a pod claims, with their protocols.
pub(crate) fn host_ports(spec: &PodSpec) -> Vec<(i32, String)> {
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number != 0)?;
            Some((number, port.protocol.clone().unwrap_or_else(|| "TCP".into())))
        })
        .collect()
}

fn has_resources(pod: &Pod, node: &Node, cluster: &Cluster) -> Result<(), Unfit> {
    let allocatable = quantity::amounts(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
    let mut used = Amounts::new();
    let mut count = 0_i128;
    for placed in cluster.pods_on(&node.name_any()) {
        quantity::add(&mut used, &placed.requests);
        count += 1;
    }

    let room =
        |name: &str| allocatable.get(name).copied().unwrap_or(0) - used.get(name).copied().unwrap_or(0);
    let mut reasons = Vec::new();
    if allocatable.get("pods").is_some_and(|most| (count + 1) * 1000 > *most) {
        reasons.push("Too many pods".to_owned());
    }
    for (name, amount) in quantity::pod_requests(pod) {
        if amount > 0 && amount > room(&name) {
            reasons.push(format!("Insufficient {name}"));
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(Unfit { reasons, preemption_helps: true }) }
}

fn matches_pod_affinity(pod: &Pod, spec: &PodSpec, node: &Node, cluster: &Cluster) -> Result<(), Unfit> {
    let affinity = spec.affinity.as_ref();
    let attract = affinity
        .and_then(|affinity| affinity.pod_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    for term in attract.into_iter().flatten() {
        let own = selects(term, pod, &pod.namespace().unwrap_or_default(), pod.labels());
        let anywhere = cluster.pods().any(|placed| selects_placed(term, pod, &placed.pod));
        // The first pod of a group that attracts itself may go anywhere.
        if !(in_domain(term, pod, node, cluster) || (own && !anywhere && domain(term, node).is_some())) {
            return Err(Unfit::unresolvable("node(s) didn't match pod affinity rules"));
        }
    }
    let repel = affinity
        .and_then(|affinity| affinity.pod_anti_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    if repel.into_iter().flatten().any(|term| in_domain(term, pod, node, cluster)) {
        return Err(Unfit::resolvable("node(s) didn't match pod anti-affinity rules"));
    }
    if cluster.pods().any(|placed| repels(placed, pod, node, cluster)) {
        return Err(Unfit::resolvable("node(s) didn't satisfy existing pods anti-affinity rules"));
    }
    Ok(())
}

/// Whether a pod that is there already does not want `pod` on `node`.
fn repels(placed: &Placed, pod: &Pod, node: &Node, cluster: &Cluster) -> bool {
    let affinity =
        placed.pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()?.pod_anti_affinity.as_ref());
    let terms = affinity.and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref());
    let there = cluster.node(&placed.node);
    terms.into_iter().flatten().any(|term| {
        let here = domain(term, node);
        here.is_some()
            && here == there.and_then(|there| domain(term, there))
            && selects_placed(term, &placed.pod, pod)
    })
}

/// The node's value of the term's topology key.
pub(super) fn domain<'a>(term: &PodAffinityTerm, node: &'a Node) -> Option<&'a String> {
    node.labels().get(&term.topology_key)
}

/// Whether a pod that the term selects runs in the node's domain.
fn in_domain(term: &PodAffinityTerm, pod: &Pod, node: &Node, cluster: &Cluster) -> bool {
    let Some(here) = domain(term, node) else { return false };
    cluster.pods().any(|placed| {
        let there = cluster.node(&placed.node).and_then(|node| domain(term, node));
        there == Some(here) && selects_placed(term, pod, &placed.pod)
    })
}

/// Whether the term of `pod` selects `other`.
pub(super) fn selects_placed(term: &PodAffinityTerm, pod: &Pod, other: &Pod) -> bool {
    selects(term, pod, other.metadata.namespace.as_deref().unwrap_or_default(), other.labels())
}

fn selects(term: &PodAffinityTerm, pod: &Pod, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
    let named = term.namespaces.as_deref().unwrap_or_default();
    let everywhere = term.namespace_selector.is_some();
    let own = named.is_empty() && !everywhere && pod.namespace().as_deref() == Some(namespace);
    if !(own || everywhere || named.iter().any(|name| name == namespace)) {
        return false;
    }
    let selector = term.label_selector.clone().map(Selector::try_from);
    matches!(selector, Some(Ok(selector)) if selector.matches(labels))
}
