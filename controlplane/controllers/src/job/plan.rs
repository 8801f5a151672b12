//! Whether a job is done, and which pods it needs.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;

use super::failure_policy::{Verdict, judge};
use super::indexes::{self, Indexes};
use super::pod::{earlier_failures, index};
use super::{Pods, is_tracked};
use crate::clock::{remaining, sooner};
use crate::pods;

/// The wait after a first failure; it doubles with each further one in a row.
const FIRST_BACKOFF_SECONDS: i64 = 10;
/// The longest wait after failures.
const LAST_BACKOFF_SECONDS: i64 = 600;
/// Most pods created in one step.
const BURST: usize = 500;

/// What a plan is made from.
#[derive(Clone, Copy)]
pub(super) struct Observed<'a> {
    pub job: &'a Job,
    /// The job's pods.
    pub pods: &'a Pods,
    pub now: Timestamp,
}

/// A pod to be created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    /// Its completion index.
    pub index: Option<i32>,
    /// How often that index failed before, where it matters.
    pub failures: Option<i32>,
}

/// How the job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub succeeded: bool,
    pub reason: String,
    pub message: String,
}

impl End {
    fn failed(reason: &str, message: impl Into<String>) -> Self {
        Self { succeeded: false, reason: reason.to_owned(), message: message.into() }
    }

    fn succeeded(reason: &str, message: impl Into<String>) -> Self {
        Self { succeeded: true, reason: reason.to_owned(), message: message.into() }
    }
}

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub create: Vec<Start>,
    /// Pods that are no longer needed: they do not count as failed.
    pub remove: Vec<Arc<Pod>>,
    /// Pods of a job that has failed: they count as failed with it.
    pub kill: Vec<Arc<Pod>>,
    /// Decided, if not yet accomplished.
    pub end: Option<End>,
    pub recheck_after: Option<Duration>,
}

/// A condition that holds.
pub(super) fn condition<'a>(status: Option<&'a JobStatus>, type_: &str) -> Option<&'a JobCondition> {
    let conditions = status?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
}

/// Whether the job is complete or has failed.
pub(super) fn is_finished(job: &Job) -> bool {
    let holds = |type_| condition(job.status.as_ref(), type_).is_some();
    holds("Complete") || holds("Failed")
}

/// When it was.
pub(super) fn finish_time(job: &Job) -> Option<Timestamp> {
    let status = job.status.as_ref();
    let end = condition(status, "Complete").or_else(|| condition(status, "Failed"))?;
    end.last_transition_time.as_ref().map(|at| at.0)
}

pub(super) fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

pub(super) fn is_suspended(spec: &JobSpec) -> bool {
    spec.suspend == Some(true)
}

fn replaces_failed_only(spec: &JobSpec) -> bool {
    spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some()
}

/// Whether the pod counts as failed; one that is being deleted does unless replacements wait for the real end.
pub(super) fn has_failed(spec: &JobSpec, pod: &Pod) -> bool {
    match pods::phase(pod) {
        "Failed" => true,
        "Succeeded" => false,
        _ => pods::is_terminating(pod) && !replaces_failed_only(spec),
    }
}

/// How the job's pods ended so far, in the status or not yet.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub succeeded: i32,
    pub failed: i32,
    /// Completed indexes.
    pub done: Indexes,
    /// Indexes that failed too often.
    pub lost: Indexes,
}

