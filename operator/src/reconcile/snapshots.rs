//! Snapshots by schedule, and the one that a cluster starts from.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vkube_crds::{RestoreFrom, SnapshotStatus, SnapshotsStatus};

use super::certificates::Certificates;
use super::steps::{Attempt, Services};
use super::{Report, Stop, entrance};
use crate::conditions::Check;
use crate::error::chain;
use crate::inside::{self, Kept};
use crate::reason::Reason;
use crate::settings::snapshots::Snapshots;

/// Beginning of the names of those taken by schedule; others are never removed.
const PREFIX: &str = "scheduled-";
/// Nobody tells when a cluster that keeps a snapshot becomes able to hand it out.
const RETRY: Duration = Duration::from_secs(30);

/// Takes a snapshot if one is due, and removes those that are too many. What fails leaves the cluster ready.
pub(super) async fn ensure(
    attempt: &Attempt<'_>,
    services: &Services,
    certificates: &Certificates,
    report: &mut Report,
) {
    let Some(wanted) = &attempt.settings.snapshots else {
        report.snapshots = None;
        return;
    };
    let next = attempt.context.options.next_time;
    let now = Timestamp::now();
    let created = attempt.cluster.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let taken =
        report.snapshots.as_ref().and_then(|all| all.last.as_ref()?.taken.as_ref().map(|time| time.0));
    let since = taken.or(created).unwrap_or(now);
    let coming = wanted.due(since, next);
    let Some(due) = coming.filter(|due| *due <= now) else {
        let last = report.snapshots.as_ref().and_then(|all| all.last.clone());
        report.checks.snapshots = taken_or_not(last.as_ref());
        if let Some(coming) = coming {
            report.look_again(coming.duration_since(now).unsigned_abs());
        }
        return;
    };
    let taken = take(attempt, services, certificates, wanted, due).await;
    attempt.context.metrics.snapshot(taken.is_ok());
    match taken {
        Ok(status) => {
            report.checks.snapshots = taken_or_not(status.last.as_ref());
            report.snapshots = Some(status);
            if let Some(due) = wanted.due(now, next) {
                report.look_again(due.duration_since(now).unsigned_abs());
            }
        }
        Err(error) => {
            let message = format!("failed to take a snapshot: {}", chain(&error));
            report.checks.snapshots = Check::Failed(Reason::SnapshotFailed, message);
            report.look_again(RETRY);
        }
    }
}

fn taken_or_not(last: Option<&SnapshotStatus>) -> Check {
    let message = last.map_or_else(
        || "no snapshot was due yet".to_owned(),
        |last| format!("{} is the newest snapshot", last.name),
    );
    Check::Passed(Reason::SnapshotTaken, message)
}

async fn take(
    attempt: &Attempt<'_>,
    services: &Services,
    certificates: &Certificates,
    wanted: &Snapshots,
    due: Timestamp,
) -> Result<SnapshotsStatus, inside::Error> {
    let inside = entrance::own(attempt, services, certificates)?;
    let mut kept = scheduled(inside.snapshots().await?);
    // One that an attempt before took, and could not tell of, counts.
    let is_there = kept.last().is_some_and(|last| last.taken >= due);
    if !is_there {
        kept.push(inside.take(&format!("{PREFIX}{}", Timestamp::now().strftime("%Y%m%d-%H%M%S"))).await?);
    }
    while kept.len() > wanted.keep {
        inside.forget(&kept.remove(0).name).await?;
    }
    let last = kept.last().map(|last| SnapshotStatus {
        name: last.name.clone(),
        taken: Some(Time(last.taken)),
        size: last.size,
    });
    Ok(SnapshotsStatus { last, kept: i32::try_from(kept.len()).unwrap_or(i32::MAX) })
}

fn scheduled(mut all: Vec<Kept>) -> Vec<Kept> {
    all.retain(|kept| kept.name.starts_with(PREFIX));
    all
}

/// Brings the cluster to the snapshot that it is to start from, once.
pub(super) async fn restore(
    attempt: &Attempt<'_>,
    services: &Services,
    certificates: &Certificates,
    report: &mut Report,
) -> Result<(), Stop> {
    let Some(wanted) = &attempt.settings.restore_from else { return Ok(()) };
    let own_name = attempt.identity.name.as_str();
    let word = format!("{}/{}", wanted.cluster.as_deref().unwrap_or(own_name), wanted.snapshot);
    if report.restored_from.as_ref() != Some(&word) {
        if let Err(why) = bring(attempt, services, certificates, wanted, &word).await {
            let message = format!("failed to restore {word}: {why}");
            report.checks.restored = Check::Failed(Reason::RestoreFailed, message.clone());
            return Err(Stop::WaitFor(RETRY, message));
        }
        tracing::info!(namespace = attempt.identity.namespace, name = own_name, from = word, "restored");
        report.restored_from = Some(word.clone());
    }
    report.checks.restored = Check::Passed(Reason::Restored, format!("the cluster was brought to {word}"));
    Ok(())
}

async fn bring(
    attempt: &Attempt<'_>,
    services: &Services,
    certificates: &Certificates,
    wanted: &RestoreFrom,
    word: &str,
) -> Result<(), String> {
    let into = entrance::own(attempt, services, certificates).map_err(|error| chain(&error))?;
    let other = wanted.cluster.as_ref().filter(|name| **name != attempt.identity.name);
    let done = match other {
        None => into.restore(&into, &wanted.snapshot, word).await,
        Some(name) => into.restore(&entrance::other(attempt, name).await?, &wanted.snapshot, word).await,
    };
    done.map_err(|error| chain(&error))
}
