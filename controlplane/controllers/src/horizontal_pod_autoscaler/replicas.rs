//! How many replicas a metric asks for.
//!
//! The rules are those of
//! <https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#algorithm-details>:
//! the ratio of what is used to what is wanted, with missing and unready pods counted so that they dampen the
//! change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use vkube_usage::quantity::Quantity;

use crate::pods;

/// A pod that started less than this many seconds ago may use more CPU than it will.
const CPU_INITIALIZATION_SECONDS: i64 = 300;
/// A pod that got unready within this many seconds of its start was never ready.
const INITIAL_READINESS_SECONDS: i64 = 30;

/// A pod's usage, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub value: i64,
    pub at: Timestamp,
    /// The seconds that the usage is an average of.
    pub window: i64,
}

impl Sample {
    /// A value that stands for a pod without metrics.
    fn assumed(value: i64) -> Self {
        Self { value, at: Timestamp::UNIX_EPOCH, window: 0 }
    }
}

/// Usage by pod name.
pub(super) type Samples = BTreeMap<String, Sample>;

/// Ratios so close to 1 change nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tolerances {
    pub down: f64,
    pub up: f64,
}

impl Default for Tolerances {
    fn default() -> Self {
        Self { down: 0.1, up: 0.1 }
    }
}

impl Tolerances {
    fn cover(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// The target has no pods.
    #[error("no pods returned by selector while calculating replica count")]
    NoPods,
    /// All metrics are of pods that do not count.
    #[error("did not receive metrics for targeted pods (pods might be unready)")]
    NoSamples,
    /// The metrics are of other pods.
    #[error("no metrics returned matched known pods")]
    Unmatched,
    /// A share of the request needs a request.
    #[error("missing request for {resource} in container {container} of Pod {pod}")]
    NoRequest {
        /// The resource.
        resource: String,
        /// The container.
        container: String,
        /// The pod.
        pod: String,
    },
    /// The metric names a container that a pod lacks.
    #[error("container {container} not found in Pod {pod}")]
    NoContainer {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
    },
}

/// The workload as it is.
pub(super) struct Workload<'a> {
    /// The replicas that it asks for.
    pub replicas: i32,
    /// The pods that match its selector.
    pub pods: &'a [Arc<Pod>],
    pub tolerances: Tolerances,
    pub now: Timestamp,
}

/// A share of what the pods request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Utilization<'a> {
    /// The resource.
    pub resource: &'a str,
    /// Only this container, if any.
    pub container: Option<&'a str>,
    /// The wanted percentage.
    pub target: i32,
}

/// What a metric asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Proposal {
    pub replicas: i32,
    /// The percentage now, if the target is one.
    pub utilization: Option<i32>,
    /// The usage now: per pod in thousandths, or as the metric is measured.
    pub usage: i64,
}

struct Groups {
    ready: usize,
    unready: BTreeSet<String>,
    missing: BTreeSet<String>,
}

/// Sorts pods by what their metrics are worth, and takes worthless metrics out.
fn group(workload: &Workload<'_>, samples: &mut Samples, is_cpu: bool) -> Groups {
    let mut groups = Groups { ready: 0, unready: BTreeSet::new(), missing: BTreeSet::new() };
    for pod in workload.pods {
        let name = pod.metadata.name.clone().unwrap_or_default();
        if pods::is_terminating(pod) || pods::phase(pod) == "Failed" {
            samples.remove(&name);
        } else if pods::phase(pod) == "Pending" {
            samples.remove(&name);
            groups.unready.insert(name);
        } else if let Some(sample) = samples.get(&name) {
            if is_cpu && is_warming_up(pod, sample, workload.now) {
                samples.remove(&name);
                groups.unready.insert(name);
            } else {
                groups.ready += 1;
            }
        } else {
            groups.missing.insert(name);
        }
    }
    groups
}