/// Counts how pods ended.
pub(super) fn tally(observed: &Observed<'_>) -> Tally {
    let Observed { job, pods, .. } = *observed;
    let spec = job.spec.clone().unwrap_or_default();
    let status = job.status.clone().unwrap_or_default();
    let noted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let (noted_good, noted_bad) = (noted.succeeded.unwrap_or_default(), noted.failed.unwrap_or_default());
    let completions = spec.completions.unwrap_or(0);
    let known: HashSet<&str> = noted_good.iter().chain(&noted_bad).map(String::as_str).collect();
    let fresh = pods
        .iter()
        .filter(|pod| is_tracked(pod) && !known.contains(pod.metadata.uid.as_deref().unwrap_or_default()));

    let mut tally = Tally {
        succeeded: status.succeeded.unwrap_or(0) + noted_good.len() as i32,
        failed: status.failed.unwrap_or(0) + noted_bad.len() as i32,
        done: indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), completions),
        lost: indexes::parse(status.failed_indexes.as_deref().unwrap_or_default(), completions),
    };
    for pod in fresh {
        if pods::phase(pod) == "Succeeded" {
            tally.succeeded += 1;
            tally.done.extend(index(pod).filter(|index| *index < completions));
        } else if has_failed(&spec, pod) && judge(job, pod) != Verdict::Ignore {
            tally.failed += 1;
        }
    }
    if is_indexed(&spec) {
        tally.succeeded = tally.done.len() as i32;
    }
    if let Some(limit) = spec.backoff_limit_per_index {
        for pod in pods.iter().filter(|pod| has_failed(&spec, pod)) {
            let Some(index) = index(pod).filter(|index| *index < completions && !tally.done.contains(index))
            else {
                continue;
            };
            let lost = match judge(job, pod) {
                Verdict::FailIndex => true,
                Verdict::Ignore => false,
                Verdict::Count | Verdict::FailJob(_) => earlier_failures(pod) + 1 > limit,
            };
            if lost {
                tally.lost.insert(index);
            }
        }
    }
    tally
}

/// Decides the next step.
pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let Observed { job, pods, now } = *observed;
    let spec = job.spec.clone().unwrap_or_default();
    if job.metadata.deletion_timestamp.is_some() {
        return Plan::default();
    }
    let tally = tally(observed);
    let active: Vec<_> = pods.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
    if let Some(end) = end(observed, &spec, &tally, &active) {
        let (remove, kill) = if end.succeeded { (active, Vec::new()) } else { (Vec::new(), active) };
        return Plan { remove, kill, end: Some(end), ..Plan::default() };
    }

    if is_suspended(&spec) {
        return Plan { remove: active, ..Plan::default() };
    }
    let mut plan = staff(observed, &spec, &tally, active);
    if let Deadline::In(wait) = deadline(job, &spec, now) {
        plan.recheck_after = sooner(plan.recheck_after, Some(wait));
    }
    plan
}

