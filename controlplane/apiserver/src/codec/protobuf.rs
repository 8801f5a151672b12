//! Documents as protobuf, by the tags of the schema table, byte for byte as the Go types write themselves:
//! fields in the order of their tags, map keys sorted, every field that is no pointer written even when
//! empty, all of it in an envelope that names the type.

mod read;
pub mod wire;
mod write;

use serde_json::{Map, Value};

use crate::schema::types::Type;

use wire::{Reader, WireError};

/// What every document starts with.
const MAGIC: &[u8] = b"k8s\0";

/// Why bytes are not a document, in the words of Go where it has any.
#[derive(Debug, thiserror::Error)]
pub enum ProtobufError {
    /// Nothing at all.
    #[error("empty data")]
    Empty,
    /// Nothing after the prefix.
    #[error("empty body")]
    EmptyBody,
    /// Something else.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    /// The bytes are no protobuf.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Text that must be JSON is not.
    #[error("embedded JSON")]
    Json(#[from] serde_json::Error),
    /// The type has no protobuf form.
    #[error("the type has no protobuf form")]
    Type,
}

/// Encodes a document of a built-in type, with the envelope.
pub fn encode(document: &Value, ty: Type<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    bytes.extend_from_slice(MAGIC);
    let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
    wire::message(&mut bytes, 1, |out| {
        wire::bytes(out, 1, text("apiVersion").as_bytes());
        wire::bytes(out, 2, text("kind").as_bytes());
    });
    wire::message(&mut bytes, 2, |out| write::document(document, ty, out));
    // Content encoding and content type.
    wire::bytes(&mut bytes, 3, b"");
    wire::bytes(&mut bytes, 4, b"");
    bytes
}

/// Decodes a document of a built-in type; its envelope's type becomes `apiVersion` and `kind`. The result
/// still has empty values: it is to pass [`crate::schema::decode::decode`] like any other input.
pub fn decode(bytes: &[u8], ty: Type<'_>) -> Result<Value, ProtobufError> {
    if bytes.is_empty() {
        return Err(ProtobufError::Empty);
    }
    let rest = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    if rest.is_empty() {
        return Err(ProtobufError::EmptyBody);
    }
    let mut envelope = Reader::new(rest);
    let (mut type_meta, mut raw): (&[u8], &[u8]) = (&[], &[]);
    while let Some((tag, value)) = envelope.field()? {
        match tag {
            1 => type_meta = value.bytes()?,
            2 => raw = value.bytes()?,
            _ => {}
        }
    }

    let mut document = Map::new();
    read::object(raw, ty, &mut document)?;
    let mut reader = Reader::new(type_meta);
    while let Some((tag, value)) = reader.field()? {
        let name = if tag == 1 { "apiVersion" } else { "kind" };
        let text = value.text()?;
        if !text.is_empty() {
            document.insert(name.into(), text.into());
        }
    }
    Ok(Value::Object(document))
}

/// The type of lists of a type, if the table has one.
pub fn list_of(item: Type<'_>) -> Option<Type<'static>> {
    Type::builtin(&format!("{}List", item.name()?))
}

/// One event of a watch, with its length before it.
pub fn watch_frame(kind: &str, object: &Value, ty: Type<'_>) -> Vec<u8> {
    let mut frame = vec![0; 4];
    wire::bytes(&mut frame, 1, kind.as_bytes());
    wire::message(&mut frame, 2, |out| wire::bytes(out, 1, &encode(object, ty)));
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests;
