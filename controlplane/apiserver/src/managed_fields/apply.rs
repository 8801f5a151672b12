//! Server-side apply.

use std::{borrow::Cow, fmt::Write};

use http::StatusCode;
use serde_json::Value;

use super::{
    Request,
    change::{Change, convert, reconciled},
    compare::{compare, field_set, remove, with_named_fields},
    element::equal,
    managers::{self, Id, Managers, Operation, Owned},
    merge::merge,
    never_owned,
    set::Set,
    update::{self, BEFORE_FIRST_APPLY, forget, fresh, id},
    validate::validate,
};
use crate::{
    schema::types::Type,
    status::{ApiError, Details},
};

/// Where client-side apply keeps the configuration it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A field that another manager owns with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The owner.
    pub manager: Id,
    /// The field, such as `.spec.replicas`.
    pub field: String,
}

/// Why a configuration is not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 400: the configuration is none for this object.
    #[error("{0}")]
    BadRequest(String),
    /// 409: others own fields that the configuration would change.
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    /// 500 without a reason: the configuration does not fit the schema.
    #[error("{0}")]
    Unfit(String),
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::BadRequest(message) => Self::bad_request(message),
            Error::Unfit(message) => Self::unknown(message),
            Error::Conflicts(ref conflicts) => {
                let mut status = Self::new(StatusCode::CONFLICT, "Conflict", error.to_string());
                status.details = Some(Box::<Details>::default());
                for conflict in conflicts {
                    let message = format!("conflict with {}", conflict.manager);
                    status = status.with_cause("FieldManagerConflict", message, &conflict.field);
                }
                status
            }
        }
    }
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [Conflict { manager, field }] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {manager}: {field}");
    }
    let mut message = format!("Apply failed with {} conflicts: ", conflicts.len());
    let mut last = None;
    for Conflict { manager, field } in conflicts {
        if last != Some(manager) {
            let line = if last.is_some() { "\n" } else { "" };
            let _ = write!(message, "{line}conflicts with {manager}:");
            last = Some(manager);
        }
        let _ = write!(message, "\n- {field}");
    }
    message
}

/// Applies `config`, the whole configuration of a manager, to `live` (absent to create).
///
/// Fields that the manager applied before and leaves out now are removed unless someone else owns them.
/// Without `force`, changing what others own is a conflict. The result is the object to store, with its
/// managed fields; defaults are not set on it yet.
pub fn apply(
    live: Option<&Value>,
    config: &Value,
    force: bool,
    request: &Request<'_>,
) -> Result<Value, Error> {
    let text = |name| config.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("apiVersion") != request.api_version || text("kind") != request.kind {
        let shown = shown_kind(text("apiVersion"), text("kind"));
        return Err(Error::BadRequest(format!("invalid object type: {shown}")));
    }
    if matches!(managers::entries(config), Some(Value::Array(_))) {
        return Err(Error::BadRequest("metadata.managedFields must be nil".into()));
    }
    validate(config, request.ty).map_err(|error| {
        let (kind, named) = (shown_kind(request.api_version, request.kind), named_in(config));
        Error::Unfit(format!("failed to create typed patch object ({named}; {kind}): {error}"))
    })?;

    let mut owners = live
        .map_or_else(|| Ok(Managers::new()), managers::decode)
        .map_err(|error| Error::Unfit(format!("failed to decode managed fields: {error}")))?;
    let mut old = live.cloned().unwrap_or_else(|| fresh(request));
    forget(&mut old);
    if owners.is_empty() && live.is_some() {
        let before = Request { manager: BEFORE_FIRST_APPLY, ..*request };
        owners = update::take(&fresh(request), &old, owners, &before).map_err(|error| {
            Error::Unfit(format!("failed to create manager for existing fields: {error}"))
        })?;
    }

    let client_side = request.manager == "kubectl";
    let (new, owners) = match attempt(&old, config, owners.clone(), force, request) {
        Err(Error::Conflicts(conflicts)) if client_side => {
            let conflicts = not_from_client_side(conflicts, &old, request);
            if !conflicts.is_empty() {
                return Err(Error::Conflicts(conflicts));
            }
            attempt(&old, config, owners, true, request)?
        }
        other => other?,
    };
    let mut new = new.unwrap_or(old);
    managers::encode(&mut new, owners);
    if client_side {
        update_last_applied(&mut new, config);
    }
    Ok(new)
}

/// One try; the object is absent if it does not change.
fn attempt(
    live: &Value,
    config: &Value,
    owners: Managers,
    force: bool,
    request: &Request<'_>,
) -> Result<(Option<Value>, Managers), Error> {
    let id = id(request, Operation::Apply);
    let mut owners = reconciled(owners, live, request);
    let mut set = field_set(config, request.ty);
    request.reset.apply(&mut set);
    let time = owners.get(&id).and_then(|owned| owned.time.clone());
    let last = owners.insert(id.clone(), Owned { set, api_version: request.api_version.into(), time });

    let merged = merge(live, config, request.ty);
    let new = match last {
        Some(last) if !last.set.is_empty() => prune(merged, &owners, &last, request),
        _ => merged,
    };
    let change = Change::between(live, &new, &owners, Some(&id), request)
        .map_err(|error| Error::Unfit(format!("failed to compare objects: {error}")))?;
    if !force && !change.conflicts.is_empty() {
        return Err(Error::Conflicts(listed(&change.conflicts)));
    }
    change.carry_out(&mut owners, Some(&id), request);

    let changed = !equal(live, &new);
    if let Some(owned) = owners.get_mut(&id) {
        owned.set.subtract(&never_owned());
        if changed {
            owned.time = Some(update::time(request));
        }
    }
    owners.retain(|_, owned| !owned.set.is_empty());
    Ok((changed.then_some(new), owners))
}

