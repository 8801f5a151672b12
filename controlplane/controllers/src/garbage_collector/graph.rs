//! Who owns whom.
//!
//! The graph has only objects that take part in an ownership or wait for their dependents: an object without owners
//! and without dependents costs nothing. An owner that is known by nothing but a reference to it is *virtual* until
//! the API server has been asked whether it exists.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::Deserialize;

/// Holds an object until its dependents are deleted.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Holds an object until its dependents no longer name it.
pub(super) const ORPHAN: &str = "orphan";

/// A uid; shared between the nodes that mention it.
pub(super) type Uid = Arc<str>;

/// Group and kind.
pub(super) type GroupKind = Arc<(String, String)>;

/// As much of an object as ownership needs.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Object {
    pub metadata: Facts,
}

/// As much of an object's metadata as ownership needs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Facts {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub owner_references: Vec<OwnerReference>,
    pub finalizers: Vec<String>,
    #[serde(deserialize_with = "is_present")]
    pub deletion_timestamp: bool,
}

fn is_present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Option::<serde::de::IgnoredAny>::deserialize(deserializer).map(|value| value.is_some())
}

impl Facts {
    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == name)
    }

    fn waits_with(&self, finalizer: &str) -> bool {
        self.deletion_timestamp && self.has_finalizer(finalizer)
    }
}

impl From<&ObjectMeta> for Facts {
    fn from(meta: &ObjectMeta) -> Self {
        Self {
            name: meta.name.clone().unwrap_or_default(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            owner_references: meta.owner_references.clone().unwrap_or_default(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            deletion_timestamp: meta.deletion_timestamp.is_some(),
        }
    }
}

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Work {
    /// Whether this object is to be deleted, or exists at all.
    Examine(Uid),
    /// Take this owner off its dependents.
    Orphan(Uid),
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Examine(uid) => write!(f, "examine {uid}"),
            Self::Orphan(uid) => write!(f, "orphan dependents of {uid}"),
        }
    }
}

/// An owner as a dependent names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub uid: Uid,
    pub blocks: bool,
}

/// An object in the graph.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub kind: GroupKind,
    pub namespace: String,
    pub name: String,
    /// Known only by a reference to it.
    pub is_virtual: bool,
    pub owners: Vec<Owner>,
    pub dependents: HashSet<Uid>,
    pub deleting: bool,
    /// Being deleted, after its dependents.
    pub foreground: bool,
    orphaning: bool,
    version: u64,
}

/// The graph; its answers say what to look at next.
#[derive(Default)]
pub(super) struct Graph {
    nodes: HashMap<Uid, Node>,
    kinds: HashSet<GroupKind>,
}

/// The group in an `apiVersion`.
pub(super) fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

impl Graph {
    /// The one copy of a kind's name.
    pub fn kind(&mut self, group: &str, kind: &str) -> GroupKind {
        let name = Arc::new((group.to_owned(), kind.to_owned()));
        if let Some(known) = self.kinds.get(&name) {
            return known.clone();
        }
        self.kinds.insert(name.clone());
        name
    }

    /// The node of `uid`.
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The dependents that hold up the foreground deletion of `uid`.
    pub fn blocking(&self, uid: &str) -> Vec<Uid> {
        let dependents = self.nodes.get(uid).map(|node| &node.dependents).into_iter().flatten();
        let blocks = |dependent: &&Uid| {
            let owners = self.nodes.get(&**dependent).map(|node| &node.owners).into_iter().flatten();
            owners.into_iter().any(|owner| owner.blocks && &*owner.uid == uid)
        };
        dependents.filter(blocks).cloned().collect()
    }

    /// Takes in an object that exists.
    pub fn observe(&mut self, kind: &GroupKind, facts: &Facts) -> Vec<Work> {
        let mut work = Vec::new();
        let (foreground, orphaning) = (facts.waits_with(FOREGROUND), facts.waits_with(ORPHAN));
        let version = facts.resource_version.parse().unwrap_or(u64::MAX);
        let uid = match self.nodes.get_key_value(facts.uid.as_str()) {
            Some((_, node)) if !node.is_virtual && version < node.version => return work,
            Some((uid, _)) => uid.clone(),
            None if facts.owner_references.is_empty() && !foreground && !orphaning => return work,
            None => Uid::from(facts.uid.as_str()),
        };

        let owners: Vec<Owner> = facts
            .owner_references
            .iter()
            .map(|reference| Owner {
                uid: self
                    .nodes
                    .get_key_value(reference.uid.as_str())
                    .map_or_else(|| Uid::from(reference.uid.as_str()), |(known, _)| known.clone()),
                blocks: reference.block_owner_deletion == Some(true),
            })
            .collect();
        let fresh = Node {
            kind: kind.clone(),
            namespace: facts.namespace.clone(),
            name: facts.name.clone(),
            is_virtual: false,
            owners: owners.clone(),
            dependents: HashSet::new(),
            deleting: facts.deletion_timestamp,
            foreground,
            orphaning,
            version,
        };
        let old = self.nodes.insert(uid.clone(), fresh);
        let (dependents, old_owners) =
            old.as_ref().map(|old| (old.dependents.clone(), old.owners.clone())).unwrap_or_default();
        if let Some(node) = self.nodes.get_mut(&uid) {
            node.dependents.clone_from(&dependents);
        }

        if let Some(old) = &old
            && old.is_virtual
            && (old.kind != *kind || old.name != facts.name || !in_scope(&old.namespace, &facts.namespace))
        {
            // The references that named it are wrong about what it is.
            work.extend(dependents.iter().cloned().map(Work::Examine));
        }
        if foreground && !old.as_ref().is_some_and(|old| old.foreground) {
            work.extend(dependents.iter().cloned().map(Work::Examine));
            work.push(Work::Examine(uid.clone()));
        }
        if orphaning && !old.as_ref().is_some_and(|old| old.orphaning) {
            work.push(Work::Orphan(uid.clone()));
        }
        self.link(&uid, facts, &owners, &mut work);
        self.unlink(&uid, &old_owners, &owners, &mut work);
        self.prune(&uid);
        work
    }

