//! The garbage collector: deletes what has no owner any more.
//!
//! - *Background*: when an object's last owner is gone, the object is deleted.
//! - *Foreground*: an owner with the `foregroundDeletion` finalizer waits, visibly deleted, until no dependent that
//!   blocks it is left.
//! - *Orphan*: an owner with the `orphan` finalizer is first taken off its dependents.
//!
//! The [`Graph`] says what to look at; whether an object is deleted is decided by asking the API server for the
//! object and its owners, never by what watches told. Kinds that other controllers watch are shared with them; of
//! all others only metadata is watched.

mod graph;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use vkube_watch::{Event, Follower, Source};

use crate::Context;
use crate::api::{Api, Error, FIELD_MANAGER};
use crate::discovery::{ServedResource, discover};
use crate::events::{Note, Recorder};
use crate::informers::Informers;
use crate::queue::Queue;
use graph::{FOREGROUND, Facts, Graph, GroupKind, Node, ORPHAN, Object, Uid, Work, group_of};

/// How long at most the start waits for all kinds to be listed: one broken kind must not stop collection for good.
const PATIENCE: Duration = Duration::from_secs(30);
/// After a change of the served kinds, discovery is asked at these times: new kinds take a moment to be served.
const LOOKS: [Duration; 3] = [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(5)];

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let collector = Arc::new(Collector {
        api: context.api.clone(),
        informers: context.informers.clone(),
        recorder: context.recorder.named("garbage-collector-controller"),
        graph: Mutex::default(),
        resources: Mutex::default(),
        unresolved: Mutex::default(),
        served_changed: Notify::new(),
        queue: context.queue("garbage_collector_attempt_to_delete"),
    });
    let shutdown = context.shutdown.clone();
    async move {
        shutdown.run_until_cancelled(collector.run(&shutdown)).await;
    }
}

struct Collector {
    api: Api,
    informers: Informers,
    recorder: Recorder,
    graph: Mutex<Graph>,
    /// How to reach the objects of a kind.
    resources: Mutex<HashMap<GroupKind, ServedResource>>,
    /// Nodes whose kind, or whose owner's kind, is not served now.
    unresolved: Mutex<HashSet<Uid>>,
    served_changed: Notify,
    queue: Queue<Work>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The watches of the collector's own, by resource; those of shared kinds need no handle.
type Watches = BTreeMap<ServedResource, CancellationToken>;

impl Collector {
    async fn run(self: Arc<Self>, shutdown: &CancellationToken) {
        let mut watches = Watches::new();
        let mut pause = LOOKS[0];
        while let Err(error) = self.watch_all(&mut watches, shutdown, true).await {
            tracing::debug!(%error, "discovery failed");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PATIENCE);
        }
        let collecting = self.queue.run(8, shutdown, |work| self.clone().attend(work));
        let watching = self.rediscover(&mut watches, shutdown);
        futures::future::select(pin!(collecting), pin!(watching)).await;
    }

    /// Keeps up with the kinds that are served.
    async fn rediscover(self: &Arc<Self>, watches: &mut Watches, shutdown: &CancellationToken) {
        loop {
            self.served_changed.notified().await;
            let mut look = 0;
            while let Some(wait) = LOOKS.get(look) {
                tokio::select! {
                    () = self.served_changed.notified() => look = 0,
                    () = tokio::time::sleep(*wait) => {
                        if let Err(error) = self.watch_all(watches, shutdown, false).await {
                            tracing::debug!(%error, "discovery failed");
                        }
                        look += 1;
                    }
                }
            }
        }
    }

    /// Watches all kinds that can be collected, and no others.
    async fn watch_all(
        self: &Arc<Self>,
        watches: &mut Watches,
        shutdown: &CancellationToken,
        wait: bool,
    ) -> Result<(), Error> {
        let discovered = discover(&self.api).await?;
        let mut wanted: Vec<_> = discovered.resources.into_iter().filter(is_collectable).collect();
        wanted.sort();

        // A group that cannot be discovered now is not a group that is gone.
        if discovered.failed.is_empty() {
            let gone: Vec<_> = watches.keys().filter(|known| !wanted.contains(known)).cloned().collect();
            for resource in gone {
                if let Some(watch) = watches.remove(&resource) {
                    watch.cancel();
                }
                let kind = lock(&self.graph).kind(&resource.group, &resource.kind);
                lock(&self.resources).remove(&kind);
                lock(&self.graph).forget(&kind);
            }
        }
        let mut listed = Vec::new();
        for resource in wanted {
            if let Entry::Vacant(vacant) = watches.entry(resource) {
                let stop = shutdown.child_token();
                listed.push(self.watch_one(vacant.key().clone(), stop.clone()));
                vacant.insert(stop);
            }
        }
        if wait {
            let all =
                join_all(listed.iter_mut().map(|one| async { drop(one.wait_for(|listed| *listed).await) }));
            if tokio::time::timeout(PATIENCE, all).await.is_err() {
                tracing::warn!("some kinds cannot be listed; collecting without them");
            }
        }
        for uid in lock(&self.unresolved).drain() {
            self.queue.add(Work::Examine(uid));
        }
        Ok(())
    }

