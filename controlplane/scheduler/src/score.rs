//! Which of the nodes that can take a pod is the best, by the default scheduler's plugins and their weights.
//!
//! Each plugin rates a node from 0 to 100.

use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kube::ResourceExt;

use super::{
    filter::{domain, matches_term, selects_pod, tolerated},
    profile::Plugin,
    spread::spreads,
    state::Cluster,
};
use crate::quantity::{self, Amounts};

const MOST: i64 = 100;
/// Images that are smaller in all do not matter.
const SMALL_IMAGE: i64 = 23 * 1024 * 1024;
/// Of an image that is larger than this, the rest does not matter.
const LARGE_IMAGE: i64 = 1000 * 1024 * 1024;
/// What the scheduler assumes of a pod without requests, so that such pods spread too: 100 millicores and 200 MiB.
const ASSUMED: [(&str, i128); 2] = [("cpu", 100), ("memory", 200 * 1024 * 1024 * 1000)];

/// The best of `nodes`, which all can take the pod, by the pod's profile; the first by name among equals.
pub(crate) fn best<'a>(pod: &Pod, nodes: &[&'a Node], cluster: &Cluster) -> Option<&'a Node> {
    if let [only] = nodes {
        return Some(only);
    }
    let profile = cluster.profile(pod)?;
    let mut totals = vec![0; nodes.len()];
    let mut rate = |plugin: Plugin, scores: &dyn Fn() -> Vec<i64>| {
        let weight = profile.weight(plugin);
        if weight != 0 {
            for (total, score) in totals.iter_mut().zip(scores()) {
                *total += weight * score;
            }
        }
    };
    let of_each = |score: &dyn Fn(&Node) -> i64| nodes.iter().map(|node| score(node)).collect::<Vec<_>>();
    rate(Plugin::NodeResourcesFit, &|| of_each(&|node| allocated(pod, node, cluster, profile.packs)));
    rate(Plugin::NodeResourcesBalancedAllocation, &|| of_each(&|node| balanced(pod, node, cluster)));
    rate(Plugin::TaintToleration, &|| {
        fewest(&nodes.iter().map(|node| Some(avoided(pod, node))).collect::<Vec<_>>())
    });
    rate(Plugin::NodeAffinity, &|| greatest(&of_each(&|node| preferred(pod, node))));
    rate(Plugin::InterPodAffinity, &|| greatest(&of_each(&|node| attraction(pod, node, cluster))));
    rate(Plugin::ImageLocality, &|| of_each(&|node| locality(pod, node, cluster)));
    for spread in spreads(pod, cluster, "ScheduleAnyway") {
        let crowd = |node: &&Node| spread.crowd(node).and_then(|n| i64::try_from(n).ok());
        rate(Plugin::PodTopologySpread, &|| fewest(&nodes.iter().map(crowd).collect::<Vec<_>>()));
    }
    let ranked = nodes.iter().zip(totals);
    // Of equal totals, `max_by_key` takes the last.
    ranked.rev().max_by_key(|(_, total)| *total).map(|(node, _)| *node)
}

/// 100 for the least, 0 for the most and for what has no number.
fn fewest(counts: &[Option<i64>]) -> Vec<i64> {
    let most = counts.iter().flatten().max().copied().unwrap_or(0);
    let rate = |count: &Option<i64>| match count {
        None => 0,
        Some(_) if most == 0 => MOST,
        Some(count) => MOST * (most - count) / most,
    };
    counts.iter().map(rate).collect()
}

/// 100 for the greatest, 0 for the least; nothing for any if all are equal.
fn greatest(sums: &[i64]) -> Vec<i64> {
    let (least, most) =
        (sums.iter().min().copied().unwrap_or(0).min(0), sums.iter().max().copied().unwrap_or(0));
    let range = (most - least).max(1);
    sums.iter().map(|sum| MOST * (sum - least) / range).collect()
}

