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

use crate::build::DOORBELL;
use crate::context::ClusterRef;
use crate::metrics::Metrics;

/// Objects in a page of a list: a whole list at once would cost more memory than all that is kept.
pub const PAGE: u32 = 50;

/// Clusters to wake for objects of kind `K` that the operator manages. `fingerprint` says which changes count.
pub fn children<K>(
    client: &Client,
    metrics: &Metrics,
    fingerprint: fn(&ObjectMeta) -> u64,
) -> BoxStream<'static, ClusterRef>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    let events = watcher(Api::<PartialObjectMeta<K>>::all(client.clone()), managed());
    changes(events, metrics.clone(), K::kind(&()).into_owned(), fingerprint)
        .flat_map(|subject| stream::iter(subject.cluster()))
        .boxed()
}

/// Clusters to wake for what leads clients of sleeping ones to the operator. Other EndpointSlices are of no concern, and
/// there are as many as tenants like.
pub fn doorbells(client: &Client, metrics: &Metrics) -> BoxStream<'static, ClusterRef> {
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    let ours = watcher::Config::default().labels(DOORBELL).page_size(PAGE);
    let events = watcher(Api::<PartialObjectMeta<EndpointSlice>>::all(client.clone()), ours);
    changes(events, metrics.clone(), "EndpointSlice".into(), version)
        .flat_map(|subject| stream::iter(subject.cluster()))
        .boxed()
}

/// All namespaces that changed: those of clusters by their labels, which policies select by, and those on the host by all
/// they are.
pub fn namespaces(client: &Client, metrics: &Metrics) -> BoxStream<'static, Subject> {
    use k8s_openapi::api::core::v1::Namespace;
    let all = watcher::Config::default().page_size(PAGE);
    let events = watcher(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), all);
    let fingerprint = |metadata: &ObjectMeta| {
        if Subject::of(metadata).cluster().is_some() { version(metadata) } else { hash(&metadata.labels) }
    };
    changes(events, metrics.clone(), "Namespace".into(), fingerprint).boxed()
}

/// What the operator manages.
fn managed() -> watcher::Config {
    watcher::Config::default().labels(&format!("{}=true", labels::MANAGED)).page_size(PAGE)
}

/// Whom an object concerns. There is one for each object that is watched, so it holds nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The cluster that it belongs to, by its labels.
    Cluster {
        /// The VirtualCluster's namespace.
        namespace: Box<str>,
        /// Its name.
        name: Box<str>,
    },
    /// Whoever cares for the object of this name.
    Other(Box<str>),
}

impl Subject {
    fn of(metadata: &ObjectMeta) -> Self {
        let label = |key| {
            metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(|value| value.as_str().into())
        };
        match (label(labels::CLUSTER_NAMESPACE), label(labels::CLUSTER_NAME)) {
            (Some(namespace), Some(name)) => Self::Cluster { namespace, name },
            _ => Self::Other(metadata.name.as_deref().unwrap_or_default().into()),
        }
    }

    /// The cluster, if it is one's.
    pub fn cluster(&self) -> Option<ClusterRef> {
        match self {
            Self::Cluster { namespace, name } => Some(ClusterRef::new(name).within(namespace)),
            Self::Other(_) => None,
        }
    }
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

/// Whom objects concern that changed or vanished. The first list counts as change: a cluster may have been
/// reconciled before its objects were watched.
pub fn changes<K>(
    events: impl Stream<Item = watcher::Result<Event<PartialObjectMeta<K>>>> + Send + 'static,
    metrics: Metrics,
    kind: String,
    fingerprint: fn(&ObjectMeta) -> u64,
) -> impl Stream<Item = Subject> + Send + 'static
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

/// What is kept of an object that is watched.
#[derive(Clone, Debug)]
struct Known {
    fingerprint: u64,
    subject: Subject,
}

/// What a watch has shown so far.
struct Seen {
    fingerprint: fn(&ObjectMeta) -> u64,
    /// By UID.
    known: HashMap<Box<str>, Known>,
    /// The list under way, if any.
    listed: Option<HashMap<Box<str>, Known>>,
}

impl Seen {
    fn step(&mut self, event: Event<ObjectMeta>) -> Vec<Subject> {
        match event {
            Event::Init => {
                self.listed = Some(HashMap::new());
                Vec::new()
            }
            Event::InitApply(metadata) => {
                let (uid, now) = self.identify(&metadata);
                let changed = self.known.get(&uid).is_none_or(|before| before.fingerprint != now.fingerprint);
                let subject = changed.then(|| now.subject.clone());
                self.listed.get_or_insert_default().insert(uid, now);
                subject.into_iter().collect()
            }
            Event::InitDone => {
                let mut listed = self.listed.take().unwrap_or_default();
                listed.shrink_to_fit();
                let before = std::mem::replace(&mut self.known, listed);
                before
                    .into_iter()
                    .filter(|(uid, _)| !self.known.contains_key(uid))
                    .map(|(_, gone)| gone.subject)
                    .collect()
            }
            Event::Apply(metadata) => {
                let (uid, now) = self.identify(&metadata);
                let (fingerprint, subject) = (now.fingerprint, now.subject.clone());
                let before = self.known.insert(uid, now);
                if before.is_some_and(|before| before.fingerprint == fingerprint) {
                    Vec::new()
                } else {
                    vec![subject]
                }
            }
            Event::Delete(metadata) => {
                let (uid, gone) = self.identify(&metadata);
                self.known.remove(&uid);
                vec![gone.subject]
            }
        }
    }

    fn identify(&self, metadata: &ObjectMeta) -> (Box<str>, Known) {
        let known = Known { fingerprint: (self.fingerprint)(metadata), subject: Subject::of(metadata) };
        (metadata.uid.as_deref().unwrap_or_default().into(), known)
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
        let events =
            watcher(Api::<PartialObjectMeta<Secret>>::namespaced(self.client.clone(), namespace), managed());
        let wake = self.wake.clone();
        changes(events, self.metrics.clone(), "Secret".into(), version).for_each(move |subject| {
            // The receiver ends with the operator.
            let _ = subject.cluster().map(|cluster| wake.unbounded_send(cluster));
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
        let name = |subject| match subject {
            Subject::Other(name) => name.into(),
            Subject::Cluster { namespace, name } => format!("{namespace}/{name}"),
        };
        events.into_iter().flat_map(|event| seen.step(event)).map(name).collect()
    }

    #[test]
    fn an_object_with_both_labels_concerns_its_cluster() {
        let mut metadata = mk("a", "1");
        let labels = [(labels::CLUSTER_NAMESPACE, "tenants"), (labels::CLUSTER_NAME, "demo")];
        metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        assert_eq!(names(&mut mk_seen(), vec![Event::Apply(metadata)]), ["tenants/demo"]);
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
