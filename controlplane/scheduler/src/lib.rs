//! Gives every pod that waits for one a node, as kube-scheduler does.
//!
//! ```text
//!  watches ──News──► Cluster ──► decide (filter, score, preempt) ──► bind | nominate and evict | say why not
//!                                         ▲                           │
//!                        pods that wait ──┴───── what they wait for ◄─┘
//! ```
//!
//! Driven by events alone: a pod is tried when it appears or changes, and those that fit nowhere are tried again when
//! something has changed that they may have waited for. What happens while the scheduler is busy is taken in together,
//! so that many events cost one attempt. A placement counts from the moment it is decided, before the API server has
//! confirmed the binding. For a pod that fits nowhere, others of lower priority may have to go: it is nominated for their
//! node, whose room is kept for it until they are gone.

mod act;
mod decide;
pub mod events;
mod filter;
mod preempt;
pub mod profile;
pub mod quantity;
mod score;
mod spread;
mod state;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod},
    policy::v1::PodDisruptionBudget,
    storage::v1::{CSINode, StorageClass},
};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use vkube_watch::feed::{self, Change, Key};

use act::Hand;
use decide::{Decision, Nominated, decide};
use events::Recorder;
use preempt::{Candidate, priority};
pub use profile::{Profile, ProfileError};
use state::Cluster;

/// Whose the volumes of pods are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Volumes {
    /// The cluster's own: pods go where their volumes are or can be made.
    #[default]
    Own,
    /// Those of another cluster, which looks after them when it gets the pods.
    Elsewhere,
}

/// How pods are scheduled.
#[derive(Clone, Debug)]
pub struct Options {
    /// The schedulers that pods can ask for by name.
    pub profiles: Vec<Profile>,
    /// Whose the volumes are.
    pub volumes: Volumes,
}

impl Default for Options {
    fn default() -> Self {
        Self { profiles: vec![Profile::default()], volumes: Volumes::Own }
    }
}

/// Schedules pods for as long as it is polled.
pub async fn run(client: Client, options: Options) {
    let (recorder, mut events) = Recorder::scheduling(client.clone());
    tokio::select! {
        () = schedule(client, recorder, options) => {}
        () = events.run() => {}
    }
}

/// What the watches tell.
enum News {
    Node(Change<Node>),
    Pod(Change<Pod>),
    Budget(Change<PodDisruptionBudget>),
    Namespace(Change<Namespace>),
    Claim(Change<PersistentVolumeClaim>),
    Volume(Change<PersistentVolume>),
    Class(Change<StorageClass>),
    Limits(Change<CSINode>),
}

type Feed = SelectAll<BoxStream<'static, News>>;

fn watch(client: &Client, volumes: Volumes) -> Feed {
    let mut feed = Feed::new();
    feed.push(follow(Api::all(client.clone()), News::Node));
    feed.push(follow(Api::all(client.clone()), News::Pod));
    feed.push(follow(Api::all(client.clone()), News::Budget));
    feed.push(follow(Api::all(client.clone()), News::Namespace));
    feed.push(follow(Api::all(client.clone()), News::Claim));
    if volumes == Volumes::Own {
        feed.push(follow(Api::all(client.clone()), News::Volume));
        feed.push(follow(Api::all(client.clone()), News::Class));
        feed.push(follow(Api::all(client.clone()), News::Limits));
    }
    feed
}

fn follow<K>(api: Api<K>, tell: fn(Change<K>) -> News) -> BoxStream<'static, News>
where
    K: Resource + DeserializeOwned + Send + Sync + 'static,
{
    feed::changes(api, "").map(tell).boxed()
}

async fn schedule(client: Client, recorder: Recorder, options: Options) {
    let mut feed = watch(&client, options.volumes);
    let mut scheduler = Scheduler {
        unknown: feed.len(),
        hand: Hand { client, recorder },
        cluster: Cluster::new(options.profiles),
        waiting: BTreeMap::new(),
        fresh: BTreeSet::new(),
        wake: Wake::Nobody,
        nominated: BTreeMap::new(),
        promised: BTreeMap::new(),
        writes: JoinSet::new(),
    };
    scheduler.cluster.volumes.elsewhere = options.volumes == Volumes::Elsewhere;
    loop {
        tokio::select! {
            Some(news) = feed.next() => scheduler.hear(news),
            Some(Ok(refused)) = scheduler.writes.join_next() => {
                if let Some(pod) = refused {
                    scheduler.refused(pod);
                }
            }
            else => return,
        }
        while let Some(Some(news)) = feed.next().now_or_never() {
            scheduler.hear(news);
        }
        scheduler.work();
    }
}

/// Which of the pods that fit nowhere an event may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wake {
    Nobody,
    /// Those that look at where other pods are.
    Related,
    /// Those with claims, and those that look at other pods.
    Storing,
    Everybody,
}

