//! Gives every pod that waits for one a node, as kube-scheduler does.
//!
//! ```text
//!  watches ──News──► Cluster ──► decide (filter, score, preempt) ──► bind | nominate and evict | say why not
//!                                         ▲                           │
//!                        pods that wait ──┴───── what they wait for ◄─┘
//! ```
//!
//! Driven by events: a pod is tried when it appears or changes, and those that fit nowhere are tried again when something
//! has changed that they may have waited for, or after five minutes (`queue.rs`). What happens while the scheduler is busy
//! is taken in together, so that many events cost one attempt. A placement counts from the moment it is decided, before
//! the API server has confirmed the binding. For a pod that fits nowhere, others of lower priority may have to go: it is
//! nominated for their node, whose room is kept for it until they are gone.

mod act;
mod decide;
mod devices;
pub mod events;
mod filter;
mod metrics;
mod news;
mod preempt;
pub mod profile;
pub mod quantity;
mod queue;
mod score;
mod spread;
mod state;
mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use vkube_watch::feed::{self, Change, Key};

use act::{Done, Hand, Prepared, Reason};
use decide::{Decision, Nominated, decide};
pub use devices::DeviceSelector;
use devices::Grant;
use events::Recorder;
pub use metrics::Metrics;
use metrics::Outcome;
use news::{News, Wake, keep, wake_if, watch};
use preempt::{Candidate, priority};
use profile::Plugin;
pub use profile::{Profile, ProfileError};
use queue::{History, Queue};
use state::Cluster;

/// How long a pod with a node waits for its volumes (`bindTimeoutSeconds` of the plugin VolumeBinding).
const BINDING: Duration = Duration::from_secs(10 * 60);

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
    /// Who knows which devices claims ask for; without one, devices are another cluster's matter too.
    pub devices: Option<DeviceSelector>,
    /// Where it is counted what happens.
    pub metrics: Metrics,
}

