//! Which ConfigMaps and Secrets the host needs: those that something synced refers to.

use std::collections::{HashMap, HashSet};

use crate::context::{Kind, Task};
use crate::labels::ObjectKey;

/// References from virtual objects (pods, ingresses) to the objects they need on the host.
#[derive(Debug, Default)]
pub(crate) struct ReferenceIndex {
    by_source: HashMap<Task, Vec<Task>>,
    counts: HashMap<Task, usize>,
}

impl ReferenceIndex {
    /// Replaces the references of `source`; returns the targets that became needed or unneeded by it.
    pub fn set(&mut self, source: Task, targets: Vec<Task>) -> Vec<Task> {
        let old = if targets.is_empty() {
            self.by_source.remove(&source).unwrap_or_default()
        } else {
            self.by_source.insert(source, targets.clone()).unwrap_or_default()
        };
        let before: HashSet<Task> = old.into_iter().collect();
        let after: HashSet<Task> = targets.into_iter().collect();

        let mut changed = Vec::new();
        for target in after.difference(&before) {
            let count = self.counts.entry(target.clone()).or_default();
            *count += 1;
            if *count == 1 {
                changed.push(target.clone());
            }
        }
        for target in before.difference(&after) {
            if let Some(count) = self.counts.get_mut(target) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(target);
                    changed.push(target.clone());
                }
            }
        }
        changed
    }

    /// Whether anything refers to the object.
    pub fn needs(&self, kind: Kind, key: &ObjectKey) -> bool {
        self.counts.contains_key(&Task { kind, key: key.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(kind: Kind, name: &str) -> Task {
        Task { kind, key: ObjectKey::new("shop", name) }
    }

    #[test]
    fn an_object_is_needed_until_its_last_reference_goes() {
        let mut index = ReferenceIndex::default();
        let map = task(Kind::ConfigMap, "settings");
        assert_eq!(index.set(task(Kind::Pod, "a"), vec![map.clone()]), std::slice::from_ref(&map));
        assert!(index.set(task(Kind::Pod, "b"), vec![map.clone()]).is_empty());
        assert!(index.set(task(Kind::Pod, "a"), Vec::new()).is_empty());
        assert!(index.needs(Kind::ConfigMap, &map.key));
        assert_eq!(index.set(task(Kind::Pod, "b"), Vec::new()), std::slice::from_ref(&map));
        assert!(!index.needs(Kind::ConfigMap, &map.key));
    }
}