struct Scheduler {
    hand: Hand,
    cluster: Cluster,
    /// How many kinds have not been told in full yet.
    unknown: usize,
    waiting: BTreeMap<Key, Arc<Pod>>,
    /// Those of them that have not been tried as they are.
    fresh: BTreeSet<Key>,
    /// Which of the others to try again.
    wake: Wake,
    /// Those of them for which others leave a node.
    nominated: Nominated,
    /// Pods that have a node, and wait for their claims to be bound to volumes there.
    promised: BTreeMap<Key, (Arc<Pod>, String)>,
    /// Writes under way; a pod comes back if it still needs a node.
    writes: JoinSet<Option<Arc<Pod>>>,
}

impl Scheduler {
    fn hear(&mut self, news: News) {
        let wake = match news {
            News::Node(Change::Applied(node)) => wake_if(self.cluster.set_node(&node), Wake::Everybody),
            News::Node(Change::Deleted(node)) => {
                self.cluster.remove_node(&node.name_any());
                Wake::Nobody
            }
            News::Budget(Change::Applied(budget)) => {
                self.cluster.set_budget(&budget);
                Wake::Nobody
            }
            News::Budget(Change::Deleted(budget)) => {
                self.cluster.remove_budget(&feed::key(&*budget));
                Wake::Nobody
            }
            News::Namespace(Change::Applied(namespace)) => {
                wake_if(self.cluster.set_namespace(&namespace), Wake::Related)
            }
            News::Namespace(Change::Deleted(namespace)) => {
                self.cluster.remove_namespace(&namespace.name_any());
                Wake::Nobody
            }
            News::Claim(Change::Synced)
            | News::Volume(Change::Synced)
            | News::Class(Change::Synced)
            | News::Limits(Change::Synced)
            | News::Node(Change::Synced)
            | News::Budget(Change::Synced)
            | News::Namespace(Change::Synced)
            | News::Pod(Change::Synced) => {
                self.unknown = self.unknown.saturating_sub(1);
                Wake::Nobody
            }
            News::Claim(change) => keep(&mut self.cluster.volumes.claims, change),
            News::Volume(change) => keep(&mut self.cluster.volumes.volumes, change),
            News::Class(change) => keep(&mut self.cluster.volumes.classes, change),
            News::Limits(change) => keep(&mut self.cluster.volumes.nodes, change),
            News::Pod(Change::Applied(pod)) => self.pod_applied(&pod),
            News::Pod(Change::Deleted(pod)) => self.pod_gone(&feed::key(&*pod)),
        };
        self.wake = self.wake.max(wake);
    }

    fn pod_gone(&mut self, key: &Key) -> Wake {
        self.forget(key);
        wake_if(self.cluster.release(key), Wake::Everybody)
    }

    fn pod_applied(&mut self, pod: &Arc<Pod>) -> Wake {
        let key = feed::key(&**pod);
        let spec = pod.spec.as_ref();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return self.pod_gone(&key);
        }
        if let Some(node) = spec.and_then(|spec| spec.node_name.as_deref()).filter(|node| !node.is_empty()) {
            self.forget(&key);
            let known = self.cluster.placed(&key);
            let news = known.is_none_or(|known| known.node != node || known.pod.labels() != pod.labels());
            self.cluster.place(pod, node);
            return wake_if(news, Wake::Related);
        }