/// The share of `resource` that would be used with the pod, in percent.
fn used(pod: &Pod, node: &Node, cluster: &Cluster, (resource, assumed): (&str, i128)) -> i64 {
    let allocatable = quantity::amounts(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
    let most = allocatable.get(resource).copied().unwrap_or(0);
    if most <= 0 {
        return MOST;
    }
    let wants = |requests: &Amounts| requests.get(resource).copied().filter(|n| *n > 0).unwrap_or(assumed);
    let taken: i128 = cluster.pods_on(&node.name_any()).map(|placed| wants(&placed.requests)).sum();
    let percent = (taken + wants(&quantity::pod_requests(pod))) * i128::from(MOST) / most;
    i64::try_from(percent).unwrap_or(MOST).min(MOST)
}

/// 100 for a node that would be empty with the pod; if nodes are packed, for one that would be full.
fn allocated(pod: &Pod, node: &Node, cluster: &Cluster, packs: bool) -> i64 {
    let used: i64 = ASSUMED.iter().map(|resource| used(pod, node, cluster, *resource)).sum();
    if packs { used / 2 } else { MOST - (used + 1) / 2 }
}

/// How much of the pod's images the node has, by size; an image that many nodes have counts for more, so that not all
/// pods go to the one that has it.
fn locality(pod: &Pod, node: &Node, cluster: &Cluster) -> i64 {
    let containers: Vec<_> = pod
        .spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
        .collect();
    let nodes = i64::try_from(cluster.nodes().len()).unwrap_or(1).max(1);
    let share = |image: &str| {
        let size = size_on(node, image)?;
        let holders = cluster.nodes().filter(|node| size_on(node, image).is_some()).count();
        Some(size * i64::try_from(holders).unwrap_or(0) / nodes)
    };
    let images = containers.iter().filter_map(|container| container.image.as_deref());
    let sum: i64 = images.filter_map(|image| share(&tagged(image))).sum();
    let count = i64::try_from(containers.len()).unwrap_or(1).max(1);
    let (least, most) = (SMALL_IMAGE, LARGE_IMAGE * count);
    MOST * (sum.clamp(least, most) - least) / (most - least).max(1)
}

/// The size of an image that the node has.
fn size_on(node: &Node, image: &str) -> Option<i64> {
    let mut images = node.status.iter().flat_map(|status| status.images.iter().flatten());
    let found = images.find(|one| one.names.iter().flatten().any(|name| name == image))?;
    found.size_bytes
}

/// An image's name with its tag, which is `latest` if none is given.
fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}

/// 100 if the pod would leave CPU and memory equally used.
fn balanced(pod: &Pod, node: &Node, cluster: &Cluster) -> i64 {
    let [cpu, memory] = ASSUMED.map(|resource| used(pod, node, cluster, resource));
    MOST - (cpu - memory).abs() / 2
}

/// How many of the node's taints ask the pod not to come, without forbidding it.
fn avoided(pod: &Pod, node: &Node) -> i64 {
    let asks = |taint: &&Taint| {
        taint.effect == "PreferNoSchedule" && !pod.spec.as_ref().is_some_and(|spec| tolerated(spec, taint))
    };
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    i64::try_from(taints.filter(asks).count()).unwrap_or(i64::MAX)
}

/// The weights of the pod's preferences that the node meets.
fn preferred(pod: &Pod, node: &Node) -> i64 {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()?.node_affinity.as_ref());
    let terms = affinity.and_then(|one| one.preferred_during_scheduling_ignored_during_execution.as_ref());
    let met = terms.into_iter().flatten().filter(|term| matches_term(&term.preference, node));
    met.map(|term| i64::from(term.weight)).sum()
}

/// The weights of what pods nearby attract, less those of what they repel; both ways.
fn attraction(pod: &Pod, node: &Node, cluster: &Cluster) -> i64 {
    let mut sum = 0;
    for placed in cluster.pods() {
        let Some(there) = cluster.node(&placed.node) else { continue };
        let ways = [(pod, &*placed.pod), (&*placed.pod, pod)];
        for (from, to) in ways {
            for (sign, weight, term) in preferences(from) {
                let near = domain(term, node).is_some() && domain(term, node) == domain(term, there);
                if near && selects_pod(term, from, to, cluster) {
                    sum += sign * i64::from(weight);
                }
            }
        }
    }
    sum
}

fn preferences(pod: &Pod) -> impl Iterator<Item = (i64, i32, &k8s_openapi::api::core::v1::PodAffinityTerm)> {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let attract = affinity.and_then(|one| one.pod_affinity.as_ref());
    let repel = affinity.and_then(|one| one.pod_anti_affinity.as_ref());
    let attract = attract.and_then(|one| one.preferred_during_scheduling_ignored_during_execution.as_ref());
    let repel = repel.and_then(|one| one.preferred_during_scheduling_ignored_during_execution.as_ref());
    let signed = [(1, attract), (-1, repel)].into_iter();
    signed.flat_map(|(sign, terms)| {
        terms.into_iter().flatten().map(move |term| (sign, term.weight, &term.pod_affinity_term))
    })
}