    /// Feeds the graph with a resource; the answer turns true when all there is has been told.
    fn watch_one(
        self: &Arc<Self>,
        resource: ServedResource,
        stop: CancellationToken,
    ) -> watch::Receiver<bool> {
        let kind = lock(&self.graph).kind(&resource.group, &resource.kind);
        let (synced, listed) = watch::channel(false);
        let path = resource.path("");
        let feed = self.informers.feed(&resource.group, &resource.plural);
        let changes_what_is_served =
            matches!(resource.plural.as_str(), "customresourcedefinitions" | "apiservices");
        lock(&self.resources).insert(kind.clone(), resource);

        let this = self.clone();
        if let Some(feed) = feed {
            feed.follow(Box::new(move |meta, gone| this.tell(&kind, &Facts::from(meta), gone)));
            self.informers.spawn(async move {
                stop.run_until_cancelled(feed.synced()).await;
                synced.send_replace(true);
            });
            return listed;
        }

        let source = Source::new(self.api.client.clone(), path).metadata().user_agent(FIELD_MANAGER);
        let mut follower = Follower::new(source);
        let watching = async move {
            let mut seen: Option<HashSet<String>> = None;
            loop {
                match follower.next::<Object>().await {
                    Event::Restart => seen = Some(HashSet::new()),
                    Event::Apply(object) => {
                        if let Some(seen) = &mut seen {
                            seen.insert(object.metadata.uid.clone());
                        }
                        this.tell(&kind, &object.metadata, false);
                    }
                    Event::Delete(object) => this.tell(&kind, &object.metadata, true),
                    Event::Listed(_) => {
                        let work = lock(&this.graph).retain(&kind, &seen.take().unwrap_or_default());
                        this.enqueue(work);
                        synced.send_replace(true);
                        continue;
                    }
                }
                if changes_what_is_served {
                    this.served_changed.notify_one();
                }
            }
        };
        self.informers.spawn(async move {
            stop.run_until_cancelled(watching).await;
        });
        listed
    }

    fn tell(&self, kind: &GroupKind, facts: &Facts, gone: bool) {
        let mut graph = lock(&self.graph);
        let work = if gone { graph.remove(&facts.uid) } else { graph.observe(kind, facts) };
        drop(graph);
        self.enqueue(work);
    }

    fn enqueue(&self, work: Vec<Work>) {
        for work in work {
            self.queue.add(work);
        }
    }

    async fn attend(self: Arc<Self>, work: Work) -> Result<(), Error> {
        match work {
            Work::Examine(uid) => self.examine(&uid).await,
            Work::Orphan(uid) => self.orphan(&uid).await,
        }
    }

    /// The URL of a node; `None`, and noted, if its kind is not served.
    fn path(&self, uid: &Uid, kind: &GroupKind, namespace: &str, name: &str) -> Option<String> {
        let resources = lock(&self.resources);
        let Some(resource) = resources.get(kind) else {
            lock(&self.unresolved).insert(uid.clone());
            return None;
        };
        let namespace = if resource.namespaced { namespace } else { "" };
        Some(format!("{}/{name}", resource.path(namespace)))
    }

    fn node(&self, uid: &str) -> Option<Node> {
        lock(&self.graph).get(uid).cloned()
    }