/// Whether the pod's CPU usage is not yet what it will be.
fn is_warming_up(pod: &Pod, sample: &Sample, now: Timestamp) -> bool {
    let Some(status) = &pod.status else { return true };
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready");
    let (Some(ready), Some(start)) = (ready, &status.start_time) else { return true };
    let second = |at: Timestamp| at.as_second();
    let changed = ready.last_transition_time.as_ref().map_or(0, |at| second(at.0));
    if second(start.0) + CPU_INITIALIZATION_SECONDS > second(now) {
        ready.status == "False" || second(sample.at) < changed + sample.window
    } else {
        ready.status == "False" && second(start.0) + INITIAL_READINESS_SECONDS > changed
    }
}

fn milli(requirements: Option<&ResourceRequirements>, resource: &str) -> Option<i64> {
    let amount = requirements?.requests.as_ref()?.get(resource)?;
    Quantity::parse(&amount.0).ok().map(|amount| amount.milli_value())
}

/// What each pod requests, in thousandths.
fn requests(pods: &[Arc<Pod>], wanted: Utilization<'_>) -> Result<BTreeMap<String, i64>, Error> {
    let mut requests = BTreeMap::new();
    for pod in pods {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let Some(spec) = &pod.spec else { continue };
        let is_sidecar = |one: &&Container| one.restart_policy.as_deref() == Some("Always");
        let sidecars = spec.init_containers.iter().flatten().filter(is_sidecar);
        let mut counted: Vec<&Container> = spec.containers.iter().chain(sidecars).collect();
        let whole = milli(spec.resources.as_ref(), wanted.resource);
        if let (None, Some(whole)) = (wanted.container, whole) {
            requests.insert(name, whole);
            continue;
        }
        if let Some(only) = wanted.container {
            counted.retain(|container| container.name == only);
            if counted.is_empty() {
                return Err(Error::NoContainer { container: only.to_owned(), pod: name });
            }
        }
        let mut sum = 0;
        for container in counted {
            sum += milli(container.resources.as_ref(), wanted.resource).ok_or_else(|| Error::NoRequest {
                resource: wanted.resource.to_owned(),
                container: container.name.clone(),
                pod: name.clone(),
            })?;
        }
        requests.insert(name, sum);
    }
    Ok(requests)
}

/// Replicas for a share of requests.
pub(super) fn by_utilization(
    workload: &Workload<'_>,
    mut samples: Samples,
    wanted: Utilization<'_>,
) -> Result<Proposal, Error> {
    if workload.pods.is_empty() {
        return Err(Error::NoPods);
    }
    let groups = group(workload, &mut samples, wanted.resource == "cpu");
    let requests = requests(workload.pods, wanted)?;
    if samples.is_empty() {
        return Err(Error::NoSamples);
    }
    let ratio = |samples: &Samples| {
        let (mut used, mut requested, mut count) = (0_i64, 0_i64, 0_i64);
        for (name, sample) in samples {
            let Some(request) = requests.get(name) else { continue };
            (used, requested, count) = (used + sample.value, requested + request, count + 1);
        }
        if requested == 0 || count == 0 {
            return Err(Error::Unmatched);
        }
        let percentage = i32::try_from(used * 100 / requested).unwrap_or(i32::MAX);
        Ok((f64::from(percentage) / f64::from(wanted.target), percentage, used / count))
    };
    let (first, percentage, usage) = ratio(&samples)?;
    let proposal = |replicas| Proposal { replicas, utilization: Some(percentage), usage };
    let fallback = i64::from(wanted.target.max(100));
    let assumed = |name: &String| requests.get(name).copied().unwrap_or(0) * fallback / 100;
    if !dampen(&mut samples, &groups, first, assumed) {
        return Ok(proposal(directly(workload, &groups, first)));
    }
    let (second, _, _) = ratio(&samples)?;
    Ok(proposal(dampened(workload, first, second, samples.len())))
}

