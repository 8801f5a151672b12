//! Responses: documents in the encoding that the client accepts.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Uri, header};
use serde_json::{Value, json};

use crate::{
    body::{self, Response},
    codec,
    negotiation::Encoding,
    schema::types::Type,
    status::ApiError,
};

/// A response of ready bytes.
pub fn bytes(code: StatusCode, media_type: &'static str, bytes: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body::full(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A plain text.
pub fn text(code: StatusCode, text: impl Into<Bytes>) -> Response {
    let mut response = bytes(code, "text/plain; charset=utf-8", text);
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// A document. `ty` is its type, for protobuf; without one it is answered in JSON.
pub fn document(code: StatusCode, document: &Value, encoding: Encoding, ty: Option<Type<'_>>) -> Response {
    match codec::encode(document, encoding, ty) {
        Ok((media_type, encoded)) => bytes(code, media_type, encoded),
        Err(failure) => error(&failure, Encoding::Json),
    }
}

/// 201 for what makes no object of its own.
pub fn done(encoding: Encoding, warnings: &[String]) -> Response {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    let mut response = document(StatusCode::CREATED, &status, encoding, Type::builtin(codec::STATUS));
    warn(&mut response, warnings);
    response
}

/// An error.
pub fn error(error: &ApiError, encoding: Encoding) -> Response {
    let status = error.to_value();
    let encoded = codec::encode(&status, encoding, Type::builtin(codec::STATUS))
        .unwrap_or_else(|_| (Encoding::Json.media_type(), status.to_string().into()));
    let mut response = bytes(error.code, encoded.0, encoded.1);
    if let Some(seconds) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// The answer when nobody can say whether the request is allowed.
pub fn undecided(uri: &Uri, why: &str) -> Response {
    let uri = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    // What could be taken for a page by a browser is not sent back.
    let shown = uri.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;");
    text(StatusCode::INTERNAL_SERVER_ERROR, format!("Internal Server Error: {shown:?}: {why}\n"))
}

/// The answer for a path that nobody serves.
pub fn page_not_found() -> Response {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// How many characters of warnings an answer has before they are cut.
const WARNINGS_MAX: usize = 4 * 1024;
/// How many characters remain of a warning that is cut.
const CUT_WARNING: usize = 256;

/// Warns the client, of each thing once. Where that is too much, each warning is cut.
pub fn warn(response: &mut Response, warnings: &[String]) {
    let mut seen = BTreeSet::new();
    let once: Vec<&str> = warnings
        .iter()
        .map(String::as_str)
        .filter(|warning| !warning.is_empty() && seen.insert(*warning) && !warning.contains(char::is_control))
        .collect();
    let cut = once.iter().map(|warning| warning.chars().count()).sum::<usize>() > WARNINGS_MAX;
    let mut written = 0;
    for warning in once {
        if cut && written >= WARNINGS_MAX {
            break;
        }
        let text: String = warning.chars().take(if cut { CUT_WARNING } else { usize::MAX }).collect();
        written += text.chars().count();
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(warnings: &[String]) -> Vec<Vec<u8>> {
        let mut response = page_not_found();
        warn(&mut response, warnings);
        let all = response.headers().get_all(header::WARNING);
        all.iter().map(|value| value.as_bytes().to_vec()).collect()
    }

    #[test]
    fn each_warning_is_given_once_and_as_it_is() {
        let warnings = ["é \"x\"", "", "a\nb", "é \"x\""].map(ToOwned::to_owned);
        assert_eq!(warned(&warnings), ["299 - \"é \\\"x\\\"\"".as_bytes()]);
    }

    #[test]
    fn too_many_warnings_are_cut() {
        let warnings: Vec<String> = (0..40).map(|n| format!("{n:02}{}", "x".repeat(400))).collect();
        let given = warned(&warnings);
        assert_eq!(given.len(), WARNINGS_MAX / CUT_WARNING);
        assert!(given.iter().all(|warning| warning.len() == CUT_WARNING + "299 - \"\"".len()));
    }
}
