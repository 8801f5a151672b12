//! Objects and their field sets: extraction, comparison, merging and removal, all led by the type.
//!
//! A list that is told apart by keys but has duplicates is tolerated in live objects: the duplicates are
//! owned together by the path of their key.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    element::{Element, equal},
    set::Set,
    shape::{Atom, ListAtom, MapAtom, have_items, items},
};
use crate::schema::types::Type;

/// A list item that cannot be told apart, with the path to it.
pub(super) type KeyError = String;

/// The fields that a configuration has an opinion about.
pub(super) fn field_set(value: &Value, ty: Type<'_>) -> Set {
    extract(value, ty).1
}

/// Whether the value itself is a member, and what is below it.
fn extract(value: &Value, ty: Type<'_>) -> (bool, Set) {
    let mut set = Set::default();
    match Atom::of(ty, Some(value)) {
        Atom::Untyped | Atom::Scalar(_) => return (true, set),
        Atom::List(list) if list.is_atomic() => return (true, set),
        Atom::Map(map) if map.atomic => return (true, set),
        Atom::List(list) => {
            let mut duplicates: BTreeMap<Element, Option<&Value>> = BTreeMap::new();
            for item in items(Some(value)) {
                let Ok(element) = list.element(item) else { continue };
                duplicates.entry(element).and_modify(|item| *item = None).or_insert(Some(item));
            }
            for (element, item) in duplicates {
                let children = item.map(|item| extract(item, list.items).1).unwrap_or_default();
                set.attach(element, true, children);
            }
        }
        Atom::Map(map) => {
            for (name, value) in value.as_object().into_iter().flatten() {
                let (member, children) = map.child(name).map(|ty| extract(value, ty)).unwrap_or_default();
                let is_empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                let member = member || is_empty || !map.declares(name);
                set.attach(Element::Field(name.clone()), member, children);
            }
        }
    }
    (false, set)
}

/// What changed between two objects. No path is in two of the sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) removed: Set,
    pub(super) modified: Set,
    pub(super) added: Set,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Removed,
    Modified,
    Added,
}

impl Comparison {
    fn attach(&mut self, element: &Element, mark: Option<Mark>, below: Self) {
        let Self { removed, modified, added } = below;
        for (set, children, own) in [
            (&mut self.removed, removed, Mark::Removed),
            (&mut self.modified, modified, Mark::Modified),
            (&mut self.added, added, Mark::Added),
        ] {
            if mark == Some(own) || !children.is_empty() {
                set.attach(element.clone(), mark == Some(own), children);
            }
        }
    }

    /// Leaves out what `keep` leaves out of its sets.
    pub(super) fn filter(&mut self, keep: impl Fn(&mut Set)) {
        keep(&mut self.removed);
        keep(&mut self.modified);
        keep(&mut self.added);
    }
}

/// Compares two objects of one type.
pub(super) fn compare(old: &Value, new: &Value, ty: Type<'_>) -> Result<Comparison, KeyError> {
    let mut out = Comparison::default();
    differ(Some(old), Some(new), ty, &mut out)?;
    Ok(out)
}

fn differ(
    old: Option<&Value>,
    new: Option<&Value>,
    ty: Type<'_>,
    out: &mut Comparison,
) -> Result<Option<Mark>, KeyError> {
    if old.is_some() && old == new {
        return Ok(None);
    }
    let (old_atom, new_atom) = (Atom::of(ty, old), Atom::of(ty, new));
    let mut as_old = None;
    if new.is_some() && old.is_some() && !old_atom.is_like(&new_atom) {
        as_old = differ_as(&old_atom, old, new, out)?.0;
    }
    let atom = if new.is_some() { &new_atom } else { &old_atom };
    let (as_new, leaf) = differ_as(atom, old, new, out)?;
    let mut mark = as_old.or(as_new);
    if !leaf {
        mark = match (old, new) {
            (None, _) => Some(Mark::Added),
            (_, None) => Some(Mark::Removed),
            _ => mark,
        };
    }
    Ok(mark)
}

/// The mark of the value itself, and whether it is a leaf.
fn differ_as(
    atom: &Atom<'_>,
    old: Option<&Value>,
    new: Option<&Value>,
    out: &mut Comparison,
) -> Result<(Option<Mark>, bool), KeyError> {
    match atom {
        Atom::Map(map) if !map.atomic => {
            let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
            if old.is_some_and(|old| !old.is_empty()) || new.is_some_and(|new| !new.is_empty()) {
                differ_in_fields(map, old, new, out)?;
                return Ok((None, false));
            }
        }
        Atom::List(list) if !list.is_atomic() && have_items(old, new) => {
            differ_in_items(list, items(old), items(new), out)?;
            return Ok((None, false));
        }
        _ => {}
    }
    let mark = match (old, new) {
        (None, _) => Some(Mark::Added),
        (_, None) => Some(Mark::Removed),
        (Some(old), Some(new)) => (!equal(old, new)).then_some(Mark::Modified),
    };
    Ok((mark, true))
}

fn differ_in_fields(
    map: &MapAtom<'_>,
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
    out: &mut Comparison,
) -> Result<(), KeyError> {
    let fields = old.into_iter().flatten();
    let new_only =
        new.into_iter().flatten().filter(|(name, _)| old.is_none_or(|old| !old.contains_key(*name)));
    for (name, _) in fields.chain(new_only) {
        let Some(ty) = map.child(name) else { continue };
        let mut below = Comparison::default();
        let (old, new) = (old.and_then(|old| old.get(name)), new.and_then(|new| new.get(name)));
        let mark = differ(old, new, ty, &mut below).map_err(|e| format!(".{name}{e}"))?;
        if mark.is_some() || below != Comparison::default() {
            out.attach(&Element::Field(name.clone()), mark, below);
        }
    }
    Ok(())
}

