//! How objects are stored: canonical JSON that can be sent as it is.
//!
//! A stored document of a built-in kind starts with `{"kind":"…","apiVersion":"…",` so that a list can
//! leave these two out of its items by skipping a prefix of known length; its fields follow in Go's order.
//! Custom objects have their fields in alphabetical order, as the real server sends them.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};
use vkube_store::{Document, Entry};

use crate::{index, metadata, resource::Definition, schema::json, status::ApiError};

/// Stands for the revision while a document is encoded. A slash occurs in no field of metadata that is
/// written before the resource version.
const PLACE: &[u8] = b"\"resourceVersion\":\"/\"";

/// Encodes an object of its stored version. The object is as it was when this returns.
pub fn encode(object: &mut Value, definition: &Definition) -> Result<Document, ApiError> {
    let ty = definition.ty()?;
    let version = metadata::metadata_mut(object).insert("resourceVersion".into(), "/".into());
    let mut bytes = Vec::with_capacity(1024);
    json::write(object, Some(ty), &mut bytes);
    match version {
        Some(version) => metadata::set(object, "resourceVersion", version),
        None => drop(metadata::remove(object, "resourceVersion")),
    }
    let at = memchr::memmem::find(&bytes, PLACE)
        .ok_or_else(|| ApiError::internal("an object without a place for its revision"))?;
    let revision_at = at + PLACE.len() - 2;
    bytes.remove(revision_at);
    let fields = definition.rules().field_values(object);
    Ok(Document {
        bytes: bytes.into(),
        revision_at: u32::try_from(revision_at).ok(),
        index: index::encode(object, &fields),
    })
}

/// The object of a stored entry.
pub fn decode(entry: &Entry) -> Result<Value, ApiError> {
    serde_json::from_slice(&entry.value).map_err(ApiError::internal)
}

/// The length of what [`without_type`] skips, for a built-in resource.
pub fn type_length(definition: &Definition) -> usize {
    format!("{{\"kind\":\"{}\",\"apiVersion\":\"{}\",", definition.kind(), definition.api_version()).len()
}

/// A stored document without its opening brace, `kind` and `apiVersion`.
pub fn without_type(value: &Bytes, type_length: usize) -> &[u8] {
    value.get(type_length..).unwrap_or_default()
}

/// The metadata of a document of a built-in kind, where it comes right after the type: nothing behind it is looked at.
pub fn metadata(value: &Bytes, type_length: usize) -> Result<&str, ApiError> {
    let misplaced = || ApiError::internal("an object without metadata after its type");
    let metadata = without_type(value, type_length).strip_prefix(b"\"metadata\":").ok_or_else(misplaced)?;
    let mut reader = serde_json::Deserializer::from_slice(metadata);
    let metadata: &RawValue = Deserialize::deserialize(&mut reader).map_err(ApiError::internal)?;
    Ok(metadata.get())
}

/// The object of a stored entry but for who owns its fields, which no column of a table shows.
pub fn decode_without_owners(entry: &Entry) -> Result<Value, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(&entry.value);
    WithoutOwners { depth: 0 }.deserialize(&mut reader).map_err(ApiError::internal)
}

/// Reads a value, leaving out `managedFields` of `metadata` of the object that it is.
#[derive(Clone, Copy)]
struct WithoutOwners {
    /// How far into it this is; deeper than metadata there is nothing to leave out.
    depth: u8,
}

impl<'de> DeserializeSeed<'de> for WithoutOwners {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WithoutOwners {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let value = match (self.depth, name.as_str()) {
                (0, "metadata") => fields.next_value_seed(Self { depth: 1 })?,
                (1, "managedFields") => {
                    fields.next_value::<IgnoredAny>()?;
                    continue;
                }
                _ => fields.next_value()?,
            };
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::Resource;

    #[test]
    fn the_revision_goes_between_the_quotes_and_the_type_comes_first() {
        let definition = Definition::Builtin(Resource::find("", "v1", "configmaps").unwrap());
        let mut object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}, "metadata": {"name": "x", "uid": "u"},
        });
        let document = encode(&mut object, &definition).unwrap();
        let mut bytes = document.bytes.to_vec();
        let at = document.revision_at.unwrap() as usize;
        bytes.splice(at..at, *b"42");
        assert!(bytes.starts_with(b"{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\","));
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read["metadata"]["resourceVersion"], "42");
        assert_eq!(read["data"], object["data"]);
    }
}
