//! What has been made on the host for a cluster. Pure.

use std::collections::BTreeSet;

use kube::ResourceExt;
use kube::api::DynamicObject;
use vkube_crds::{InventoryItem, MOST_INVENTORY};

/// How an object stands in the inventory.
pub fn item(object: &DynamicObject) -> InventoryItem {
    let types = object.types.clone().unwrap_or_default();
    let group = types.api_version.split_once('/').map(|(group, _)| group.to_owned());
    InventoryItem {
        group: group.unwrap_or_default(),
        kind: types.kind,
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}

/// The inventory after an attempt that made these. One that did not take every step says nothing of what it did not reach.
pub fn after(
    before: &[InventoryItem],
    made: BTreeSet<InventoryItem>,
    is_complete: bool,
) -> Vec<InventoryItem> {
    let mut all = made;
    if !is_complete {
        all.extend(before.iter().cloned());
    }
    all.into_iter().take(MOST_INVENTORY).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk(name: &str) -> InventoryItem {
        InventoryItem { name: name.into(), ..InventoryItem::default() }
    }

    fn names(items: &[InventoryItem]) -> Vec<&str> {
        items.iter().map(|item| item.name.as_str()).collect()
    }

    #[test]
    fn what_an_attempt_did_not_reach_stays_and_what_it_no_longer_makes_goes() {
        let before = [mk("a"), mk("c")];
        let made = || BTreeSet::from([mk("b"), mk("a")]);
        assert_eq!(names(&after(&before, made(), false)), ["a", "b", "c"]);
        assert_eq!(names(&after(&before, made(), true)), ["a", "b"]);
    }

    #[test]
    fn an_inventory_is_bounded() {
        let made = (0..=MOST_INVENTORY).map(|number| mk(&format!("{number:04}"))).collect();
        let all = after(&[], made, true);
        assert_eq!((all.len(), all[0].name.as_str()), (MOST_INVENTORY, "0000"));
    }
}
