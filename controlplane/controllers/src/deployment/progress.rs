//! Status and conditions: is it available, does it get on.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};

use super::rollout::Rollout;
use crate::clock::{remaining, time};
use crate::counts::nonzero;

const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
/// The reason once the newest set serves everything.
const DONE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// How much there is to report.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Numbers and availability.
    Counts,
    /// The progress of a rollout as well.
    Rollout,
}

/// Whether everything asked for is up to date and available.
pub(super) fn is_complete(deployment: &Deployment, wanted: i32, status: &DeploymentStatus) -> bool {
    status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.observed_generation >= deployment.metadata.generation
}

/// Writes the new status into the model; returns when the progress deadline is to be checked.
pub(super) fn report(rollout: &mut Rollout<'_>, kind: Kind) -> Option<Duration> {
    let before = rollout.deployment.status.clone().unwrap_or_default();
    let mut status = count(rollout, &before);
    if kind == Kind::Rollout {
        judge(rollout, &before, &mut status);
    }
    status.conditions = status.conditions.filter(|conditions| !conditions.is_empty());
    let wait = (kind == Kind::Rollout).then(|| deadline(rollout, &status)).flatten();
    rollout.deployment.status = Some(status);
    wait
}

fn statuses<'a>(rollout: &'a Rollout<'_>) -> impl Iterator<Item = &'a ReplicaSet> {
    rollout.sets.iter().filter(|planned| !planned.doomed).map(|planned| &planned.set)
}

fn count(rollout: &Rollout<'_>, before: &DeploymentStatus) -> DeploymentStatus {
    let sum = |of: fn(&ReplicaSet) -> i32| statuses(rollout).map(of).sum::<i32>();
    let available = sum(|set| set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0));
    let newest = rollout.newest().and_then(|planned| planned.set.status.as_ref());
    let mut status = DeploymentStatus {
        observed_generation: rollout.deployment.metadata.generation,
        replicas: nonzero(sum(|set| set.status.as_ref().map_or(0, |status| status.replicas))),
        updated_replicas: nonzero(newest.map_or(0, |status| status.replicas)),
        ready_replicas: nonzero(sum(|set| {
            set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)
        })),
        available_replicas: nonzero(available),
        unavailable_replicas: nonzero((rollout.total() - available).max(0)),
        terminating_replicas: Some(sum(|set| {
            set.status.as_ref().and_then(|status| status.terminating_replicas).unwrap_or(0)
        })),
        collision_count: before.collision_count,
        conditions: before.conditions.clone(),
    };
    let enough = available >= rollout.replicas() - rollout.max_unavailable();
    let (verdict, reason, message) = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set(&mut status, AVAILABLE, verdict, reason, message, rollout.now);
    status
}

/// Decides the `Progressing` and `ReplicaFailure` conditions.
fn judge(rollout: &Rollout<'_>, before: &DeploymentStatus, status: &mut DeploymentStatus) {
    let now = rollout.now;
    if !has_deadline(&rollout.deployment) {
        remove(status, PROGRESSING);
    }
    let current = find(status, PROGRESSING).cloned();
    let was_done = current.as_ref().is_some_and(|condition| condition.reason.as_deref() == Some(DONE))
        && status.replicas == status.updated_replicas;
    if has_deadline(&rollout.deployment) && !was_done {
        let newest = rollout.newest().and_then(|planned| planned.set.metadata.name.as_deref());
        let subject = match newest {
            Some(set) => format!("ReplicaSet {set:?}"),
            None => {
                format!("Deployment {:?}", rollout.deployment.metadata.name.as_deref().unwrap_or_default())
            }
        };
        if is_complete(&rollout.deployment, rollout.replicas(), status) {
            set(status, PROGRESSING, "True", DONE, &format!("{subject} has successfully progressed."), now);
        } else if moved(before, status) {
            // A progress is news even if the reason stays: the deadline counts from the last one.
            let since =
                current.filter(|condition| condition.status == "True").and_then(|c| c.last_transition_time);
            remove(status, PROGRESSING);
            set(status, PROGRESSING, "True", "ReplicaSetUpdated", &format!("{subject} is progressing."), now);
            if let (Some(since), Some(condition)) = (since, find_mut(status, PROGRESSING)) {
                condition.last_transition_time = Some(since);
            }
        } else if is_timed_out(rollout, status) {
            set(
                status,
                PROGRESSING,
                "False",
                TIMED_OUT,
                &format!("{subject} has timed out progressing."),
                now,
            );
        }
    }

    let failure =
        rollout.newest().into_iter().map(|planned| &planned.set).chain(statuses(rollout)).find_map(|set| {
            let conditions = set.status.as_ref()?.conditions.as_ref()?;
            conditions.iter().find(|condition| condition.type_ == REPLICA_FAILURE)
        });
    match failure {
        Some(failure) => {
            let (reason, message) = (failure.reason.as_deref(), failure.message.as_deref());
            let (reason, message) = (reason.unwrap_or_default(), message.unwrap_or_default());
            set(status, REPLICA_FAILURE, &failure.status, reason, message, now);
        }
        None => remove(status, REPLICA_FAILURE),
    }
}

