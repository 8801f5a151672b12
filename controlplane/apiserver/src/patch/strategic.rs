//! Strategic merge patch: objects merge, `null` removes, lists replace or merge as the schema says.
//!
//! | directive | in | effect |
//! |---|---|---|
//! | `$patch: replace` | object | the rest of the patch object stands in for the whole object |
//! | `$patch: delete` | object | the object becomes empty |
//! | `$patch: delete` | item of a merge list | removes the items with the same merge key |
//! | `$patch: replace` | any item of a merge list | the patch's other items stand in for the whole list |
//! | `$retainKeys: [..]` | object | fields not listed are removed |
//! | `$deleteFromPrimitiveList/f: [..]` | object | removes these scalars from list `f` |
//! | `$setElementOrder/f: [..]` | object | the order of list `f` after merging |
//!
//! Items that only the live list has keep their order among themselves; those of the patch come in the
//! order of the patch (or of the directive), and both are interleaved as they were in the live list.

mod order;

use serde_json::{Map, Value};

use self::order::Order;
use super::{Error, printed};
use crate::schema::types::{PatchStrategy, Shape, Type};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

/// Applies `patch` to `object`, whose type is `ty`.
pub fn apply(object: &mut Value, patch: Value, ty: Type<'_>) -> Result<(), Error> {
    let patch = match patch {
        Value::Object(patch) => patch,
        Value::Null => return Ok(()),
        other => {
            return Err(Error::BadRequest(format!(
                "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                printed::json_name(&other)
            )));
        }
    };
    match object {
        Value::Object(fields) => merge_object(fields, patch, ty),
        _ => Ok(()),
    }
}

fn merge_object(
    live: &mut Map<String, Value>,
    mut patch: Map<String, Value>,
    ty: Type<'_>,
) -> Result<(), Error> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        match directive.as_str() {
            Some("replace") => {
                patch.remove(DIRECTIVE);
                *live = patch;
            }
            Some("delete") => live.clear(),
            _ => return Err(unknown_directive(directive, &patch)),
        }
        return Ok(());
    }
    retain_keys(live, &mut patch)?;
    merge_ordered_lists(live, &mut patch, ty)?;
    for (name, value) in patch {
        match listed(&name, DELETE_FROM_LIST) {
            Some(Ok(name)) => delete_from_list(live, name, value, ty)?,
            Some(Err(())) => return Err(bad_request("invalid patch format of primitive list")),
            None => merge_field(live, name, value, ty)?,
        }
    }
    Ok(())
}

/// Merges one field that has no directive in its name.
fn merge_field(
    live: &mut Map<String, Value>,
    name: String,
    mut value: Value,
    ty: Type<'_>,
) -> Result<(), Error> {
    if value.is_null() {
        live.remove(&name);
        return Ok(());
    }
    match (live.get_mut(&name), value) {
        (Some(Value::Object(current)), Value::Object(patch)) => {
            let (ty, _) = field_of(ty, &name)?;
            merge_object(current, patch, ty)?;
        }
        (Some(Value::Array(current)), Value::Array(patch)) => {
            let (ty, strategy) = list_of(ty, &name)?;
            let merged = if strategy.merge {
                merge_list(std::mem::take(current), patch, strategy.merge_key, ty)?
            } else {
                patch
            };
            *current = merged;
        }
        (_, new) => {
            value = new;
            drop_nulls(&mut value);
            if drop_directives(&mut value) {
                live.insert(name, value);
            } else {
                live.remove(&name);
            }
        }
    }
    Ok(())
}

/// `$deleteFromPrimitiveList/name`
fn delete_from_list(
    live: &mut Map<String, Value>,
    name: &str,
    value: Value,
    ty: Type<'_>,
) -> Result<(), Error> {
    match (live.get_mut(name), value) {
        (_, Value::Null) => {
            live.remove(name);
        }
        (Some(Value::Array(items)), Value::Array(gone)) => {
            let (ty, strategy) = list_of(ty, name)?;
            if items.first().or_else(|| gone.first()).is_some_and(Value::is_object) {
                *items = merge_list(std::mem::take(items), gone, strategy.merge_key, ty)?;
            } else {
                element(items, &gone).or_else(|e| {
                    if items.is_empty() && gone.is_empty() { Ok(Element::Scalar) } else { Err(e) }
                })?;
                items.retain(|item| !gone.contains(item));
            }
        }
        _ => {}
    }
    Ok(())
}

/// `$retainKeys`: what the patch sets must be among the keys; what the object has else goes.
fn retain_keys(live: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), Error> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let malformed = || bad_request("invalid patch format of retainKeys");
    let keys = keys.as_array().ok_or_else(malformed)?;
    let retained = |name: &String| keys.iter().any(|key| key.as_str() == Some(name));
    let is_list = |name: &str| name.starts_with(DELETE_FROM_LIST) || name.starts_with(SET_ORDER);
    if patch.iter().any(|(name, value)| !value.is_null() && !is_list(name) && !retained(name)) {
        return Err(malformed());
    }
    live.retain(|name, _| retained(name));
    Ok(())
}

