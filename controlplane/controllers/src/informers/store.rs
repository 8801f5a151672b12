//! The objects of one kind as last known, ordered by resource version.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use crate::ownership::controller_of;

/// What `kubectl apply` remembers; no controller reads it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A step in the life of one object, known by uid.
pub(crate) struct Change<K> {
    /// The object before; `None` if it is new.
    pub old: Option<Arc<K>>,
    /// The object now; `None` if it is gone.
    pub new: Option<Arc<K>>,
}

/// The cache.
///
/// It is fed from two sides, the watch and the answers to our own writes, which overlap in any order. Three rules
/// make the result as if they had arrived in order: an older version never replaces a newer one; what we know to be
/// deleted does not come back through an event from before the deletion; and an answer that the watch has overtaken
/// does not bring back what the watch reported as deleted since.
pub(super) struct Store<K>(RwLock<State<K>>);

struct State<K> {
    namespaces: BTreeMap<String, BTreeMap<String, Arc<K>>>,
    /// Names by namespace and the uid of the controller, which is empty for objects without; kept from the first
    /// time that it is asked for.
    owned: Option<Owned>,
    /// Uids deleted by us whose deletion the watch has not told yet.
    buried: HashSet<String>,
    /// Uids seen since the running list began.
    listed: Option<HashSet<String>>,
    /// The watch has told everything up to this version.
    told: u64,
}

type Owned = BTreeMap<(String, String), BTreeSet<String>>;

/// Drops what no controller reads: field ownership, and kubectl's copy of the object.
pub(super) fn trim<K: Resource>(mut object: K) -> Arc<K> {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove(LAST_APPLIED);
    }
    Arc::new(object)
}

fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(u64::MAX)
}

fn uid(meta: &ObjectMeta) -> &str {
    meta.uid.as_deref().unwrap_or_default()
}

/// Where the index by controller has the object.
fn place(meta: &ObjectMeta) -> (String, String) {
    let controller = controller_of(meta).map(|reference| reference.uid.clone()).unwrap_or_default();
    (meta.namespace.clone().unwrap_or_default(), controller)
}

impl<K: Resource> Store<K> {
    pub fn new() -> Self {
        Self(RwLock::new(State {
            namespaces: BTreeMap::new(),
            owned: None,
            buried: HashSet::new(),
            listed: None,
            told: 0,
        }))
    }

    fn read(&self) -> RwLockReadGuard<'_, State<K>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<K>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.read().namespaces.get(namespace)?.get(name).cloned()
    }

    pub fn list(&self, namespace: &str) -> Vec<Arc<K>> {
        self.read()
            .namespaces
            .get(namespace)
            .map(|names| names.values().cloned().collect())
            .unwrap_or_default()
    }

    pub fn count(&self, namespace: &str) -> usize {
        self.read().namespaces.get(namespace).map_or(0, BTreeMap::len)
    }

    /// The objects of `namespace` whose controller has this uid; with an empty one, those without a controller.
    pub fn owned(&self, namespace: &str, controller: &str) -> Vec<Arc<K>> {
        let find = |state: &State<K>| {
            let names = state.owned.as_ref()?.get(&(namespace.to_owned(), controller.to_owned()));
            let objects = state.namespaces.get(namespace);
            let found = names.into_iter().flatten().filter_map(|name| objects?.get(name).cloned());
            Some(found.collect())
        };
        // The guard of the read must be gone before the index is made.
        let found = find(&self.read());
        found.unwrap_or_else(|| {
            let mut state = self.write();
            state.index();
            find(&state).unwrap_or_default()
        })
    }

    pub fn all(&self) -> Vec<Arc<K>> {
        self.read().namespaces.values().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Takes in the answer to a create or a change.
    pub fn wrote(&self, object: Arc<K>) -> Vec<Change<K>> {
        let mut state = self.write();
        if state.is_overtaken(object.meta()) { Vec::new() } else { state.insert(object, false) }
    }

    /// Takes in an object that a watch told.
    pub fn apply(&self, object: Arc<K>) -> Vec<Change<K>> {
        let mut state = self.write();
        state.advance(object.meta());
        if let Some(listed) = &mut state.listed {
            listed.insert(uid(object.meta()).to_owned());
        }
        if state.buried.contains(uid(object.meta())) {
            // A deletion timestamp says that the object outlived our delete after all.
            if object.meta().deletion_timestamp.is_none() {
                return Vec::new();
            }
            state.buried.remove(uid(object.meta()));
        }
        state.insert(object, false)
    }

    /// Takes in the answer to a delete that the object survives for now.
    pub fn mark(&self, object: K) -> Vec<Change<K>> {
        let mut state = self.write();
        // The answer may carry the version from before the deletion; it is newer all the same.
        if state.is_overtaken(object.meta()) { Vec::new() } else { state.insert(trim(object), true) }
    }

    /// Takes out an object that a watch reported as deleted.
    pub fn remove(&self, object: &K) -> Vec<Change<K>> {
        let mut state = self.write();
        state.advance(object.meta());
        state.buried.remove(uid(object.meta()));
        state.take(object.meta()).into_iter().collect()
    }

    /// Takes out an object that we deleted, and remembers that until the watch catches up.
    pub fn bury(&self, object: &K) -> Vec<Change<K>> {
        let mut state = self.write();
        let gone = state.take(object.meta());
        if gone.is_some() {
            state.buried.insert(uid(object.meta()).to_owned());
        }
        gone.into_iter().collect()
    }

    /// From here to [`Self::end_list`], everything there is will be applied.
    pub fn begin_list(&self) {
        self.write().listed = Some(HashSet::new());
    }

    /// Everything there was at `version` has been applied: what was not, is gone.
    pub fn end_list(&self, version_: &str) -> Vec<Change<K>> {
        let mut state = self.write();
        let Some(listed) = state.listed.take() else { return Vec::new() };
        state.buried.retain(|uid| listed.contains(uid));
        let at = version_.parse().unwrap_or(u64::MAX);
        state.told = state.told.max(version_.parse().unwrap_or(0));
        let missed: Vec<_> = state
            .namespaces
            .values()
            .flat_map(BTreeMap::values)
            .filter(|object| !listed.contains(uid(object.meta())) && version(object.meta()) <= at)
            .cloned()
            .collect();
        missed.iter().filter_map(|object| state.take(object.meta())).collect()
    }
}