fn listed(conflicts: &[(Id, Set)]) -> Vec<Conflict> {
    let mut out = Vec::new();
    for (manager, set) in conflicts {
        set.for_each(&mut |path| {
            let field = path.iter().map(ToString::to_string).collect();
            out.push(Conflict { manager: manager.clone(), field });
        });
    }
    out
}

/// Removes from `merged` what the manager applied last, unless it applies it again or others own it.
/// What it never owned stays in any case.
fn prune(merged: Value, owners: &Managers, last: &Owned, request: &Request<'_>) -> Value {
    let Some((whole, ty)) = convert(&merged, &last.api_version, request) else { return merged };
    let last_set = with_named_fields(&last.set, Some(ty));
    let left = unowned_removed(&whole, without(&whole, &last_set, ty), owners, last, request);
    let Some((left, _)) = convert(&left, &last.api_version, request) else { return whole.into_owned() };
    let gone = named(&whole, ty).difference(&named(&left, ty)).intersection(&last_set);
    let result = without(&whole, &gone, ty);
    let converted = convert(&result, request.api_version, request).map(|(result, _)| result.into_owned());
    converted.unwrap_or(result)
}

/// `left` with what of `whole` it lost and someone owns, version by version.
fn unowned_removed(
    whole: &Value,
    mut left: Value,
    owners: &Managers,
    last: &Owned,
    request: &Request<'_>,
) -> Value {
    let mut versions: Vec<&str> = owners.values().map(|owned| owned.api_version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    // The version last applied first: others may need what only its owners keep to convert.
    versions.sort_by_key(|version| *version != last.api_version);
    let mut whole = Cow::Borrowed(whole);
    for version in versions {
        let next = match (convert(&whole, version, request), convert(&left, version, request)) {
            (Some((all, ty)), Some((some, _))) => {
                let mut managed = named(&some, ty);
                for owned in owners.values().filter(|owned| owned.api_version == version) {
                    managed.extend(with_named_fields(&owned.set, Some(ty)));
                }
                (without(&all, &named(&all, ty).difference(&managed), ty), all.into_owned())
            }
            _ => continue,
        };
        left = next.0;
        whole = Cow::Owned(next.1);
    }
    left
}

fn named(object: &Value, ty: Type<'_>) -> Set {
    with_named_fields(&field_set(object, ty), Some(ty))
}

fn without(object: &Value, paths: &Set, ty: Type<'_>) -> Value {
    remove(object, paths, ty).unwrap_or_default()
}

/// Leaves out the conflicts about fields that client-side apply set: kubectl may take over from itself.
fn not_from_client_side(conflicts: Vec<Conflict>, live: &Value, request: &Request<'_>) -> Vec<Conflict> {
    let Some(allowed) = client_side_fields(live, request.ty, request.api_version) else { return conflicts };
    let mut paths = Vec::new();
    allowed.for_each(&mut |path| paths.push(path.iter().map(ToString::to_string).collect::<String>()));
    conflicts.into_iter().filter(|conflict| !paths.contains(&conflict.field)).collect()
}

/// The fields of the last client-side configuration that still have its values.
fn client_side_fields(live: &Value, ty: Type<'_>, api_version: &str) -> Option<Set> {
    let last = live.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str()?;
    let last: Value = serde_json::from_str(last).ok()?;
    if last.get("apiVersion")?.as_str()? != api_version || validate(&last, ty).is_err() {
        return None;
    }
    let change = compare(&last, live, ty).ok()?;
    let mut set = field_set(&last, ty);
    for changed in [&change.modified, &change.added, &change.removed] {
        set.subtract(changed);
    }
    Some(set)
}

/// Keeps the annotation of client-side apply in step, so that kubectl can go back to it.
fn update_last_applied(object: &mut Value, config: &Value) {
    let annotation = object.pointer_mut("/metadata/annotations").and_then(|a| a.get_mut(LAST_APPLIED));
    let Some(annotation) = annotation.filter(|text| text.as_str().is_some_and(|text| !text.is_empty()))
    else {
        return;
    };
    let mut config = config.clone();
    if let Some(Value::Object(annotations)) = config.pointer_mut("/metadata/annotations") {
        annotations.remove(LAST_APPLIED);
    }
    *annotation = format!("{config}\n").into();
}

/// The error that what was merged cannot be read as the type.
pub fn unconvertible(config: &Value, api_version: &str, kind: &str, why: &str) -> Error {
    let (kind, named) = (shown_kind(api_version, kind), named_in(config));
    Error::Unfit(format!(
        "failed to convert new object ({named}; {kind}) to proper version: unable to convert unstructured object to \
         {kind}: {why}"
    ))
}

/// The namespace and name that a configuration gives.
fn named_in(config: &Value) -> String {
    let text = |place: &str| config.pointer(place).and_then(Value::as_str).unwrap_or_default();
    format!("{}/{}", text("/metadata/namespace"), text("/metadata/name"))
}

fn shown_kind(api_version: &str, kind: &str) -> String {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    format!("{group}/{version}, Kind={kind}")
}
