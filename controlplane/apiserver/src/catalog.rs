//! What is served now: the built-in resources, and the custom ones of established definitions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, RwLock},
};

use crate::{custom::CustomResource, registry::Resource, resource::Definition};

type Key = (String, String, String);

/// All served resources.
#[derive(Default)]
pub struct Catalog {
    custom: RwLock<Arc<BTreeMap<Key, Arc<CustomResource>>>>,
}

impl Catalog {
    /// The resource of this group, version and plural name.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Definition> {
        if let Some(resource) = Resource::find(group, version, plural) {
            return Some(Definition::Builtin(resource));
        }
        let key = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.custom().get(&key).cloned().map(Definition::Custom)
    }

    /// The custom resources, by group, version and plural name.
    pub fn custom(&self) -> Arc<BTreeMap<Key, Arc<CustomResource>>> {
        self.custom.read().map(|c| c.clone()).unwrap_or_default()
    }

    /// The versions of a group that custom resources are served in.
    pub fn custom_versions(&self, group: &str) -> BTreeSet<String> {
        let custom = self.custom();
        custom.keys().filter(|(known, ..)| known == group).map(|(_, version, _)| version.clone()).collect()
    }

    /// The names of the definitions that custom resources come from.
    pub fn custom_names(&self) -> BTreeSet<String> {
        self.custom().keys().map(|(group, _, plural)| format!("{plural}.{group}")).collect()
    }

    /// Replaces all versions of the custom resource `plural.group`; none removes it.
    pub fn set_custom(&self, group: &str, plural: &str, versions: Vec<Arc<CustomResource>>) {
        if let Ok(mut custom) = self.custom.write() {
            let mut next = custom.as_ref().clone();
            next.retain(|(g, _, p), _| g != group || p != plural);
            for version in versions {
                next.insert((group.to_owned(), version.version.clone(), plural.to_owned()), version);
            }
            *custom = Arc::new(next);
        }
    }

    /// Whether any resource of this group is served.
    pub fn has_group(&self, group: &str) -> bool {
        crate::registry::RESOURCES.iter().any(|r| r.group == group)
            || self.custom().keys().any(|(g, _, _)| g == group)
    }

    /// Whether any resource of this group and version is served.
    pub fn has_version(&self, group: &str, version: &str) -> bool {
        crate::registry::RESOURCES.iter().any(|r| r.group == group && r.version == version)
            || self.custom().keys().any(|(g, v, _)| g == group && v == version)
    }
}