/// Whether pods came, went or became better since the last report.
fn moved(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let value = |count: Option<i32>| count.unwrap_or(0);
    let old = |status: &DeploymentStatus| value(status.replicas) - value(status.updated_replicas);
    value(after.updated_replicas) > value(before.updated_replicas)
        || old(after) < old(before)
        || value(after.ready_replicas) > value(before.ready_replicas)
        || value(after.available_replicas) > value(before.available_replicas)
}

fn has_deadline(deployment: &Deployment) -> bool {
    deadline_seconds(deployment).is_some()
}

fn deadline_seconds(deployment: &Deployment) -> Option<i64> {
    let seconds = deployment.spec.as_ref()?.progress_deadline_seconds?;
    (seconds != i32::MAX).then_some(seconds.into())
}

/// The time left until the deadline; `None` without a deadline, or if nothing is due.
fn deadline(rollout: &Rollout<'_>, status: &DeploymentStatus) -> Option<Duration> {
    let seconds = deadline_seconds(&rollout.deployment)?;
    let condition = find(status, PROGRESSING)?;
    if matches!(condition.reason.as_deref(), Some(DONE | TIMED_OUT)) {
        return None;
    }
    remaining(condition.last_update_time.as_ref()?.0, seconds, rollout.now)
}

fn is_timed_out(rollout: &Rollout<'_>, status: &DeploymentStatus) -> bool {
    let Some(condition) = find(status, PROGRESSING) else { return false };
    match condition.reason.as_deref() {
        Some(DONE) => false,
        Some(TIMED_OUT) => true,
        _ => condition.last_update_time.is_some() && deadline(rollout, status).is_none(),
    }
}

/// Notes that a rollout is held, or goes on.
pub(super) fn mark_pause(deployment: &mut Deployment, paused: bool, now: Timestamp) {
    if !has_deadline(deployment) {
        return;
    }
    let status = deployment.status.get_or_insert_default();
    let reason = find(status, PROGRESSING).and_then(|condition| condition.reason.clone());
    match (paused, reason.as_deref()) {
        (_, Some(TIMED_OUT)) | (true, Some("DeploymentPaused")) => {}
        (true, _) => set(status, PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused", now),
        (false, Some("DeploymentPaused")) => {
            set(status, PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed", now);
        }
        (false, _) => {}
    }
}

/// Starts the progress of a deployment whose set existed before it.
pub(super) fn found(deployment: &mut Deployment, set_name: &str, now: Timestamp) {
    if has_deadline(deployment) {
        let status = deployment.status.get_or_insert_default();
        if find(status, PROGRESSING).is_none() {
            let message = format!("Found new replica set {set_name:?}");
            set(status, PROGRESSING, "True", "FoundNewReplicaSet", &message, now);
        }
    }
}

/// Starts the progress of a new set.
pub(super) fn created(deployment: &mut Deployment, set_name: &str, now: Timestamp) {
    if has_deadline(deployment) {
        let status = deployment.status.get_or_insert_default();
        let message = format!("Created new replica set {set_name:?}");
        set(status, PROGRESSING, "True", "NewReplicaSetCreated", &message, now);
    }
}

/// The deployment with the word that no new set could be created.
pub(super) fn failed_to_create(deployment: &Deployment, message: &str, now: Timestamp) -> Deployment {
    let mut failed = deployment.clone();
    if has_deadline(deployment) {
        let status = failed.status.get_or_insert_default();
        set(status, PROGRESSING, "False", "ReplicaSetCreateError", message, now);
    }
    failed
}

fn find<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

fn find_mut<'a>(status: &'a mut DeploymentStatus, type_: &str) -> Option<&'a mut DeploymentCondition> {
    status.conditions.iter_mut().flatten().find(|condition| condition.type_ == type_)
}

fn remove(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != type_);
    }
}

/// Sets a condition; one with the same status and reason is left as it is, times and all.
fn set(
    status: &mut DeploymentStatus,
    type_: &str,
    verdict: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let old = find(status, type_).cloned();
    if old.as_ref().is_some_and(|old| old.status == verdict && old.reason.as_deref() == Some(reason)) {
        return;
    }
    let since = old.filter(|old| old.status == verdict).and_then(|old| old.last_transition_time);
    remove(status, type_);
    status.conditions.get_or_insert_default().push(DeploymentCondition {
        type_: type_.to_owned(),
        status: verdict.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(time(now)),
        last_transition_time: Some(since.unwrap_or_else(|| time(now))),
    });
}
