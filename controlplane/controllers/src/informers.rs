//! One watch a kind, shared by all controllers.
//!
//! ```text
//!  API server ──watch──► Store ──Change──► handlers ──keys──► work queues ──► reconciles
//!                          ▲                                                     │
//!                          └────────────── results of our own writes ────────────┘
//! ```
//!
//! A store reads its own writes: the server's answer to a create, patch or delete goes into the store before the
//! reconcile that sent it goes on, and watch events that are older than what the store holds are dropped. So a
//! controller never acts on a state from before its own last step, and needs no record of expected events.

mod store;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::DeleteParams;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vkube_watch::{Event, Follower, Source};

use crate::api::{self, Api, Deleted, Error, FIELD_MANAGER, Page};
pub(crate) use store::Change;
use store::Store;

/// What a kind must be to be watched, stored and written.
pub(crate) trait Object:
    Resource<DynamicType = ()> + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Object for K where
    K: Resource<DynamicType = ()> + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// The objects of one kind, kept up to date.
pub(crate) struct Informer<K>(Arc<Shared<K>>);

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Shared<K> {
    api: Api,
    store: Store<K>,
    /// Also the lock that makes "change the store, tell everyone" one step, so that handlers see changes in order.
    handlers: Mutex<Vec<Handler<K>>>,
    synced: tokio::sync::watch::Sender<bool>,
}

impl<K: Object> Informer<K> {
    fn new(api: Api) -> Self {
        Self(Arc::new(Shared {
            api,
            store: Store::new(),
            handlers: Mutex::new(Vec::new()),
            synced: tokio::sync::watch::Sender::new(false),
        }))
    }

    /// Calls `handler` for everything known now, and for each change from now on.
    ///
    /// Handlers run inside the watch: they note what there is to do, and return.
    pub fn subscribe(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        let mut handlers = self.0.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        for object in self.0.store.all() {
            handler(&Change { old: None, new: Some(object) });
        }
        handlers.push(Box::new(handler));
    }

    /// For requests beside the plain ones.
    pub fn api(&self) -> &Api {
        &self.0.api
    }

    /// Waits until the store has seen everything there is.
    pub async fn synced(&self) {
        // The sender lives as long as `self`; waiting cannot fail.
        let _ = self.0.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// The object called `name`.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.0.store.get(namespace, name)
    }

    /// All objects of `namespace`, by name.
    pub fn list(&self, namespace: &str) -> Vec<Arc<K>> {
        self.0.store.list(namespace)
    }

    /// How many objects `namespace` has.
    pub fn count(&self, namespace: &str) -> usize {
        self.0.store.count(namespace)
    }

    /// The objects that `owner` controls.
    pub fn owned(&self, owner: &ObjectMeta) -> Vec<Arc<K>> {
        let namespace = owner.namespace.as_deref().unwrap_or_default();
        // Without a uid, there is nothing that anything could be controlled by.
        owner.uid.as_deref().map(|uid| self.0.store.owned(namespace, uid)).unwrap_or_default()
    }

    /// The objects that `owner` controls, and those of its namespace that nothing controls.
    pub fn claimable(&self, owner: &ObjectMeta) -> Vec<Arc<K>> {
        let mut found = self.owned(owner);
        found.extend(self.0.store.owned(owner.namespace.as_deref().unwrap_or_default(), ""));
        found
    }