fn differ_in_items(
    list: &ListAtom<'_>,
    old: &[Value],
    new: &[Value],
    out: &mut Comparison,
) -> Result<(), KeyError> {
    let mut pairs: BTreeMap<Element, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for (index, item) in old.iter().enumerate() {
        pairs.entry(element(list, index, item)?).or_default().0.push(item);
    }
    for (index, item) in new.iter().enumerate() {
        pairs.entry(element(list, index, item)?).or_default().1.push(item);
    }
    for (element, (old, new)) in pairs {
        let mut below = Comparison::default();
        let mut differ = |old: Option<&&Value>, new: Option<&&Value>| {
            differ(old.copied(), new.copied(), list.items, &mut below).map_err(|e| format!("{element}{e}"))
        };
        let mark = match (old.as_slice(), new.as_slice()) {
            ([] | [_], [] | [_]) => differ(old.first(), new.first())?,
            ([_, _, ..], [_, _, ..]) => {
                let same = old.len() == new.len() && old.iter().zip(&new).all(|(old, new)| equal(old, new));
                (!same).then_some(Mark::Modified)
            }
            // The duplicates' common path goes; the one that is left comes as new, and the other way round.
            ([_, _, ..], [new]) => {
                let mark = differ(None, Some(new))?;
                out.attach(&element, Some(Mark::Removed), Comparison::default());
                mark
            }
            ([old], [_, _, ..]) => {
                let mark = differ(Some(old), None)?;
                out.attach(&element, Some(Mark::Added), Comparison::default());
                mark
            }
            ([_, _, ..], []) => Some(Mark::Removed),
            ([], [_, _, ..]) => Some(Mark::Added),
        };
        out.attach(&element, mark, below);
    }
    Ok(())
}

fn element(list: &ListAtom<'_>, index: usize, item: &Value) -> Result<Element, KeyError> {
    list.element(item).map_err(|e| format!(": element {index}: {e}"))
}

/// Removes `paths` from `value`; `None` if nothing is left.
pub(super) fn remove(value: &Value, paths: &Set, ty: Type<'_>) -> Option<Value> {
    match Atom::of(ty, Some(value)) {
        Atom::Untyped | Atom::Scalar(_) => Some(value.clone()),
        Atom::List(list) => {
            let mut matched = false;
            let mut left = Vec::new();
            for item in items(Some(value)).iter().filter(|_| !list.is_atomic()) {
                let node = list.element(item).ok().and_then(|element| paths.get(&element));
                match node {
                    Some(node) if node.member => {}
                    Some(node) => {
                        matched = true;
                        left.push(remove_below(item, &node.children, list.items));
                    }
                    None => left.push(item.clone()),
                }
            }
            (matched || !left.is_empty()).then_some(left.into())
        }
        Atom::Map(map) => {
            let mut matched = false;
            let mut left = Map::new();
            for (name, value) in value.as_object().into_iter().flatten().filter(|_| !map.atomic) {
                let value = match (paths.get(&Element::Field(name.clone())), map.child(name)) {
                    (Some(node), _) if node.member => continue,
                    (Some(node), Some(ty)) => {
                        matched = true;
                        remove_below(value, &node.children, ty)
                    }
                    _ => value.clone(),
                };
                left.insert(name.clone(), value);
            }
            (matched || !left.is_empty()).then_some(left.into())
        }
    }
}

/// Like [`remove`], but an object or list that loses all it has stays, empty, as in release 6.3.2 of
/// `structured-merge-diff`, which the real server has.
fn remove_below(value: &Value, paths: &Set, ty: Type<'_>) -> Value {
    remove(value, paths, ty).unwrap_or_else(|| match value {
        Value::Object(_) => Map::new().into(),
        Value::Array(_) => Value::Array(Vec::new()),
        _ => Value::Null,
    })
}

/// Adds the declared fields on the way to a member, which sets of configurations leave out.
pub(super) fn with_named_fields(set: &Set, ty: Option<Type<'_>>) -> Set {
    let atom = ty.map(|ty| Atom::of(ty, None));
    let mut out = Set::default();
    for node in set.nodes() {
        let (named, child) = match (&atom, &node.element) {
            (Some(Atom::Map(map)), Element::Field(name)) => {
                (!node.children.is_empty() && map.declares(name), map.child(name))
            }
            (Some(Atom::List(list)), Element::Key(_)) => (false, Some(list.items)),
            _ => (false, None),
        };
        let children = with_named_fields(&node.children, child);
        out.attach(node.element.clone(), node.member || named, children);
    }
    out
}

/// Brings a stored set in line with a schema that has since made something atomic.
pub(super) fn reconcile(set: Set, ty: Type<'_>) -> Set {
    let atom = Atom::of(ty, None);
    let mut out = Set::default();
    for node in set.into_nodes() {
        let child = match (&atom, &node.element) {
            (Atom::Map(map), Element::Field(name)) if !map.is_free() => map.child(name),
            (Atom::List(list), _) => Some(list.items),
            _ => None,
        };
        let atomic = !node.children.is_empty()
            && child.is_some_and(|ty| match Atom::of(ty, None) {
                Atom::Map(map) => map.atomic,
                Atom::List(list) => list.is_atomic(),
                _ => false,
            });
        let (member, children) = match child {
            _ if atomic => (true, Set::default()),
            Some(ty) => (node.member, reconcile(node.children, ty)),
            None => (node.member, node.children),
        };
        out.attach(node.element, member, children);
    }
    out
}
