//! How objects are stored: canonical JSON that can be sent as it is.
//!
//! A stored document of a built-in kind starts with `{"kind":"…","apiVersion":"…",` so that a list can
//! leave these two out of its items by skipping a prefix of known length; its fields follow in Go's order.
//! Custom objects have their fields in alphabetical order, as the real server sends them.

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use vkube_store::{Document, Entry};

use crate::{
    index, metadata,
    resource::Definition,
    schema::{decode::hollow::Hollow, json},
    status::ApiError,
};

/// Stands for the revision while a document is encoded. A slash occurs in no field of metadata that is
/// written before the resource version.
const PLACE: &[u8] = b"\"resourceVersion\":\"/\"";

/// Brings a custom object into the form in which it will be read again.
pub fn settle(definition: &Definition, object: &mut Value) {
    if let Definition::Custom(_) = definition {
        json::settle_numbers(object);
    }
}

/// Makes `null` of empty lists that JSON always shows, since storage will. Definitions of custom resources are stored
/// as JSON, which keeps them.
pub fn hollow_out(definition: &Definition, object: &mut Value) -> Result<Hollow, ApiError> {
    if definition.is("apiextensions.k8s.io", "customresourcedefinitions") {
        return Ok(Hollow::default());
    }
    Ok(Hollow::out(object, definition.ty()?))
}

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
    let at = memmem::find(&bytes, PLACE)
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

/// Where the parts of the metadata of a document of a built-in kind stand.
struct Metadata {
    start: usize,
    /// Where it is told who owns which fields, which comes last.
    owners: usize,
    /// Behind its closing brace.
    end: usize,
}

impl Metadata {
    /// Finds them without reading what stands between, since lists do this for each of their items.
    fn find(value: &[u8], type_length: usize) -> Result<Self, ApiError> {
        const NAME: &[u8] = b"\"metadata\":";
        const OWNERS: &[u8] = b",\"managedFields\":[";
        let misplaced = || ApiError::internal("an object without metadata after its type");
        let metadata =
            value.get(type_length..).and_then(|rest| rest.strip_prefix(NAME)).ok_or_else(misplaced)?;
        let start = type_length + NAME.len();
        // No text holds these bytes: its quotes are escaped. No other list of metadata has this name.
        let owners = memmem::find(metadata, OWNERS);
        let (owners, end) = match owners.and_then(|at| Some((at, at + end_of_owners(&metadata[at..])?))) {
            Some(found) => found,
            None => {
                let mut reader = serde_json::Deserializer::from_slice(metadata);
                let whole: &RawValue = Deserialize::deserialize(&mut reader).map_err(ApiError::internal)?;
                (whole.get().len() - 1, whole.get().len())
            }
        };
        Ok(Self { start, owners: start + owners, end: start + end })
    }
}

/// The length of the list of owners and of the brace that ends the metadata behind it. The sets of fields have no lists,
/// so a bracket closes the list unless it stands in a text, and then no other field follows.
fn end_of_owners(owners: &[u8]) -> Option<usize> {
    let is_end = |at: &usize| match owners.get(at + 2..)? {
        [b',', b'"', name, ..] => name.is_ascii_alphabetic().then_some(()),
        [b'}'] => Some(()),
        _ => None,
    };
    memmem::find_iter(owners, b"]}").find(|at| is_end(at).is_some()).map(|at| at + 2)
}

/// The metadata of a document of a built-in kind.
pub fn metadata(value: &Bytes, type_length: usize) -> Result<&[u8], ApiError> {
    let found = Metadata::find(value, type_length)?;
    Ok(&value[found.start..found.end])
}

/// What columns may show of the object of a stored entry of a built-in kind: all but its type and who owns its fields.
pub fn decode_shown(entry: &Entry, type_length: usize) -> Result<Value, ApiError> {
    let value = &entry.value;
    let found = Metadata::find(value, type_length)?;
    let pieces: [&[u8]; 4] = [b"{", &value[type_length..found.owners], b"}", &value[found.end..]];
    serde_json::from_slice(&pieces.concat()).map_err(ApiError::internal)
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

    #[test]
    fn metadata_end_where_they_end_whatever_their_texts_say() {
        let definition = Definition::Builtin(Resource::find("", "v1", "configmaps").unwrap());
        let length = type_length(&definition);
        let texts = ["x", "]}", "]},\"a", ",\"managedFields\":["];
        for text in texts {
            for owned in
                [json!({}), json!({format!("v:{text}"): {}, "f:data": {".": {}, format!("f:{text}"): {}}})]
            {
                let owners =
                    json!([{"manager": text, "operation": "Update", "fieldsV1": owned}, {"manager": "y"}]);
                for (owners, data) in [(Some(&owners), None), (Some(&owners), Some(text)), (None, Some(text))]
                {
                    let mut object = json!({
                        "apiVersion": "v1", "kind": "ConfigMap",
                        "metadata": {"name": "x", "annotations": {"managedFields": text}},
                    });
                    if let Some(owners) = owners {
                        object["metadata"]["managedFields"] = owners.clone();
                    }
                    if let Some(data) = data {
                        object["data"] = json!({"a": data});
                    }
                    let value = encode(&mut object, &definition).unwrap().bytes;
                    let entry =
                        Entry { key: String::new(), value, index: Bytes::new(), created: 1, modified: 1 };
                    let read: Value =
                        serde_json::from_slice(metadata(&entry.value, length).unwrap()).unwrap();
                    assert_eq!(read["managedFields"], object["metadata"]["managedFields"]);
                    let shown = decode_shown(&entry, length).unwrap();
                    assert_eq!(shown["metadata"]["annotations"], object["metadata"]["annotations"]);
                    assert_eq!(shown["data"], object["data"]);
                    assert!(shown["metadata"].get("managedFields").is_none());
                }
            }
        }
    }
}
