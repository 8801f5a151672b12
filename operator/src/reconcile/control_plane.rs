//! The control plane's StatefulSet, and its pods until they are ready.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::steps::Attempt;
use super::{Report, Stop};
use crate::apply::Applied;
use crate::build::{self, Data, Hashes, Key, Object};
use crate::conditions::Check;
use crate::observe;
use crate::reason::Reason;
use crate::rollout::{self, Verdict};

/// A pod that does not start tells nobody but its own status, which is not watched.
const POD_POLL: Duration = Duration::from_secs(5);

/// Applies the StatefulSet and waits until its pods are ready.
pub(super) async fn ensure(
    attempt: &Attempt<'_>,
    hashes: &Hashes,
    data: &Data,
    report: &mut Report,
) -> Result<(), Stop> {
    let set = build::stateful_set(&attempt.identity, &attempt.settings, data, hashes);
    let applied = attempt.apply(Object::of(set)).await?;
    let written = matches!(applied, Applied::Ours { written: true, .. });
    let live = attempt.ours(applied)?;
    let rollout = observe::rollout(&live);
    report.replicas = rollout.replicas;
    report.ready_replicas = rollout.ready;
    if attempt.settings.replicas == 0 {
        return Ok(());
    }
    if rollout.current && rollout.ready >= attempt.settings.replicas {
        report.checks.control_plane = Check::applied("the control plane's pod is ready");
        // A volume that binds to its first consumer was still pending when it was looked at.
        if let Check::Pending(_) = report.checks.store {
            report.checks.store = Check::Passed(Reason::VolumeBound, "the volume is bound".into());
        }
        return Ok(());
    }
    // While others serve, a pod that is rolled takes nothing away.
    if rollout.ready == 0 {
        report.checks.available =
            Check::Failed(Reason::PodNotReady, "the control plane's pod is not ready".into());
    }
    let host = &attempt.context.host;
    // A pod of a set that was written just now cannot have failed yet.
    let faults = if written { Vec::new() } else { observe::faults(host, &attempt.identity).await? };
    // The kubeconfig is written when the cluster is ready for the first time.
    let served = report.kubeconfig.is_some();
    let mut message = "waiting for the control plane's pod".to_owned();
    report.checks.control_plane = match rollout::judge(&rollout, served, &faults) {
        Verdict::Starting => Check::Pending(message.clone()),
        Verdict::Failing(fault) => Check::Failed(Reason::PodFailing, fault.problem.as_str().to_owned()),
        Verdict::UpgradeFailed { fault, previous } => {
            let (image, version) = (&attempt.settings.image, report.version.as_deref());
            let failure = rollout::failure(fault, previous, image, version, rollout.ready);
            report.checks.control_plane = Check::Failed(Reason::UpgradeFailed, failure.clone());
            return Err(Stop::Stalled(Reason::UpgradeFailed, failure));
        }
        Verdict::Obsolete(fault) => {
            let key = Key::new::<Pod>(Some(&attempt.identity.host_namespace), &fault.pod);
            host.delete(&key, fault.uid.clone()).await?;
            message = format!("replacing pod {}, which could not start in its revision", fault.pod);
            Check::Pending(message.clone())
        }
    };
    Err(Stop::WaitFor(POD_POLL, message))
}
