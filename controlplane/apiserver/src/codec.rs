//! Documents on the wire: JSON, YAML and protobuf.

pub mod indent;
pub mod protobuf;
pub mod yaml;

use bytes::Bytes;
use serde_json::Value;

use crate::{
    negotiation::Encoding,
    schema::{
        json,
        types::{Type, Type::Builtin},
    },
    status::ApiError,
};

/// The type of `Status`.
pub const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";

/// Encodes a document; what has no built-in type has no protobuf form and becomes JSON.
pub fn encode(
    document: &Value,
    encoding: Encoding,
    ty: Option<Type<'_>>,
) -> Result<(&'static str, Bytes), ApiError> {
    if matches!(encoding, Encoding::Yaml | Encoding::Protobuf) {
        crate::audit::response_object(document);
    }
    let bytes = match (encoding, ty) {
        (Encoding::Yaml, _) => yaml::write(document).into_bytes(),
        (Encoding::Protobuf, Some(ty @ Builtin(_))) => protobuf::encode(document, ty),
        (Encoding::Json | Encoding::Protobuf, _) => {
            return Ok((Encoding::Json.media_type(), to_json(document, ty, false)));
        }
        (Encoding::PrettyJson, _) => return Ok((encoding.media_type(), to_json(document, ty, true))),
    };
    Ok((encoding.media_type(), bytes.into()))
}

/// Encodes a list whose items are of type `item`.
pub fn encode_list(
    list: &Value,
    encoding: Encoding,
    item: Type<'_>,
) -> Result<(&'static str, Bytes), ApiError> {
    encode(list, encoding, protobuf::list_of(item))
}

/// JSON as the real server writes it: fields in Go's order, and a newline unless it is indented.
fn to_json(document: &Value, ty: Option<Type<'_>>, pretty: bool) -> Bytes {
    let mut out = Vec::with_capacity(512);
    json::write(document, ty, &mut out);
    finish_json(out, pretty)
}

/// Ends encoded JSON as the real server does.
pub fn finish_json(mut bytes: Vec<u8>, pretty: bool) -> Bytes {
    if pretty {
        return indent::indent(&bytes).into();
    }
    bytes.push(b'\n');
    bytes.into()
}

/// Decodes protobuf of this type, envelope and all.
pub fn from_protobuf(bytes: &[u8], ty: Type<'_>) -> Result<Value, String> {
    protobuf::decode(bytes, ty).map_err(|e| e.to_string())
}

/// Encodes one event of a watch.
pub fn watch_frame(
    kind: &str,
    object: &Value,
    encoding: Encoding,
    ty: Option<Type<'_>>,
) -> Result<Bytes, ApiError> {
    if let (Encoding::Protobuf, Some(ty @ Builtin(_))) = (encoding, ty) {
        return Ok(protobuf::watch_frame(kind, object, ty).into());
    }
    let mut bytes = format!("{{\"type\":\"{kind}\",\"object\":").into_bytes();
    json::write(object, ty, &mut bytes);
    bytes.extend_from_slice(b"}\n");
    Ok(bytes.into())
}
