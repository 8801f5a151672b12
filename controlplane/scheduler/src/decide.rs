//! Where a pod goes: to the best node that can take it, or to one that others leave for it, or nowhere for a reason.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use super::{
    filter::{self, Unfit},
    preempt::{self, Candidate, priority},
    profile::Plugin,
    score,
    state::Cluster,
};

/// Pods for which others leave a node, with its name: they take its room already.
pub(crate) type Nominated = BTreeMap<vkube_watch::feed::Key, (Arc<Pod>, String)>;

const USELESS: &str = "Preemption is not helpful for scheduling";

/// What to do with a pod.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Bind it to this node.
    Bind(String),
    /// Evict pods from a node for it; meanwhile it does not fit, as the message says.
    Preempt(Candidate, String),
    /// Nothing but telling why. Whether it may keep its nominated node.
    Wait { message: String, keeps_nomination: bool },
}

/// Decides about a pod; `nominated` are the other pods that wait for room.
pub(crate) fn decide(pod: &Pod, cluster: &Cluster, nominated: &Nominated) -> Decision {
    if let Some(why) = obstacle(pod, cluster) {
        return Decision::Wait { message: why, keeps_nomination: false };
    }
    let own_node = nominated.get(&vkube_watch::feed::key(pod)).map(|(_, node)| node.as_str());
    let reserved = reserve(pod, cluster, nominated);
    let fits = |node: &Node| {
        // Room is kept for nominated pods; but they are not there yet, so that nothing may depend on them either.
        if let Some(reserved) = &reserved {
            filter::fits(pod, node, reserved)?;
        }
        filter::fits(pod, node, cluster)
    };
    if let Some(node) = own_node.and_then(|name| cluster.node(name))
        && fits(node).is_ok()
    {
        return Decision::Bind(node.name_any());
    }
    let (mut able, mut unfit) = (Vec::new(), Vec::new());
    for node in cluster.nodes() {
        match fits(node) {
            Ok(()) => able.push(node),
            Err(reason) => unfit.push((node, reason)),
        }
    }
    match score::best(pod, &able, cluster) {
        Some(node) => Decision::Bind(node.name_any()),
        None => preempt(pod, reserved.as_ref().unwrap_or(cluster), own_node, &unfit),
    }
}

/// Why the pod can go nowhere, whatever the node.
fn obstacle(pod: &Pod, cluster: &Cluster) -> Option<String> {
    let nodes = cluster.nodes().len();
    let on = |plugin| cluster.profile(pod).is_some_and(|profile| profile.filters(plugin));
    let volumes = || cluster.volumes.obstacle(pod).filter(|_| on(Plugin::VolumeBinding));
    let devices = || cluster.devices.obstacle(pod).filter(|_| on(Plugin::DynamicResources));
    let why = volumes().or_else(devices).filter(|_| nodes > 0)?;
    let useless = format!("0/{nodes} nodes are available: {nodes} {USELESS}.");
    Some(format!("0/{nodes} nodes are available: {why}. preemption: {useless}"))
}

/// The cluster with the nominated pods on their nodes that are at least as important as this one; `None` if there are
/// none.
fn reserve(pod: &Pod, cluster: &Cluster, nominated: &Nominated) -> Option<Cluster> {
    let others: Vec<_> = nominated
        .values()
        .filter(|(other, _)| priority(other) >= priority(pod) && other.uid() != pod.uid())
        .collect();
    (!others.is_empty()).then(|| {
        let mut reserved = cluster.clone();
        for (other, node) in others {
            reserved.place(other, node);
        }
        reserved
    })
}

fn preempt(pod: &Pod, cluster: &Cluster, own_node: Option<&str>, unfit: &[(&Node, Unfit)]) -> Decision {
    if unfit.is_empty() {
        let message = "no nodes available to schedule pods".to_owned();
        return Decision::Wait { message, keeps_nomination: false };
    }
    let message = available(unfit.len(), unfit.iter().flat_map(|(_, unfit)| &unfit.reasons));
    if !cluster.profile(pod).is_some_and(|profile| profile.preempts) {
        return Decision::Wait { message, keeps_nomination: false };
    }
    let own = unfit.iter().find(|(node, _)| own_node == node.metadata.name.as_deref());
    let own = own.and_then(|(_, reason)| own_node.map(|name| (name, reason)));
    if let Some(why) = preempt::ineligible(pod, own, cluster) {
        let message = format!("{message} preemption: {why}");
        return Decision::Wait { message, keeps_nomination: own.is_some() };
    }
    let (mut candidates, mut useless) = (Vec::new(), Vec::new());
    for (node, reason) in unfit {
        if !reason.preemption_helps {
            useless.push(USELESS.to_owned());
            continue;
        }
        match preempt::victims(pod, node, cluster) {
            Ok(candidate) => candidates.push(candidate),
            Err(unfit) => useless.extend(unfit.reasons),
        }
    }
    match preempt::least_harm(candidates) {
        Some(candidate) => Decision::Preempt(candidate, message),
        None => Decision::Wait {
            message: format!("{message} preemption: {}", available(unfit.len(), &useless)),
            keeps_nomination: false,
        },
    }
}

/// How many nodes are no good for which reason.
fn available<'a>(nodes: usize, reasons: impl IntoIterator<Item = &'a String>) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut listed: Vec<_> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    listed.sort();
    format!("0/{nodes} nodes are available: {}.", listed.join(", "))
}

#[cfg(test)]
mod tests;