    /// All objects.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.0.store.all()
    }

    /// Reads the object from the server, past the store.
    pub async fn fetch(&self, namespace: &str, name: &str) -> Result<Option<K>, Error> {
        let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
        self.0.api.get(&format!("{}/{name}", K::url_path(&(), namespace))).await
    }

    /// Reads all objects of `namespace`, or all there are if that is empty, from the server, past the store.
    pub async fn fetch_all(&self, namespace: &str) -> Result<Vec<K>, Error> {
        let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
        let page: Page<K> = self.0.api.list(&K::url_path(&(), namespace)).await?;
        Ok(page.items)
    }

    /// Creates `object`.
    pub async fn create(&self, object: &K) -> Result<Arc<K>, Error> {
        let path = K::url_path(&(), object.meta().namespace.as_deref());
        Ok(self.wrote(self.0.api.create(&path, object).await?))
    }

    /// Writes the difference between `old`, as observed, and `new`; fails if it changed meanwhile.
    pub async fn update(&self, old: &K, new: &K) -> Result<(), Error> {
        self.patch(old, new, "").await
    }

    /// As [`Self::update`], through the status subresource.
    pub async fn update_status(&self, old: &K, new: &K) -> Result<(), Error> {
        self.patch(old, new, "/status").await
    }

    /// As [`Self::update`], through the subresource at `subresource`, such as `/approval`.
    pub async fn update_at(&self, subresource: &str, old: &K, new: &K) -> Result<(), Error> {
        self.patch(old, new, subresource).await
    }

    async fn patch(&self, old: &K, new: &K, subresource: &str) -> Result<(), Error> {
        if old == new {
            return Ok(());
        }
        let Some(patch) = api::change(old, new)? else { return Ok(()) };
        let url = format!("{}{subresource}", api::path_of::<K>(old.meta()));
        self.wrote(self.0.api.patch(&url, &patch).await?);
        Ok(())
    }

    /// Deletes the observed object and no namesake of it; an object that is gone counts as deleted.
    pub async fn delete(&self, object: &K, params: DeleteParams) -> Result<(), Error> {
        let preconditions = api::this_one(object.meta()).preconditions;
        let params = DeleteParams { preconditions, ..params };
        match self.0.api.delete::<K>(&api::path_of::<K>(object.meta()), &params).await {
            Ok(Deleted::Last(last)) if last.meta().deletion_timestamp.is_some() => {
                self.dispatch(|store| store.mark(*last));
            }
            Ok(_) => self.dispatch(|store| store.bury(object)),
            Err(error) if error.is_not_found() => self.dispatch(|store| store.bury(object)),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn wrote(&self, object: K) -> Arc<K> {
        let object = store::trim(object);
        self.dispatch(|store| store.wrote(object.clone()));
        object
    }

    fn observe(&self, event: Event<K>) {
        match event {
            Event::Restart => self.0.store.begin_list(),
            Event::Apply(object) => {
                let object = store::trim(object);
                self.dispatch(|store| store.apply(object));
            }
            Event::Delete(object) => self.dispatch(|store| store.remove(&object)),
            Event::Listed(version) => {
                self.dispatch(|store| store.end_list(&version));
                self.0.synced.send_replace(true);
            }
        }
    }

    fn dispatch(&self, change: impl FnOnce(&Store<K>) -> Vec<Change<K>>) {
        let handlers = self.0.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        for change in change(&self.0.store) {
            for handler in handlers.iter() {
                handler(&change);
            }
        }
    }
}

/// Told of an object, and whether it is gone.
pub(crate) type FeedHandler = Box<dyn Fn(&ObjectMeta, bool) + Send + Sync>;

/// The part of an informer that needs only metadata, whatever the kind; for the garbage collector.
pub(crate) trait Feed: Send + Sync {
    /// Calls `handler` with the kind's objects and their changes: what is new (or last), and whether it is gone.
    fn follow(&self, handler: FeedHandler);
    /// Waits until everything there is has been told.
    fn synced(&self) -> BoxFuture<'_, ()>;
}

impl<K: Object> Feed for Informer<K> {
    fn follow(&self, handler: FeedHandler) {
        self.subscribe(move |change| match (&change.old, &change.new) {
            (_, Some(new)) => handler(new.meta(), false),
            (Some(old), None) => handler(old.meta(), true),
            (None, None) => {}
        });
    }

    fn synced(&self) -> BoxFuture<'_, ()> {
        Self::synced(self).boxed()
    }
}

/// All informers; a kind is watched from the first time it is asked for.
#[derive(Clone)]
pub(crate) struct Informers {
    /// For requests that no informer covers.
    pub api: Api,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    kinds: Arc<Mutex<Kinds>>,
}

#[derive(Default)]
struct Kinds {
    informers: HashMap<(TypeId, &'static str), Box<dyn Any + Send>>,
    /// Unfiltered informers by group and plural name.
    feeds: HashMap<(String, String), Arc<dyn Feed>>,
}

impl Informers {
    /// No informers yet; the watches of those to come run on `tasks` until `shutdown`.
    pub fn new(api: Api, tasks: TaskTracker, shutdown: CancellationToken) -> Self {
        Self { api, shutdown, tasks, kinds: Arc::default() }
    }

    /// The informer of all objects of kind `K`.
    pub fn of<K: Object>(&self) -> Informer<K> {
        self.selected("")
    }

    /// The informer of those objects of kind `K` that match the field selector.
    pub fn selected<K: Object>(&self, fields: &'static str) -> Informer<K> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (TypeId::of::<K>(), fields);
        if let Some(informer) = kinds.informers.get(&key).and_then(|any| any.downcast_ref::<Informer<K>>()) {
            return informer.clone();
        }

        let informer = Informer::new(self.api.clone());
        kinds.informers.insert(key, Box::new(informer.clone()));
        if fields.is_empty() {
            let name = (K::group(&()).into_owned(), K::plural(&()).into_owned());
            kinds.feeds.insert(name, Arc::new(informer.clone()));
        }
        let source = Source::new(self.api.client.clone(), K::url_path(&(), None)).fields(fields);
        let mut follower = Follower::new(source.user_agent(FIELD_MANAGER));
        let (watched, shutdown) = (informer.clone(), self.shutdown.clone());
        self.tasks.spawn(async move {
            let follow = async {
                loop {
                    watched.observe(follower.next().await);
                }
            };
            shutdown.run_until_cancelled(follow).await;
        });
        informer
    }

    /// Fires when the watches end.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Runs `task` beside the watches, which are waited for at shutdown.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// The informer that already watches all of a resource, if there is one.
    pub fn feed(&self, group: &str, plural: &str) -> Option<Arc<dyn Feed>> {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.feeds.get(&(group.to_owned(), plural.to_owned())).cloned()
    }
}
