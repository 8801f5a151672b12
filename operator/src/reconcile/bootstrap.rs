//! What is applied inside a cluster before it is ready.

use std::time::Duration;

use super::certificates::Certificates;
use super::steps::{Attempt, Services};
use super::{Report, Stop, entrance, sources};
use crate::conditions::Check;
use crate::config::place;
use crate::error::chain;
use crate::reason::Reason;
use crate::settings::bootstrap::{self, Bootstrap, Manifests};

/// Kinds may need a definition, or a webhook a pod, that is on its way.
const RETRY: Duration = Duration::from_secs(5);

/// Applies the manifests once for each text.
pub(super) async fn ensure(
    attempt: &Attempt<'_>,
    services: &Services,
    certificates: &Certificates,
    report: &mut Report,
) -> Result<(), Stop> {
    let Some(wanted) = &attempt.settings.bootstrap else {
        report.bootstrapped = None;
        return Ok(());
    };
    let manifests = manifests(attempt, wanted, report).await?;
    if report.bootstrapped.as_ref() != Some(&manifests.hash) {
        let applied = match entrance::own(attempt, services, certificates) {
            Ok(inside) => inside.apply(&manifests.objects).await,
            Err(error) => Err(error),
        };
        if let Err(error) = applied {
            let message = format!("bootstrap: {}", chain(&error));
            report.checks.bootstrap = Check::Failed(Reason::BootstrapFailed, message.clone());
            return Err(Stop::WaitFor(RETRY, message));
        }
        report.bootstrapped = Some(manifests.hash);
    }
    report.checks.bootstrap = Check::applied("the manifests were applied");
    Ok(())
}

/// The texts of the spec, and those that it refers to, which wake the cluster when they change.
async fn manifests(
    attempt: &Attempt<'_>,
    wanted: &Bootstrap,
    report: &mut Report,
) -> Result<Manifests, Stop> {
    let mut amiss = |reason: Reason, why: &str| {
        let message = format!("bootstrap.manifestRefs: {why}");
        report.checks.bootstrap = Check::Failed(reason, message.clone());
        Err(Stop::Waiting(message))
    };
    let mut texts: Vec<_> =
        wanted.own.iter().map(|text| ("bootstrap.manifests".to_owned(), text.clone())).collect();
    for one in &wanted.refs {
        let (host, namespace) = (&attempt.context.host, &attempt.identity.namespace);
        match sources::text(host, namespace, one.kind, &one.place).await? {
            Ok(text) => texts.push((place(one.kind, &one.place.name, &one.place.key), text)),
            Err(missing) => return amiss(Reason::BootstrapMissing, &missing),
        }
    }
    match bootstrap::read(&texts) {
        Ok(manifests) => Ok(manifests),
        Err(wrong) => amiss(Reason::BootstrapInvalid, &wrong.join("; ")),
    }
}
