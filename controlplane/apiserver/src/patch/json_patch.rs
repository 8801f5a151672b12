//! JSON patch (RFC 6902), with the liberties that Kubernetes takes.
//!
//! `replace` creates an absent field, `copy` of an absent field copies `null`, a negative index counts
//! from the end of the list, and whatever stands before the first slash of a path is ignored.

use serde_json::{Map, Value};

use super::{Error, printed};

/// How many operations one patch may have.
pub const MAX_OPERATIONS: usize = 10_000;

/// How many bytes of JSON the copies of one patch may add up to.
const MAX_COPIED_BYTES: usize = 3 << 20;

/// Applies `patch`, a list of operations, to `document`.
pub fn apply(document: &mut Value, patch: &Value) -> Result<(), Error> {
    for operation in operations(patch, "error decoding patch: ", "[]handlers.jsonPatchOp")? {
        check(operation)?;
    }
    apply_unchecked(document, patch)
}

/// The same where nobody minds unknown fields (`fieldValidation=Ignore`): operations are looked at one by one.
pub fn apply_unchecked(document: &mut Value, patch: &Value) -> Result<(), Error> {
    let operations = operations(patch, "", "jsonpatch.Patch")?;
    if let Some(other) = operations.iter().find(|operation| !operation.is_object() && !operation.is_null()) {
        return Err(undecodable(other, "", "value of type jsonpatch.Operation"));
    }
    if operations.len() > MAX_OPERATIONS {
        return Err(Error::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut copied = 0;
    let none = Map::new();
    for operation in operations {
        let operation = Operation(operation.as_object().unwrap_or(&none));
        operation.apply(document, &mut copied).map_err(Error::Unprocessable)?;
    }
    Ok(())
}

/// The fields of operations that no operation has, as `unknown field "[0].x"`.
pub fn unknown_fields(patch: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    for (position, operation) in patch.as_array().into_iter().flatten().enumerate() {
        let names = operation.as_object().into_iter().flat_map(Map::keys);
        let strange = names.filter(|name| !matches!(name.as_str(), "op" | "path" | "from" | "value"));
        unknown.extend(strange.map(|name| format!("unknown field \"[{position}].{name}\"")));
    }
    unknown
}

fn operations<'p>(patch: &'p Value, stage: &str, target: &str) -> Result<&'p [Value], Error> {
    match patch {
        Value::Array(operations) => Ok(operations),
        Value::Null => Ok(&[]),
        other => Err(undecodable(other, stage, &format!("value of type {target}"))),
    }
}

/// Whether the operation decodes at all.
fn check(operation: &Value) -> Result<(), Error> {
    const STAGE: &str = "error decoding patch: ";
    let fields = match operation {
        Value::Object(fields) => fields,
        Value::Null => return Ok(()),
        other => return Err(undecodable(other, STAGE, "value of type handlers.jsonPatchOp")),
    };
    for name in ["op", "path", "from"] {
        match fields.get(name) {
            None | Some(Value::Null | Value::String(_)) => {}
            Some(other) => {
                let target = format!("struct field jsonPatchOp.{name} of type string");
                return Err(undecodable(other, STAGE, &target));
            }
        }
    }
    Ok(())
}

fn undecodable(value: &Value, stage: &str, target: &str) -> Error {
    let name = printed::json_name(value);
    Error::BadRequest(format!("{stage}json: cannot unmarshal {name} into Go {target}"))
}

struct Operation<'a>(&'a Map<String, Value>);

