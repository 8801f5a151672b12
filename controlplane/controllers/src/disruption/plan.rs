//! A budget's status, from its pods and what controls them.
//!
//! Source: <https://kubernetes.io/docs/tasks/run-application/configure-pdb/>.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource;

use crate::clock::{remaining, sooner, time};
use crate::counts::resolve;
use crate::pods;
use crate::selectors::{matches, shown};

/// An evicted pod should be deleted within this many seconds; else it counts again.
const DELETION_SECONDS: i64 = 120;

/// What controls pods, and how many it asks for.
#[derive(Debug)]
pub(super) struct Scale {
    pub uid: String,
    pub replicas: i32,
}

impl Scale {
    /// The scale of `object`.
    pub fn of(object: &impl Resource, replicas: i32) -> Self {
        Self { uid: object.meta().uid.clone().unwrap_or_default(), replicas }
    }
}

/// How many pods there should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// All together.
    pub pods: i32,
    /// Of those, how many must be healthy.
    pub healthy: i32,
    /// Whether pods without a controller make the number doubtful.
    pub has_unmanaged: bool,
}

/// All that a budget's status depends on.
pub(super) struct Observed<'a> {
    pub budget: &'a PodDisruptionBudget,
    /// The pods that the budget covers.
    pub pods: &'a [Arc<Pod>],
    pub expected: Expected,
    pub now: Timestamp,
}

/// What to do.
pub(super) struct Planned {
    /// The budget with its new status.
    pub budget: PodDisruptionBudget,
    /// Pods that were evicted long ago and are still there.
    pub overdue: Vec<Arc<Pod>>,
    /// When the next pod will be overdue.
    pub recheck_after: Option<Duration>,
}

/// Whether the budget is about the pod; an empty selector covers all pods, no selector none.
pub(super) fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| matches(selector, pod.metadata.labels.as_ref()))
}

/// Whether the budget depends on the scale of what controls its pods.
pub(super) fn needs_scale(budget: &PodDisruptionBudget) -> bool {
    let Some(spec) = &budget.spec else { return false };
    spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
}

/// How many pods there should be, given `found` pods and the scales of their controllers.
pub(super) fn expected(
    budget: &PodDisruptionBudget,
    found: usize,
    scales: impl Iterator<Item = i32>,
    has_unmanaged: bool,
) -> Expected {
    let total: i32 = scales.sum();
    let spec = budget.spec.clone().unwrap_or_default();
    let (pods, healthy) = match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => (total, (total - resolve(most, total, true)).max(0)),
        (None, Some(IntOrString::Int(least))) => (i32::try_from(found).unwrap_or(i32::MAX), *least),
        (None, Some(share)) => (total, resolve(share, total, true)),
        (None, None) => (0, 0),
    };
    Expected { pods, healthy, has_unmanaged }
}

/// The status for what is observed.
pub(super) fn plan(observed: &Observed<'_>) -> Planned {
    let Observed { budget, pods, expected, now } = observed;
    let status = budget.status.clone().unwrap_or_default();
    let (mut disrupted, mut overdue, mut recheck_after) = (BTreeMap::new(), Vec::new(), None);
    let announced = status.disrupted_pods.clone().unwrap_or_default();
    for pod in pods.iter().filter(|pod| !pods::is_terminating(pod)) {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let Some(at) = announced.get(&name) else { continue };
        match remaining(at.0, DELETION_SECONDS, *now) {
            None => overdue.push(pod.clone()),
            Some(wait) => {
                recheck_after = sooner(recheck_after, Some(wait));
                disrupted.insert(name, at.clone());
            }
        }
    }
    let healthy = |pod: &&Arc<Pod>| {
        let leaves = disrupted.contains_key(pod.metadata.name.as_deref().unwrap_or_default());
        !pods::is_terminating(pod) && !leaves && pods::is_ready(pod)
    };
    let healthy = i32::try_from(pods.iter().filter(healthy).count()).unwrap_or(i32::MAX);
    // A budget without pods allows nothing, so that the first pods are safe before the next report.
    let allowed = if expected.pods <= 0 { 0 } else { (healthy - expected.healthy).max(0) };
    let condition = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(expected.healthy),
        expected_pods: Some(expected.pods),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        observed_generation: budget.metadata.generation,
        conditions: Some(with_condition(status.conditions, condition, "", budget.metadata.generation, *now)),
    };
    Planned {
        budget: PodDisruptionBudget { status: Some(status), ..(*budget).clone() },
        overdue,
        recheck_after,
    }
}

/// When it cannot be told how many pods there should be, none may go.
pub(super) fn fail_safe(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> Planned {
    let mut status = budget.status.clone().unwrap_or_default();
    status.disruptions_allowed = Some(0);
    // The other figures are required, whatever they are worth.
    status.current_healthy.get_or_insert(0);
    status.desired_healthy.get_or_insert(0);
    status.expected_pods.get_or_insert(0);
    let conditions = status.conditions.take();
    let generation = status.observed_generation;
    status.conditions = Some(with_condition(conditions, ("False", "SyncFailed"), why, generation, now));
    let budget = PodDisruptionBudget { status: Some(status), ..budget.clone() };
    Planned { budget, overdue: Vec::new(), recheck_after: None }
}

fn with_condition(
    conditions: Option<Vec<Condition>>,
    (status, reason): (&str, &str),
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut conditions = conditions.unwrap_or_default();
    let known = conditions.iter_mut().find(|one| one.type_ == "DisruptionAllowed");
    let since = known.as_ref().filter(|known| known.status == status);
    let since: Time = since.map_or_else(|| time(now), |known| known.last_transition_time.clone());
    let condition = Condition {
        type_: "DisruptionAllowed".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: since,
    };
    match known {
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
    conditions
}

/// What users are told of pods that nothing controls.
pub(super) fn unmanaged(budget: &PodDisruptionBudget) -> String {
    let selector = shown(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()));
    format!(
        "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a \
         result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. \
         To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value."
    )
}

#[cfg(test)]
mod tests;