    async fn examine(&self, uid: &Uid) -> Result<(), Error> {
        let Some(node) = self.node(uid).filter(|node| !node.deleting || node.foreground) else {
            return Ok(());
        };
        let Some(path) = self.path(uid, &node.kind, &node.namespace, &node.name) else { return Ok(()) };
        let live: Option<Object> = self.api.get_metadata(&path).await?;
        let Some(live) = live.map(|live| live.metadata).filter(|live| live.uid == **uid) else {
            let work = lock(&self.graph).remove(uid);
            self.enqueue(work);
            return Ok(());
        };
        if node.is_virtual {
            self.tell(&node.kind, &live, false);
            return Ok(());
        }
        if node.foreground {
            return self.finish_foreground(uid, &path, &live).await;
        }

        let mut owners = Vec::new();
        for reference in &live.owner_references {
            match self.owner_state(uid, &live, reference).await? {
                Some(state) => owners.push((reference.clone(), state)),
                // Nothing is decided as long as one owner cannot be asked for.
                None => return Ok(()),
            }
        }
        let dependent_waits = |uid: &Uid| self.node(uid).is_some_and(|dependent| dependent.foreground);
        let decision = decide(&live, &owners, !node.dependents.is_empty(), || {
            node.dependents.iter().any(dependent_waits)
        });
        tracing::debug!(%path, ?decision, "collecting");
        match decision {
            Decision::Keep => Ok(()),
            Decision::DropOwners(gone) => {
                let rest = live.owner_references.iter().filter(|reference| !gone.contains(&reference.uid));
                self.set_owners(&path, &live, rest.cloned().collect()).await
            }
            Decision::Delete { policy, unblock } => {
                if unblock {
                    let free = |reference: &OwnerReference| OwnerReference {
                        block_owner_deletion: Some(false),
                        ..reference.clone()
                    };
                    self.set_owners(&path, &live, live.owner_references.iter().map(free).collect()).await?;
                }
                self.delete(&path, &live, policy, unblock).await
            }
        }
    }

    /// How one owner of `live` is; `None` if its kind is not served now.
    async fn owner_state(
        &self,
        uid: &Uid,
        live: &Facts,
        owner: &OwnerReference,
    ) -> Result<Option<OwnerState>, Error> {
        let kind = lock(&self.graph).kind(group_of(&owner.api_version), &owner.kind);
        let namespaced = lock(&self.resources).get(&kind).is_some_and(|resource| resource.namespaced);
        if namespaced && live.namespace.is_empty() {
            // A cluster-scoped object cannot have a namespaced owner: it is kept, as nobody can tell what was meant.
            return Ok(Some(OwnerState::Present));
        }
        let Some(path) = self.path(uid, &kind, &live.namespace, &owner.name) else { return Ok(None) };
        let found: Option<Object> = self.api.get_metadata(&path).await?;
        Ok(Some(match found.map(|found| found.metadata).filter(|found| found.uid == owner.uid) {
            Some(found) if found.deletion_timestamp && found.has_finalizer(FOREGROUND) => OwnerState::Waiting,
            Some(_) => OwnerState::Present,
            None => {
                self.warn_of_other_namespace(uid, live, owner);
                OwnerState::Absent
            }
        }))
    }

    /// People expect owners in other namespaces to count; tell them that they do not.
    fn warn_of_other_namespace(&self, uid: &Uid, live: &Facts, owner: &OwnerReference) {
        let elsewhere =
            self.node(&owner.uid).filter(|node| !node.is_virtual && node.namespace != live.namespace);
        if let (Some(_), Some(node)) = (elsewhere, self.node(uid)) {
            let resources = lock(&self.resources);
            let version =
                resources.get(&node.kind).map(|resource| resource.version.clone()).unwrap_or_default();
            let (group, kind) = &*node.kind;
            let about = ObjectReference {
                api_version: Some(if group.is_empty() { version } else { format!("{group}/{version}") }),
                kind: Some(kind.clone()),
                namespace: Some(live.namespace.clone()),
                name: Some(live.name.clone()),
                uid: Some(live.uid.clone()),
                ..ObjectReference::default()
            };
            let OwnerReference { api_version, kind, name, uid, .. } = owner;
            let message = format!(
                "ownerRef [{api_version}/{kind}, namespace: {}, name: {name}, uid: {uid}] does not exist in namespace {:?}",
                live.namespace, live.namespace
            );
            self.recorder.tell_about(about, Note::warning("OwnerRefInvalidNamespace", message));
        }
    }

    /// Lets go of an owner whose blocking dependents are gone; otherwise sees to those.
    async fn finish_foreground(&self, uid: &Uid, path: &str, live: &Facts) -> Result<(), Error> {
        let blocking = lock(&self.graph).blocking(uid);
        if blocking.is_empty() {
            return self.remove_finalizer(path, live, FOREGROUND).await;
        }
        for dependent in blocking {
            if self.node(&dependent).is_some_and(|node| !node.foreground) {
                self.queue.add(Work::Examine(dependent));
            }
        }
        Ok(())
    }