impl Operation<'_> {
    fn apply(&self, document: &mut Value, copied: &mut usize) -> Result<(), String> {
        let kind = self.text("op").unwrap_or("unknown");
        match kind {
            "add" => {
                let path = self.path(kind)?;
                Slot::find(document, path)
                    .ok_or_else(|| format!("add operation does not apply: doc is missing path: {path:?}"))?
                    .add(self.value())
            }
            "remove" => {
                let path = self.path(kind)?;
                let slot = Slot::find(document, path);
                slot.ok_or_else(|| format!("remove operation does not apply: doc is missing path: {path:?}"))?
                    .remove()
                    .map(drop)
            }
            "replace" => self.replace(document),
            "test" => self.test(document),
            "move" => {
                let from = self.from(kind)?;
                let value = Slot::find(document, from)
                    .ok_or_else(|| {
                        format!("move operation does not apply: doc is missing from path: {from}")
                    })?
                    .remove()?;
                self.put(document, kind, value)
            }
            "copy" => {
                let from = self.from(kind)?;
                let value = Slot::find(document, from)
                    .ok_or_else(|| {
                        format!("copy operation does not apply: doc is missing from path: {from}")
                    })?
                    .get()?
                    .cloned()
                    .unwrap_or_default();
                *copied += value.to_string().len();
                if *copied > MAX_COPIED_BYTES {
                    return Err(format!(
                        "unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED_BYTES}"
                    ));
                }
                self.put(document, kind, value)
            }
            _ => Err(format!("Unexpected kind: {kind}")),
        }
    }

    fn put(&self, document: &mut Value, kind: &str, value: Value) -> Result<(), String> {
        let path = self.path(kind)?;
        Slot::find(document, path)
            .ok_or_else(|| {
                format!("{kind} operation does not apply: doc is missing destination path: {path}")
            })?
            .add(value)
    }

    fn replace(&self, document: &mut Value) -> Result<(), String> {
        let path = self.path("replace")?;
        if path.is_empty() {
            let value = self.value();
            if !value.is_object() && !value.is_array() {
                return Err("replace operation value must be object or array".into());
            }
            *document = value;
            return Ok(());
        }
        let mut slot = Slot::find(document, path)
            .ok_or_else(|| format!("replace operation does not apply: doc is missing path: {path}"))?;
        if slot.get().is_err() {
            return Err(format!("replace operation does not apply: doc is missing key: {path}"));
        }
        slot.set(self.value())
    }

    fn test(&self, document: &mut Value) -> Result<(), String> {
        let path = self.path("test")?;
        let equal = if path.is_empty() {
            *document == self.value()
        } else {
            let slot = Slot::find(document, path)
                .ok_or_else(|| format!("test operation does not apply: is missing path: {path}"))?;
            slot.get()?.unwrap_or(&Value::Null) == self.0.get("value").unwrap_or(&Value::Null)
        };
        if equal { Ok(()) } else { Err(format!("testing value {path} failed: test failed")) }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    fn path(&self, kind: &str) -> Result<&str, String> {
        self.text("path").ok_or_else(|| format!("{kind} operation failed to decode path: missing value"))
    }

    fn from(&self, kind: &str) -> Result<&str, String> {
        self.text("from").ok_or_else(|| format!("{kind} operation failed to decode from: missing value"))
    }

    fn value(&self) -> Value {
        self.0.get("value").cloned().unwrap_or_default()
    }
}

