//! Makes the host look as a VirtualCluster says, one attempt at a time.
//!
//! An attempt begins from nothing each time, whatever woke it:
//!
//! 1. *read* the cluster, its policy and what is on the host;
//! 2. *validate* into [`Settings`](crate::settings::Settings), pure;
//! 3. *build* the objects, pure;
//! 4. *apply* those that differ, stage by stage;
//! 5. *observe* the control plane;
//! 6. *report* status and events, also when a step before did not pass.
//!
//! Any step may be the last that ran; the next attempt finds out from the host how far it came.

mod argocd;
mod bootstrap;
mod certificates;
mod config;
mod control_plane;
mod database;
mod entrance;
mod files;
mod gates;
mod kubeconfigs;
mod lifetime;
pub mod mapped;
mod monitor;
mod namespace;
mod report;
mod route;
mod sleep;
mod snapshots;
mod sources;
mod steps;
mod volume;

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::{Api, Resource, ResourceExt};
use vkube_crds::{FINALIZER, VirtualCluster, annotations};

use crate::apply::Host;
use crate::cleanup;
use crate::conditions::{Mode, Progress};
use crate::context::{Cluster, Context};
use crate::error::Error;
use crate::events;
use crate::finalizer;
use crate::reason::Reason;

pub use argocd::withdraw;
pub use monitor::remove as remove_monitor;
pub use report::{Report, publish};
pub use route::remove as remove_route;

/// An attempt that takes longer hangs on something; the next one may fare better.
const DEADLINE: Duration = Duration::from_secs(60);
/// Settled clusters are looked at this often, in case an event was lost. Jitter spreads them.
const RESYNC: Duration = Duration::from_secs(1800);

/// Nobody tells when an object that is in the way goes: it is not the operator's, so that it is not watched.
const CONFLICT_POLL: Duration = Duration::from_secs(60);

/// Why an attempt ended before its last step.
#[derive(Debug)]
pub enum Stop {
    /// Only an edit helps.
    Stalled(Reason, String),
    /// A watch will wake the cluster.
    Waiting(String),
    /// No watch tells; look again then.
    WaitFor(Duration, String),
    /// The attempt failed and is to be repeated.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// One reconcile of one cluster, measured and bounded in time.
pub async fn reconcile(cluster: Arc<Cluster>, context: Arc<Context>) -> Result<Action, Error> {
    let begun = std::time::Instant::now();
    let outcome = bounded(run(&cluster, &context)).await;
    let failure = outcome.as_ref().err().map(Error::reason);
    context.metrics.reconciled("virtualcluster", begun.elapsed(), failure);
    if outcome.is_ok() {
        context.backoff.succeeded(cluster.meta().uid.as_deref().unwrap_or_default());
    }
    outcome
}

/// An attempt, given up when it hangs.
async fn bounded<T>(attempt: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = |_| Err(Error::TimedOut(DEADLINE.as_secs()));
    tokio::time::timeout(DEADLINE, attempt).await.unwrap_or_else(late)
}

/// When to try again after a failure.
#[allow(clippy::needless_pass_by_value, reason = "the signature that a controller wants")]
pub fn on_error(cluster: Arc<Cluster>, error: &Error, context: Arc<Context>) -> Action {
    let metadata = cluster.meta();
    let wait = context.backoff.failed(metadata.uid.as_deref().unwrap_or_default(), metadata.generation);
    tracing::warn!(
        namespace = metadata.namespace,
        name = metadata.name,
        reason = error.reason().as_str(),
        error = error.chain(),
        retry_in = ?wait,
        "failed to reconcile"
    );
    Action::requeue(wait)
}

async fn run(cached: &Cluster, context: &Context) -> Result<Action, Error> {
    // The cache may be behind our own last write.
    let Some(cluster) = read(cached, &context.host).await? else { return Ok(Action::await_change()) };
    let cluster = match cluster.0 {
        Ok(cluster) => cluster,
        Err(invalid) => {
            tracing::warn!(
                error = invalid.error,
                name = invalid.metadata.name,
                "a VirtualCluster is malformed"
            );
            let reference = cached.object_ref(&());
            let event = events::event(EventType::Warning, Reason::Malformed.as_str(), &invalid.error);
            // The event is all we can say: there is no status to write in an object that we cannot read.
            let _ = context.recorder.publish(&event, &reference).await;
            return Ok(Action::await_change());
        }
    };
    if cluster.metadata.deletion_timestamp.is_some() {
        return cleanup::cleanup(&cluster, context).await;
    }
    let mut report = Report::of(&cluster);
    if is_paused(&cluster) {
        report.mode = Mode::Paused;
        publish(context, &cluster, &report).await?;
        return Ok(Action::await_change());
    }
    let cluster = finalizer::add(&context.host, &cluster, FINALIZER).await?;
    let outcome = steps::attempt(context, &cluster, &mut report).await;
    let (action, failure) = conclude(outcome, &mut report);
    publish(context, &cluster, &report).await?;
    failure.map_or(Ok(action), Err)
}

/// What the outcome means for the report and for the next attempt.
fn conclude(outcome: Result<(), Stop>, report: &mut Report) -> (Action, Option<Error>) {
    // At the latest when something is due by itself.
    let within = |wait: Duration| Action::requeue(report.renewal.map_or(wait, |due| due.min(wait)));
    match outcome {
        Ok(()) => {
            let action = within(RESYNC.mul_f64(rand::random_range(0.8..=1.2)));
            report.progress = Progress::Done;
            (action, None)
        }
        Err(Stop::Stalled(reason, message)) => {
            let action = within(if reason == Reason::NameConflict { CONFLICT_POLL } else { RESYNC });
            report.progress = Progress::Stalled(reason, message);
            (action, None)
        }
        Err(Stop::Waiting(message)) => {
            let action = within(RESYNC);
            report.progress = Progress::Working(message);
            (action, None)
        }
        Err(Stop::WaitFor(wait, message)) => {
            report.progress = Progress::Working(message);
            (Action::requeue(wait), None)
        }
        Err(Stop::Failed(error)) => {
            report.progress = Progress::Retrying(error.reason(), error.chain());
            (Action::await_change(), Some(error))
        }
    }
}

async fn read(cached: &Cluster, host: &Host) -> Result<Option<Cluster>, Error> {
    let namespace = cached.namespace().unwrap_or_default();
    let name = cached.name_any();
    let api: Api<Cluster> = Api::namespaced(host.client().clone(), &namespace);
    let what = || format!("VirtualCluster {namespace}/{name}");
    let found = api.get_opt(&name).await.map_err(|source| Error::Read { what: what(), source })?;
    Ok(found.filter(|found| found.meta().uid == cached.meta().uid))
}

fn is_paused(cluster: &VirtualCluster) -> bool {
    let asked = cluster.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.paused);
    asked == Some(true) || cluster.annotations().get(annotations::PAUSED).is_some_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_is_looked_for_again_and_an_edit_is_waited_for() {
        let mut report = Report::of(&VirtualCluster::default());
        let mut after = |reason| conclude(Err(Stop::Stalled(reason, "why".into())), &mut report).0;
        assert_eq!(after(Reason::NameConflict), Action::requeue(CONFLICT_POLL));
        assert_eq!(after(Reason::InvalidSpec), Action::requeue(RESYNC));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_is_given_up_and_repeated() {
        let late = bounded(std::future::pending::<Result<(), Error>>()).await.unwrap_err();
        assert_eq!(late.reason(), Reason::TimedOut);
        assert!(bounded(async { Ok(()) }).await.is_ok());
    }
}