    async fn orphan(&self, uid: &Uid) -> Result<(), Error> {
        let Some(node) = self.node(uid) else { return Ok(()) };
        for dependent in &node.dependents {
            let Some(child) = self.node(dependent) else { continue };
            let path = self.path(dependent, &child.kind, &child.namespace, &child.name);
            let path = path.ok_or_else(|| Error::NotYet(format!("the kind of {dependent} is not served")))?;
            let live: Option<Object> = self.api.get_metadata(&path).await?;
            let Some(live) = live.map(|live| live.metadata).filter(|live| live.uid == **dependent) else {
                continue;
            };
            if live.owner_references.iter().any(|owner| owner.uid == **uid) {
                let rest = live.owner_references.iter().filter(|owner| owner.uid != **uid).cloned().collect();
                self.set_owners(&path, &live, rest).await?;
            }
        }
        let Some(path) = self.path(uid, &node.kind, &node.namespace, &node.name) else { return Ok(()) };
        let live: Option<Object> = self.api.get_metadata(&path).await?;
        match live.map(|live| live.metadata).filter(|live| live.uid == **uid) {
            Some(live) => self.remove_finalizer(&path, &live, ORPHAN).await,
            None => Ok(()),
        }
    }

    async fn set_owners(&self, path: &str, live: &Facts, owners: Vec<OwnerReference>) -> Result<(), Error> {
        let owners = if owners.is_empty() { json!(null) } else { json!(owners) };
        self.patch(path, live, json!({"ownerReferences": owners})).await
    }

    async fn remove_finalizer(&self, path: &str, live: &Facts, finalizer: &str) -> Result<(), Error> {
        if !live.has_finalizer(finalizer) {
            return Ok(());
        }
        let rest: Vec<_> = live.finalizers.iter().filter(|name| *name != finalizer).collect();
        let rest = if rest.is_empty() { json!(null) } else { json!(rest) };
        self.patch(path, live, json!({"finalizers": rest})).await
    }

    async fn patch(&self, path: &str, live: &Facts, mut metadata: serde_json::Value) -> Result<(), Error> {
        metadata["resourceVersion"] = json!(live.resource_version);
        metadata["uid"] = json!(live.uid);
        match self.api.patch_metadata::<Object>(path, &json!({"metadata": metadata})).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    async fn delete(
        &self,
        path: &str,
        live: &Facts,
        policy: PropagationPolicy,
        written: bool,
    ) -> Result<(), Error> {
        let params = DeleteParams {
            propagation_policy: Some(policy),
            preconditions: Some(Preconditions {
                uid: Some(live.uid.clone()),
                // The decision was made for this version; after our own write only the uid is left to go by.
                resource_version: (!written).then(|| live.resource_version.clone()),
            }),
            ..DeleteParams::default()
        };
        match self.api.delete::<Object>(path, &params).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether objects of the resource can be owned or deleted at all. Events are neither, and they are many.
fn is_collectable(resource: &ServedResource) -> bool {
    resource.supports(&["delete", "list", "watch"])
        && !(resource.plural == "events" && matches!(resource.group.as_str(), "" | "events.k8s.io"))
}

/// How an owner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnerState {
    Present,
    /// It does not exist.
    Absent,
    /// It is being deleted, after its dependents.
    Waiting,
}

/// What becomes of an object.
#[derive(Debug, PartialEq)]
enum Decision {
    Keep,
    /// It has owners left; the references to these uids go.
    DropOwners(Vec<String>),
    Delete {
        policy: PropagationPolicy,
        /// First stop blocking its owners: it waits for a dependent that waits for it, and somebody must let go.
        unblock: bool,
    },
}

/// Decides what becomes of an object with these owners.
fn decide(
    live: &Facts,
    owners: &[(OwnerReference, OwnerState)],
    has_dependents: bool,
    a_dependent_waits: impl Fn() -> bool,
) -> Decision {
    if owners.is_empty() {
        return Decision::Keep;
    }
    if owners.iter().any(|(_, state)| *state == OwnerState::Present) {
        let gone: Vec<_> = owners
            .iter()
            .filter(|(_, state)| *state != OwnerState::Present)
            .map(|(owner, _)| owner.uid.clone())
            .collect();
        return if gone.is_empty() { Decision::Keep } else { Decision::DropOwners(gone) };
    }
    if has_dependents && owners.iter().any(|(_, state)| *state == OwnerState::Waiting) {
        return Decision::Delete { policy: PropagationPolicy::Foreground, unblock: a_dependent_waits() };
    }
    let policy = if live.has_finalizer(ORPHAN) {
        PropagationPolicy::Orphan
    } else if live.has_finalizer(FOREGROUND) {
        PropagationPolicy::Foreground
    } else {
        PropagationPolicy::Background
    };
    Decision::Delete { policy, unblock: false }
}

#[cfg(test)]
mod tests;
