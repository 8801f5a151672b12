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
    /// What the lists under way have told so far, by the namespace that they are of; all of them together are of none.
    listings: BTreeMap<String, Objects<K>>,
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
        Self {
            state: RwLock::new(State { objects: BTreeMap::new(), listings: BTreeMap::new(), filled: false }),
        }
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

    #[cfg(test)]
    pub fn apply(&self, event: Event<K>) -> Vec<Change<K>> {
        self.apply_in("", event)
    }

    /// Takes in an event of a watch of one namespace, or of all if that is empty, and returns what changed by it.
    pub fn apply_in(&self, namespace: &str, event: Event<K>) -> Vec<Change<K>> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Apply(object) => {
                let new = Arc::new(object);
                let key = ObjectKey::of(new.meta());
                if let Some(listing) = state.listings.get_mut(namespace) {
                    listing.insert(key, new);
                    return Vec::new();
                }
                let old = state.objects.insert(key, new.clone());
                vec![Change { old, new: Some(new) }]
            }
            Event::Delete(object) => {
                let key = ObjectKey::of(object.meta());
                if let Some(listing) = state.listings.get_mut(namespace) {
                    listing.remove(&key);
                    return Vec::new();
                }
                let old = state.objects.remove(&key);
                vec![Change { old: old.or_else(|| Some(Arc::new(object))), new: None }]
            }
            Event::Restart => {
                state.listings.insert(namespace.to_owned(), Objects::new());
                Vec::new()
            }
            Event::Listed(_) => {
                let new = state.listings.remove(namespace).unwrap_or_default();
                state.filled = true;
                let old = take(&mut state.objects, namespace);
                let changes = difference(old, &new);
                state.objects.extend(new);
                changes
            }
        }
    }

    /// Forgets the objects of a namespace that is not watched any more, and returns what is thereby gone.
    pub fn forget(&self, namespace: &str) -> Vec<Change<K>> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.listings.remove(namespace);
        difference(take(&mut state.objects, namespace), &Objects::new())
    }

    fn read<T>(&self, f: impl FnOnce(&Objects<K>) -> T) -> T {
        f(&self.state.read().unwrap_or_else(PoisonError::into_inner).objects)
    }
}

/// Takes the objects of a namespace out, or all of them if that is empty.
fn take<K>(objects: &mut Objects<K>, namespace: &str) -> Objects<K> {
    if namespace.is_empty() {
        return std::mem::take(objects);
    }
    let mut taken = objects.split_off(&ObjectKey::new(namespace, ""));
    let after = taken.keys().find(|key| key.namespace != namespace).cloned();
    if let Some(after) = after {
        objects.append(&mut taken.split_off(&after));
    }
    taken
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

    #[test]
    fn a_list_of_one_namespace_says_nothing_of_the_others() {
        let cache = Cache::default();
        let of = |namespace: &str, name: &str| {
            let mut object = object(name, "1");
            object.metadata.namespace = Some(namespace.into());
            Event::Apply(object)
        };
        for (namespace, name) in [("a", "x"), ("b", "y"), ("c", "z")] {
            cache.apply_in(namespace, Event::Restart);
            cache.apply_in(namespace, of(namespace, name));
            cache.apply_in(namespace, Event::Listed("1".into()));
        }
        cache.apply_in("b", Event::Restart);
        let changes = cache.apply_in("b", Event::Listed("2".into()));
        assert_eq!(changes.len(), 1);
        let left: Vec<String> = cache.all().iter().map(|object| object.name_any()).collect();
        assert_eq!(left, ["x", "z"]);
        assert_eq!(cache.forget("a").len(), 1);
        assert_eq!(cache.all().len(), 1);
    }
}
