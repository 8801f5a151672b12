//! Which pods of lower priority make room for a pod that fits nowhere, as in "Pod Priority and Preemption" of the
//! Kubernetes documentation: as few and as unimportant as possible, and budgets are broken only if nothing else helps.

use std::cmp::Reverse;

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Node, Pod},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    ResourceExt,
    core::{Selector, SelectorExt},
};

use super::{
    filter::{self, Unfit},
    state::{Cluster, Placed},
};
use vkube_watch::feed;

/// A node, and who must leave it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub node: String,
    /// Most important first.
    pub victims: Vec<Placed>,
    /// How many victims leave against their budgets.
    violations: usize,
}

/// A pod's priority.
pub(crate) fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0)
}

/// Why the pod may not preempt others, if it may not; with the reason that its nominated node, if any, gives.
pub(crate) fn ineligible(
    pod: &Pod,
    nominated: Option<(&str, &Unfit)>,
    cluster: &Cluster,
) -> Option<&'static str> {
    if pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never") {
        return Some("not eligible due to preemptionPolicy=Never.");
    }
    let (node, unfit) = nominated?;
    let leaves = |placed: &Placed| {
        let conditions = placed.pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let mut conditions = conditions.filter(|one| one.type_ == "DisruptionTarget" && one.status == "True");
        placed.pod.metadata.deletion_timestamp.is_some()
            && priority(&placed.pod) < priority(pod)
            && conditions.any(|one| one.reason.as_deref() == Some("PreemptionByScheduler"))
    };
    (unfit.preemption_helps && cluster.pods_on(node).any(leaves))
        .then_some("not eligible due to a terminating pod on the nominated node.")
}

/// The pods of `node` to evict, or why that would not help.
pub(crate) fn victims(pod: &Pod, node: &Node, cluster: &Cluster) -> Result<Candidate, Unfit> {
    let name = node.name_any();
    let mut possible: Vec<Placed> =
        cluster.pods_on(&name).filter(|placed| priority(&placed.pod) < priority(pod)).cloned().collect();
    if possible.is_empty() {
        return Err(Unfit::unresolvable("No preemption victims found for incoming pod"));
    }
    let mut without = cluster.clone();
    for placed in &possible {
        without.release(&feed::key(&*placed.pod));
    }
    filter::fits(pod, node, &without)?;

    possible.sort_by_key(|placed| importance(&placed.pod));
    let (mut against, mut allowed) = (Vec::new(), Vec::new());
    let mut left: Vec<_> = cluster.budgets().map(|budget| (budget, disruptions(budget))).collect();
    for placed in possible {
        if is_protected(&placed.pod, &mut left) { against.push(placed) } else { allowed.push(placed) }
    }
    // Whoever can stay, stays: those whose budget forbids to leave before others.
    let mut victims = Vec::new();
    let mut violations = 0;
    for (placed, violates) in
        against.into_iter().map(|one| (one, true)).chain(allowed.into_iter().map(|one| (one, false)))
    {
        without.place(&placed.pod, &name);
        if filter::fits(pod, node, &without).is_err() {
            without.release(&feed::key(&*placed.pod));
            violations += usize::from(violates);
            victims.push(placed);
        }
    }
    victims.sort_by_key(|placed| importance(&placed.pod));
    Ok(Candidate { node: name, victims, violations })
}

/// Orders pods by how much they matter: higher priority first, then those that run for longer.
fn importance(pod: &Pod) -> (Reverse<i32>, Timestamp) {
    (Reverse(priority(pod)), start(pod))
}

fn start(pod: &Pod) -> Timestamp {
    let time = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    // What has not started yet has run for the shortest time.
    time.map_or(Timestamp::MAX, |time| time.0)
}

fn disruptions(budget: &PodDisruptionBudget) -> i32 {
    budget.status.as_ref().and_then(|status| status.disruptions_allowed).unwrap_or(0)
}

/// Whether evicting the pod, after those asked about before, breaks a budget.
fn is_protected(pod: &Pod, left: &mut [(&PodDisruptionBudget, i32)]) -> bool {
    let mut broken = false;
    for (budget, left) in left {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.clone());
        let selector: Option<Selector> = selector
            .filter(|selector| selector.match_labels.is_some() || selector.match_expressions.is_some())
            .and_then(|selector| selector.try_into().ok());
        let covers = budget.namespace() == pod.namespace()
            && !pod.labels().is_empty()
            && selector.is_some_and(|selector| selector.matches(pod.labels()));
        let leaves_already = budget
            .status
            .as_ref()
            .and_then(|status| status.disrupted_pods.as_ref())
            .is_some_and(|pods| pods.contains_key(&pod.name_any()));
        if covers && !leaves_already {
            *left -= 1;
            broken |= *left < 0;
        }
    }
    broken
}

/// The candidate that hurts least.
pub(crate) fn least_harm(candidates: Vec<Candidate>) -> Option<Candidate> {
    let harm = |candidate: &Candidate| {
        let priorities = || candidate.victims.iter().map(|placed| priority(&placed.pod));
        let highest = priorities().max();
        // Offset so that more victims are never better, also where priorities are negative.
        let sum: i64 = priorities().map(|one| i64::from(one) + i64::from(i32::MAX) + 1).sum();
        let of_highest = candidate.victims.iter().filter(|placed| Some(priority(&placed.pod)) == highest);
        let earliest = of_highest.map(|placed| start(&placed.pod)).min();
        (candidate.violations, highest, sum, candidate.victims.len(), Reverse(earliest))
    };
    candidates.into_iter().min_by_key(harm)
}