/// Merges the lists that have a `$setElementOrder`, and takes both out of the patch.
fn merge_ordered_lists(
    live: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    ty: Type<'_>,
) -> Result<(), Error> {
    let directives: Vec<String> = patch.keys().filter(|name| name.starts_with(SET_ORDER)).cloned().collect();
    for directive in directives {
        let malformed = || bad_request("invalid patch format of setElementOrder list");
        let order = array(patch.remove(&directive).unwrap_or_default())?;
        let name = listed(&directive, SET_ORDER).and_then(Result::ok).ok_or_else(malformed)?;
        let current = live.get(name).cloned().map(array).transpose()?;
        let change = patch.get(name).cloned().map(array).transpose()?;
        let (ty, strategy) = list_of(ty, name)?;
        let key = strategy.merge_key;
        check_order(change.as_deref().unwrap_or_default(), &order, key)?;

        let empty = Vec::new();
        let kind = element(current.as_ref().unwrap_or(&empty), change.as_ref().unwrap_or(&empty));
        let live_order = Order::of(current.as_deref().unwrap_or_default(), key);
        let merged = match (current, change) {
            (None, None) => continue,
            (Some(current), None) => current,
            (None, Some(change)) => {
                change.into_iter().filter_map(|mut v| drop_directives(&mut v).then_some(v)).collect()
            }
            (Some(current), Some(change)) if strategy.merge => merge_list(current, change, key, ty)?,
            (Some(_), Some(change)) => change,
        };
        if let (Some(key), Ok(Element::Object)) = (key, &kind) {
            require_key(&merged, key)?;
            require_key(&order, key)?;
        }
        kind?;
        let ordered = order::interleave(merged, &Order::of(&order, key), &live_order, key);
        live.insert(name.to_owned(), ordered.into());
        patch.remove(name);
    }
    Ok(())
}

/// Merges two lists by `key`, or as sets of scalars.
fn merge_list(
    mut live: Vec<Value>,
    patch: Vec<Value>,
    key: Option<&str>,
    ty: Type<'_>,
) -> Result<Vec<Value>, Error> {
    if live.is_empty() && patch.is_empty() {
        return Ok(live);
    }
    if element(&live, &patch)? != Element::Object {
        let (patch_order, live_order) = (Order::of(&patch, None), Order::of(&live, None));
        live.extend(patch);
        return Ok(order::interleave(order::distinct(live), &patch_order, &live_order, None));
    }
    let Some(key) = key else {
        return Err(Error::Unknown("cannot merge lists without merge key for struct".into()));
    };
    let patch = apply_item_directives(&mut live, patch, key)?;
    let (patch_order, live_order) = (Order::of(&patch, Some(key)), Order::of(&live, Some(key)));
    for item in patch {
        let Value::Object(item) = item else { continue };
        let value = item.get(key).ok_or_else(|| no_merge_key(&item, key))?;
        match live.iter_mut().find(|other| other.get(key) == Some(value)) {
            Some(Value::Object(current)) => merge_object(current, item, ty)?,
            _ => live.push(item.into()),
        }
    }
    require_key(&live, key)?;
    Ok(order::interleave(live, &patch_order, &live_order, Some(key)))
}

/// Carries out the `$patch` directives among the items of a patch list; returns the other items.
fn apply_item_directives(live: &mut Vec<Value>, patch: Vec<Value>, key: &str) -> Result<Vec<Value>, Error> {
    let mut rest = Vec::with_capacity(patch.len());
    let mut replace = false;
    for item in patch {
        let Some(directive) = item.get(DIRECTIVE) else {
            rest.push(item);
            continue;
        };
        let Value::Object(fields) = &item else { continue };
        match directive.as_str() {
            Some("delete") => {
                let value = fields.get(key).ok_or_else(|| no_merge_key(fields, key))?;
                live.retain(|other| other.get(key) != Some(value));
            }
            Some("replace") => replace = true,
            Some("merge") => {
                return Err(Error::Unknown("merging lists cannot yet be specified in the patch".into()));
            }
            _ => return Err(unknown_directive(directive, fields)),
        }
    }
    if replace {
        *live = std::mem::take(&mut rest);
    }
    Ok(rest)
}

