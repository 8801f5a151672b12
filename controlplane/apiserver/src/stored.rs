//! How objects are stored: canonical JSON that can be sent as it is.
//!
//! A stored document of a built-in kind starts with `{"kind":"…","apiVersion":"…",` so that a list can
//! leave these two out of its items by skipping a prefix of known length; its fields follow in Go's order.
//! Custom objects have their fields in alphabetical order, as the real server sends them.

use bytes::Bytes;
use serde_json::Value;
use vkube_store::{Document, Entry};

use crate::{index, metadata, resource::Definition, schema::json, status::ApiError};

/// Stands for the revision while a document is encoded. A slash occurs in no field of metadata that is
/// written before the resource version.
const PLACE: &[u8] = b"\"resourceVersion\":\"/\"";

/// Encodes an object of its stored version.
pub fn encode(object: &Value, definition: &Definition) -> Result<Document, ApiError> {
    let mut object = object.clone();
    metadata::set(&mut object, "resourceVersion", "/");
    let mut bytes = Vec::with_capacity(1024);
    json::write(&object, Some(definition.ty()?), &mut bytes);
    let at = bytes
        .windows(PLACE.len())
        .position(|window| window == PLACE)
        .ok_or_else(|| ApiError::internal("an object without a place for its revision"))?;
    let revision_at = at + PLACE.len() - 2;
    bytes.remove(revision_at);
    let fields = definition.rules().field_values(&object);
    Ok(Document {
        bytes: bytes.into(),
        revision_at: u32::try_from(revision_at).ok(),
        index: index::encode(&object, &fields),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::Resource;

    #[test]
    fn the_revision_goes_between_the_quotes_and_the_type_comes_first() {
        let definition = Definition::Builtin(Resource::find("", "v1", "configmaps").unwrap());
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}, "metadata": {"name": "x", "uid": "u"},
        });
        let document = encode(&object, &definition).unwrap();
        let mut bytes = document.bytes.to_vec();
        let at = document.revision_at.unwrap() as usize;
        bytes.splice(at..at, *b"42");
        assert!(bytes.starts_with(b"{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\","));
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read["metadata"]["resourceVersion"], "42");
        assert_eq!(read["data"], object["data"]);
    }
}