impl<K: Resource> State<K> {
    fn advance(&mut self, meta: &ObjectMeta) {
        // While a list is told, versions come in no order.
        if self.listed.is_none() {
            self.told =
                self.told.max(meta.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0));
        }
    }

    /// Whether the watch has told this version already, and then that the object is gone.
    fn is_overtaken(&self, meta: &ObjectMeta) -> bool {
        let names = self.namespaces.get(meta.namespace.as_deref().unwrap_or_default());
        let known = names.and_then(|names| names.get(meta.name.as_deref().unwrap_or_default()));
        version(meta) <= self.told && known.is_none_or(|known| uid(known.meta()) != uid(meta))
    }

    /// Begins to keep the index by controller.
    fn index(&mut self) {
        let mut owned = Owned::new();
        for meta in self.namespaces.values().flat_map(BTreeMap::values).map(|object| object.meta()) {
            owned.entry(place(meta)).or_default().insert(meta.name.clone().unwrap_or_default());
        }
        self.owned = Some(owned);
    }

    fn reindex(&mut self, old: Option<&ObjectMeta>, new: Option<&ObjectMeta>) {
        let Some(owned) = &mut self.owned else { return };
        if let Some(meta) = old {
            let place = place(meta);
            if let Some(names) = owned.get_mut(&place) {
                names.remove(meta.name.as_deref().unwrap_or_default());
                if names.is_empty() {
                    owned.remove(&place);
                }
            }
        }
        if let Some(meta) = new {
            owned.entry(place(meta)).or_default().insert(meta.name.clone().unwrap_or_default());
        }
    }

    fn insert(&mut self, object: Arc<K>, even_if_same_version: bool) -> Vec<Change<K>> {
        let meta = object.meta();
        let names = self.namespaces.entry(meta.namespace.clone().unwrap_or_default()).or_default();
        let name = meta.name.clone().unwrap_or_default();
        let Some(old) = names.get(&name) else {
            names.insert(name, object.clone());
            self.reindex(None, Some(object.meta()));
            return vec![Change { old: None, new: Some(object) }];
        };

        let (was, is) = (version(old.meta()), version(meta));
        let outdated = if even_if_same_version { is < was } else { is <= was && is != u64::MAX };
        if outdated {
            return Vec::new();
        }
        let old = names.insert(name, object.clone());
        self.reindex(old.as_ref().map(|old| old.meta()), Some(object.meta()));
        if old.as_ref().is_some_and(|old| uid(old.meta()) != uid(object.meta())) {
            return vec![Change { old, new: None }, Change { old: None, new: Some(object) }];
        }
        vec![Change { old, new: Some(object) }]
    }

    fn take(&mut self, meta: &ObjectMeta) -> Option<Change<K>> {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let names = self.namespaces.get_mut(namespace)?;
        let name = meta.name.as_deref().unwrap_or_default();
        if uid(names.get(name)?.meta()) != uid(meta) {
            return None;
        }
        let old = names.remove(name);
        if names.is_empty() {
            self.namespaces.remove(namespace);
        }
        self.reindex(old.as_ref().map(|old| old.meta()), None);
        Some(Change { old, new: None })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::Pod;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};

    use super::*;

    fn pod(name: &str, uid: &str, version: u64) -> Pod {
        let metadata = ObjectMeta {
            namespace: Some("default".into()),
            name: Some(name.into()),
            uid: Some(uid.into()),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        };
        Pod { metadata, ..Pod::default() }
    }

    fn names(store: &Store<Pod>) -> Vec<String> {
        store.list("default").iter().filter_map(|pod| pod.metadata.name.clone()).collect()
    }

    #[test]
    fn an_older_version_never_replaces_a_newer_one() {
        let store = Store::new();
        assert_eq!(store.apply(trim(pod("a", "1", 7))).len(), 1);
        assert!(store.apply(trim(pod("a", "1", 5))).is_empty());
        assert!(store.apply(trim(pod("a", "1", 7))).is_empty());
        assert_eq!(store.get("default", "a").unwrap().metadata.resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn what_we_deleted_does_not_come_back_through_a_late_event() {
        let store = Store::new();
        store.apply(trim(pod("a", "1", 5)));
        assert_eq!(store.bury(&pod("a", "1", 5)).len(), 1);
        assert!(store.apply(trim(pod("a", "1", 6))).is_empty());
        assert!(store.remove(&pod("a", "1", 7)).is_empty());
        assert!(names(&store).is_empty());
        assert!(store.read().buried.is_empty());
    }

    #[test]
    fn an_answer_that_the_watch_has_overtaken_brings_nothing_back() {
        let store = Store::new();
        store.apply(trim(pod("a", "1", 5)));
        store.remove(&pod("a", "1", 7));
        assert!(store.wrote(trim(pod("a", "1", 5))).is_empty());
        let mut terminating = pod("a", "1", 6);
        terminating.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert!(store.mark(terminating).is_empty());
        assert_eq!(store.wrote(trim(pod("a", "2", 8))).len(), 1, "a successor is news");
        assert_eq!(names(&store), ["a"]);
    }

    #[test]
    fn an_object_that_outlives_our_delete_is_shown_terminating() {
        let store = Store::new();
        store.apply(trim(pod("a", "1", 5)));
        let mut terminating = pod("a", "1", 5);
        terminating.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert_eq!(store.mark(terminating).len(), 1);
        assert!(store.get("default", "a").unwrap().metadata.deletion_timestamp.is_some());
    }

    #[test]
    fn the_deletion_of_a_namesake_does_not_remove_its_successor() {
        let store = Store::new();
        store.apply(trim(pod("a", "1", 5)));
        assert_eq!(store.apply(trim(pod("a", "2", 9))).len(), 2);
        assert!(store.remove(&pod("a", "1", 8)).is_empty());
        assert_eq!(names(&store), ["a"]);
    }

    #[test]
    fn a_list_removes_what_it_misses_but_not_what_was_created_after_it() {
        let store = Store::new();
        store.apply(trim(pod("stale", "1", 5)));
        store.apply(trim(pod("kept", "2", 6)));
        store.begin_list();
        store.apply(trim(pod("kept", "2", 6)));
        store.apply(trim(pod("fresh", "3", 12)));
        let changes = store.end_list("10");
        assert_eq!(changes.len(), 1);
        assert_eq!(names(&store), ["fresh", "kept"]);
    }

    #[test]
    fn objects_are_found_by_their_controller_whatever_happens_to_them() {
        let owned_by = |name: &str, version: u64, owner: &str| {
            let mut pod = pod(name, name, version);
            let reference =
                OwnerReference { uid: owner.into(), controller: Some(true), ..Default::default() };
            pod.metadata.owner_references = (!owner.is_empty()).then(|| vec![reference]);
            trim(pod)
        };
        let store = Store::new();
        store.apply(owned_by("a", 1, "x"));
        let found = |owner: &str| -> Vec<String> {
            let pods: Vec<Arc<Pod>> = store.owned("default", owner);
            pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect()
        };
        assert_eq!(found("x"), ["a"], "also what came before the index");
        store.apply(owned_by("b", 2, "x"));
        store.apply(owned_by("c", 3, ""));
        assert_eq!((found("x"), found("")), (vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]));
        store.apply(owned_by("c", 4, "y"));
        store.remove(&pod("a", "a", 5));
        assert_eq!((found("x"), found("y")), (vec!["b".to_owned()], vec!["c".to_owned()]));
        assert!(found("").is_empty());
    }

    #[test]
    fn stored_objects_carry_no_field_ownership() {
        let mut noisy = pod("a", "1", 5);
        noisy.metadata.managed_fields = Some(Vec::new());
        noisy.metadata.annotations = Some([(LAST_APPLIED.to_owned(), "{}".to_owned())].into());
        let trimmed = trim(noisy);
        assert_eq!(trimmed.metadata.managed_fields, None);
        assert_eq!(trimmed.metadata.annotations, Some(BTreeMap::new()));
    }
}
