//! Watches: each kind once a side, into a shared cache, and from there into the queue.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::sync::watch::Sender;
use vkube_watch::{Event, Follower, Source};

use crate::cache::{Cache, Change};
use crate::context::MANAGER;

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

/// Keeps `cache` equal to the server, for ever; reports every change to `changed`. If others wait for the first complete
/// list, it is taken off `outstanding`.
pub(crate) async fn cached<K>(
    api: Api<K>,
    scope: Scope,
    cache: &Cache<K>,
    outstanding: impl Into<Option<&Outstanding>>,
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
    outstanding: impl Into<Option<&Outstanding>>,
    changed: impl Fn(&Change<K>),
) where
    K: Resource + DeserializeOwned,
{
    let mut outstanding = outstanding.into();
    let namespace = api.namespace().unwrap_or_default().to_owned();
    let mut follower = scope.follow(api);
    loop {
        let event = follower.next::<K>().await.map(|mut object| {
            trim(&mut object);
            slim(&mut object);
            object
        });
        let is_done = matches!(event, Event::Listed(_));
        for change in cache.apply_in(&namespace, event) {
            changed(&change);
        }
        if is_done && let Some(outstanding) = outstanding.take() {
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

/// The bookkeeping of field managers is often half of an object. All that is kept of it is whether somebody wrote after
/// us: then it is an empty list instead of none.
fn trim<K: Resource>(object: &mut K) {
    let metadata = object.meta_mut();
    let written = metadata.managed_fields.take().is_some_and(|entries| is_last_of_others(&entries));
    metadata.managed_fields = written.then(Vec::new);
}

/// Whether somebody else wrote an object of ours after we did; told of objects that a watch has brought.
pub(crate) fn was_written_by_others(metadata: &ObjectMeta) -> bool {
    metadata.managed_fields.is_some()
}

/// Times are in seconds, so another write in the same second may have been a later one.
fn is_last_of_others(entries: &[ManagedFieldsEntry]) -> bool {
    let of_object =
        || entries.iter().filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty());
    let is_ours = |entry: &&ManagedFieldsEntry| entry.manager.as_deref() == Some(MANAGER);
    let time = |entry: &ManagedFieldsEntry| entry.time.as_ref().map(|time| time.0);
    let Some(ours) = of_object().filter(is_ours).map(time).max() else { return false };
    of_object().filter(|entry| !is_ours(entry)).any(|entry| time(entry) >= ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, subresource: &str, second: u8) -> ManagedFieldsEntry {
        serde_json::from_value(serde_json::json!({
            "manager": manager, "subresource": subresource, "time": format!("2026-01-01T00:00:{second:02}Z"),
        }))
        .unwrap()
    }

    #[test]
    fn a_later_write_of_somebody_else_is_seen_and_a_status_is_none() {
        assert!(is_last_of_others(&[entry(MANAGER, "", 5), entry("kubectl", "", 6)]));
        assert!(is_last_of_others(&[entry(MANAGER, "", 5), entry("kubectl", "", 5)]));
        assert!(!is_last_of_others(&[entry(MANAGER, "", 5), entry("kubectl", "", 4)]));
        assert!(!is_last_of_others(&[entry(MANAGER, "", 5), entry("controller", "status", 9)]));
        assert!(!is_last_of_others(&[entry("kubectl", "", 9)]), "none of ours");
    }
}
