//! Which of the nodes that can take a pod is the best, by the default scheduler's plugins and their weights.
//!
//! Each plugin rates a node from 0 to 100. The images that a node has are not rated: no node here has any.

use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kube::ResourceExt;

use super::{
    filter::{domain, matches_term, selects_placed, tolerated},
    spread::spreads,
    state::Cluster,
};
use crate::quantity::{self, Amounts};

const MOST: i64 = 100;
/// What the scheduler assumes of a pod without requests, so that such pods spread too: 100 millicores and 200 MiB.
const ASSUMED: [(&str, i128); 2] = [("cpu", 100), ("memory", 200 * 1024 * 1024 * 1000)];

/// The best of `nodes`, which all can take the pod; the first by name among equals.
pub(super) fn best<'a>(pod: &Pod, nodes: &[&'a Node], cluster: &Cluster) -> Option<&'a Node> {
    if let [only] = nodes {
        return Some(only);
    }
    let mut totals = vec![0; nodes.len()];
    let mut rate = |weight: i64, scores: Vec<i64>| {
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += weight * score;
        }
    };
    rate(1, nodes.iter().map(|node| least_allocated(pod, node, cluster)).collect());
    rate(1, nodes.iter().map(|node| balanced(pod, node, cluster)).collect());
    rate(3, fewest(&nodes.iter().map(|node| Some(avoided(pod, node))).collect::<Vec<_>>()));
    rate(2, greatest(&nodes.iter().map(|node| preferred(pod, node)).collect::<Vec<_>>()));
    rate(2, greatest(&nodes.iter().map(|node| attraction(pod, node, cluster)).collect::<Vec<_>>()));
    for spread in spreads(pod, cluster, "ScheduleAnyway") {
        let crowds = nodes.iter().map(|node| spread.crowd(node).and_then(|n| i64::try_from(n).ok()));
        rate(2, fewest(&crowds.collect::<Vec<_>>()));
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

fn least_allocated(pod: &Pod, node: &Node, cluster: &Cluster) -> i64 {
    let free: i64 = ASSUMED.iter().map(|resource| MOST - used(pod, node, cluster, *resource)).sum();
    free / 2
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
                if near && selects_placed(term, from, to) {
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
