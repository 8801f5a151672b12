//! The status of a job: every pod counted once.
//!
//! ```text
//!  ended, tracked ──► noted in the status ──► finalizer off ──► counted, no longer noted
//! ```
//! Each arrow is one write, and each state can be told from the API alone.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;

use super::failure_policy::{Verdict, judge};
use super::indexes;
use super::is_tracked;
use super::plan::{End, Observed, Plan, condition, has_failed, is_indexed, is_suspended, tally};
use crate::clock::time;
use crate::counts::nonzero;
use crate::events::Note;
use crate::pods;

/// The new status, and what may be done once it is written.
pub(super) struct Account {
    pub status: JobStatus,
    /// Pods whose end is in the status.
    pub release: Vec<Arc<Pod>>,
    pub notes: Vec<Note>,
}

/// Brings the status up to date after the plan was carried out.
pub(super) fn account(observed: &Observed<'_>, plan: &Plan) -> Account {
    let Observed { job, pods, now } = *observed;
    let spec = job.spec.clone().unwrap_or_default();
    let mut status = job.status.clone().unwrap_or_default();
    let mut notes = Vec::new();

    let deleting = job.metadata.deletion_timestamp.is_some();
    let mut release = count(observed, &spec, plan, &mut status);
    if deleting {
        release = pods.iter().filter(|pod| is_tracked(pod)).cloned().collect();
    }
    let active: Vec<_> = pods.iter().filter(|pod| pods::is_active(pod)).collect();
    let leaving =
        pods.iter().filter(|pod| pods::is_terminating(pod) && !pods::is_finished(pod)).count() as i32;
    status.active = nonzero(active.len() as i32);
    status.ready = Some(active.iter().filter(|pod| pods::is_ready(pod)).count() as i32);
    status.terminating = Some(leaving);

    suspend_or_resume(&spec, plan, &mut status, &mut notes, now);
    let all_counted = status.uncounted_terminated_pods.as_ref().is_none_or(|noted| {
        noted.succeeded.as_ref().is_none_or(Vec::is_empty) && noted.failed.as_ref().is_none_or(Vec::is_empty)
    });
    if let Some(end) = &plan.end {
        let interim = if end.succeeded { "SuccessCriteriaMet" } else { "FailureTarget" };
        set(&mut status, interim, end, now);
        if active.is_empty() && leaving == 0 && all_counted && release.is_empty() {
            finish(end, &mut status, &mut notes, now);
        }
    }
    Account { status, release, notes }
}

/// Moves pods along the arrows; returns those whose finalizer may go once the status is written.
fn count(observed: &Observed<'_>, spec: &JobSpec, plan: &Plan, status: &mut JobStatus) -> Vec<Arc<Pod>> {
    let Observed { job, pods, .. } = *observed;
    let completions = spec.completions.unwrap_or(0);
    let totals = tally(observed);
    let tracked: HashSet<&str> =
        pods.iter().filter(|pod| is_tracked(pod)).filter_map(|pod| pod.metadata.uid.as_deref()).collect();
    let noted = status.uncounted_terminated_pods.take().unwrap_or_default();
    let settle = |uids: Option<Vec<String>>| -> (Vec<String>, i32) {
        let (open, settled): (Vec<_>, Vec<_>) =
            uids.unwrap_or_default().into_iter().partition(|uid| tracked.contains(uid.as_str()));
        (open, settled.len() as i32)
    };
    let (mut good, newly_good) = settle(noted.succeeded);
    let (mut bad, newly_bad) = settle(noted.failed);
    let failed = status.failed.unwrap_or(0) + newly_bad;

    let mut release = Vec::new();
    let gives_up = plan.end.as_ref().is_some_and(|end| !end.succeeded);
    for pod in pods.iter().filter(|pod| is_tracked(pod)) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let succeeded = pods::phase(pod) == "Succeeded";
        // A job that fails counts what it stops as failed, lest those pods be missing from the count.
        let ended = succeeded || has_failed(spec, pod) || (gives_up && pods::is_terminating(pod));
        if !ended {
            continue;
        }
        release.push(pod.clone());
        if good.contains(&uid) || bad.contains(&uid) {
            continue;
        }
        if succeeded {
            // Indexed completions are counted by index.
            if !is_indexed(spec) {
                good.push(uid);
            }
        } else if judge(job, pod) != Verdict::Ignore
            && (!is_indexed(spec) || super::pod::index(pod).is_some_and(|index| index < completions))
        {
            bad.push(uid);
        }
    }

    status.failed = nonzero(failed);
    if is_indexed(spec) {
        status.completed_indexes = Some(indexes::format(&totals.done)).filter(|text| !text.is_empty());
        status.succeeded = nonzero(totals.done.len() as i32);
        if spec.backoff_limit_per_index.is_some() {
            status.failed_indexes = Some(indexes::format(&totals.lost));
        }
    } else {
        status.succeeded = nonzero(status.succeeded.unwrap_or(0) + newly_good);
    }
    let list = |uids: Vec<String>| (!uids.is_empty()).then_some(uids);
    status.uncounted_terminated_pods =
        Some(UncountedTerminatedPods { succeeded: list(good), failed: list(bad) });
    release
}

fn suspend_or_resume(
    spec: &JobSpec,
    plan: &Plan,
    status: &mut JobStatus,
    notes: &mut Vec<Note>,
    now: Timestamp,
) {
    if plan.end.is_some() {
        return;
    }
    let was = condition(Some(status), "Suspended").is_some();
    if is_suspended(spec) {
        // The deadline starts anew when the job is resumed.
        status.start_time = None;
        if !was {
            write(status, "Suspended", "True", "JobSuspended", "Job suspended", now);
            notes.push(Note::normal("Suspended", "Job suspended"));
        }
        return;
    }
    if was {
        write(status, "Suspended", "False", "JobResumed", "Job resumed", now);
        notes.push(Note::normal("Resumed", "Job resumed"));
    }
    if status.start_time.is_none() {
        status.start_time = Some(time(now));
    }
}

fn finish(end: &End, status: &mut JobStatus, notes: &mut Vec<Note>, now: Timestamp) {
    // What ends has begun, even if there was nothing to do.
    status.start_time.get_or_insert_with(|| time(now));
    if end.succeeded {
        set(status, "Complete", end, now);
        status.completion_time = Some(time(now));
        notes.push(Note::normal("Completed", "Job completed"));
    } else {
        set(status, "Failed", end, now);
        let reason = REASONS.iter().find(|reason| **reason == end.reason).copied().unwrap_or("Failed");
        notes.push(Note::warning(reason, end.message.clone()));
    }
}

/// Why jobs fail.
const REASONS: [&str; 5] = [
    "BackoffLimitExceeded",
    "DeadlineExceeded",
    "PodFailurePolicy",
    "FailedIndexes",
    "MaxFailedIndexesExceeded",
];

fn set(status: &mut JobStatus, type_: &str, end: &End, now: Timestamp) {
    write(status, type_, "True", &end.reason, &end.message, now);
}

/// Sets a condition; one that says the same already is left as it is.
fn write(status: &mut JobStatus, type_: &str, verdict: &str, reason: &str, message: &str, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    if conditions.iter().any(|condition| condition.type_ == type_ && condition.status == verdict) {
        return;
    }
    conditions.retain(|condition| condition.type_ != type_);
    conditions.push(JobCondition {
        type_: type_.to_owned(),
        status: verdict.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(time(now)),
        last_transition_time: Some(time(now)),
    });
}