impl Default for Options {
    fn default() -> Self {
        let profiles = vec![Profile::default()];
        Self { profiles, volumes: Volumes::Own, devices: None, metrics: Metrics::default() }
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

async fn schedule(client: Client, recorder: Recorder, options: Options) {
    let mut feed = watch(&client, options.volumes, options.devices.is_some());
    let mut scheduler = Scheduler {
        unknown: feed.len(),
        hand: Hand { client, recorder },
        cluster: Cluster::new(options.profiles),
        queue: Queue::default(),
        wake: Wake::Nobody,
        nominated: BTreeMap::new(),
        placing: BTreeMap::new(),
        writes: JoinSet::new(),
        metrics: options.metrics,
    };
    scheduler.cluster.volumes.elsewhere = options.volumes == Volumes::Elsewhere;
    scheduler.cluster.devices.selector = options.devices;
    loop {
        let next = scheduler.next();
        let timer = async move {
            match next {
                Some(at) => sleep_until(at).await,
                None => futures::future::pending().await,
            }
        };
        tokio::select! {
            Some(news) = feed.next() => scheduler.hear(news),
            Some(Ok(done)) = scheduler.writes.join_next() => scheduler.done(done, Instant::now()),
            () = timer => {}
            else => return,
        }
        while let Some(Some(news)) = feed.next().now_or_never() {
            scheduler.hear(news);
        }
        scheduler.work(Instant::now());
    }
}

struct Scheduler {
    hand: Hand,
    cluster: Cluster,
    /// How many kinds have not been told in full yet.
    unknown: usize,
    queue: Queue,
    /// Which of the pods that fit nowhere to try again.
    wake: Wake,
    /// Those of them for which others leave a node.
    nominated: Nominated,
    /// Pods that have a node, but are not known to be bound.
    placing: BTreeMap<Key, Placing>,
    /// Writes under way.
    writes: JoinSet<Done>,
    metrics: Metrics,
}

/// A pod on its way to a node.
struct Placing {
    pod: Arc<Pod>,
    node: String,
    history: History,
    /// When the attempt began.
    began: Instant,
    /// What its claims for devices get.
    grants: Vec<Grant>,
    stage: Stage,
}

/// How far a pod has come.
enum Stage {
    /// What it needs is being asked for.
    Preparing,
    /// It waits for its volumes; these claims have been told the node.
    Waiting(Vec<Key>),
    /// It is being bound.
    Binding,
    /// It is, and counted.
    Bound,
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
            | News::Driver(Change::Synced)
            | News::Capacity(Change::Synced)
            | News::DeviceClaim(Change::Synced)
            | News::Slice(Change::Synced)
            | News::DeviceClass(Change::Synced)
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
            News::Driver(change) => keep(&mut self.cluster.volumes.drivers, change),
            News::Capacity(change) => keep(&mut self.cluster.volumes.capacities, change),
            News::DeviceClaim(change) => keep(&mut self.cluster.devices.claims, change),
            News::Slice(change) => keep(&mut self.cluster.devices.slices, change),
            News::DeviceClass(change) => keep(&mut self.cluster.devices.classes, change),
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
            self.bound(&key);
            self.forget(&key);
            let known = self.cluster.placed(&key);
            let news = known.is_none_or(|known| known.node != node || known.pod.labels() != pod.labels());
            self.cluster.place(pod, node);
            return wake_if(news, Wake::Related);
        }

        let gated =
            spec.and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty());
        let ours = self.cluster.profile(pod).is_some();
        if !ours || gated || pod.metadata.deletion_timestamp.is_some() {
            let was_placing = self.forget(&key);
            if ours && gated && pod.metadata.deletion_timestamp.is_none() {
                self.queue.gate(key.clone());
            }
            return wake_if(was_placing && self.cluster.release(&key), Wake::Everybody);
        }
        if self.placing.contains_key(&key) {
            return Wake::Nobody;
        }
        let node = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
        if let Some(node) = node.filter(|node| !node.is_empty()) {
            self.nominated.entry(key).or_insert_with(|| (Arc::clone(pod), node.to_owned()));
        }
        self.queue.observe(pod, Instant::now());
        Wake::Nobody
    }

    /// Forgets a pod that waits or is on its way to a node; says whether it was on its way.
    fn forget(&mut self, key: &Key) -> bool {
        self.queue.remove(key);
        self.nominated.remove(key);
        let placing = self.placing.remove(key);
        if let Some(placing) = &placing {
            self.cluster.devices.settle(&placing.grants);
        }
        placing.is_some()
    }

    /// Tries the pods for which there is news, the most important first.
    fn work(&mut self, now: Instant) {
        if self.unknown > 0 {
            return;
        }
        self.keep_promises(now);
        match std::mem::replace(&mut self.wake, Wake::Nobody) {
            Wake::Nobody => {}
            Wake::Related => self.queue.wake(is_related),
            Wake::Claiming => self.queue.wake(|pod| {
                is_related(pod) || volumes::claims_of(pod).next().is_some() || devices::has_claims(pod)
            }),
            Wake::Everybody => self.queue.wake(|_| true),
        }
        for key in self.queue.due(now) {
            self.try_one(&key, now);
        }
        self.metrics.waiting(self.queue.counts());
    }

    /// When there is something to do even if nothing happens.
    fn next(&self) -> Option<Instant> {
        let ends = self.placing.values().filter_map(|placing| match placing.stage {
            Stage::Waiting(_) => Some(placing.began + BINDING),
            Stage::Preparing | Stage::Binding | Stage::Bound => None,
        });
        ends.chain(self.queue.next()).min()
    }

    fn try_one(&mut self, key: &Key, now: Instant) {
        let Some(pod) = self.queue.get(key).cloned() else { return };
        let profile = self.cluster.profile(&pod);
        let minds = profile.is_some_and(|profile| profile.filters(Plugin::DynamicResources));
        if let Some(why) = self.cluster.devices.absence(&pod).filter(|_| minds) {
            // That is nothing to tell of: whoever makes the claims is on it.
            tracing::debug!(pod = pod.name_any(), why, "not tried yet");
            return self.queue.unschedulable(key, now);
        }
        match decide(&pod, &self.cluster, &self.nominated) {
            Decision::Bind(node) => self.place(&pod, node, now),
            Decision::Preempt(candidate, message) => {
                self.metrics.preempted(candidate.victims.len());
                self.queue.unschedulable(key, now);
                self.attempted(&pod, Outcome::Unschedulable, now);
                self.preempt(&pod, candidate, message);
            }
            Decision::Wait { message, keeps_nomination } => {
                if !keeps_nomination {
                    self.nominated.remove(key);
                }
                self.queue.unschedulable(key, now);
                self.attempted(&pod, Outcome::Unschedulable, now);
                if let Some(claim) = self.cluster.devices.idle(&pod, self.cluster.nodes()) {
                    let hand = self.hand.clone();
                    self.writes.spawn(async move {
                        hand.take_back(&claim).await;
                        Done::Told
                    });
                }
                self.report(&pod, Reason::Unschedulable, message);
            }
        }
    }

    fn attempted(&self, pod: &Pod, outcome: Outcome, began: Instant) {
        let profile = self.cluster.profile(pod).map_or(profile::DEFAULT, |profile| profile.name.as_str());
        self.metrics.attempted(profile, outcome, began.elapsed());
    }

    /// Binds the pod to the node, first giving its claims their devices and having volumes made for it there.
    fn place(&mut self, pod: &Arc<Pod>, node: String, began: Instant) {
        let key = feed::key(&**pod);
        let history = self.queue.take(&key).unwrap_or_default();
        self.nominated.remove(&key);
        let own = !self.cluster.volumes.elsewhere;
        let there = self.cluster.node(&node);
        let volumes = there.filter(|_| own).map(|node| self.cluster.volumes.waiting(pod, node));
        let grants = there.and_then(|node| self.cluster.devices.grants(pod, node).ok()).unwrap_or_default();
        let volumes = volumes.unwrap_or_default();
        self.cluster.place(pod, &node);
        self.cluster.devices.promise(&grants);
        let stage = if volumes.is_empty() && grants.is_empty() {
            self.bind(Arc::clone(pod), node.clone());
            Stage::Binding
        } else {
            let (hand, pod, node, grants) =
                (self.hand.clone(), Arc::clone(pod), node.clone(), grants.clone());
            self.writes.spawn(async move { hand.prepare(pod, node, grants, volumes).await });
            Stage::Preparing
        };
        let pod = Arc::clone(pod);
        self.placing.insert(key, Placing { pod, node, history, began, grants, stage });
    }

    fn bind(&mut self, pod: Arc<Pod>, node: String) {
        let hand = self.hand.clone();
        self.writes.spawn(async move { hand.bind(pod, node).await });
    }

    /// Binds the pods whose claims have got their volumes, and gives up those whose volumes nobody will make.
    fn keep_promises(&mut self, now: Instant) {
        let (mut ready, mut failed) = (Vec::new(), Vec::new());
        for (key, placing) in &mut self.placing {
            let Stage::Waiting(told) = &placing.stage else { continue };
            let volumes = &self.cluster.volumes;
            if volumes.elsewhere || volumes.are_bound(&placing.pod) {
                placing.stage = Stage::Binding;
                ready.push((Arc::clone(&placing.pod), placing.node.clone()));
                continue;
            }
            let given_up = volumes.has_given_up(told, &placing.node);
            let why = given_up.map(|claim| format!("provisioning failed for PVC \"{claim}\""));
            let late = (now >= placing.began + BINDING).then(|| "context deadline exceeded".to_owned());
            failed.extend(why.or(late).map(|why| (key.clone(), why)));
        }
        for (pod, node) in ready {
            self.bind(pod, node);
        }
        for (key, why) in failed {
            let why = format!("running PreBind plugin \"VolumeBinding\": binding volumes: {why}");
            self.failed(&key, why, now);
        }
    }

    /// Takes in what came of a write.
    fn done(&mut self, done: Done, now: Instant) {
        match done {
            Done::Told => {}
            Done::Bound(key) => self.bound(&key),
            Done::Prepared(key, prepared) => self.prepared(key, prepared),
            Done::Failed(key, why) => self.failed(&key, why, now),
        }
    }

    /// Counts a pod that is bound, as the server or the watch says, whichever is first.
    fn bound(&mut self, key: &Key) {
        let Some(placing) = self.placing.get_mut(key) else { return };
        if matches!(std::mem::replace(&mut placing.stage, Stage::Bound), Stage::Binding) {
            let (pod, began) = (Arc::clone(&placing.pod), placing.began);
            self.metrics.took(placing.history.attempts);
            self.attempted(&pod, Outcome::Scheduled, began);
        }
    }

    /// Everything has been asked for that the pod needs; it is bound when it has that.
    fn prepared(&mut self, key: Key, Prepared { claims, devices }: Prepared) {
        let told = claims.iter().map(feed::key).collect();
        for claim in claims {
            keep(&mut self.cluster.volumes.claims, Change::Applied(Arc::new(claim)));
        }
        for claim in devices {
            keep(&mut self.cluster.devices.claims, Change::Applied(Arc::new(claim)));
        }
        if let Some(placing) = self.placing.get_mut(&key) {
            self.cluster.devices.settle(&placing.grants);
            placing.grants.clear();
            placing.stage = Stage::Waiting(told);
        }
    }

    /// Has a pod wait that could not get to its node, and try again.
    fn failed(&mut self, key: &Key, why: String, now: Instant) {
        // One that is gone has no need for it any more.
        let Some(placing) = self.placing.remove(key) else { return };
        self.cluster.release(key);
        self.cluster.devices.settle(&placing.grants);
        self.queue.erred(&placing.pod, placing.history, now);
        self.attempted(&placing.pod, Outcome::Error, placing.began);
        self.report(&placing.pod, Reason::SchedulerError, why);
        self.wake = self.wake.max(Wake::Everybody);
    }

    /// Keeps the node for the pod, and has those leave that are in its way.
    fn preempt(&mut self, pod: &Arc<Pod>, candidate: Candidate, message: String) {
        let node = &candidate.node;
        // Less important pods that waited for the same room look for another.
        self.nominated.retain(|_, (other, theirs)| theirs != node || priority(other) >= priority(pod));
        self.nominated.insert(feed::key(&**pod), (Arc::clone(pod), node.clone()));
        self.report(pod, Reason::Unschedulable, message);
        let (hand, pod) = (self.hand.clone(), Arc::clone(pod));
        self.writes.spawn(async move {
            hand.evict(&pod, candidate).await;
            Done::Told
        });
    }

    /// Tells why the pod has no node yet.
    fn report(&mut self, pod: &Arc<Pod>, reason: Reason, message: String) {
        let node = self.nominated.get(&feed::key(&**pod)).map(|(_, node)| node.clone());
        let (hand, pod) = (self.hand.clone(), Arc::clone(pod));
        self.writes.spawn(async move {
            hand.report(&pod, reason, message, node).await;
            Done::Told
        });
    }
}

/// Whether where the pod may go depends on where other pods are.
fn is_related(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let affinity = spec.affinity.as_ref();
    affinity.is_some_and(|affinity| affinity.pod_affinity.is_some() || affinity.pod_anti_affinity.is_some())
        || spec.topology_spread_constraints.as_ref().is_some_and(|constraints| !constraints.is_empty())
}

#[cfg(test)]
mod run_tests;
