//! Putting a cluster to sleep.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use vkube_crds::{annotations, labels};

use super::certificates::Certificates;
use super::steps::Attempt;
use super::{Report, Stop, argocd, kubeconfigs, mapped};
use crate::build::Key;
use crate::conditions::{Check, Mode};
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
    certificates: &Certificates,
    report: &mut Report,
) -> Result<(), Stop> {
    let asleep = |message: &str| Check::Failed(Reason::Sleeping, message.to_owned());
    report.checks.control_plane = asleep("the cluster has zero replicas");
    report.checks.available = asleep("the cluster has zero replicas");
    if report.replicas > 0 {
        return Err(Stop::Waiting("waiting for the control plane to end".into()));
    }
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
