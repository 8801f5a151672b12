//! Watches: each kind once a side, into a shared cache, and from there into the queue.

use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::sync::watch::Sender;
use vkube_watch::{Event, Follower, Source};

use crate::cache::{Cache, Change};

/// What a watch looks at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub labels: Option<String>,
    pub fields: Option<String>,
    /// Whether the objects' metadata is enough.
    pub metadata: bool,
}

impl Scope {
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { labels: Some(selector.into()), ..Self::default() }
    }

    pub fn fields(selector: impl Into<String>) -> Self {
        Self { fields: Some(selector.into()), ..Self::default() }
    }

    /// The same part, of which only the metadata is read.
    pub fn metadata(self) -> Self {
        Self { metadata: true, ..self }
    }

    fn follow<K: Resource>(&self, api: Api<K>) -> Follower {
        let source = Source::of(api)
            .labels(self.labels.as_deref().unwrap_or_default())
            .fields(self.fields.as_deref().unwrap_or_default());
        Follower::new(if self.metadata { source.metadata() } else { source })
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
    K: Resource + DeserializeOwned,
{
    cached_slim(api, scope, |_| (), cache, outstanding, changed).await;
}

/// Like [`cached`], without what `slim` takes off the objects.
pub(crate) async fn cached_slim<K>(
    api: Api<K>,
    scope: Scope,
    slim: impl Fn(&mut K),
    cache: &Cache<K>,
    outstanding: &Outstanding,
    changed: impl Fn(&Change<K>),
) where
    K: Resource + DeserializeOwned,
{
    let mut follower = scope.follow(api);
    let mut is_complete = false;
    loop {
        let event = follower.next::<K>().await.map(|mut object| {
            trim(&mut object);
            slim(&mut object);
            object
        });
        let is_done = matches!(event, Event::Listed(_));
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
    K: Resource + DeserializeOwned,
{
    let mut follower = scope.follow(api);
    loop {
        match follower.next::<K>().await {
            Event::Apply(object) => seen(Some((&object, true))),
            Event::Delete(object) => seen(Some((&object, false))),
            Event::Listed(_) => seen(None),
            Event::Restart => {}
        }
    }
}

/// Follows a kind into a channel, waiting while it is full.
pub(crate) async fn sent<K>(api: Api<K>, sender: mpsc::Sender<K>)
where
    K: Resource + DeserializeOwned,
{
    let mut follower = Scope::default().follow(api);
    loop {
        if let Event::Apply(mut object) = follower.next::<K>().await {
            trim(&mut object);
            if sender.send(object).await.is_err() {
                return;
            }
        }
    }
}

/// The bookkeeping of field managers is often half of an object, and nobody here reads it.
fn trim<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}
