//! What wakes a cluster's reconcile, besides the cluster itself.
//!
//! Host objects are watched by their metadata alone and only a fingerprint of each is kept; a reconcile reads what it
//! needs. An event whose fingerprint is known wakes nobody, so that a list after an interrupted watch wakes only the
//! clusters of objects that changed meanwhile.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use futures::channel::mpsc::UnboundedSender;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use tokio_util::task::AbortOnDropHandle;
use vkube_crds::labels;

use crate::context::ClusterRef;
use crate::metrics::Metrics;

/// Clusters to wake for objects of kind `K` that the operator manages. `fingerprint` says which changes count.
pub fn children<K>(
    client: &Client,
    metrics: &Metrics,
    fingerprint: fn(&ObjectMeta) -> u64,
) -> BoxStream<'static, ClusterRef>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    let config = watcher::Config::default().labels(&format!("{}=true", labels::MANAGED));
    let events = watcher(Api::<PartialObjectMeta<K>>::all(client.clone()), config);
    changes(events, metrics.clone(), K::kind(&()).into_owned(), fingerprint)
        .flat_map(|metadata| stream::iter(owner(&metadata)))
        .boxed()
}

/// The metadata of all namespaces that changed: those of clusters for their labels, which policies select by, and
/// those on the host for all they are.
pub fn namespaces(client: &Client, metrics: &Metrics) -> BoxStream<'static, ObjectMeta> {
    use k8s_openapi::api::core::v1::Namespace;
    let events =
        watcher(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), watcher::Config::default());
    let fingerprint = |metadata: &ObjectMeta| {
        if owner(metadata).is_some() { version(metadata) } else { hash(&metadata.labels) }
    };
    changes(events, metrics.clone(), "Namespace".into(), fingerprint).boxed()
}

/// The cluster that an object belongs to, by its labels.
pub fn owner(metadata: &ObjectMeta) -> Option<ClusterRef> {
    let labels_of = metadata.labels.as_ref()?;
    let name = labels_of.get(labels::CLUSTER_NAME)?;
    let namespace = labels_of.get(labels::CLUSTER_NAMESPACE)?;
    Some(ClusterRef::new(name).within(namespace))
}

/// Every change counts.
pub fn version(metadata: &ObjectMeta) -> u64 {
    hash(&metadata.resource_version)
}

/// Changes of status do not count: a quota's changes with every pod.
pub fn without_status(metadata: &ObjectMeta) -> u64 {
    let writers: Vec<_> = metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.subresource.as_deref() != Some("status"))
        .map(|entry| {
            let fields = entry.fields_v1.as_ref().map(|fields| fields.0.to_string());
            (&entry.manager, &entry.operation, entry.time.as_ref().map(|time| time.0), fields)
        })
        .collect();
    hash(&(
        writers,
        &metadata.labels,
        &metadata.annotations,
        metadata.deletion_timestamp.as_ref().map(|time| time.0),
    ))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The metadata of objects that changed or vanished. The first list counts as change: a cluster may have been
/// reconciled before its objects were watched.
fn changes<K>(
    events: impl Stream<Item = watcher::Result<Event<PartialObjectMeta<K>>>> + Send + 'static,
    metrics: Metrics,
    kind: String,
    fingerprint: fn(&ObjectMeta) -> u64,
) -> impl Stream<Item = ObjectMeta> + Send + 'static
where
    K: Send + 'static,
{
    let mut seen = Seen { fingerprint, known: HashMap::new(), listed: None };
    events.default_backoff().flat_map(move |event| {
        let changed = match event {
            Ok(event) => seen.step(event.map_metadata()),
            Err(error) => {
                tracing::warn!(%error, kind, "a watch was interrupted");
                metrics.watch_error(&kind);
                Vec::new()
            }
        };
        stream::iter(changed)
    })
}

/// What a watch has shown so far.
struct Seen {
    fingerprint: fn(&ObjectMeta) -> u64,
    /// By UID; of the metadata only what leads to the cluster is kept.
    known: HashMap<String, (u64, ObjectMeta)>,
    /// The list under way, if any.
    listed: Option<HashMap<String, (u64, ObjectMeta)>>,
}

impl Seen {
    fn step(&mut self, event: Event<ObjectMeta>) -> Vec<ObjectMeta> {
        match event {
            Event::Init => {
                self.listed = Some(HashMap::new());
                Vec::new()
            }
            Event::InitApply(metadata) => {
                let (uid, print) = self.identify(&metadata);
                let changed = self.known.get(&uid).is_none_or(|(known, _)| *known != print);
                self.listed.get_or_insert_default().insert(uid, (print, essence(&metadata)));
                if changed { vec![metadata] } else { Vec::new() }
            }
            Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                let before = std::mem::replace(&mut self.known, listed);
                before
                    .into_iter()
                    .filter(|(uid, _)| !self.known.contains_key(uid))
                    .map(|(_, (_, metadata))| metadata)
                    .collect()
            }
            Event::Apply(metadata) => {
                let (uid, print) = self.identify(&metadata);
                let before = self.known.insert(uid, (print, essence(&metadata)));
                if before.is_some_and(|(known, _)| known == print) { Vec::new() } else { vec![metadata] }
            }
            Event::Delete(metadata) => {
                self.known.remove(&self.identify(&metadata).0);
                vec![metadata]
            }
        }
    }

    fn identify(&self, metadata: &ObjectMeta) -> (String, u64) {
        (metadata.uid.clone().unwrap_or_default(), (self.fingerprint)(metadata))
    }
}

