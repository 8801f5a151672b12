//! What is applied inside a cluster before it is ready.

use std::time::Duration;

use super::certificates::Certificates;
use super::steps::{Attempt, Services};
use super::{Report, Stop, entrance};
use crate::conditions::Check;
use crate::error::chain;
use crate::reason::Reason;

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
    if report.bootstrapped.as_ref() != Some(&wanted.hash) {
        let applied = match entrance::own(attempt, services, certificates) {
            Ok(inside) => inside.apply(&wanted.objects).await,
            Err(error) => Err(error),
        };
        if let Err(error) = applied {
            let message = format!("bootstrap.manifests: {}", chain(&error));
            report.checks.bootstrap = Check::Failed(Reason::BootstrapFailed, message.clone());
            return Err(Stop::WaitFor(RETRY, message));
        }
        report.bootstrapped = Some(wanted.hash.clone());
    }
    report.checks.bootstrap = Check::applied("the manifests were applied");
    Ok(())
}