/// A place in the document: a container and a key of it, which may be absent.
enum Slot<'a> {
    Field(&'a mut Map<String, Value>, String),
    Item(&'a mut Vec<Value>, String),
}

impl<'a> Slot<'a> {
    fn find(document: &'a mut Value, path: &str) -> Option<Self> {
        let (containers, key) = path.rsplit_once('/')?;
        let mut container = document;
        for part in containers.split('/').skip(1) {
            let part = unescaped(part);
            container = match container {
                Value::Object(fields) => fields.get_mut(&part)?,
                Value::Array(items) => {
                    let index = index(&part, items.len()).ok()?;
                    items.get_mut(index)?
                }
                _ => return None,
            };
        }
        match container {
            Value::Object(fields) => Some(Self::Field(fields, unescaped(key))),
            Value::Array(items) => Some(Self::Item(items, unescaped(key))),
            _ => None,
        }
    }

    fn get(&self) -> Result<Option<&Value>, String> {
        match self {
            Self::Field(fields, key) => Ok(fields.get(key)),
            Self::Item(items, key) => existing(key, items.len()).map(|index| items.get(index)),
        }
    }

    fn set(&mut self, value: Value) -> Result<(), String> {
        match self {
            Self::Field(fields, key) => {
                fields.insert(std::mem::take(key), value);
            }
            Self::Item(items, key) => {
                let index = existing(key, items.len())?;
                if let Some(item) = items.get_mut(index) {
                    *item = value;
                }
            }
        }
        Ok(())
    }

    fn add(self, value: Value) -> Result<(), String> {
        match self {
            Self::Field(fields, key) => {
                fields.insert(key, value);
            }
            Self::Item(items, key) if key == "-" => items.push(value),
            Self::Item(items, key) => {
                let index = existing(&key, items.len() + 1)?;
                items.insert(index, value);
            }
        }
        Ok(())
    }

    fn remove(self) -> Result<Value, String> {
        match self {
            Self::Field(fields, key) => {
                fields.remove(&key).ok_or_else(|| format!("Unable to remove nonexistent key: {key}"))
            }
            Self::Item(items, key) => {
                let index = existing(&key, items.len())?;
                Ok(items.remove(index))
            }
        }
    }
}

/// The index that `key` says for a list of `len` items, below `len`.
fn existing(key: &str, len: usize) -> Result<usize, String> {
    let index = index(key, len)?;
    if index < len { Ok(index) } else { Err(format!("Unable to access invalid index: {key}")) }
}

fn index(key: &str, len: usize) -> Result<usize, String> {
    let number: i64 = key.parse().map_err(|_| format!("value was not a proper array index: '{key}'"))?;
    let number = if number < 0 { number + len as i64 } else { number };
    usize::try_from(number).map_err(|_| format!("Unable to access invalid index: {key}"))
}

fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(mut document: Value, patch: &Value) -> Result<Value, Error> {
        apply(&mut document, patch).map(|()| document)
    }

    #[test]
    fn applies_each_operation() {
        let cases = [
            (json!({"d": {}}), json!([{"op": "add", "path": "/d/a", "value": 1}]), json!({"d": {"a": 1}})),
            (
                json!({"l": [1, 3]}),
                json!([{"op": "add", "path": "/l/1", "value": 2}]),
                json!({"l": [1, 2, 3]}),
            ),
            (json!({"l": [1]}), json!([{"op": "add", "path": "/l/-", "value": 2}]), json!({"l": [1, 2]})),
            (
                json!({"l": [1, 3]}),
                json!([{"op": "add", "path": "/l/-1", "value": 4}]),
                json!({"l": [1, 3, 4]}),
            ),
            (
                json!({"l": [1, 3]}),
                json!([{"op": "replace", "path": "/l/-1", "value": 4}]),
                json!({"l": [1, 4]}),
            ),
            (json!({"l": [1, 3]}), json!([{"op": "remove", "path": "/l/0"}]), json!({"l": [3]})),
            (json!({"a": 1}), json!([{"op": "replace", "path": "/a", "value": 2}]), json!({"a": 2})),
            (json!({}), json!([{"op": "replace", "path": "/a", "value": 2}]), json!({"a": 2})),
            (json!({"a": 1}), json!([{"op": "remove", "path": "/a"}]), json!({})),
            (json!({"a": 1}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), json!({"a": 1, "b": 1})),
            (json!({}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), json!({"b": null})),
            (json!({"a": 1}), json!([{"op": "move", "from": "/a", "path": "/b"}]), json!({"b": 1})),
            (
                json!({"m": {}}),
                json!([{"op": "add", "path": "/m/x~1y~0", "value": 1}]),
                json!({"m": {"x/y~": 1}}),
            ),
            (json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 1}]), json!({"a": 1})),
            (json!({}), json!([{"op": "test", "path": "/a", "value": null}]), json!({})),
            (json!({"a": 1}), json!([{"op": "replace", "path": "", "value": {"b": 2}}]), json!({"b": 2})),
            (json!({"a": 1}), json!([]), json!({"a": 1})),
        ];
        for (document, patch, expected) in cases {
            assert_eq!(patched(document, &patch), Ok(expected), "{patch}");
        }
    }

    #[test]
    fn refuses_what_does_not_fit_the_document() {
        for patch in [
            json!([{"op": "test", "path": "/a", "value": 2}]),
            json!([{"op": "test", "path": "/a", "value": 1.0}]),
            json!([{"op": "add", "path": "/nope/x", "value": 1}]),
            json!([{"op": "add", "path": "", "value": {}}]),
            json!([{"op": "add", "value": 1}]),
            json!([{"op": "add", "path": "/l/4", "value": 1}]),
            json!([{"op": "add", "path": "/l/x", "value": 1}]),
            json!([{"op": "add", "path": "/a/x", "value": 1}]),
            json!([{"op": "replace", "path": "/l/3", "value": 1}]),
            json!([{"op": "replace", "path": "/l/-", "value": 1}]),
            json!([{"op": "replace", "path": "", "value": 1}]),
            json!([{"op": "remove", "path": "/b"}]),
            json!([{"op": "remove", "path": "/l/-4"}]),
            json!([{"op": "move", "from": "/b", "path": "/c"}]),
            json!([{"op": "move", "path": "/c"}]),
            json!([{"op": "frobnicate", "path": "/a"}]),
            json!([null]),
        ] {
            let error = patched(json!({"a": 1, "l": [1, 2, 3]}), &patch).unwrap_err();
            assert!(matches!(error, Error::Unprocessable(_)), "{patch}: {error}");
        }
    }

    #[test]
    fn refuses_what_does_not_decode() {
        let refused = |patch| patched(json!({}), &patch).unwrap_err();
        assert_eq!(
            refused(json!({"a": 1})),
            Error::BadRequest(
                "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
                    .into()
            )
        );
        assert_eq!(
            refused(json!([{"op": 1}])),
            Error::BadRequest(
                "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string"
                    .into()
            )
        );
    }

    #[test]
    fn who_ignores_unknown_fields_is_told_later_what_does_not_decode() {
        let refused = |patch| apply_unchecked(&mut json!({}), &patch).unwrap_err();
        let why = "json: cannot unmarshal object into Go value of type jsonpatch.Patch";
        assert_eq!(refused(json!({})), Error::BadRequest(why.into()));
        let why = "json: cannot unmarshal number into Go value of type jsonpatch.Operation";
        assert_eq!(refused(json!([5])), Error::BadRequest(why.into()));
        assert!(matches!(refused(json!([{"op": 5}])), Error::Unprocessable(_)));
        let unknown = unknown_fields(&json!([{"op": "add", "path": "/a", "foo": 1}]));
        assert_eq!(unknown, ["unknown field \"[0].foo\""]);
    }

    #[test]
    fn refuses_too_many_operations_and_too_much_copying() {
        let many = Value::Array(vec![json!({"op": "add", "path": "/a", "value": 1}); MAX_OPERATIONS + 1]);
        assert_eq!(
            patched(json!({}), &many),
            Err(Error::TooLarge("The allowed maximum operations in a JSON patch is 10000, got 10001".into()))
        );
        let copies: Vec<Value> =
            (0..40).map(|n| json!({"op": "copy", "from": "/a", "path": format!("/{n}")})).collect();
        let document = json!({"a": "x".repeat(100_000)});
        assert!(matches!(patched(document, &copies.into()), Err(Error::Unprocessable(_))));
    }
}
