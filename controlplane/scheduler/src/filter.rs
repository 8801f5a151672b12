//! Whether a node can take a pod: pure decisions, in the order and wording of the default scheduler.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodAffinityTerm, PodSpec, Taint,
    Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{
    ResourceExt,
    core::{Selector, SelectorExt},
};
use vkube_usage::taints;

use super::{
    profile::Plugin,
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

/// Whether `node` can take `pod`, as the pod's profile asks.
pub(crate) fn fits(pod: &Pod, node: &Node, cluster: &Cluster) -> Result<(), Unfit> {
    let (Some(spec), Some(profile)) = (&pod.spec, cluster.profile(pod)) else { return Ok(()) };
    let on = |plugin| profile.filters(plugin);
    if on(Plugin::NodeUnschedulable) {
        tolerates_unschedulable(spec, node)?;
    }
    if on(Plugin::TaintToleration) {
        tolerates_taints(spec, node)?;
    }
    if on(Plugin::NodeAffinity) {
        matches_selectors(spec, node)?;
    }
    if on(Plugin::NodePorts) {
        has_ports(spec, node, cluster)?;
    }
    if on(Plugin::NodeResourcesFit) {
        has_resources(pod, node, cluster)?;
    }
    if on(Plugin::VolumeRestrictions) {
        cluster.volumes.unshared(pod, cluster)?;
    }
    if on(Plugin::NodeVolumeLimits) {
        cluster.volumes.within_limits(pod, node, cluster)?;
    }
    if on(Plugin::VolumeBinding) {
        cluster.volumes.bind(pod, node)?;
    }
    if on(Plugin::VolumeZone) {
        cluster.volumes.zone(pod, node)?;
    }
    if on(Plugin::PodTopologySpread) {
        for spread in spreads(pod, cluster, "DoNotSchedule") {
            spread.allows(node)?;
        }
    }
    if on(Plugin::InterPodAffinity) {
        matches_pod_affinity(pod, spec, node, cluster)?;
    }
    if on(Plugin::DynamicResources) {
        cluster.devices.fit(pod, node)?;
    }
    Ok(())
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

pub(crate) fn tolerates_taints(spec: &PodSpec, node: &Node) -> Result<(), Unfit> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let mut hard = taints.filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    match hard.find(|taint| !tolerated(spec, taint)) {
        None => Ok(()),
        Some(_) => Err(Unfit::unresolvable("node(s) had untolerated taint(s)")),
    }
}

pub(crate) fn tolerated(spec: &PodSpec, taint: &Taint) -> bool {
    spec.tolerations.iter().flatten().any(|toleration| tolerates(toleration, taint))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let toleration = taints::Toleration {
        key: toleration.key.as_deref(),
        operator: toleration.operator.as_deref(),
        value: toleration.value.as_deref(),
        effect: toleration.effect.as_deref(),
    };
    toleration.tolerates(taints::Taint {
        key: &taint.key,
        value: taint.value.as_deref(),
        effect: &taint.effect,
    })
}

pub(crate) fn matches_selectors(spec: &PodSpec, node: &Node) -> Result<(), Unfit> {
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

pub(crate) fn matches_term(term: &NodeSelectorTerm, node: &Node) -> bool {
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
        let own = selects_pod(term, pod, pod, cluster);
        let anywhere = cluster.pods().any(|placed| selects_pod(term, pod, &placed.pod, cluster));
        // The first pod of a group that attracts itself may go anywhere.
        if !(in_domain(term, pod, node, cluster) || (own && !anywhere && domain(term, node).is_some())) {
            return Err(Unfit::unresolvable("node(s) didn't match pod affinity rules"));
        }
    }
    if repulsions(pod).any(|term| in_domain(term, pod, node, cluster)) {
        return Err(Unfit::resolvable("node(s) didn't match pod anti-affinity rules"));
    }
    if cluster.repelling().any(|placed| repels(placed, pod, node, cluster)) {
        return Err(Unfit::resolvable("node(s) didn't satisfy existing pods anti-affinity rules"));
    }
    Ok(())
}

/// The terms of a pod that must not be met.
pub(crate) fn repulsions(pod: &Pod) -> impl Iterator<Item = &PodAffinityTerm> {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()?.pod_anti_affinity.as_ref());
    let terms = affinity.and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref());
    terms.into_iter().flatten()
}

/// Whether a pod that is there already does not want `pod` on `node`.
fn repels(placed: &Placed, pod: &Pod, node: &Node, cluster: &Cluster) -> bool {
    let there = cluster.node(&placed.node);
    repulsions(&placed.pod).any(|term| {
        let here = domain(term, node);
        here.is_some()
            && here == there.and_then(|there| domain(term, there))
            && selects_pod(term, &placed.pod, pod, cluster)
    })
}

/// The node's value of the term's topology key.
pub(crate) fn domain<'a>(term: &PodAffinityTerm, node: &'a Node) -> Option<&'a String> {
    node.labels().get(&term.topology_key)
}

/// Whether a pod that the term selects runs in the node's domain.
fn in_domain(term: &PodAffinityTerm, pod: &Pod, node: &Node, cluster: &Cluster) -> bool {
    let Some(here) = domain(term, node) else { return false };
    cluster.pods().any(|placed| {
        let there = cluster.node(&placed.node).and_then(|node| domain(term, node));
        there == Some(here) && selects_pod(term, pod, &placed.pod, cluster)
    })
}

/// Whether the term of `pod` selects `other`: by its namespace, or the labels of that, and by its own labels.
pub(crate) fn selects_pod(term: &PodAffinityTerm, pod: &Pod, other: &Pod, cluster: &Cluster) -> bool {
    let namespace = other.metadata.namespace.as_deref().unwrap_or_default();
    let named = term.namespaces.as_deref().unwrap_or_default();
    let is_in = match &term.namespace_selector {
        None if named.is_empty() => pod.metadata.namespace.as_deref() == Some(namespace),
        None => false,
        Some(selector) => {
            let labels = cluster.namespace_labels(namespace);
            labels.map_or_else(|| is_empty(selector), |labels| selects(selector, labels))
        }
    };
    (is_in || named.iter().any(|name| name == namespace))
        && term.label_selector.as_ref().is_some_and(|selector| selects(selector, other.labels()))
}

fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

pub(crate) fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    matches!(Selector::try_from(selector.clone()), Ok(selector) if selector.matches(labels))
}
