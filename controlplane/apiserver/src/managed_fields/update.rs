//! Ownership after a create, update or patch.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    Request,
    change::{Change, reconciled},
    compare::KeyError,
    managers::{self, Id, Managers, Operation, Owned},
    never_owned,
    set::Set,
    shape::zero,
};
use crate::schema::types::{Shape, Type};

/// How many Update entries an object may have before the oldest are merged.
const MAX_UPDATE_MANAGERS: usize = 10;

/// The manager of merged old entries.
const ANCIENT: &str = "ancient-changes";

/// The manager of what an object had before anyone was known to own it.
pub(super) const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Sets `metadata.managedFields` of `new`, which replaces `live` (absent on create).
///
/// Entries in `new` that differ from those of `live` are the client's wish and taken as the start; an
/// empty list or a list of one empty entry forgets all owners, and an object without owners stays so.
/// Should the objects not be comparable, the entries are removed rather than left wrong.
pub fn on_update(live: Option<&Value>, new: &mut Value, request: &Request<'_>) {
    let owners = requested(live, new, request);
    forget(new);
    if owners.is_empty() && live.is_some() {
        return;
    }
    let owners = match live {
        Some(live) => take(live, new, owners, request),
        None => take(&fresh(request), new, owners, request),
    };
    match owners {
        Ok(owners) => managers::encode(new, owners),
        Err(error) => {
            tracing::warn!(error, kind = request.kind, "cannot tell who owns the fields of an object");
        }
    }
}

/// The entries to start from.
fn requested(live: Option<&Value>, new: &Value, request: &Request<'_>) -> Managers {
    let of_live = || live.and_then(|live| managers::decode(live).ok()).unwrap_or_default();
    if !request.subresource.is_empty() {
        return of_live();
    }
    if let Some(Value::Array(entries)) = managers::entries(new) {
        let is_blank = |entry: &Value| {
            entry.as_object().is_none_or(|e| e.values().all(|v| v.is_null() || v.as_str() == Some("")))
        };
        if entries.is_empty() || (entries.len() == 1 && entries.iter().all(is_blank)) {
            return Managers::new();
        }
    }
    managers::decode(new).ok().filter(|owners| !owners.is_empty()).unwrap_or_else(of_live)
}

/// Removes the entries of an object.
pub(super) fn forget(object: &mut Value) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("managedFields");
    }
}

/// The owners after the manager of an update has taken what it changed between `old` and `new`.
pub(super) fn take(
    old: &Value,
    new: &Value,
    owners: Managers,
    request: &Request<'_>,
) -> Result<Managers, KeyError> {
    let mut owners = reconciled(owners, old, request);
    let change = Change::between(old, new, &owners, None, request)?.carry_out(&mut owners, None, request);
    let mut taken = change.modified.union(change.added);
    request.reset.apply(&mut taken);
    taken.subtract(&never_owned());
    if !taken.is_empty() {
        let fresh = || Owned { set: Set::default(), api_version: request.api_version.into(), time: None };
        let owned = owners.entry(id(request, Operation::Update)).or_insert_with(fresh);
        owned.set.extend(taken);
        owned.time = Some(time(request));
    }
    cap(&mut owners);
    Ok(owners)
}

/// The identity of the request's entry.
pub(super) fn id(request: &Request<'_>, operation: Operation) -> Id {
    let manager = if request.manager.is_empty() { "unknown" } else { request.manager };
    Id {
        manager: manager.into(),
        operation,
        api_version: if operation == Operation::Update { request.api_version.into() } else { String::new() },
        subresource: request.subresource.into(),
    }
}

/// The request's time, as `metav1.Time` writes it.
pub(super) fn time(request: &Request<'_>) -> String {
    request.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Merges the oldest Update entries of a version into one until there are few enough.
fn cap(owners: &mut Managers) {
    let mut updates: Vec<(Option<String>, Id)> = owners
        .iter()
        .filter(|(id, _)| id.operation == Operation::Update)
        .map(|(id, owned)| (owned.time.clone(), id.clone()))
        .collect();
    let mut excess = updates.len().saturating_sub(MAX_UPDATE_MANAGERS);
    if excess == 0 {
        return;
    }
    updates.sort();
    let mut first_of_version: BTreeMap<String, Id> = BTreeMap::new();
    for (_, id) in updates {
        if excess == 0 {
            break;
        }
        let Some(first) = first_of_version.get(&id.api_version).cloned() else {
            first_of_version.insert(id.api_version.clone(), id);
            continue;
        };
        let bucket = Id {
            manager: ANCIENT.into(),
            operation: Operation::Update,
            api_version: id.api_version.clone(),
            subresource: String::new(),
        };
        if !owners.contains_key(&bucket)
            && let Some(owned) = owners.remove(&first)
        {
            owners.insert(bucket.clone(), owned);
        }
        let Some(merged) = owners.remove(&id) else { continue };
        if let Some(owned) = owners.get_mut(&bucket) {
            owned.set.extend(merged.set);
            // The merged entry is the younger one.
            owned.time = merged.time;
        } else {
            owners.insert(bucket, merged);
        }
        excess -= 1;
    }
}

/// An object of the request's kind in which nothing is set: what a new object is compared with.
pub(super) fn fresh(request: &Request<'_>) -> Value {
    let mut object = empty_object(request.ty);
    object["apiVersion"] = request.api_version.into();
    object["kind"] = request.kind.into();
    if !object["metadata"].is_object() {
        object["metadata"] = Map::new().into();
    }
    object
}

/// What Go writes for a new value of a type: nobody owns that, since nobody set it.
fn empty_object(ty: Type<'_>) -> Value {
    let mut out = Map::new();
    if let (Type::Builtin(_), Shape::Object(object)) = (ty, ty.shape()) {
        for field in object.fields().filter(|field| field.always()) {
            let value = match field.ty().shape() {
                _ if field.pointer() => Value::Null,
                Shape::Object(_) => empty_object(field.ty()),
                Shape::Scalar(scalar) => zero(scalar).unwrap_or_default(),
                Shape::Map(_) | Shape::List(_) | Shape::Any => Value::Null,
            };
            out.insert(field.name().into(), value);
        }
    }
    out.into()
}
