//! Merging a configuration into a live object.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    element::Element,
    shape::{Atom, ListAtom, MapAtom, have_items, items},
};
use crate::schema::types::Type;

/// The live object with what the configuration says; nothing is removed.
pub(super) fn merge(live: &Value, config: &Value, ty: Type<'_>) -> Value {
    merged(Some(live), Some(config), ty).unwrap_or_default()
}

fn merged(live: Option<&Value>, config: Option<&Value>, ty: Type<'_>) -> Option<Value> {
    // Where both have a value, its form is the configuration's.
    let atom = Atom::of(ty, config.or(live));
    match &atom {
        Atom::Map(map) if !map.atomic => {
            let (live, config) = (live.and_then(Value::as_object), config.and_then(Value::as_object));
            if live.is_some_and(|live| !live.is_empty()) || config.is_some_and(|config| !config.is_empty()) {
                return merged_fields(map, live, config);
            }
        }
        Atom::List(list) if !list.is_atomic() && have_items(live, config) => {
            return merged_items(list, items(live), items(config));
        }
        _ => {}
    }
    config.or(live).cloned()
}

fn merged_fields(
    map: &MapAtom<'_>,
    live: Option<&Map<String, Value>>,
    config: Option<&Map<String, Value>>,
) -> Option<Value> {
    let mut out = Map::new();
    for name in live.into_iter().chain(config).flat_map(Map::keys).collect::<BTreeSet<_>>() {
        let (live, config) =
            (live.and_then(|live| live.get(name)), config.and_then(|config| config.get(name)));
        let value = match map.child(name) {
            Some(ty) => merged(live, config, ty),
            None => config.or(live).cloned(),
        };
        out.extend(value.map(|value| (name.clone(), value)));
    }
    (!out.is_empty()).then_some(out.into())
}

/// Lists' items with their elements. Items that cannot be told apart were refused before.
fn indexed<'v>(list: &ListAtom<'_>, items: &'v [Value]) -> Vec<(Element, &'v Value)> {
    items.iter().filter_map(|item| list.element(item).ok().map(|element| (element, item))).collect()
}

/// Merges two lists. The configuration's items keep their order, as do the live ones among themselves;
/// a live item stays before the configuration's item that it was before, as far as both orders agree.
fn merged_items(list: &ListAtom<'_>, live: &[Value], config: &[Value]) -> Option<Value> {
    let (live, config) = (indexed(list, live), indexed(list, config));
    // Duplicates of the live list are not merged into: the configuration's item stands in for them.
    let mut known: BTreeMap<&Element, Option<&Value>> = BTreeMap::new();
    for (element, item) in &live {
        known.entry(element).and_modify(|item| *item = None).or_insert(Some(item));
    }
    let wanted: BTreeMap<&Element, &Value> = config.iter().map(|(element, item)| (element, *item)).collect();
    let mut shared = config.iter().map(|(element, _)| element).filter(|element| known.contains_key(element));
    let mut next_shared = shared.next();
    let mut done = BTreeSet::new();
    let mut out = Vec::with_capacity(live.len().max(config.len()));
    let take = |element: &Element, item: &Value| {
        const DUPLICATES: &Value = &Value::Null;
        let live = known.get(element).map(|live| live.unwrap_or(DUPLICATES));
        merged(live, Some(item), list.items)
    };

    let (mut l, mut c) = (0, 0);
    loop {
        match (live.get(l), config.get(c)) {
            (None, None) => break,
            (Some((left, _)), Some((right, item))) if left == right => {
                done.insert(left);
                out.extend(take(left, item));
                (l, c) = (l + 1, c + 1);
                next_shared = shared.next();
                continue;
            }
            // A shared item, but not the one whose turn it is.
            (Some((left, _)), Some(_))
                if wanted.contains_key(left) && next_shared.is_some_and(|next| next != left) =>
            {
                l += 1;
                continue;
            }
            _ => {}
        }
        if let Some((left, item)) = live.get(l) {
            if !wanted.contains_key(left) {
                out.extend(merged(Some(item), None, list.items));
                l += 1;
                continue;
            }
            if done.contains(left) {
                l += 1;
            }
        }
        if let Some((right, item)) = config.get(c) {
            done.insert(right);
            out.extend(take(right, item));
            c += 1;
            if next_shared == Some(right) {
                next_shared = shared.next();
            }
        }
    }
    (!out.is_empty()).then_some(out.into())
}