/// Checks that the items of the patch are in the order list, in the same order.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Error> {
    if order.is_empty() || patch.is_empty() {
        return Ok(());
    }
    if key.is_some()
        && let Some(other) = patch.iter().find(|item| !item.is_object())
    {
        return Err(wrong_type("map[string]interface {}", other));
    }
    let mut places = order.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let wanted = identity(item, key)?;
        loop {
            let Some(place) = places.next() else {
                return Err(Error::Unknown(format!(
                    "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
                    printed::plain(&Value::from(patch)),
                    printed::plain(&Value::from(order))
                )));
            };
            if identity(place, key)? == wanted {
                break;
            }
        }
    }
    Ok(())
}

fn identity<'v>(item: &'v Value, key: Option<&str>) -> Result<&'v Value, Error> {
    let Some(key) = key else { return Ok(item) };
    let fields = item.as_object().ok_or_else(|| wrong_type("map[string]interface {}", item))?;
    fields.get(key).ok_or_else(|| no_merge_key(fields, key))
}

fn require_key(items: &[Value], key: &str) -> Result<(), Error> {
    items.iter().try_for_each(|item| identity(item, Some(key)).map(drop))
}

/// Removes objects with a directive from what the patch brings anew; false if it is one itself.
fn drop_directives(value: &mut Value) -> bool {
    match value {
        Value::Object(fields) => {
            if fields.contains_key(DIRECTIVE) {
                return false;
            }
            fields.retain(|_, value| drop_directives(value));
        }
        Value::Array(items) => items.retain_mut(drop_directives),
        _ => {}
    }
    true
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// What the items of merge lists are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Object,
    Scalar,
}

/// The element type of two lists, which must be one.
fn element(left: &[Value], right: &[Value]) -> Result<Element, Error> {
    let mut all = left.iter().chain(right);
    let Some(first) = all.next() else {
        return Err(Error::Unknown("no elements in any of the given slices".into()));
    };
    if first.is_array() {
        return Err(Error::Unprocessable("lists of lists are not supported".into()));
    }
    let name = printed::type_name(first);
    if all.any(|other| printed::type_name(other) != name) {
        let lists = Value::from(vec![Value::from(left), Value::from(right)]);
        return Err(Error::Unknown(format!(
            "list element types are not identical: {}",
            printed::plain(&lists)
        )));
    }
    Ok(if first.is_object() { Element::Object } else { Element::Scalar })
}

/// The list that a directive's name says: `$directive/list`. `Err` if there is none.
fn listed<'n>(name: &'n str, directive: &str) -> Option<Result<&'n str, ()>> {
    let rest = name.strip_prefix(directive)?;
    Some(rest.strip_prefix('/').ok_or(()))
}

/// The type and strategy of a field.
fn field_of<'t>(ty: Type<'t>, name: &str) -> Result<(Type<'t>, PatchStrategy<'t>), Error> {
    let kind = match ty.shape() {
        Shape::Object(object) => {
            return object.field(name).map(|field| (field.ty(), field.patch())).ok_or_else(|| {
                let owner = ty.name().and_then(|name| name.rsplit('.').next()).unwrap_or_default();
                let name = printed::quoted(name);
                Error::Unknown(format!(
                    "unable to find api field in struct {owner} for the json field {name}"
                ))
            });
        }
        Shape::Any => return Ok((ty, PatchStrategy::default())),
        Shape::Map(_) => "map",
        Shape::List(_) => "slice",
        Shape::Scalar(_) => "string",
    };
    Err(Error::Unknown(format!("merging an object in json but data type is not struct, instead is: {kind}")))
}

/// The item type and strategy of a list field.
fn list_of<'t>(ty: Type<'t>, name: &str) -> Result<(Type<'t>, PatchStrategy<'t>), Error> {
    let (list, strategy) = field_of(ty, name)?;
    match list.shape() {
        Shape::List(list) => Ok((list.items(), strategy)),
        _ => Ok((list, strategy)),
    }
}

fn array(value: Value) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(wrong_type("[]interface {}", &other)),
    }
}

fn bad_request(message: &str) -> Error {
    Error::BadRequest(message.into())
}

fn wrong_type(expected: &str, actual: &Value) -> Error {
    let name = printed::type_name(actual);
    let name = if actual.is_null() { "%!s(<nil>)" } else { name };
    Error::Unknown(format!("expected a {expected}, but received a {name}"))
}

fn no_merge_key(item: &Map<String, Value>, key: &str) -> Error {
    let item = printed::plain(&Value::Object(item.clone()));
    Error::Unknown(format!("map: {item} does not contain declared merge key: {key}"))
}

fn unknown_directive(directive: &Value, item: &Map<String, Value>) -> Error {
    let shown = match directive {
        Value::String(text) => text.clone(),
        other => format!("%!s({}={})", printed::type_name(other), printed::plain(other)),
    };
    let item = printed::plain(&Value::Object(item.clone()));
    Error::Unknown(format!("unknown patch type: {shown} in map: {item}"))
}

#[cfg(test)]
mod tests;
