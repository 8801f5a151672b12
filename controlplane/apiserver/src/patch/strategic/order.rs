//! The order of merged lists.

use std::iter::Peekable;

use serde_json::Value;

/// Items' identities in a wanted order.
pub(super) struct Order(Vec<Option<Value>>);

impl Order {
    /// The order of `items`, told apart by `key` or as scalars.
    pub(super) fn of(items: &[Value], key: Option<&str>) -> Self {
        Self(items.iter().map(|item| identity(item, key).cloned()).collect())
    }

    fn place(&self, item: &Value, key: Option<&str>) -> Option<usize> {
        let wanted = identity(item, key);
        self.0.iter().position(|other| other.as_ref() == wanted)
    }
}

fn identity<'v>(item: &'v Value, key: Option<&str>) -> Option<&'v Value> {
    match key {
        Some(key) => item.get(key),
        None => Some(item),
    }
}

/// Keeps the first of equal items.
pub(super) fn distinct(items: Vec<Value>) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::with_capacity(items.len());
    for item in items {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

/// Orders the items of `patch_order` by it and the others by `live_order`, then merges the two: an item
/// of the live list comes before the next one of the patch if it was before it in the live list.
pub(super) fn interleave(
    items: Vec<Value>,
    patch_order: &Order,
    live_order: &Order,
    key: Option<&str>,
) -> Vec<Value> {
    let (mut patched, mut others) = (Vec::new(), Vec::new());
    for item in items {
        let live_place = live_order.place(&item, key);
        match patch_order.place(&item, key) {
            Some(place) => insert(&mut patched, Placed { place: Some(place), live_place, item }),
            None => insert(&mut others, Placed { place: live_place, live_place, item }),
        }
    }
    let mut patched = patched.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    let mut out = Vec::with_capacity(patched.len() + others.len());
    while let Some(item) = next(&mut others, &mut patched) {
        out.push(item);
    }
    out
}

struct Placed {
    place: Option<usize>,
    live_place: Option<usize>,
    item: Value,
}

/// Insertion sort; an item without a place moves to the front, as in the reference.
fn insert(sorted: &mut Vec<Placed>, new: Placed) {
    let goes_before = |other: &Placed| match (new.place, other.place) {
        (Some(new), Some(other)) => new < other,
        _ => true,
    };
    let position = sorted.iter().rposition(|other| !goes_before(other)).map_or(0, |before| before + 1);
    sorted.insert(position, new);
}

fn next<I: Iterator<Item = Placed>>(others: &mut Peekable<I>, patched: &mut Peekable<I>) -> Option<Value> {
    let other_first = match (others.peek(), patched.peek()) {
        (Some(other), Some(patch)) => match (other.live_place, patch.live_place) {
            (Some(other), Some(patch)) => other < patch,
            _ => false,
        },
        (Some(_), None) => true,
        (None, _) => false,
    };
    if other_first { others.next() } else { patched.next() }.map(|placed| placed.item)
}
