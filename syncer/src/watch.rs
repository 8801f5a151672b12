//! Watches: each kind once a side, into a shared cache, and from there into the queue.

use std::fmt::Debug;

use futures::StreamExt;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::sync::watch::Sender;

use crate::cache::{Cache, Change};

/// Objects a page of the initial list; bounds the memory that a start takes.
const PAGE: u32 = 100;

/// What a watch looks at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub labels: Option<String>,
    pub fields: Option<String>,
}

impl Scope {
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { labels: Some(selector.into()), fields: None }
    }

    pub fn fields(selector: impl Into<String>) -> Self {
        Self { labels: None, fields: Some(selector.into()) }
    }

    fn config(&self) -> watcher::Config {
        let mut config = watcher::Config::default().page_size(PAGE);
        config.label_selector.clone_from(&self.labels);
        config.field_selector.clone_from(&self.fields);
        config
    }
}

/// Counts the watches that have not yet delivered their first complete list.
pub(crate) type Outstanding = Sender<usize>;

/// Keeps `cache` equal to the server, for ever; reports every change to `changed`.
pub(crate) async fn cached<K>(
    api: Api<K>,
    scope: Scope,
    cache: &Cache<K>,
    outstanding: &Outstanding,
    changed: impl Fn(&Change<K>),
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    cached_slim(api, scope, |_| (), cache, outstanding, changed).await;
}

/// Like [`cached`], without what `slim` takes off the objects.
pub(crate) async fn cached_slim<K>(
    api: Api<K>,
    scope: Scope,
    slim: impl Fn(&mut K) + Send,
    cache: &Cache<K>,
    outstanding: &Outstanding,
    changed: impl Fn(&Change<K>),
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let trim = |object: &mut K| {
        trim(object);
        slim(object);
    };
    let mut events = Box::pin(watch(api, scope.config()).modify(trim).default_backoff());
    let mut is_complete = false;
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(kind = kind::<K>(), %error, "watch failed, trying again");
                continue;
            }
        };
        let is_done = matches!(event, Event::InitDone);
        for change in cache.apply(event) {
            changed(&change);
        }
        if is_done && !std::mem::replace(&mut is_complete, true) {
            outstanding.send_modify(|outstanding| *outstanding -= 1);
        }
    }
}

/// Follows a kind without keeping it; `seen` gets every object that appears, changes or goes, and `None` after
/// a complete list, when objects may have vanished unseen.
pub(crate) async fn followed<K>(api: Api<K>, scope: Scope, seen: impl Fn(Option<(&K, bool)>))
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut events = Box::pin(watch(api, scope.config()).modify(trim).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => seen(Some((&object, true))),
            Ok(Event::Delete(object)) => seen(Some((&object, false))),
            Ok(Event::InitDone) => seen(None),
            Ok(Event::Init) => {}
            Err(error) => tracing::warn!(kind = kind::<K>(), %error, "watch failed, trying again"),
        }
    }
}

/// Follows a kind into a channel, waiting while it is full.
pub(crate) async fn sent<K>(api: Api<K>, sender: mpsc::Sender<K>)
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut events = Box::pin(watch(api, Scope::default().config()).modify(trim).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                if sender.send(object).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(kind = kind::<K>(), %error, "watch failed, trying again"),
        }
    }
}

/// The bookkeeping of field managers is often half of an object, and nobody here reads it.
fn trim<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
    object.meta_mut().managed_fields = None;
}

fn kind<K>() -> &'static str {
    std::any::type_name::<K>().rsplit("::").next().unwrap_or_default()
}
