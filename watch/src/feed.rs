//! The changes of one kind as a stream that survives lost connections.
//!
//! After a reconnect the difference to what was known is reported as ordinary changes, so that a consumer
//! holding its own state never has to compare lists.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Event, Follower, Source};
use futures::{Stream, StreamExt, stream};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// The namespace and name of an object; the namespace of a cluster-wide object is empty.
pub type Key = (String, String);

/// What happened to an object.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// It was created or updated.
    Applied(Arc<K>),
    /// It is gone; this is its last known state.
    Deleted(Arc<K>),
    /// All objects that exist have been reported; sent after every (re)connect.
    Synced,
}

/// The key of an object.
pub fn key<K: Resource>(object: &K) -> Key {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// The changes of the objects that `api` and the field selector choose, for ever; an empty selector chooses all.
pub fn changes<K>(api: Api<K>, fields: &str) -> impl Stream<Item = Change<K>> + Send + Unpin
where
    K: Resource + DeserializeOwned + Send + Sync + 'static,
{
    let start = (Follower::new(Source::of(api).fields(fields)), Known::default());
    stream::unfold(start, |(mut follower, mut known)| async move {
        let changes = known.step(follower.next::<K>().await);
        Some((stream::iter(changes), (follower, known)))
    })
    .flatten()
    .boxed()
}

/// What the stream has reported so far.
struct Known<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// The objects of a list that is still coming in.
    listed: Option<BTreeMap<Key, Arc<K>>>,
}

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listed: None }
    }
}

impl<K: Resource> Known<K> {
    fn step(&mut self, event: Event<K>) -> Vec<Change<K>> {
        match event {
            Event::Restart => {
                self.listed = Some(BTreeMap::new());
                Vec::new()
            }
            Event::Apply(object) => {
                let object = Arc::new(object);
                if let Some(listed) = &mut self.listed {
                    listed.insert(key(&*object), Arc::clone(&object));
                }
                self.apply(object)
            }
            Event::Delete(object) => {
                let gone = key(&object);
                if let Some(listed) = &mut self.listed {
                    listed.remove(&gone);
                }
                self.objects.remove(&gone);
                vec![Change::Deleted(Arc::new(object))]
            }
            Event::Listed(_) => self.finish_list(),
        }
    }

    fn apply(&mut self, object: Arc<K>) -> Vec<Change<K>> {
        let old = self.objects.insert(key(&*object), Arc::clone(&object));
        let unchanged = old.as_ref().is_some_and(|old| {
            old.resource_version() == object.resource_version() && old.uid() == object.uid()
        });
        let replaced = old.filter(|old| old.uid() != object.uid());
        let mut changes: Vec<_> = replaced.map(Change::Deleted).into_iter().collect();
        if !unchanged {
            changes.push(Change::Applied(object));
        }
        changes
    }

    fn finish_list(&mut self) -> Vec<Change<K>> {
        let listed = self.listed.take().unwrap_or_default();
        let gone: Vec<Key> = self.objects.keys().filter(|key| !listed.contains_key(*key)).cloned().collect();
        let mut changes: Vec<_> =
            gone.iter().filter_map(|key| self.objects.remove(key)).map(Change::Deleted).collect();
        changes.push(Change::Synced);
        changes
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn pod(name: &str, uid: &str, version: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.into());
        pod.metadata.uid = Some(uid.into());
        pod.metadata.resource_version = Some(version.into());
        pod
    }

    fn names(changes: &[Change<Pod>]) -> Vec<String> {
        changes
            .iter()
            .map(|change| match change {
                Change::Applied(pod) => format!("+{}", pod.name_any()),
                Change::Deleted(pod) => format!("-{}", pod.name_any()),
                Change::Synced => "synced".into(),
            })
            .collect()
    }

    #[test]
    fn reports_objects_that_vanished_while_disconnected() {
        let mut known = Known::default();
        known.step(Event::Restart);
        known.step(Event::Apply(pod("a", "1", "1")));
        known.step(Event::Apply(pod("b", "2", "2")));
        assert_eq!(names(&known.step(Event::Listed("2".into()))), ["synced"]);

        known.step(Event::Restart);
        assert!(known.step(Event::Apply(pod("a", "1", "1"))).is_empty(), "unchanged objects stay silent");
        assert_eq!(names(&known.step(Event::Listed("2".into()))), ["-b", "synced"]);
    }

    #[test]
    fn reports_a_recreated_object_as_deleted_and_applied() {
        let mut known = Known::default();
        known.step(Event::Apply(pod("a", "1", "1")));
        assert_eq!(names(&known.step(Event::Apply(pod("a", "2", "5")))), ["-a", "+a"]);
    }
}
