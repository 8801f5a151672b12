//! How many objects there are of the resources that quotas count.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vkube_usage::Amounts;
use vkube_usage::quantity::{Format, Quantity};
use vkube_usage::quota::{Resource, counted};
use vkube_watch::{Event, Follower, Source};

use crate::api::FIELD_MANAGER;
use crate::discovery::{ServedResource, discover};
use crate::informers::Informers;

/// Group and plural name of resources.
pub(super) type Wanted = BTreeSet<(String, String)>;

/// How long a count waits for a resource to be listed; then the resource counts as not served.
const PATIENCE: Duration = Duration::from_secs(10);

/// Told of a resource and a namespace in which the number of its objects changed.
type Wake = Arc<dyn Fn(Resource<'_>, &str) + Send + Sync>;

/// The objects of one resource: their uids by namespace.
#[derive(Debug, Default)]
struct Tally(HashMap<String, HashSet<String>>);

impl Tally {
    /// Whether the object is new.
    fn insert(&mut self, namespace: &str, uid: &str) -> bool {
        self.0.entry(namespace.to_owned()).or_default().insert(uid.to_owned())
    }

    /// Whether the object was there.
    fn remove(&mut self, namespace: &str, uid: &str) -> bool {
        self.0.get_mut(namespace).is_some_and(|uids| uids.remove(uid))
    }

    /// Forgets all but these uids; returns the namespaces that lost some.
    fn retain(&mut self, seen: &HashSet<String>) -> Vec<String> {
        let mut changed = Vec::new();
        for (namespace, uids) in &mut self.0 {
            let before = uids.len();
            uids.retain(|uid| seen.contains(uid));
            if uids.len() < before {
                changed.push(namespace.clone());
            }
        }
        self.0.retain(|_, uids| !uids.is_empty());
        changed
    }

    fn len(&self, namespace: &str) -> usize {
        self.0.get(namespace).map_or(0, HashSet::len)
    }
}

struct Watched {
    tally: Arc<Mutex<Tally>>,
    listed: watch::Receiver<bool>,
    /// Ends the watch; `None` where it is shared with other controllers and costs nothing.
    stop: Option<CancellationToken>,
}

/// The counts, and the watches that keep them.
pub(super) struct Counts {
    informers: Informers,
    wake: Wake,
    watched: Mutex<HashMap<(String, String), Watched>>,
}

/// What could be counted.
pub(super) struct Counted {
    /// The numbers by the names that quotas have for them.
    pub amounts: Amounts,
    /// A name that could not be counted now.
    pub missing: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Counts {
    /// No counts yet; `wake` is told of changes.
    pub fn new(informers: Informers, wake: Wake) -> Self {
        Self { informers, wake, watched: Mutex::default() }
    }

    /// Ends the watches of resources that are not wanted any more.
    pub fn keep_only(&self, wanted: &Wanted) {
        lock(&self.watched).retain(|resource, watched| match &watched.stop {
            Some(stop) if !wanted.contains(resource) => {
                stop.cancel();
                false
            }
            _ => true,
        });
    }

    /// Counts in `namespace` what `hard` limits, of the resources `wanted`.
    pub async fn count(&self, wanted: &Wanted, hard: &Amounts, namespace: &str) -> Counted {
        self.watch(wanted).await;
        let mut outcome = Counted { amounts: Amounts::new(), missing: None };
        for name in hard.keys() {
            let Some(resource) = counted(name) else { continue };
            let key = (resource.group.to_owned(), resource.plural.to_owned());
            let known = lock(&self.watched).get(&key).map(|one| (one.tally.clone(), one.listed.clone()));
            let Some((tally, mut listed)) = known else {
                outcome.missing = Some(name.clone());
                continue;
            };
            let waiting = listed.wait_for(|listed| *listed);
            if !matches!(tokio::time::timeout(PATIENCE, waiting).await, Ok(Ok(_))) {
                outcome.missing = Some(name.clone());
                continue;
            }
            let number = i64::try_from(lock(&tally).len(namespace)).unwrap_or(i64::MAX);
            outcome.amounts.insert(name.clone(), Quantity::new(number, Format::Decimal));
        }
        outcome
    }

    /// Watches those of `wanted` that are served and not watched yet.
    async fn watch(&self, wanted: &Wanted) {
        if wanted.iter().all(|resource| lock(&self.watched).contains_key(resource)) {
            return;
        }
        let served = match discover(&self.informers.api).await {
            Ok(discovered) => discovered.resources,
            Err(error) => return tracing::debug!(%error, "discovery failed"),
        };
        let mut watched = lock(&self.watched);
        for key in wanted {
            let same = |one: &&ServedResource| one.group == key.0 && one.plural == key.1;
            if watched.contains_key(key) {
                continue;
            }
            if let Some(resource) = served.iter().find(same).filter(|one| one.supports(&["list", "watch"])) {
                watched.insert(key.clone(), self.watch_one(resource));
            }
        }
    }

    fn watch_one(&self, resource: &ServedResource) -> Watched {
        let tally = Arc::<Mutex<Tally>>::default();
        let (synced, listed) = watch::channel(false);
        let teller = Teller {
            tally: tally.clone(),
            wake: self.wake.clone(),
            group: resource.group.clone(),
            plural: resource.plural.clone(),
        };
        if let Some(feed) = self.informers.feed(&resource.group, &resource.plural) {
            feed.follow(Box::new(move |meta: &ObjectMeta, gone| {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                teller.tell(&text(&meta.namespace), &text(&meta.uid), gone);
            }));
            self.informers.spawn(async move {
                feed.synced().await;
                synced.send_replace(true);
            });
            return Watched { tally, listed, stop: None };
        }

        let source = Source::new(self.informers.api.client.clone(), resource.path(""));
        let mut follower = Follower::new(source.metadata().user_agent(FIELD_MANAGER));
        let watching = async move {
            let mut seen: Option<HashSet<String>> = None;
            loop {
                match follower.next::<Counterpart>().await {
                    Event::Restart => seen = Some(HashSet::new()),
                    Event::Apply(Counterpart { metadata }) => {
                        teller.tell(&metadata.namespace, &metadata.uid, false);
                        if let Some(seen) = &mut seen {
                            seen.insert(metadata.uid);
                        }
                    }
                    Event::Delete(Counterpart { metadata }) => {
                        teller.tell(&metadata.namespace, &metadata.uid, true);
                    }
                    Event::Listed(_) => {
                        teller.retain(&seen.take().unwrap_or_default());
                        synced.send_replace(true);
                    }
                }
            }
        };
        let stop = CancellationToken::new();
        let token = stop.clone();
        let shutdown = self.informers.shutdown();
        self.informers.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = shutdown.cancelled() => {}
                () = watching => {}
            }
        });
        Watched { tally, listed, stop: Some(stop) }
    }
}

