//! What kube-controller-manager does, one file a controller.
//!
//! Every controller is a pure function from what it observes to what it does (`plan`), with a thin shell that reads
//! shared informers, writes through `kube::Client`, and is woken by a work queue. Nothing is remembered between
//! steps that the API does not know: a control plane that dies anywhere goes on from there when it is back.
//!
//! ```text
//!  informers ──changes──► queue ──key──► reconcile: observe ─► plan ─► act ──► API server
//! ```
//!
//! An idle cluster costs nothing: there is no resync and no polling; a timer runs only for a due deadline.

mod api;
mod clock;
mod counts;
mod discovery;
mod durations;
mod events;
mod finalizers;
mod hash;
mod history;
mod informers;
mod metrics;
mod names;
mod node_fit;
mod ownership;
mod pod_control;
mod pods;
mod queue;
mod scale;
mod selectors;
mod service_pods;
mod slices;

mod bootstrap;
mod certificates;
mod cluster_role_aggregation;
mod cron_job;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoint_slice;
mod endpoint_slice_mirroring;
mod endpoints;
mod ephemeral_volume;
mod garbage_collector;
mod horizontal_pod_autoscaler;
mod job;
mod namespace;
mod node_lifecycle;
mod pod_garbage;
mod pv_protection;
mod pvc_protection;
mod replica_set;
mod resource_claim;
mod resource_quota;
mod root_ca;
mod service_account;
mod service_account_token;
mod stateful_set;
mod taint_eviction;
mod vac_protection;
mod validating_policy_status;

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use futures::future::BoxFuture;
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use certificates::{Authority, AuthorityError};
pub use clock::Clock;
pub use cron_job::next_time;
pub use metrics::Metrics;
pub use validating_policy_status::TypeChecker;

use api::Api;
use events::Recorder;
use informers::Informers;
use queue::Queue;

/// How the controllers run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The PEM bundle published as `kube-root-ca.crt` in each namespace; without it, none is published.
    pub root_ca: Option<String>,
    /// What signs approved certificate signing requests; without it, none are signed.
    pub authority: Option<Arc<Authority>>,
    /// Which controllers run.
    pub enabled: Controllers,
    /// The wall clock.
    pub clock: Clock,
    /// Where they count what they do.
    pub metrics: Metrics,
    /// Who knows the types of what admission policies judge; without one, nobody is told of mistakes.
    pub type_checker: Option<TypeChecker>,
}

/// Why the controllers ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A controller ended although nobody asked it to.
    #[error("controller {0} ended unexpectedly")]
    Ended(Controller),
    /// A controller panicked outside a reconcile.
    #[error("a controller panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

macro_rules! controllers {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal => $start:expr,)+) => {
        /// A controller, by upstream's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Controller {
            $($(#[$doc])+ $variant,)+
        }

        impl Controller {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name, as in kube-controller-manager's `--controllers`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Subscribes the controller to what it needs; the future works until shutdown.
            fn start(self, context: &Context) -> BoxFuture<'static, ()> {
                match self {
                    $(Self::$variant => Box::pin($start(context)),)+
                }
            }
        }
    };
}

