//! The objects that pods are made from: what volumes and environments refer to, kept current by watches.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use futures::{Stream, StreamExt, stream::BoxStream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret, Service},
};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{
    env::{self, Lookup},
    volumes::{Claim, Claims},
};
use vkube_watch::feed::{self, Change, Key};

/// The current objects of one kind.
type Mirror<K> = RwLock<BTreeMap<Key, Arc<K>>>;

/// The objects that pods refer to.
pub(crate) struct Sources {
    config_maps: Mirror<ConfigMap>,
    secrets: Mirror<Secret>,
    claims: Mirror<PersistentVolumeClaim>,
    volumes: Mirror<PersistentVolume>,
    services: Mirror<Service>,
    /// Counts changes; 0 until everything is known.
    version: watch::Sender<u64>,
}

impl Sources {
    /// Sources that know nothing until [`Self::run`] is polled.
    pub fn new() -> Self {
        Self {
            config_maps: Mirror::default(),
            secrets: Mirror::default(),
            claims: Mirror::default(),
            volumes: Mirror::default(),
            services: Mirror::default(),
            version: watch::Sender::new(0),
        }
    }

    /// A receiver that learns of every change, of whichever object. Its value is 0 until all are known.
    pub fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Keeps the objects current.
    pub async fn run(&self, client: Client) {
        let mut changes = futures::stream::select_all([
            mirror(&self.config_maps, namespaced(&client)),
            mirror(&self.secrets, namespaced(&client)),
            mirror(&self.claims, namespaced(&client)),
            mirror(&self.services, namespaced(&client)),
            mirror(&self.volumes, feed::changes(Api::all(client), "").boxed()),
        ]);
        let mut missing = 5_u32;
        while let Some(first_sync) = changes.next().await {
            missing = missing.saturating_sub(u32::from(first_sync));
            if missing == 0 {
                self.version.send_modify(|version| *version += 1);
            }
        }
    }

    /// The variables that Services give to the pods of a namespace.
    pub fn service_links(&self, namespace: &str) -> BTreeMap<String, String> {
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        let own = services.iter().filter(|((own, _), _)| own == namespace);
        env::service_links(own.map(|(_, service)| service.as_ref()))
    }
}

/// Applies the changes of one kind; an item says whether it completed the kind's first list.
fn mirror<'a, K>(
    objects: &'a Mirror<K>,
    changes: impl Stream<Item = Change<K>> + Send + 'a,
) -> BoxStream<'a, bool>
where
    K: Resource + Send + Sync + 'static,
{
    let mut synced = false;
    changes
        .map(move |change| {
            let mut objects = objects.write().unwrap_or_else(PoisonError::into_inner);
            match change {
                Change::Applied(object) => {
                    objects.insert(feed::key(&*object), object);
                    false
                }
                Change::Deleted(object) => {
                    objects.remove(&feed::key(&*object));
                    false
                }
                Change::Synced => !std::mem::replace(&mut synced, true),
            }
        })
        .boxed()
}

fn namespaced<K>(client: &Client) -> BoxStream<'static, Change<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    feed::changes(Api::all(client.clone()), "").boxed()
}

fn read<K>(objects: &Mirror<K>, namespace: &str, name: &str) -> Option<Arc<K>> {
    let objects = objects.read().unwrap_or_else(PoisonError::into_inner);
    objects.get(&(namespace.to_owned(), name.to_owned())).cloned()
}

impl Lookup for Sources {
    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
        read(&self.config_maps, namespace, name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>> {
        read(&self.secrets, namespace, name)
    }
}

impl Claims for Sources {
    fn claim(&self, namespace: &str, name: &str) -> Claim {
        let Some(claim) = read(&self.claims, namespace, name) else { return Claim::Missing };
        let bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
        let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
        let Some(volume) = volume.filter(|_| bound) else { return Claim::Pending };
        let Some(volume) = read(&self.volumes, "", volume) else { return Claim::Pending };
        let spec = volume.spec.as_ref();
        let path = spec.and_then(|spec| {
            let host = spec.host_path.as_ref().map(|source| &source.path);
            host.or_else(|| spec.local.as_ref().map(|source| &source.path))
        });
        path.map_or(Claim::Foreign, |path| Claim::Bound(PathBuf::from(path)))
    }
}
