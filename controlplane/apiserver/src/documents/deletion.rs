//! What a deletion is asked to do.

use http::HeaderMap;
use serde_json::Value;

use super::{expected::check_head, not_registered};
use crate::{
    codec,
    negotiation::{self, Encoding},
    schema::{decode, json, types::Type},
    status::ApiError,
};

/// Reads DeleteOptions, of whatever group they say that they are.
pub fn delete_options(headers: &HeaderMap, body: &[u8]) -> Result<Value, ApiError> {
    let ty = Type::builtin("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
        .ok_or_else(|| ApiError::internal("no schema of DeleteOptions"))?;
    let document = match negotiation::content_type(headers, false)? {
        Encoding::Yaml => codec::yaml::read(body).map_err(ApiError::bad_request)?.0,
        Encoding::Protobuf => codec::from_protobuf(body, ty).map_err(ApiError::bad_request)?,
        Encoding::Json | Encoding::PrettyJson => {
            let unreadable = |e| format!("couldn't get version/kind; json parse error: {e}");
            json::parse(body, Some(ty)).map_err(|e| ApiError::bad_request(unreadable(e)))?.0
        }
    };
    check_head(&document).map_err(ApiError::bad_request)?;
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    match (text("apiVersion"), text("kind")) {
        (_, "" | "DeleteOptions") => {
            Ok(decode::decode(document, ty).map_err(|e| ApiError::bad_request(e.to_string()))?.0)
        }
        ("", kind) => Err(ApiError::bad_request(not_registered("meta.k8s.io/v1", kind))),
        (version, kind) => Err(ApiError::bad_request(not_registered(version, kind))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_deletion_are_decoded_like_any_other_document() {
        let read = |text: &str| delete_options(&HeaderMap::new(), text.as_bytes()).map_err(|e| e.message);
        for good in ["{}", "null", r#"{"kind":"DeleteOptions","apiVersion":"apps/v1","x":1}"#] {
            assert!(read(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            (
                r#"{"gracePeriodSeconds":"x"}"#,
                "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
            ),
            (
                r#"{"kind":1}"#,
                "couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field \
                 .kind of type string",
            ),
            (
                r#"{"kind":"Pod"}"#,
                "no kind \"Pod\" is registered for version \"meta.k8s.io/v1\" in scheme \"vkube\"",
            ),
        ] {
            assert_eq!(read(bad).unwrap_err(), why);
        }
    }
}
