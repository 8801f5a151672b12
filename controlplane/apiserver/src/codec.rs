//! Documents on the wire: JSON, YAML and protobuf.

pub mod protobuf;

use bytes::Bytes;
use serde_json::Value;

use crate::{
    negotiation::Encoding,
    schema::{json, types::Type},
    status::ApiError,
};

/// The type of `Status`.
pub const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";

/// Encodes a document; what has no type has no protobuf form and becomes JSON.
pub fn encode(
    document: &Value,
    encoding: Encoding,
    ty: Option<Type<'_>>,
) -> Result<(&'static str, Bytes), ApiError> {
    let bytes = match (encoding, ty) {
        (Encoding::Yaml, _) => yaml(document)?.into_bytes(),
        (Encoding::Protobuf, Some(ty @ Type::Builtin(_))) => protobuf::encode(document, ty),
        (Encoding::Json | Encoding::Protobuf, ty) => {
            let mut bytes = Vec::with_capacity(256);
            json::write(document, ty, &mut bytes);
            bytes.push(b'\n');
            return Ok((Encoding::Json.media_type(), bytes.into()));
        }
    };
    Ok((encoding.media_type(), bytes.into()))
}

/// A document as YAML.
pub fn yaml(document: &Value) -> Result<String, ApiError> {
    serde_saphyr::to_string(document).map_err(ApiError::internal)
}

/// Decodes YAML (of which JSON is a part).
pub fn from_yaml(bytes: &[u8]) -> Result<Value, String> {
    serde_saphyr::from_slice(bytes).map_err(|e| e.to_string())
}

/// Encodes a list whose items are of type `item`.
pub fn encode_list(
    list: &Value,
    encoding: Encoding,
    item: Type<'_>,
) -> Result<(&'static str, Bytes), ApiError> {
    encode(list, encoding, protobuf::list_of(item))
}

/// Encodes one event of a watch.
pub fn watch_frame(
    kind: &str,
    object: &Value,
    encoding: Encoding,
    ty: Option<Type<'_>>,
) -> Result<Bytes, ApiError> {
    // An error is a Status, whatever is watched.
    let ty = if kind == "ERROR" { Type::builtin(STATUS) } else { ty };
    if let (Encoding::Protobuf, Some(ty @ Type::Builtin(_))) = (encoding, ty) {
        return Ok(protobuf::watch_frame(kind, object, ty).into());
    }
    let mut bytes = format!("{{\"type\":\"{kind}\",\"object\":").into_bytes();
    json::write(object, ty, &mut bytes);
    bytes.extend_from_slice(b"}\n");
    Ok(bytes.into())
}

/// Decodes protobuf of this type, envelope and all.
pub fn from_protobuf(bytes: &[u8], ty: Type<'_>) -> Result<Value, String> {
    protobuf::decode(bytes, ty).map_err(|e| e.to_string())
}
