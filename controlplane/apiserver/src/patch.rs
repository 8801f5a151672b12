//! The patches of the Kubernetes API, as pure functions over JSON documents.
//!
//! | content type | function |
//! |---|---|
//! | `application/json-patch+json` | [`json_patch::apply`] (RFC 6902) |
//! | `application/merge-patch+json` | [`merge_patch::apply`] (RFC 7386) |
//! | `application/strategic-merge-patch+json` | [`strategic::apply`] (built-in kinds only) |
//! | `application/apply-patch+yaml` | [`crate::managed_fields::apply()`] |
//!
//! Each takes the live object in the version of the request and leaves it patched; decoding against the
//! schema, defaulting and validation follow. After an error the document is half patched and of no use.
//! [`rendered`] gives the text that an error about the patched document quotes.

pub mod json_patch;
pub mod merge_patch;
pub mod printed;
pub mod strategic;

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Value, value::RawValue};

use crate::status::ApiError;

/// Why a patch does not apply, by what the client is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 400: the patch is malformed.
    #[error("{0}")]
    BadRequest(String),
    /// 413: the patch asks for too much.
    #[error("{0}")]
    TooLarge(String),
    /// 422: a well-formed patch does not fit the object. The client sees a general message only.
    #[error("{0}")]
    Unprocessable(String),
    /// 500 without a reason, as Kubernetes answers whatever it did not foresee.
    #[error("{0}")]
    Unknown(String),
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        const REJECTED: &str = "the server rejected our request due to an error in our request";
        match error {
            Error::BadRequest(message) => Self::bad_request(message),
            Error::TooLarge(message) => {
                let text = format!("Request entity is too large: {message}");
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", text)
            }
            Error::Unprocessable(cause) => {
                tracing::debug!(cause, "patch does not apply");
                let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", REJECTED);
                error.details = Some(Box::default());
                error
            }
            Error::Unknown(message) => Self::unknown(message),
        }
    }
}

/// A patched document as Kubernetes quotes it in errors: what the patch left alone keeps the text it had
/// in `live` (the encoded live object), and the keys of whatever changed are sorted.
pub fn rendered(live: &str, patched: &Value) -> String {
    let mut out = String::with_capacity(live.len());
    render(Some(live), patched, &mut out);
    out
}

fn render(live: Option<&str>, patched: &Value, out: &mut String) {
    let unchanged = |live: &&str| serde_json::from_str::<Value>(live).is_ok_and(|v| v == *patched);
    if let Some(live) = live.filter(unchanged) {
        out.push_str(live);
        return;
    }
    let Value::Object(fields) = patched else {
        out.push_str(&patched.to_string());
        return;
    };
    let live_fields: BTreeMap<String, &RawValue> =
        live.and_then(|live| serde_json::from_str(live).ok()).unwrap_or_default();
    let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
    out.push('{');
    for (position, (name, value)) in sorted.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        out.push_str(&Value::String(name.clone()).to_string());
        out.push(':');
        render(live_fields.get(name).map(|raw| raw.get()), value, out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn renders_untouched_parts_as_they_were_and_sorts_the_rest() {
        let live = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c","annotations":{"a":"b"}},"data":{"k":"v"}}"#;
        let patched = json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"k": 5},
            "metadata": {"name": "c", "annotations": {"a": "b"}}});
        assert_eq!(
            rendered(live, &patched),
            r#"{"apiVersion":"v1","data":{"k":5},"kind":"ConfigMap","metadata":{"name":"c","annotations":{"a":"b"}}}"#
        );
    }

    #[test]
    fn a_patch_that_does_not_fit_is_answered_with_the_general_message() {
        let error = ApiError::from(Error::Unprocessable("testing value /a failed".into()));
        assert_eq!(
            error.to_value(),
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "details": {},
                "message": "the server rejected our request due to an error in our request",
                "reason": "Invalid", "code": 422})
        );
    }
}