    /// Makes `uid` a dependent of `owners`; unknown ones become virtual.
    fn link(&mut self, uid: &Uid, facts: &Facts, owners: &[Owner], work: &mut Vec<Work>) {
        for (owner, reference) in owners.iter().zip(&facts.owner_references) {
            let kind = self.kind(group_of(&reference.api_version), &reference.kind);
            match self.nodes.get_mut(&owner.uid) {
                Some(node) => {
                    let newly = node.dependents.insert(uid.clone());
                    let mistaken = node.kind != kind
                        || node.name != reference.name
                        || !in_scope(&node.namespace, &facts.namespace);
                    if mistaken || (newly && node.foreground) {
                        work.push(Work::Examine(uid.clone()));
                    }
                }
                None => {
                    let node = Node {
                        kind,
                        namespace: facts.namespace.clone(),
                        name: reference.name.clone(),
                        is_virtual: true,
                        owners: Vec::new(),
                        dependents: HashSet::from([uid.clone()]),
                        deleting: false,
                        foreground: false,
                        orphaning: false,
                        version: 0,
                    };
                    self.nodes.insert(owner.uid.clone(), node);
                    work.push(Work::Examine(owner.uid.clone()));
                }
            }
        }
    }

    /// Ends what `old` owners had with `uid` and `new` ones have not.
    fn unlink(&mut self, uid: &Uid, old: &[Owner], new: &[Owner], work: &mut Vec<Work>) {
        for was in old {
            let is = new.iter().find(|owner| owner.uid == was.uid);
            let Some(node) = self.nodes.get_mut(&was.uid) else { continue };
            if is.is_none() {
                node.dependents.remove(uid);
            }
            if node.foreground && was.blocks && !is.is_some_and(|owner| owner.blocks) {
                work.push(Work::Examine(was.uid.clone()));
            }
            self.prune(&was.uid);
        }
    }

    /// Takes out an object that does not exist.
    pub fn remove(&mut self, uid: &str) -> Vec<Work> {
        let Some((uid, node)) = self.nodes.remove_entry(uid) else { return Vec::new() };
        let mut work: Vec<Work> = node.dependents.into_iter().map(Work::Examine).collect();
        for owner in node.owners {
            if let Some(node) = self.nodes.get_mut(&owner.uid) {
                node.dependents.remove(&uid);
                if node.foreground {
                    work.push(Work::Examine(owner.uid.clone()));
                }
            }
            self.prune(&owner.uid);
        }
        work
    }

    /// Takes out all objects of `kind` that a complete list does not have.
    pub fn retain(&mut self, kind: &GroupKind, listed: &HashSet<String>) -> Vec<Work> {
        let missed = self.of_kind(kind).filter(|uid| !listed.contains(&***uid)).cloned().collect::<Vec<_>>();
        missed.iter().flat_map(|uid| self.remove(uid)).collect()
    }

    /// Forgets a kind that is no longer served. Nothing follows from that: its objects were deleted one by one
    /// before, or will be served again.
    pub fn forget(&mut self, kind: &GroupKind) {
        for uid in self.of_kind(kind).cloned().collect::<Vec<_>>() {
            self.remove(&uid);
        }
        self.kinds.remove(kind);
    }

    fn of_kind<'a>(&'a self, kind: &'a GroupKind) -> impl Iterator<Item = &'a Uid> {
        self.nodes.iter().filter(move |(_, node)| node.kind == *kind && !node.is_virtual).map(|(uid, _)| uid)
    }

    /// Drops the node if it no longer takes part in anything.
    fn prune(&mut self, uid: &Uid) {
        let idle = self.nodes.get(uid).is_some_and(|node| {
            node.owners.is_empty() && node.dependents.is_empty() && !node.foreground && !node.orphaning
        });
        if idle {
            self.nodes.remove(uid);
        }
    }
}

/// Whether an owner in `owner` can own something in `dependent`: it is in the same namespace, or in none.
fn in_scope(owner: &str, dependent: &str) -> bool {
    owner.is_empty() || owner == dependent
}
