//! What a write changes, and what that takes from the owners of fields.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::Value;

use super::{
    Request,
    compare::{Comparison, KeyError, compare, reconcile},
    managers::{Id, Managers, Owned},
    set::Set,
};
use crate::schema::types::Type;

/// A change of an object, seen in every version that its owners use.
pub(super) struct Change {
    versions: BTreeMap<String, Comparison>,
    /// Owners whose version no longer exists.
    gone: Vec<Id>,
    /// What others own and would lose because its value changes.
    pub(super) conflicts: Vec<(Id, Set)>,
}

impl Change {
    /// Compares two objects of the request's version. `own` is the writer's entry, which loses nothing.
    pub(super) fn between(
        old: &Value,
        new: &Value,
        owners: &Managers,
        own: Option<&Id>,
        request: &Request<'_>,
    ) -> Result<Self, KeyError> {
        let comparison = |old: &Value, new: &Value, ty| -> Result<Comparison, KeyError> {
            let mut comparison = compare(old, new, ty)?;
            comparison.filter(|set| request.reset.apply(set));
            Ok(comparison)
        };
        let mut versions = BTreeMap::new();
        versions.insert(request.api_version.to_owned(), comparison(old, new, request.ty)?);
        let (mut conflicts, mut gone) = (Vec::new(), Vec::new());
        for (id, owned) in owners.iter().filter(|(id, _)| own != Some(*id)) {
            let version = &owned.api_version;
            if !versions.contains_key(version) {
                let (Some((old, ty)), Some((new, _))) =
                    (convert(old, version, request), convert(new, version, request))
                else {
                    gone.push(id.clone());
                    continue;
                };
                versions.insert(version.clone(), comparison(&old, &new, ty)?);
            }
            let Some(change) = versions.get(version) else { continue };
            let conflict =
                owned.set.intersection(&change.modified).union(owned.set.intersection(&change.added));
            if !conflict.is_empty() {
                conflicts.push((id.clone(), conflict));
            }
        }
        Ok(Self { versions, gone, conflicts })
    }

    /// Takes from the others what changed or vanished; returns the change in the request's version.
    pub(super) fn carry_out(
        mut self,
        owners: &mut Managers,
        own: Option<&Id>,
        request: &Request<'_>,
    ) -> Comparison {
        for id in &self.gone {
            owners.remove(id);
        }
        for (id, conflict) in &self.conflicts {
            if let Some(owned) = owners.get_mut(id) {
                owned.set.subtract(conflict);
            }
        }
        for (_, owned) in owners.iter_mut().filter(|(id, _)| own != Some(*id)) {
            if let Some(change) = self.versions.get(&owned.api_version) {
                owned.set.subtract(&change.removed);
            }
        }
        owners.retain(|_, owned| !owned.set.is_empty());
        self.versions.remove(request.api_version).unwrap_or_default()
    }
}

/// An object in the version `api_version`, with its type there; `None` if that version is gone.
pub(super) fn convert<'o, 'a>(
    object: &'o Value,
    api_version: &str,
    request: &Request<'a>,
) -> Option<(Cow<'o, Value>, Type<'a>)> {
    let is_there = object.get("apiVersion").and_then(Value::as_str).is_none_or(|v| v == api_version);
    if is_there && api_version == request.api_version {
        return Some((Cow::Borrowed(object), request.ty));
    }
    request.convert?(object, api_version).map(|(object, ty)| (Cow::Owned(object), ty))
}

/// Brings all sets in line with today's schema; entries of versions that are gone go.
pub(super) fn reconciled(owners: Managers, live: &Value, request: &Request<'_>) -> Managers {
    let mut out = Managers::new();
    for (id, owned) in owners {
        if let Some((_, ty)) = convert(live, &owned.api_version, request) {
            out.insert(id, Owned { set: reconcile(owned.set, ty), ..owned });
        }
    }
    out
}
