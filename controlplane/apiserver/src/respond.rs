//! Responses: documents in the encoding that the client accepts.

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
pub fn done(encoding: Encoding) -> Response {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    document(StatusCode::CREATED, &status, encoding, Type::builtin(codec::STATUS))
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

/// Adds warnings (RFC 7234 section 5.5, as Kubernetes uses it: code 299, agent `-`).
pub fn warn(response: &mut Response, warnings: &[String]) {
    for warning in warnings {
        let text: String = warning.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}
