//! Field ownership: `metadata.managedFields` and server-side apply
//! (<https://kubernetes.io/docs/reference/using-api/server-side-apply/>), as pure functions.
//!
//! | request | function | when |
//! |---|---|---|
//! | create, update, patch | [`on_update`] | after decoding and patching, before mutating admission |
//! | apply | [`apply()`] | instead of a patch; its result is then defaulted and admitted |
//! | any of them | [`validate`] | after mutating admission: if it fails, the entries of before are put back |
//! | update, patch, apply | [`keep_times`] | last, before the object is compared with the stored one |
//! | `scale` | [`scale`] | around these, to carry ownership between an object and its scale |
//!
//! Objects are documents that are decoded against their type and in the version of the request; what Go
//! always writes (`resources: {}`) is there, since it is part of what a manager owns. An explicit empty
//! list in `metadata.managedFields` must survive decoding: it resets ownership.
//!
//! Guarantees: an entry's time changes only with the fields that its manager set; a request that changes
//! nothing leaves the entries as they are; applying the same configuration twice is a no-op.

mod apply;
mod change;
mod compare;
pub mod element;
mod managers;
mod merge;
pub mod mutation;
pub mod scale;
pub mod set;
mod shape;
mod update;
mod validate;

use jiff::Timestamp;
use serde_json::Value;

pub use self::{
    apply::{Conflict, Error, apply, unconvertible},
    managers::{Id, Invalid, Managers, Operation, Owned},
    update::on_update,
};
use self::{element::Element, set::Set};
use crate::schema::types::Type;

/// An object in another version, with the type it has there; `None` if that version no longer exists.
/// The object may be in any version, also in the wanted one.
pub type Convert<'a> = dyn Fn(&Value, &str) -> Option<(Value, Type<'a>)> + Sync + 'a;

/// Who writes what.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// The version of the request, such as `apps/v1`.
    pub api_version: &'a str,
    /// The kind in the request.
    pub kind: &'a str,
    /// The subresource, or empty.
    pub subresource: &'a str,
    /// The type of the objects.
    pub ty: Type<'a>,
    /// The time for entries that change.
    pub now: Timestamp,
    /// Fields that a writer of this (sub)resource cannot own.
    pub reset: &'a Reset<'a>,
    /// How to compare with entries of other versions; without it those versions count as gone.
    pub convert: Option<&'a Convert<'a>>,
}

/// Which fields a (sub)resource resets, so that its writers do not own them.
#[derive(Clone, Copy, Debug)]
pub enum Reset<'a> {
    /// These, named by dotted paths such as `status` or `metadata.labels`, and all below them.
    Fields(&'a [&'a str]),
    /// All but these, named by dotted paths in which `*` is any step.
    AllBut(&'a [&'a str]),
}

impl Reset<'_> {
    /// Nothing is reset.
    pub const NONE: Self = Self::Fields(&[]);

    fn apply(&self, set: &mut Set) {
        match self {
            Self::Fields([]) => {}
            Self::Fields(paths) => set.subtract_deep(&Set::of_fields(paths)),
            Self::AllBut(patterns) => {
                let patterns: Vec<Vec<&str>> = patterns.iter().map(|p| p.split('.').collect()).collect();
                *set = kept(std::mem::take(set), &patterns.iter().map(Vec::as_slice).collect::<Vec<_>>());
            }
        }
    }
}

/// What of `set` the patterns match: the paths on the way to a match, the match and all below it.
fn kept(set: Set, patterns: &[&[&str]]) -> Set {
    let mut out = Set::default();
    for node in set.into_nodes() {
        let matches =
            |step: &str| step == "*" || matches!(&node.element, Element::Field(name) if name == step);
        let rest: Vec<&[&str]> = patterns
            .iter()
            .filter_map(|pattern| {
                pattern.split_first().filter(|(step, _)| matches(step)).map(|(_, rest)| rest)
            })
            .collect();
        if rest.is_empty() {
            continue;
        }
        let children =
            if rest.iter().any(|rest| rest.is_empty()) { node.children } else { kept(node.children, &rest) };
        out.attach(node.element, node.member, children);
    }
    out
}

/// Whether the entries of `object` can be read. Admission may break them.
pub fn validate(object: &Value) -> Result<(), Invalid> {
    managers::decode(object).map(drop)
}

/// Puts the old times back if nothing else differs, so that a no-op does not make a new revision.
pub fn keep_times(old: &Value, new: &mut Value) {
    let Some(Value::Array(old_entries)) = managers::entries(old) else { return };
    let Some(Value::Array(entries)) = new.pointer_mut("/metadata/managedFields") else { return };
    let same = |(old, new): (&Value, &Value)| match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let without_time = |(name, _): &(&String, &Value)| *name != "time";
            old.iter().filter(without_time).eq(new.iter().filter(without_time))
        }
        _ => false,
    };
    if entries == old_entries
        || entries.len() != old_entries.len()
        || !old_entries.iter().zip(entries.iter()).all(same)
    {
        return;
    }
    let new_entries = std::mem::replace(entries, old_entries.clone());
    if old != new {
        new["metadata"]["managedFields"] = new_entries.into();
    }
}

/// What no manager ever owns.
fn never_owned() -> Set {
    Set::of_fields(&[
        "apiVersion",
        "kind",
        "metadata",
        "metadata.name",
        "metadata.namespace",
        "metadata.creationTimestamp",
        "metadata.selfLink",
        "metadata.uid",
        "metadata.clusterName",
        "metadata.generation",
        "metadata.managedFields",
        "metadata.resourceVersion",
    ])
}

#[cfg(test)]
mod tests;
