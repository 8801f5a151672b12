//! What every reconcile shares.

use std::sync::Arc;

use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use vkube_crds::{VirtualCluster, VirtualClusterPolicy};

use crate::apply::Host;
use crate::backoff::Backoff;
use crate::doors::Doors;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::references::References;
use crate::triggers::SecretWatches;
use crate::waiting::Waiting;

/// A VirtualCluster as stored: one that does not fit its type must not stop the watch of all.
pub type Cluster = DeserializeGuard<VirtualCluster>;
/// A VirtualClusterPolicy as stored.
pub type Policy = DeserializeGuard<VirtualClusterPolicy>;
/// Which VirtualCluster.
pub type ClusterRef = ObjectRef<Cluster>;

/// What every reconcile shares.
pub struct Context {
    /// Access to host objects.
    pub host: Host,
    /// What the operator was told at start.
    pub options: Options,
    /// Publishes events. One for the process: it knows what it has said before.
    pub recorder: Recorder,
    /// What is counted.
    pub metrics: Metrics,
    /// Failures in a row.
    pub backoff: Backoff,
    /// All policies.
    pub policies: Store<Policy>,
    /// Watches of kubeconfig Secrets.
    pub secrets: SecretWatches,
    /// Watches of what clusters depend on that is not the operator's.
    pub references: References,
    /// Clusters that wait for another to go.
    pub waiting: Waiting,
    /// Where clients of sleeping clusters knock.
    pub doors: Doors,
}

impl Context {
    /// A context over `client`.
    pub fn new(
        client: Client,
        options: Options,
        metrics: Metrics,
        policies: Store<Policy>,
        secrets: SecretWatches,
        references: References,
        waiting: Waiting,
    ) -> Self {
        let reporter =
            Reporter { controller: "vkube-operator".into(), instance: Some(options.identity.clone()) };
        Self {
            host: Host::new(client.clone(), metrics.clone()),
            doors: Doors::new(client.clone(), options.doors),
            recorder: Recorder::new(client, reporter),
            options,
            metrics,
            backoff: Backoff::default(),
            policies,
            secrets,
            references,
            waiting,
        }
    }

    /// The policies that could be read.
    pub fn policies(&self) -> Vec<Arc<VirtualClusterPolicy>> {
        self.policies
            .state()
            .into_iter()
            .filter_map(|policy| policy.0.as_ref().ok().map(|policy| Arc::new(policy.clone())))
            .collect()
    }
}
