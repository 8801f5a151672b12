//! How objects are stored: canonical JSON that can be sent as it is.
//!
//! A stored document starts with `{"apiVersion":"…","kind":"…",` so that a list can leave these two out
//! of its items by skipping a prefix of known length; the other fields follow in alphabetical order.

use bytes::Bytes;
use serde_json::Value;
use vkube_store::{Document, Entry};

use crate::{index, resource::Definition, status::ApiError};

/// Encodes an object of its stored version.
pub fn encode(object: &Value, definition: &Definition) -> Result<Document, ApiError> {
    let mut bytes = prefix(definition).into_bytes();
    let mut revision_at = None;
    let map = object.as_object().ok_or_else(|| ApiError::internal("an object is no JSON object"))?;
    for (key, value) in map.iter().filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind")) {
        if bytes.last() != Some(&b',') {
            bytes.push(b',');
        }
        write(&mut bytes, &Value::String(key.clone()))?;
        bytes.push(b':');
        match (key.as_str(), value) {
            ("metadata", Value::Object(metadata)) => {
                bytes.extend_from_slice(b"{\"resourceVersion\":\"");
                revision_at = u32::try_from(bytes.len()).ok();
                bytes.push(b'"');
                for (key, value) in metadata.iter().filter(|(key, _)| *key != "resourceVersion") {
                    bytes.push(b',');
                    write(&mut bytes, &Value::String(key.clone()))?;
                    bytes.push(b':');
                    write(&mut bytes, value)?;
                }
                bytes.push(b'}');
            }
            _ => write(&mut bytes, value)?,
        }
    }
    bytes.push(b'}');
    let fields = definition.rules().field_values(object);
    Ok(Document { bytes: bytes.into(), revision_at, index: index::encode(object, &fields) })
}

fn write(out: &mut Vec<u8>, value: &Value) -> Result<(), ApiError> {
    serde_json::to_writer(out, value).map_err(ApiError::internal)
}

fn prefix(definition: &Definition) -> String {
    format!("{{\"apiVersion\":\"{}\",\"kind\":\"{}\",", definition.api_version(), definition.kind())
}

/// The object of a stored entry.
pub fn decode(entry: &Entry) -> Result<Value, ApiError> {
    serde_json::from_slice(&entry.value).map_err(ApiError::internal)
}

/// The length of what [`without_type`] skips, for a resource.
pub fn type_length(definition: &Definition) -> usize {
    prefix(definition).len()
}

/// A stored document without its opening brace, `apiVersion` and `kind`.
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
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}, "metadata": {"name": "x"}});
        let document = encode(&object, &definition).unwrap();
        let mut bytes = document.bytes.to_vec();
        let at = document.revision_at.unwrap() as usize;
        bytes.splice(at..at, *b"42");
        assert!(bytes.starts_with(b"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\","));
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read["metadata"]["resourceVersion"], "42");
        assert_eq!(read["data"], object["data"]);
    }
}