/// Name and owner labels: enough to tell whom a vanished object concerns.
fn essence(metadata: &ObjectMeta) -> ObjectMeta {
    let kept = [labels::CLUSTER_NAME, labels::CLUSTER_NAMESPACE];
    ObjectMeta {
        name: metadata.name.clone(),
        labels: metadata.labels.as_ref().map(|all| {
            all.iter()
                .filter(|(key, _)| kept.contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        }),
        ..ObjectMeta::default()
    }
}

/// Reduces an event to metadata.
trait MapMetadata {
    fn map_metadata(self) -> Event<ObjectMeta>;
}

impl<K> MapMetadata for Event<PartialObjectMeta<K>> {
    fn map_metadata(self) -> Event<ObjectMeta> {
        match self {
            Self::Init => Event::Init,
            Self::InitDone => Event::InitDone,
            Self::InitApply(object) => Event::InitApply(object.metadata),
            Self::Apply(object) => Event::Apply(object.metadata),
            Self::Delete(object) => Event::Delete(object.metadata),
        }
    }
}

/// Watches of kubeconfig Secrets, one for each namespace that holds clusters.
///
/// The operator may read Secrets only in those namespaces, so one watch of all is out of the question. A watch begins
/// with the first cluster of a namespace and ends with the last.
pub struct SecretWatches {
    client: Client,
    metrics: Metrics,
    wake: UnboundedSender<ClusterRef>,
    namespaces: Mutex<HashMap<String, SecretWatch>>,
}

struct SecretWatch {
    clusters: HashSet<String>,
    _task: AbortOnDropHandle<()>,
}

impl SecretWatches {
    /// No watches yet; clusters to wake go to `wake`.
    pub fn new(client: Client, metrics: Metrics, wake: UnboundedSender<ClusterRef>) -> Self {
        Self { client, metrics, wake, namespaces: Mutex::default() }
    }

    /// Watches the namespace for the cluster of this UID. The operator must hold its rights there already.
    pub fn hold(&self, namespace: &str, uid: &str) {
        let mut all = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = all.entry(namespace.to_owned()).or_insert_with(|| SecretWatch {
            clusters: HashSet::new(),
            _task: AbortOnDropHandle::new(tokio::spawn(self.watch(namespace))),
        });
        watch.clusters.insert(uid.to_owned());
    }

    /// Ends the watch with its last cluster.
    pub fn release(&self, namespace: &str, uid: &str) {
        let mut all = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = all.get_mut(namespace) {
            watch.clusters.remove(uid);
            if watch.clusters.is_empty() {
                all.remove(namespace);
            }
        }
    }

    fn watch(&self, namespace: &str) -> impl Future<Output = ()> + Send + 'static {
        let config = watcher::Config::default().labels(&format!("{}=true", labels::MANAGED));
        let events =
            watcher(Api::<PartialObjectMeta<Secret>>::namespaced(self.client.clone(), namespace), config);
        let wake = self.wake.clone();
        changes(events, self.metrics.clone(), "Secret".into(), version).for_each(move |metadata| {
            // The receiver ends with the operator.
            let _ = owner(&metadata).map(|cluster| wake.unbounded_send(cluster));
            std::future::ready(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk(uid: &str, version: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(format!("object-{uid}")),
            uid: Some(uid.into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        }
    }

    fn mk_seen() -> Seen {
        Seen { fingerprint: version, known: HashMap::new(), listed: None }
    }

    fn names(seen: &mut Seen, events: Vec<Event<ObjectMeta>>) -> Vec<String> {
        events.into_iter().flat_map(|event| seen.step(event)).filter_map(|metadata| metadata.name).collect()
    }

    #[test]
    fn the_first_list_wakes_everybody_once() {
        let mut seen = mk_seen();
        let events =
            vec![Event::Init, Event::InitApply(mk("a", "1")), Event::InitDone, Event::Apply(mk("a", "1"))];
        assert_eq!(names(&mut seen, events), ["object-a"]);
    }

    #[test]
    fn a_later_list_wakes_what_changed_appeared_and_vanished() {
        let mut seen = mk_seen();
        let first = ["a", "b", "c"].map(|uid| Event::InitApply(mk(uid, "1")));
        names(&mut seen, std::iter::once(Event::Init).chain(first).chain([Event::InitDone]).collect());
        let events = vec![
            Event::Init,
            Event::InitApply(mk("a", "1")),
            Event::InitApply(mk("b", "2")),
            Event::InitApply(mk("d", "1")),
            Event::InitDone,
        ];
        assert_eq!(names(&mut seen, events), ["object-b", "object-d", "object-c"]);
    }

    #[test]
    fn an_event_that_changes_nothing_that_counts_wakes_nobody() {
        let mut seen = mk_seen();
        names(&mut seen, vec![Event::Init, Event::InitDone]);
        let events =
            vec![Event::Apply(mk("a", "1")), Event::Apply(mk("a", "1")), Event::Delete(mk("a", "1"))];
        assert_eq!(names(&mut seen, events), ["object-a", "object-a"]);
    }
}
