//! The ServiceMonitor of a cluster, and the certificate by which a Prometheus reads its metrics.
//!
//! The Prometheus operator's API is there or not, so it is looked for when it is needed. The Secret is made first and goes
//! last: where it is, there may be a ServiceMonitor.

use std::time::Duration;

use vkube_crds::{Switch, annotations};

use super::certificates::{Certificates, pair, record, requested, served};
use super::steps::Attempt;
use super::{Report, Stop};
use crate::apply::Host;
use crate::build::{self, METRICS_GROUP, METRICS_USER, MONITORING_GROUP, Object, SERVICE_MONITORS};
use crate::conditions::Check;
use crate::error::Error;
use crate::names::Identity;
use crate::pki::{self, Subject};
use crate::reason::Reason;

/// Between looks for an API that the host lacks and that is insisted on.
const POLL: Duration = Duration::from_mins(5);

/// Applies what is asked for, and removes what no longer is. A cluster that nobody can measure is ready all the same.
pub(super) async fn ensure(
    attempt: &Attempt<'_>,
    certificates: &Certificates,
    report: &mut Report,
) -> Result<(), Stop> {
    let (host, identity) = (&attempt.context.host, &attempt.identity);
    let live = attempt.live(&build::metrics_key(identity)).await?;
    let Some(asked) = &attempt.settings.tuning.monitor else {
        if live.is_some() {
            remove(host, identity).await?;
            forbid(host, identity).await?;
        }
        return Ok(());
    };
    let Some(version) = served_version(host).await? else {
        if asked.enabled == Some(Switch::Enabled) {
            report.look_again(POLL);
            let message = format!("the host does not serve {SERVICE_MONITORS} of {MONITORING_GROUP}");
            report.checks.monitored = Check::Failed(Reason::MonitoringApiMissing, message);
        }
        return Ok(forbid(host, identity).await?);
    };
    let kept = live.as_ref().and_then(|live| pair(live, "tls.crt", "tls.key"));
    let rotate = requested(attempt, annotations::ROTATE, live.as_ref());
    let subject = Subject::Client { user: METRICS_USER.into(), group: Some(METRICS_GROUP.into()) };
    let life = certificates.life;
    let (client, _) =
        pki::leaf(kept.filter(|_| !rotate), &subject, &certificates.authority, life).map_err(Error::from)?;
    let rotation = served(attempt, annotations::ROTATE, live.as_ref());
    let secret = build::metrics_secret(identity, &certificates.authority, &client, rotation);
    let applied = host.apply_over(live, Object::of(secret), identity).await?;
    attempt.ours(applied)?;
    record(report, "metrics", pki::not_after(&client.certificate), Some(life), life);
    let service = Object::of(build::metrics_service(identity));
    attempt.apply_all(vec![service, build::service_monitor(identity, asked, &version)]).await?;
    report.checks.monitored = Check::applied("a ServiceMonitor leads Prometheus to the control plane");
    Ok(())
}

/// Removes what a ServiceMonitor leads to, and the certificate.
async fn forbid(host: &Host, identity: &Identity) -> Result<(), Error> {
    host.remove(&build::metrics_service_key(identity), identity).await?;
    host.remove(&build::metrics_key(identity), identity).await
}

/// Removes the ServiceMonitor, where there may be one.
pub async fn remove(host: &Host, identity: &Identity) -> Result<(), Error> {
    match served_version(host).await? {
        Some(version) => host.remove(&build::service_monitor_key(identity, &version), identity).await,
        None => Ok(()),
    }
}

/// The version in which the host serves ServiceMonitors.
async fn served_version(host: &Host) -> Result<Option<String>, Error> {
    host.served_version(MONITORING_GROUP, SERVICE_MONITORS).await
}
