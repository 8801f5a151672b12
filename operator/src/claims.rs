//! Watches of what control planes ask for: host namespaces for virtual ones.
//!
//! Only clusters with mapped namespaces have one, and each is of one ConfigMap: the operator may read ConfigMaps nowhere
//! but in host namespaces.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::channel::mpsc::UnboundedSender;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use tokio_util::task::AbortOnDropHandle;
use vkube_crds::claims_name;

use crate::context::ClusterRef;
use crate::metrics::Metrics;
use crate::names::Identity;
use crate::triggers::{changes, version};

/// Watches of claims, by the UID of the cluster.
pub struct ClaimWatches {
    client: Client,
    metrics: Metrics,
    wake: UnboundedSender<ClusterRef>,
    tasks: Mutex<HashMap<String, AbortOnDropHandle<()>>>,
}

impl ClaimWatches {
    /// No watches yet; clusters to wake go to `wake`.
    pub fn new(client: Client, metrics: Metrics, wake: UnboundedSender<ClusterRef>) -> Self {
        Self { client, metrics, wake, tasks: Mutex::default() }
    }

    /// Watches the claims of a cluster. The operator must hold its rights in the host namespace already.
    pub fn hold(&self, identity: &Identity) {
        let watch = || AbortOnDropHandle::new(tokio::spawn(self.watch(identity)));
        self.tasks().entry(identity.uid.clone()).or_insert_with(watch);
    }

    /// Ends the watch of a cluster.
    pub fn release(&self, uid: &str) {
        self.tasks().remove(uid);
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<String, AbortOnDropHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, identity: &Identity) -> impl Future<Output = ()> + Send + 'static {
        let one =
            watcher::Config::default().fields(&format!("metadata.name={}", claims_name(&identity.name)));
        let api =
            Api::<PartialObjectMeta<ConfigMap>>::namespaced(self.client.clone(), &identity.host_namespace);
        let cluster = ClusterRef::new(&identity.name).within(&identity.namespace);
        let wake = self.wake.clone();
        changes(watcher(api, one), self.metrics.clone(), "ConfigMap".into(), version).for_each(move |_| {
            // The receiver ends with the operator.
            let _ = wake.unbounded_send(cluster.clone());
            std::future::ready(())
        })
    }
}
