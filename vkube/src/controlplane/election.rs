//! Which of several control planes over one store works: the flags `--leader-elect*` of kube-controller-manager.
//!
//! Every replica serves the API and DNS. Controllers and syncer act, and two of them would act against each other.

use std::time::Duration;

use clap::{ArgAction, Args};
use futures::future::{Either, select};
use kube::Client;
use tokio_util::sync::CancellationToken;
use vkube_controllers::Metrics;
use vkube_lease::{Election, Timing, Unusable};

/// Flags are named as kube-controller-manager names them.
#[derive(Clone, Debug, Args)]
#[group(id = "election")]
pub struct Options {
    /// Run controllers and syncer only while holding a lease; for a control plane with more than one replica.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false)]
    #[arg(default_missing_value = "true", action = ArgAction::Set)]
    pub leader_elect: bool,
    /// How long others wait for the holder to renew the lease.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub leader_elect_lease_duration: Duration,
    /// How long the holder tries to renew the lease before it stops.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub leader_elect_renew_deadline: Duration,
    /// How long to wait between attempts to get or renew the lease.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub leader_elect_retry_period: Duration,
    /// The lease's name.
    #[arg(long, value_name = "NAME", default_value = "kube-controller-manager")]
    pub leader_elect_resource_name: String,
    /// The lease's namespace.
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    pub leader_elect_resource_namespace: String,
}

fn duration(text: &str) -> Result<Duration, jiff::Error> {
    text.parse::<jiff::SignedDuration>()?.try_into()
}

impl Options {
    /// The election that the flags ask for, if any.
    pub fn election(&self, client: Client) -> Result<Option<Election>, Unusable> {
        if !self.leader_elect {
            return Ok(None);
        }
        let timing = Timing::new(
            self.leader_elect_lease_duration,
            self.leader_elect_renew_deadline,
            self.leader_elect_retry_period,
        )?;
        let (namespace, name) = (&self.leader_elect_resource_namespace, &self.leader_elect_resource_name);
        let election = Election::new(client, namespace, name, &identity());
        Ok(Some(election.timed(timing).announced(name)))
    }
}

/// The host's name, so that people know who leads, and what no other process has.
fn identity() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    format!("{host}_{:032x}", rand::random::<u128>())
}

/// Does `work` until `shutdown`: at once, or as soon as the election is won.
///
/// Who loses the lease ends the process: nothing that it began may go on.
pub async fn work_as_leader(
    election: Option<Election>,
    metrics: Metrics,
    shutdown: CancellationToken,
    work: impl Future<Output = ()>,
) {
    let Some(election) = election else {
        return work.await;
    };
    metrics.leading(false);
    tokio::select! {
        () = election.acquire() => {}
        () = shutdown.cancelled() => return,
    }
    tracing::info!("leading");
    metrics.leading(true);
    match select(std::pin::pin!(work), std::pin::pin!(election.hold())).await {
        Either::Left(_) => election.release().await,
        Either::Right((lost, work)) => {
            metrics.leading(false);
            tracing::error!(error = &lost as &dyn std::error::Error, "leader election lost");
            shutdown.cancel();
            work.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn parse(flags: &[&str]) -> Options {
        Command::try_parse_from([&["test"], flags].concat()).unwrap().options
    }

    #[test]
    fn flags_read_as_upstreams() {
        assert!(!parse(&[]).leader_elect);
        let options = parse(&["--leader-elect", "--leader-elect-lease-duration=1m30s"]);
        assert!(options.leader_elect);
        assert_eq!(options.leader_elect_lease_duration, Duration::from_secs(90));
        assert!(!parse(&["--leader-elect=false"]).leader_elect);
    }

    #[tokio::test]
    async fn without_an_election_the_work_begins_at_once() {
        let mut done = false;
        work_as_leader(None, Metrics::default(), CancellationToken::new(), async { done = true }).await;
        assert!(done);
    }
}