struct Teller {
    tally: Arc<Mutex<Tally>>,
    wake: Wake,
    group: String,
    plural: String,
}

impl Teller {
    fn tell(&self, namespace: &str, uid: &str, gone: bool) {
        let changed = {
            let mut tally = lock(&self.tally);
            if gone { tally.remove(namespace, uid) } else { tally.insert(namespace, uid) }
        };
        if changed {
            self.wake(namespace);
        }
    }

    fn retain(&self, seen: &HashSet<String>) {
        let changed = lock(&self.tally).retain(seen);
        for namespace in changed {
            self.wake(&namespace);
        }
    }

    fn wake(&self, namespace: &str) {
        (self.wake)(Resource { group: &self.group, plural: &self.plural }, namespace);
    }
}

/// As much of an object as counting needs.
#[derive(Clone, Debug, Default, Deserialize)]
struct Counterpart {
    metadata: Identity,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Identity {
    namespace: String,
    uid: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_counts_each_object_once() {
        let mut tally = Tally::default();
        assert!(tally.insert("a", "1") && tally.insert("a", "2") && tally.insert("b", "3"));
        assert!(!tally.insert("a", "1"));
        assert_eq!((tally.len("a"), tally.len("b"), tally.len("c")), (2, 1, 0));
        assert!(tally.remove("a", "1") && !tally.remove("a", "1"));
        assert_eq!(tally.len("a"), 1);
    }

    #[test]
    fn what_a_list_no_longer_shows_is_gone() {
        let mut tally = Tally::default();
        for (namespace, uid) in [("a", "1"), ("a", "2"), ("b", "3")] {
            tally.insert(namespace, uid);
        }
        let seen = ["2", "3"].map(String::from).into();
        assert_eq!(tally.retain(&seen), ["a"]);
        assert_eq!((tally.len("a"), tally.len("b")), (1, 1));
    }
}