controllers! {
    /// Empties and removes deleted namespaces.
    Namespace = "namespace-controller" => namespace::start,
    /// Keeps the `default` service account in each namespace.
    ServiceAccount = "serviceaccount-controller" => service_account::start,
    /// Fills service account token secrets, and removes them with their account.
    ServiceAccountToken = "serviceaccount-token-controller" => service_account_token::start,
    /// Rolls deployments from one template to the next.
    Deployment = "deployment-controller" => deployment::start,
    /// Keeps as many pods as a replica set asks for.
    ReplicaSet = "replicaset-controller" => replica_set::start,
    /// Keeps as many pods as a replication controller asks for.
    ReplicationController = "replicationcontroller-controller" => replica_set::start_replication,
    /// Keeps the named pods and claims of stateful sets.
    StatefulSet = "statefulset-controller" => stateful_set::start,
    /// Runs jobs to completion, and deletes them when their time to live is over.
    Job = "job-controller" => job::start,
    /// Starts jobs on schedule.
    CronJob = "cronjob-controller" => cron_job::start,
    /// Keeps one pod on each node that fits.
    DaemonSet = "daemonset-controller" => daemon_set::start,
    /// Keeps the endpoints of services.
    Endpoints = "endpoints-controller" => endpoints::start,
    /// Keeps the endpoint slices of services.
    EndpointSlice = "endpointslice-controller" => endpoint_slice::start,
    /// Mirrors endpoints that people write into slices.
    EndpointSliceMirroring = "endpointslice-mirroring-controller" => endpoint_slice_mirroring::start,
    /// Publishes the API server's CA in each namespace.
    RootCa = "root-ca-certificate-publisher-controller" => root_ca::start,
    /// Lets deleted claims go that no pod uses.
    PvcProtection = "persistentvolumeclaim-protection-controller" => pvc_protection::start,
    /// Lets deleted volumes go that are not bound.
    PvProtection = "persistentvolume-protection-controller" => pv_protection::start,
    /// Lets deleted classes of volume attributes go that nothing uses.
    VacProtection = "volumeattributesclass-protection-controller" => vac_protection::start,
    /// Makes the claims of generic ephemeral volumes.
    EphemeralVolume = "ephemeral-volume-controller" => ephemeral_volume::start,
    /// Approves the requests of nodes for their own client certificates.
    CertificateApproving =
        "certificatesigningrequest-approving-controller" => certificates::start_approving,
    /// Signs approved certificate signing requests.
    CertificateSigning = "certificatesigningrequest-signing-controller" => certificates::start_signing,
    /// Deletes certificate signing requests that are done with.
    CertificateCleaning = "certificatesigningrequest-cleaner-controller" => certificates::start_cleaning,
    /// Deletes pods that no node will end.
    PodGarbage = "pod-garbage-collector-controller" => pod_garbage::start,
    /// Marks nodes that fall silent, and has their pods leave.
    NodeLifecycle = "node-lifecycle-controller" => node_lifecycle::start,
    /// Deletes pods from nodes whose taints they do not tolerate.
    TaintEviction = "taint-eviction-controller" => taint_eviction::start,
    /// Writes the rules of aggregated cluster roles.
    ClusterRoleAggregation = "clusterrole-aggregation-controller" => cluster_role_aggregation::start,
    /// Says how many pods of a disruption budget may be evicted.
    Disruption = "disruption-controller" => disruption::start,
    /// Keeps as many replicas as metrics ask for.
    HorizontalPodAutoscaler = "horizontal-pod-autoscaler-controller" => horizontal_pod_autoscaler::start,
    /// Makes the claims for devices of pods, and frees those that no pod uses.
    ResourceClaim = "resourceclaim-controller" => resource_claim::start,
    /// Counts what namespaces use of their quotas.
    ResourceQuota = "resourcequota-controller" => resource_quota::start,
    /// Says which generation of a validating admission policy has been seen, and what its expressions get wrong.
    ValidatingPolicyStatus =
        "validatingadmissionpolicy-status-controller" => validating_policy_status::start,
    /// Signs `cluster-info` with bootstrap tokens.
    BootstrapSigner = "bootstrap-signer-controller" => bootstrap::start_signing,
    /// Deletes bootstrap tokens that have expired.
    TokenCleaner = "token-cleaner-controller" => bootstrap::start_cleaning,
    /// Deletes what has lost its owners.
    GarbageCollector = "garbage-collector-controller" => garbage_collector::start,
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of controllers; those that upstream has on by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controllers(u64);

/// A name that no controller has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not in the list of known controllers")]
pub struct UnknownController(String);

impl Controllers {
    /// These controllers only.
    pub fn only(controllers: &[Controller]) -> Self {
        controllers.iter().fold(Self(0), |set, one| set.with(*one))
    }

    /// What `--controllers` of kube-controller-manager stands for: `*` for those that are on by default, a name for that
    /// controller, and a name after `-` for all but that one. The first that names a controller counts.
    /// Older names of controllers count too; those of upstream that do not run here have no effect.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str> + Clone) -> Result<Self, UnknownController> {
        let known = |name: &str| {
            Controller::ALL.iter().any(|one| one.name() == name) || names::ELSEWHERE.contains(&name)
        };
        let bare = |name: &'a str| names::canonical(name.strip_prefix('-').unwrap_or(name));
        if let Some(name) = names.clone().into_iter().find(|name| *name != "*" && !known(bare(name))) {
            return Err(UnknownController(bare(name).to_owned()));
        }
        let defaults =
            if names.clone().into_iter().any(|name| name == "*") { Self::default() } else { Self(0) };
        let is_on = |one: &&Controller| {
            let first = names.clone().into_iter().find(|name| bare(name) == one.name());
            first.map_or_else(|| defaults.contains(**one), |name| !name.starts_with('-'))
        };
        Ok(Self::only(&Controller::ALL.iter().filter(is_on).copied().collect::<Vec<_>>()))
    }

    /// The set without `controller`.
    #[must_use]
    pub fn without(self, controller: Controller) -> Self {
        Self(self.0 & !(1 << controller as u8))
    }

    /// The set with `controller`.
    #[must_use]
    pub fn with(self, controller: Controller) -> Self {
        Self(self.0 | 1 << controller as u8)
    }

    /// Whether `controller` is in the set.
    pub fn contains(self, controller: Controller) -> bool {
        self.0 & (1 << controller as u8) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Default for Controllers {
    fn default() -> Self {
        Self(u64::MAX).without(Controller::BootstrapSigner).without(Controller::TokenCleaner)
    }
}

/// What every controller gets.
#[derive(Clone)]
struct Context {
    api: Api,
    informers: Informers,
    recorder: Recorder,
    clock: Clock,
    metrics: Metrics,
    root_ca: Option<String>,
    authority: Option<Arc<Authority>>,
    type_checker: Option<TypeChecker>,
    shutdown: CancellationToken,
}

impl Context {
    /// An empty work queue that the metrics call `name`.
    fn queue<T: Clone + Eq + Hash>(&self, name: &'static str) -> Queue<T> {
        Queue::new(self.metrics.queue(name))
    }
}

/// Runs the enabled controllers until `shutdown`.
///
/// They work against any Kubernetes API that `client` reaches, with its permissions. Only one instance should run
/// for a cluster at a time.
pub async fn run(client: Client, options: Options, shutdown: CancellationToken) -> Result<(), Error> {
    let stop = shutdown.child_token();
    let api = Api::new(client);
    let watches = TaskTracker::new();
    let (recorder, sending) = Recorder::new(api.clone(), options.clock.clone());
    let context = Context {
        informers: Informers::new(api.clone(), watches.clone(), stop.clone()),
        api,
        recorder,
        clock: options.clock,
        metrics: options.metrics,
        root_ca: options.root_ca,
        authority: options.authority,
        type_checker: options.type_checker,
        shutdown: stop.clone(),
    };

    watches.spawn({
        let stop = stop.clone();
        async move {
            stop.run_until_cancelled(sending).await;
        }
    });
    let mut controllers = JoinSet::new();
    for controller in Controller::ALL.iter().copied().filter(|one| options.enabled.contains(*one)) {
        let work = controller.start(&context);
        controllers.spawn(async move {
            work.await;
            controller
        });
    }
    drop(context);

    let mut outcome = Ok(());
    if controllers.is_empty() {
        shutdown.cancelled().await;
    }
    while let Some(ended) = controllers.join_next().await {
        if stop.is_cancelled() {
            continue;
        }
        outcome = Err(match ended {
            Ok(controller) => Error::Ended(controller),
            Err(panic) => Error::Panicked(panic),
        });
        stop.cancel();
    }
    stop.cancel();
    watches.close();
    watches.wait().await;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_it_was_made_of() {
        let set = Controllers::only(&[Controller::Namespace, Controller::RootCa]);
        assert!(set.contains(Controller::RootCa) && !set.contains(Controller::ServiceAccount));
        assert!(!Controllers::default().without(Controller::RootCa).contains(Controller::RootCa));
    }

    #[test]
    fn controllers_are_named_as_for_kube_controller_manager() {
        let named = |names: &[&str]| Controllers::named(names.iter().copied());
        let set = named(&["*", "-job-controller", "token-cleaner-controller"]).unwrap();
        assert!(set.contains(Controller::TokenCleaner) && set.contains(Controller::Deployment));
        assert!(!set.contains(Controller::Job) && !set.contains(Controller::BootstrapSigner));
        assert_eq!(named(&["job-controller"]), Ok(Controllers::only(&[Controller::Job])));
        assert!(named(&[]).unwrap().is_empty());
        assert_eq!(named(&["*", "-jobs"]), Err(UnknownController("jobs".to_owned())));
    }

    /// The names in the first column of the table below a heading of `docs/controllers.md`.
    fn documented(heading: &str) -> Vec<&'static str> {
        let text = include_str!("../../../docs/controllers.md");
        let section = text.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        let cells = rows.filter_map(|row| row.split_once("` |")).map(|(cell, _)| cell);
        cells.flat_map(|cell| cell.split("`, `")).collect()
    }

    #[test]
    fn every_controller_of_upstream_is_documented_once_and_those_that_run_are_ours() {
        let (runs, runs_not) = (documented("What runs"), documented("What does not run"));
        // The time to live of jobs is one part of their controller.
        let own = Controller::ALL.iter().map(|one| one.name()).chain(["ttl-after-finished-controller"]);
        let (mut ours, mut told): (Vec<_>, _) = (own.collect(), runs.clone());
        ours.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, ours);
        // The time to live is among those that run, if not by a controller of its own.
        let elsewhere = names::ELSEWHERE.iter().filter(|name| **name != "ttl-after-finished-controller");
        let (mut elsewhere, mut told): (Vec<_>, _) = (elsewhere.copied().collect(), runs_not);
        elsewhere.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, elsewhere);
    }

    #[test]
    fn older_names_count_and_those_of_what_runs_elsewhere_have_no_effect() {
        let named = |names: &[&str]| Controllers::named(names.iter().copied());
        let set = named(&["*", "-job", "tokencleaner", "-nodeipam", "-ttl-controller"]).unwrap();
        assert!(set.contains(Controller::TokenCleaner) && !set.contains(Controller::Job));
        assert!(set.contains(Controller::Deployment) && set.contains(Controller::NodeLifecycle));
    }

    #[test]
    fn controllers_have_distinct_names() {
        let names: std::collections::BTreeSet<_> = Controller::ALL.iter().map(|one| one.name()).collect();
        assert_eq!(names.len(), Controller::ALL.len());
    }
}