/// Replicas for an average value per pod, in thousandths.
pub(super) fn by_average(
    workload: &Workload<'_>,
    mut samples: Samples,
    target: i64,
    is_cpu: bool,
) -> Result<Proposal, Error> {
    if workload.pods.is_empty() {
        return Err(Error::NoPods);
    }
    let groups = group(workload, &mut samples, is_cpu);
    if samples.is_empty() {
        return Err(Error::NoSamples);
    }
    let average = |samples: &Samples| {
        let total: i64 = samples.values().map(|sample| sample.value).sum();
        total / i64::try_from(samples.len()).unwrap_or(i64::MAX)
    };
    let usage = average(&samples);
    let first = usage as f64 / target as f64;
    let proposal = |replicas| Proposal { replicas, utilization: None, usage };
    if !dampen(&mut samples, &groups, first, |_| target) {
        return Ok(proposal(directly(workload, &groups, first)));
    }
    let second = average(&samples) as f64 / target as f64;
    Ok(proposal(dampened(workload, first, second, samples.len())))
}

/// Adds assumed usage of pods without (good) metrics; says whether there are such pods.
///
/// Where the ratio says to shrink, missing pods are taken to use all they may; where it says to grow, missing
/// and unready pods are taken to use nothing.
fn dampen(samples: &mut Samples, groups: &Groups, ratio: f64, most: impl Fn(&String) -> i64) -> bool {
    let with_unready = !groups.unready.is_empty() && ratio > 1.0;
    if !with_unready && groups.missing.is_empty() {
        return false;
    }
    for name in &groups.missing {
        let value = if ratio < 1.0 { most(name) } else { 0 };
        samples.insert(name.clone(), Sample::assumed(value));
    }
    if with_unready {
        for name in &groups.unready {
            samples.insert(name.clone(), Sample::assumed(0));
        }
    }
    true
}

fn directly(workload: &Workload<'_>, groups: &Groups, ratio: f64) -> i32 {
    if workload.tolerances.cover(ratio) {
        workload.replicas
    } else {
        (ratio * groups.ready as f64).ceil() as i32
    }
}

/// The replicas after dampening, which may weaken a change but not turn it round.
fn dampened(workload: &Workload<'_>, first: f64, second: f64, count: usize) -> i32 {
    let current = workload.replicas;
    let turns = (first < 1.0 && second > 1.0) || (first > 1.0 && second < 1.0);
    if turns || workload.tolerances.cover(second) {
        return current;
    }
    let proposed = (second * count as f64).ceil() as i32;
    let turns = (second < 1.0 && proposed > current) || (second > 1.0 && proposed < current);
    if turns { current } else { proposed }
}

/// Replicas for a value that is not the pods' own, in thousandths.
pub(super) fn by_value(workload: &Workload<'_>, usage: i64, target: i64) -> Result<Proposal, Error> {
    let ratio = usage as f64 / target as f64;
    let replicas = if workload.replicas == 0 {
        ratio.ceil() as i32
    } else if workload.tolerances.cover(ratio) {
        workload.replicas
    } else if workload.pods.is_empty() {
        return Err(Error::NoPods);
    } else {
        let ready = workload.pods.iter().filter(|pod| pods::phase(pod) == "Running" && pods::is_ready(pod));
        (ratio * ready.count() as f64).ceil() as i32
    };
    Ok(Proposal { replicas, utilization: None, usage })
}

/// Replicas so that each has its part of a value that is not the pods' own, in thousandths.
pub(super) fn by_value_per_replica(
    tolerances: Tolerances,
    existing: i32,
    usage: i64,
    target: i64,
) -> Proposal {
    let ratio = usage as f64 / (target as f64 * f64::from(existing));
    let replicas =
        if tolerances.cover(ratio) { existing } else { (usage as f64 / target as f64).ceil() as i32 };
    let share = (usage as f64 / f64::from(existing)).ceil();
    Proposal { replicas, utilization: None, usage: share as i64 }
}

#[cfg(test)]
mod tests;
