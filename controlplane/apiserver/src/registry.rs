//! The kinds that the server knows: one file a kind under `registry/<group>/`, one line each in the table.

pub mod admissionregistration;
pub mod apiextensions;
pub mod apiregistration;
pub mod apps;
pub mod autoscaling;
pub mod batch;
pub mod certificates;
pub mod coordination;
pub mod core;
pub mod discovery;
pub mod events;
pub mod flowcontrol;
pub mod gates;
#[cfg(test)]
mod golden;
pub mod internal;
pub mod kind;
pub mod networking;
pub mod node;
pub mod policy;
pub mod rbac;
pub mod resource;
pub mod scheduling;
pub mod storage;
mod table;
pub mod versions;
mod workload;

use kind::Kind;
pub use table::RESOURCES;
pub use vkube_usage::document as access;

/// A resource that the server offers, as discovery shows it, with the rules of its kind.
#[derive(Clone, Copy)]
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The API version.
    pub version: &'static str,
    /// The kind of its objects.
    pub kind: &'static str,
    /// Its name in URLs.
    pub plural: &'static str,
    /// Its name for one object.
    pub singular: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What kubectl also calls it.
    pub short_names: &'static [&'static str],
    /// The groups of resources that it belongs to, such as `all`.
    pub categories: &'static [&'static str],
    /// What can be done with it, sorted.
    pub verbs: &'static [&'static str],
    /// Its subresources, sorted by name.
    pub subresources: &'static [Subresource],
    /// The name of its schema, such as `io.k8s.api.core.v1.Pod`.
    pub type_name: &'static str,
    /// The group and version that it is stored as, where that is not its own.
    pub stored_as: Option<(&'static str, &'static str)>,
    /// What is special to its kind.
    pub kind_rules: &'static dyn Kind,
}

/// A subresource, as discovery shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// Its name in URLs.
    pub name: &'static str,
    /// The group of its kind; empty means that of its resource.
    pub group: &'static str,
    /// The version of its kind; empty means that of its resource.
    pub version: &'static str,
    /// The kind that it takes and answers.
    pub kind: &'static str,
    /// What can be done with it, sorted.
    pub verbs: &'static [&'static str],
}

impl Resource {
    /// The resource of this group, version and plural name.
    pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|r| r.plural == plural && r.group == group && r.version == version)
    }

    /// The resource of this group, version and kind.
    pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|r| r.kind == kind && r.group == group && r.version == version)
    }

    /// Its `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.into() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Its subresource of this name.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Whether objects of it can be stored; the others (reviews, bindings) are answered at once.
    pub fn is_stored(&self) -> bool {
        self.verbs.contains(&"get") && self.verbs.contains(&"create")
    }
}
