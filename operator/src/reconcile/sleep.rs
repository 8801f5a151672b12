//! Putting a cluster to sleep.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use vkube_crds::{Phase, annotations, labels};

use super::certificates::Certificates;
use super::steps::{Attempt, Services};
use super::{Report, Stop, argocd, kubeconfigs, mapped};
use crate::build::{self, Key, Object};
use crate::conditions::{Check, Mode};
use crate::error::Error;
use crate::names::CONTROL_PLANE;
use crate::reason::Reason;

/// Pods that are ending are not watched.
const POD_POLL: Duration = Duration::from_secs(2);

/// Puts the cluster to sleep if its own rule says so, and looks again when that may change.
pub(super) fn by_rule(attempt: &mut Attempt<'_>, used: Timestamp, report: &mut Report) {
    let Some(rest) = &attempt.settings.rest else { return };
    let metadata = &attempt.cluster.metadata;
    let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
    let asked = metadata.annotations.as_ref().and_then(|all| all.get(annotations::WAKE)?.parse().ok());
    let woken = created.into_iter().chain(asked).max().unwrap_or(Timestamp::UNIX_EPOCH);
    let now = Timestamp::now();
    let verdict = rest.verdict(woken, used, now, attempt.context.options.next_time);
    if let Some(until) = verdict.until {
        report.look_again(until.duration_since(now).unsigned_abs());
    }
    if verdict.asleep && attempt.settings.replicas > 0 {
        attempt.settings.replicas = 0;
        report.mode = Mode::Asleep;
    }
}

/// Removes the workloads' pods once the control plane is gone: before, it would make them anew. The kubeconfig of a
/// cluster that was awake before stays current.
pub(super) async fn settle(
    attempt: &Attempt<'_>,
    services: &Services,
    certificates: &Certificates,
    report: &mut Report,
) -> Result<(), Stop> {
    let asleep = |message: &str| Check::Failed(Reason::Sleeping, message.to_owned());
    report.checks.control_plane = asleep("the cluster has zero replicas");
    report.checks.available = asleep("the cluster has zero replicas");
    if report.replicas > 0 {
        return Err(Stop::Waiting("waiting for the control plane to end".into()));
    }
    open_door(attempt, services).await?;
    let (host, identity) = (&attempt.context.host, &attempt.identity);
    let mut left = 0;
    let own = std::iter::once(identity.clone());
    for place in own.chain(mapped::places(attempt.context, identity).await?) {
        let any = Key::new::<Pod>(Some(&place.host_namespace), "");
        let pods = host.list(&any, &format!("{}!={CONTROL_PLANE}", labels::COMPONENT)).await?;
        left += pods.len();
        for pod in pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
            host.delete(&Key { name: pod.name_any(), ..any.clone() }, pod.uid()).await?;
        }
    }
    if left > 0 {
        return Err(Stop::WaitFor(POD_POLL, format!("waiting for {left} pods to end")));
    }
    if report.kubeconfig.is_some() {
        kubeconfigs::ensure(attempt, certificates, report).await?;
        argocd::ensure(attempt, certificates, report).await?;
    }
    Ok(())
}

/// Leads clients to the operator if they are to wake the cluster, and no longer if they are not. One that was put to sleep
/// by `replicas` stays asleep whoever comes.
async fn open_door(attempt: &Attempt<'_>, services: &Services) -> Result<(), Stop> {
    let asked = attempt.settings.rest.as_ref().is_some_and(|rest| rest.wakes_on_connect);
    if !asked || attempt.cluster.spec.replicas == Some(0) {
        return close_door(attempt).await;
    }
    let door = attempt.context.doors.open(&attempt.identity).await;
    let door = door.map_err(|source| Error::Door { name: attempt.identity.name.clone(), source })?;
    let Some(door) = door else { return Ok(()) };
    let present = services.internal.iter().chain(&services.external);
    let bells = present.map(|live| Object::of(build::doorbell(&attempt.identity, &live.name_any(), door)));
    attempt.apply_all(bells.collect()).await?;
    Ok(())
}

/// Has clients go to the control plane, now that it is ready.
pub(super) async fn answer_door(attempt: &Attempt<'_>) -> Result<(), Stop> {
    let phase = attempt.cluster.status.as_ref().and_then(|status| status.phase);
    let was_open = attempt.context.doors.shut(&attempt.identity.uid);
    // An operator that ended while the cluster woke has left its slices behind.
    let is_waking = attempt.settings.rest.is_some() && phase != Some(Phase::Running);
    if was_open || is_waking { close_door(attempt).await } else { Ok(()) }
}

async fn close_door(attempt: &Attempt<'_>) -> Result<(), Stop> {
    attempt.context.doors.shut(&attempt.identity.uid);
    for bell in build::doorbells(&attempt.identity) {
        attempt.context.host.remove(&bell, &attempt.identity).await?;
    }
    Ok(())
}