        let gated =
            spec.and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty());
        let ours = self.cluster.profile(pod).is_some() && !gated;
        if !ours || pod.metadata.deletion_timestamp.is_some() {
            let promised = self.promised.contains_key(&key);
            self.forget(&key);
            return wake_if(promised && self.cluster.release(&key), Wake::Everybody);
        }
        if self.promised.contains_key(&key) {
            return Wake::Nobody;
        }
        let node = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
        if let Some(node) = node.filter(|node| !node.is_empty()) {
            self.nominated.entry(key.clone()).or_insert_with(|| (Arc::clone(pod), node.to_owned()));
        }
        let old = self.waiting.insert(key.clone(), Arc::clone(pod));
        // Our own report of failure changes only the status and is no reason to try again.
        if old.is_none_or(|old| old.spec != pod.spec || old.metadata.uid != pod.metadata.uid) {
            self.fresh.insert(key);
        }
        Wake::Nobody
    }

    fn forget(&mut self, key: &Key) {
        self.waiting.remove(key);
        self.fresh.remove(key);
        self.nominated.remove(key);
        self.promised.remove(key);
    }

    /// Tries the pods for which there is news, the most important first.
    fn work(&mut self) {
        if self.unknown > 0 {
            return;
        }
        self.keep_promises();
        let (fresh, wake) =
            (std::mem::take(&mut self.fresh), std::mem::replace(&mut self.wake, Wake::Nobody));
        let is_due = |key: &Key, pod: &Pod| {
            fresh.contains(key)
                || match wake {
                    Wake::Nobody => false,
                    Wake::Related => is_related(pod),
                    Wake::Storing => is_related(pod) || volumes::claims_of(pod).next().is_some(),
                    Wake::Everybody => true,
                }
        };
        let due = self.waiting.iter().filter(|(key, pod)| is_due(key, pod));
        let mut keys: Vec<_> = due.map(|(key, pod)| (order(pod), key.clone())).collect();
        keys.sort();
        for (_, key) in keys {
            self.try_one(&key);
        }
    }

    fn try_one(&mut self, key: &Key) {
        let Some(pod) = self.waiting.get(key).cloned() else { return };
        match decide(&pod, &self.cluster, &self.nominated) {
            Decision::Bind(node) => self.place(&pod, node),
            Decision::Preempt(candidate, message) => self.preempt(&pod, candidate, message),
            Decision::Wait { message, keeps_nomination } => {
                if !keeps_nomination {
                    self.nominated.remove(key);
                }
                self.report(&pod, message);
            }
        }
    }

    /// Binds the pod to the node, first having volumes made for it there if it waits for some.
    fn place(&mut self, pod: &Arc<Pod>, node: String) {
        let key = feed::key(&**pod);
        self.forget(&key);
        let own = !self.cluster.volumes.elsewhere;
        let wanted = self.cluster.node(&node).filter(|_| own);
        let wanted = wanted.map(|node| self.cluster.volumes.waiting(pod, node)).unwrap_or_default();
        self.cluster.place(pod, &node);
        let (hand, pod) = (self.hand.clone(), Arc::clone(pod));
        if wanted.is_empty() {
            self.writes.spawn(async move { hand.bind(pod, node).await });
        } else {
            self.promised.insert(key, (Arc::clone(&pod), node.clone()));
            self.writes.spawn(async move { hand.reserve(pod, node, wanted).await });
        }
    }

    /// Binds the pods whose claims have got their volumes.
    fn keep_promises(&mut self) {
        let volumes = &self.cluster.volumes;
        let (hand, writes) = (&self.hand, &mut self.writes);
        self.promised.retain(|_, (pod, node)| {
            let bound = volumes.are_bound(pod);
            if bound {
                let (hand, pod, node) = (hand.clone(), Arc::clone(pod), node.clone());
                writes.spawn(async move { hand.bind(pod, node).await });
            }
            !bound
        });
    }

    /// Keeps the node for the pod, and has those leave that are in its way.
    fn preempt(&mut self, pod: &Arc<Pod>, candidate: Candidate, message: String) {
        let node = &candidate.node;
        // Less important pods that waited for the same room look for another.
        self.nominated.retain(|_, (other, theirs)| theirs != node || priority(other) >= priority(pod));
        self.nominated.insert(feed::key(&**pod), (Arc::clone(pod), node.clone()));
        self.report(pod, message);
        let (hand, pod) = (self.hand.clone(), Arc::clone(pod));
        self.writes.spawn(async move {
            hand.evict(&pod, candidate).await;
            None
        });
    }

    /// Tells why the pod has no node yet.
    fn report(&mut self, pod: &Arc<Pod>, message: String) {
        let node = self.nominated.get(&feed::key(&**pod)).map(|(_, node)| node.clone());
        let (hand, pod) = (self.hand.clone(), Arc::clone(pod));
        self.writes.spawn(async move {
            hand.report(&pod, message, node).await;
            None
        });
    }

    /// Tries a pod again whose node could not be written.
    fn refused(&mut self, pod: Arc<Pod>) {
        let key = feed::key(&*pod);
        self.promised.remove(&key);
        self.cluster.release(&key);
        self.waiting.entry(key.clone()).or_insert(pod);
        self.fresh.insert(key);
    }
}

fn wake_if(news: bool, wake: Wake) -> Wake {
    if news { wake } else { Wake::Nobody }
}

/// Whether where the pod may go depends on where other pods are.
fn is_related(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let affinity = spec.affinity.as_ref();
    affinity.is_some_and(|affinity| affinity.pod_affinity.is_some() || affinity.pod_anti_affinity.is_some())
        || spec.topology_spread_constraints.as_ref().is_some_and(|constraints| !constraints.is_empty())
}

/// Takes in what pods with volumes may wait for.
fn keep<K: Resource>(known: &mut BTreeMap<Key, Arc<K>>, change: Change<K>) -> Wake {
    match change {
        Change::Applied(object) => {
            known.insert(feed::key(&*object), object);
            Wake::Storing
        }
        Change::Deleted(object) => {
            known.remove(&feed::key(&*object));
            Wake::Storing
        }
        Change::Synced => Wake::Nobody,
    }
}

/// Higher priority first, then older first.
fn order(pod: &Pod) -> (i64, Option<Timestamp>) {
    (-i64::from(priority(pod)), pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

#[cfg(test)]
mod run_tests;