/// Whether, and how, the job ends.
fn end(observed: &Observed<'_>, spec: &JobSpec, tally: &Tally, active: &Pods) -> Option<End> {
    let job = observed.job;
    let status = job.status.as_ref();
    let decided = |type_, succeeded| {
        condition(status, type_).map(|condition| End {
            succeeded,
            reason: condition.reason.clone().unwrap_or_default(),
            message: condition.message.clone().unwrap_or_default(),
        })
    };
    if let Some(end) = decided("FailureTarget", false).or_else(|| decided("SuccessCriteriaMet", true)) {
        return Some(end);
    }
    let failed = observed.pods.iter().filter(|pod| is_tracked(pod) && has_failed(spec, pod));
    for pod in failed {
        if let Verdict::FailJob(message) = judge(job, pod) {
            return Some(End::failed("PodFailurePolicy", message));
        }
    }
    let limit = spec
        .backoff_limit
        .unwrap_or_else(|| if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 });
    if tally.failed > limit || restarts_exceed(spec, active, limit) {
        return Some(End::failed("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
    }
    if deadline(job, spec, observed.now) == Deadline::Over {
        return Some(End::failed("DeadlineExceeded", "Job was active longer than specified deadline"));
    }
    if spec.max_failed_indexes.is_some_and(|most| tally.lost.len() as i32 > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(End::failed("MaxFailedIndexesExceeded", message));
    }

    let is_settled = |completions| (tally.lost.len() + tally.done.len()) as i32 >= completions;
    if !tally.lost.is_empty() && spec.completions.is_some_and(is_settled) {
        return Some(End::failed("FailedIndexes", "Job has failed indexes"));
    }
    // What ends a job in failure counts before what ends it early in success.
    if let Some(end) = success_policy(spec, tally) {
        return Some(end);
    }
    let is_complete = match spec.completions {
        // Without completions, any success means that all pods are about to be done.
        None => tally.succeeded > 0 && active.is_empty(),
        Some(completions) => tally.succeeded >= completions,
    };
    is_complete.then(|| End::succeeded("CompletionsReached", "Reached expected number of succeeded pods"))
}

fn success_policy(spec: &JobSpec, tally: &Tally) -> Option<End> {
    let rules = &spec.success_policy.as_ref()?.rules;
    let completions = spec.completions.unwrap_or(0);
    let met = rules.iter().position(|rule| {
        let wanted = rule.succeeded_indexes.as_deref().map(|text| indexes::parse(text, completions));
        let done =
            wanted.as_ref().map_or(tally.done.len(), |wanted| wanted.intersection(&tally.done).count());
        let needed = rule
            .succeeded_count
            .map_or_else(|| wanted.map_or(0, |wanted| wanted.len()), |count| count as usize);
        needed > 0 && done >= needed
    })?;
    Some(End::succeeded("SuccessPolicy", format!("Matched rules at index {met}")))
}

/// Where containers are restarted in place, it is restarts that count.
fn restarts_exceed(spec: &JobSpec, active: &Pods, limit: i32) -> bool {
    let in_place =
        spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) == Some("OnFailure");
    let running = active.iter().filter(|pod| matches!(pods::phase(pod), "Running" | "Pending"));
    let statuses = running.filter_map(|pod| pod.status.as_ref());
    let restarts: i32 = statuses
        .flat_map(|status| status.container_statuses.iter().chain(&status.init_container_statuses).flatten())
        .map(|container| container.restart_count)
        .sum();
    in_place && restarts >= limit.max(1)
}

/// Where a running job stands with its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deadline {
    None,
    In(Duration),
    Over,
}

fn deadline(job: &Job, spec: &JobSpec, now: Timestamp) -> Deadline {
    let Some(seconds) = spec.active_deadline_seconds.filter(|_| !is_suspended(spec)) else {
        return Deadline::None;
    };
    let started = job.status.as_ref().and_then(|status| status.start_time.as_ref());
    remaining(started.map_or(now, |at| at.0), seconds, now).map_or(Deadline::Over, Deadline::In)
}

/// Brings the number of running pods to what the job needs.
fn staff(observed: &Observed<'_>, spec: &JobSpec, tally: &Tally, mut active: Vec<Arc<Pod>>) -> Plan {
    let parallelism = spec.parallelism.unwrap_or(1);
    let wanted = match spec.completions {
        None if tally.succeeded > 0 => active.len() as i32,
        None => parallelism,
        Some(completions) => {
            let left =
                completions - tally.succeeded - if is_indexed(spec) { tally.lost.len() as i32 } else { 0 };
            left.min(parallelism).max(0)
        }
    };
    let wanted = usize::try_from(wanted).unwrap_or(0);

    let mut plan = Plan::default();
    if is_indexed(spec) {
        plan.remove = misplaced(spec, tally, &mut active);
    }
    if active.len() > wanted {
        pods::sort_for_deletion(&mut active, &[]);
        plan.remove.extend(active.drain(..active.len() - wanted));
        return plan;
    }
    let leaving = |pod: &&Arc<Pod>| pods::is_terminating(pod) && !pods::is_finished(pod);
    let leaving = observed.pods.iter().filter(leaving);
    let occupied = if replaces_failed_only(spec) { leaving.clone().count() } else { 0 };
    let missing = wanted.saturating_sub(active.len() + occupied).min(BURST);
    if missing == 0 {
        return plan;
    }

    if !is_indexed(spec) {
        match backoff(observed, spec, None) {
            None => plan.create = vec![Start::default(); missing],
            wait => plan.recheck_after = wait,
        }
        return plan;
    }
    let mut taken: Indexes = active.iter().filter_map(|pod| index(pod)).collect();
    if replaces_failed_only(spec) {
        taken.extend(leaving.filter_map(|pod| index(pod)));
    }
    let shared_wait =
        if spec.backoff_limit_per_index.is_none() { backoff(observed, spec, None) } else { None };
    if shared_wait.is_some() {
        plan.recheck_after = shared_wait;
        return plan;
    }
    for index in 0..spec.completions.unwrap_or(0) {
        if plan.create.len() == missing {
            break;
        }
        if taken.contains(&index) || tally.done.contains(&index) || tally.lost.contains(&index) {
            continue;
        }
        let wait = spec.backoff_limit_per_index.and_then(|_| backoff(observed, spec, Some(index)));
        if wait.is_some() {
            plan.recheck_after = sooner(plan.recheck_after, wait);
            continue;
        }
        let failures = spec.backoff_limit_per_index.map(|_| failures_of(observed, spec, index));
        plan.create.push(Start { index: Some(index), failures });
    }
    plan
}

