//! Trimmed copies of watched objects, shared by all resources, DNS and the hypervisor proxy.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use kube::{Resource, ResourceExt};
use vkube_watch::Event;

use crate::labels::ObjectKey;

/// The objects of one kind on one side.
///
/// A relist (after a lost watch) replaces the contents at once, so readers never see a half-filled cache, and
/// what vanished meanwhile is reported as deleted.
#[derive(Debug)]
pub(crate) struct Cache<K> {
    state: RwLock<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    objects: Objects<K>,
    /// What a list has told so far; `None` outside of lists.
    listing: Option<Objects<K>>,
    /// Whether a list has been complete.
    filled: bool,
}

type Objects<K> = BTreeMap<ObjectKey, Arc<K>>;

/// One object's transition; at least one side is present.
#[derive(Debug)]
pub(crate) struct Change<K> {
    pub old: Option<Arc<K>>,
    pub new: Option<Arc<K>>,
}

impl<K: Resource> Change<K> {
    /// The newest state known of the object.
    pub fn object(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self { state: RwLock::new(State { objects: BTreeMap::new(), listing: None, filled: false }) }
    }
}

impl<K: Resource> Cache<K> {
    /// The object `key`, if it exists.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.read(|objects| objects.get(key).cloned())
    }

    /// All objects of a namespace.
    pub fn namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let first = ObjectKey::new(namespace, "");
        self.read(|objects| {
            let from = objects.range(first..);
            from.take_while(|(key, _)| key.namespace == namespace).map(|(_, object)| object.clone()).collect()
        })
    }

    /// All objects.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.read(|objects| objects.values().cloned().collect())
    }

    /// Whether everything there is has been told at least once.
    pub fn is_filled(&self) -> bool {
        self.state.read().unwrap_or_else(PoisonError::into_inner).filled
    }

    /// The first object that `test` accepts.
    pub fn find(&self, test: impl Fn(&K) -> bool) -> Option<Arc<K>> {
        self.read(|objects| objects.values().find(|object| test(object)).cloned())
    }

    /// Takes in a watch event and returns what changed by it.
    pub fn apply(&self, event: Event<K>) -> Vec<Change<K>> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Apply(object) => {
                let new = Arc::new(object);
                let key = ObjectKey::of(new.meta());
                if let Some(listing) = &mut state.listing {
                    listing.insert(key, new);
                    return Vec::new();
                }
                let old = state.objects.insert(key, new.clone());
                vec![Change { old, new: Some(new) }]
            }
            Event::Delete(object) => {
                let key = ObjectKey::of(object.meta());
                if let Some(listing) = &mut state.listing {
                    listing.remove(&key);
                    return Vec::new();
                }
                let old = state.objects.remove(&key);
                vec![Change { old: old.or_else(|| Some(Arc::new(object))), new: None }]
            }
            Event::Restart => {
                state.listing = Some(Objects::new());
                Vec::new()
            }
            Event::Listed(_) => {
                let new = state.listing.take().unwrap_or_default();
                state.filled = true;
                let old = std::mem::replace(&mut state.objects, new);
                difference(old, &state.objects)
            }
        }
    }

    fn read<T>(&self, f: impl FnOnce(&Objects<K>) -> T) -> T {
        f(&self.state.read().unwrap_or_else(PoisonError::into_inner).objects)
    }
}

fn difference<K: Resource>(mut old: Objects<K>, new: &Objects<K>) -> Vec<Change<K>> {
    let mut changes = Vec::new();
    for (key, object) in new {
        let before = old.remove(key);
        if before.as_ref().and_then(|before| before.resource_version()) != object.resource_version() {
            changes.push(Change { old: before, new: Some(object.clone()) });
        }
    }
    changes.extend(old.into_values().map(|gone| Change { old: Some(gone), new: None }));
    changes
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn object(name: &str, version: &str) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some(name.into()),
            namespace: Some("a".into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    #[test]
    fn a_relist_reports_what_changed_and_what_vanished() {
        let cache = Cache::default();
        for event in [
            Event::Restart,
            Event::Apply(object("same", "1")),
            Event::Apply(object("gone", "2")),
            Event::Listed("2".into()),
        ] {
            cache.apply(event);
        }
        cache.apply(Event::Restart);
        cache.apply(Event::Apply(object("same", "1")));
        cache.apply(Event::Apply(object("fresh", "3")));
        assert!(cache.get(&ObjectKey::new("a", "gone")).is_some(), "readers see the old state until the end");

        let changes = cache.apply(Event::Listed("3".into()));
        let names: Vec<String> = changes.iter().map(|c| c.object().unwrap().name_any()).collect();
        assert_eq!(names, ["fresh", "gone"]);
        assert!(changes[1].new.is_none());
    }

    #[test]
    fn namespaces_do_not_run_into_each_other() {
        let cache = Cache::default();
        let mut other = object("x", "1");
        other.metadata.namespace = Some("ab".into());
        cache.apply(Event::Apply(object("y", "2")));
        cache.apply(Event::Apply(other));
        assert_eq!(cache.namespace("a").len(), 1);
    }
}
