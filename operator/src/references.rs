//! Watches of single objects that a cluster depends on and that are not the operator's to mark: Secrets and ConfigMaps of
//! its owner's, and what its control plane asks for.
//!
//! Only clusters that name such objects have any, each of one object, so that the operator sees no others.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::channel::mpsc::UnboundedSender;
use futures::future::Either;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use tokio_util::task::AbortOnDropHandle;
use vkube_crds::SourceKind;

use crate::context::ClusterRef;
use crate::metrics::Metrics;
use crate::names::Identity;
use crate::triggers::{changes, version};

/// An object that a cluster depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// What it is.
    pub kind: SourceKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

type Tasks = HashMap<Reference, AbortOnDropHandle<()>>;

/// Watches of what clusters depend on, by the UID of the cluster.
pub struct References {
    client: Client,
    metrics: Metrics,
    wake: UnboundedSender<ClusterRef>,
    tasks: Mutex<HashMap<String, Tasks>>,
}

impl References {
    /// No watches yet; clusters to wake go to `wake`.
    pub fn new(client: Client, metrics: Metrics, wake: UnboundedSender<ClusterRef>) -> Self {
        Self { client, metrics, wake, tasks: Mutex::default() }
    }

    /// Watches these besides those that are. The operator must hold its rights in their namespaces already.
    pub fn add(&self, identity: &Identity, wanted: &BTreeSet<Reference>) {
        if wanted.is_empty() {
            return;
        }
        let mut all = self.tasks();
        let tasks = all.entry(identity.uid.clone()).or_default();
        for reference in wanted {
            let watch = || AbortOnDropHandle::new(tokio::spawn(self.watch(identity, reference)));
            tasks.entry(reference.clone()).or_insert_with(watch);
        }
    }

    /// Watches these and no others of the cluster.
    pub fn set(&self, identity: &Identity, wanted: &BTreeSet<Reference>) {
        self.add(identity, wanted);
        let mut all = self.tasks();
        if let Some(tasks) = all.get_mut(&identity.uid) {
            tasks.retain(|reference, _| wanted.contains(reference));
            if tasks.is_empty() {
                all.remove(&identity.uid);
            }
        }
    }

    /// Ends the watches of a cluster.
    pub fn release(&self, uid: &str) {
        self.tasks().remove(uid);
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<String, Tasks>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, identity: &Identity, reference: &Reference) -> impl Future<Output = ()> + Send + use<> {
        match reference.kind {
            SourceKind::Secret => Either::Left(self.watch_one::<Secret>(identity, reference)),
            SourceKind::ConfigMap => Either::Right(self.watch_one::<ConfigMap>(identity, reference)),
        }
    }

    fn watch_one<K>(
        &self,
        identity: &Identity,
        reference: &Reference,
    ) -> impl Future<Output = ()> + Send + use<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        let one = watcher::Config::default().fields(&format!("metadata.name={}", reference.name));
        let api = Api::<PartialObjectMeta<K>>::namespaced(self.client.clone(), &reference.namespace);
        let cluster = ClusterRef::new(&identity.name).within(&identity.namespace);
        let wake = self.wake.clone();
        let kind = K::kind(&()).into_owned();
        changes(watcher(api, one), self.metrics.clone(), kind, version).for_each(move |_| {
            // The receiver ends with the operator.
            let _ = wake.unbounded_send(cluster.clone());
            std::future::ready(())
        })
    }
}