/// Takes out of `active` the pods whose index is done, out of range, or had by another pod.
fn misplaced(spec: &JobSpec, tally: &Tally, active: &mut Vec<Arc<Pod>>) -> Vec<Arc<Pod>> {
    let completions = spec.completions.unwrap_or(0);
    let mut by_index: BTreeMap<i32, Vec<Arc<Pod>>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for pod in active.drain(..) {
        match index(&pod).filter(|index| (0..completions).contains(index) && !tally.done.contains(index)) {
            Some(index) => by_index.entry(index).or_default().push(pod),
            None => wrong.push(pod),
        }
    }
    for mut pods in by_index.into_values() {
        pods::sort_for_deletion(&mut pods, &[]);
        active.extend(pods.pop());
        wrong.extend(pods);
    }
    wrong
}

fn failures_of(observed: &Observed<'_>, spec: &JobSpec, wanted: i32) -> i32 {
    let failed = observed.pods.iter().filter(|pod| index(pod) == Some(wanted) && has_failed(spec, pod));
    failed
        .map(|pod| earlier_failures(pod) + i32::from(judge(observed.job, pod) != Verdict::Ignore))
        .max()
        .unwrap_or(0)
}

/// How long to wait before replacing failed pods, of one index or of all; `None` if not at all.
///
/// The wait grows with the failures since the last success, as the pods themselves tell.
fn backoff(observed: &Observed<'_>, spec: &JobSpec, of: Option<i32>) -> Option<Duration> {
    let ended: Vec<_> = observed.pods.iter().filter(|pod| of.is_none() || index(pod) == of).collect();
    let success =
        ended.iter().filter(|pod| pods::phase(pod) == "Succeeded").filter_map(|pod| end_time(pod)).max();
    let failures: Vec<_> = ended
        .iter()
        .filter(|pod| has_failed(spec, pod) && judge(observed.job, pod) != Verdict::Ignore)
        .filter_map(|pod| end_time(pod))
        .filter(|at| success.is_none_or(|success| *at > success))
        .collect();
    let last = failures.iter().max()?;
    let doublings = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(10);
    let seconds = (FIRST_BACKOFF_SECONDS << doublings).min(LAST_BACKOFF_SECONDS);
    remaining(*last, seconds, observed.now)
}

/// When the pod ended: its last container's end, or else the time it stopped being ready or was deleted.
fn end_time(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten();
    let ends = containers.filter_map(|one| one.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready");
    ends.max()
        .or_else(|| ready.and_then(|condition| condition.last_transition_time.as_ref()))
        .or(pod.metadata.deletion_timestamp.as_ref())
        .or(pod.metadata.creation_timestamp.as_ref())
        .map(|at| at.0)
}
