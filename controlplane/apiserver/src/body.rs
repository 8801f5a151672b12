//! Request and response bodies, whatever carries them: a TLS connection or a call in the same process.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of every request and response.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A request as the server sees it.
pub type Request = http::Request<Body>;

/// A response of the server.
pub type Response = http::Response<Body>;

/// A body of these bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body without bytes.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// A body of chunks as they come.
pub fn stream<S>(chunks: S) -> Body
where
    S: futures::Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
{
    use futures::TryStreamExt;
    http_body_util::StreamBody::new(chunks.map_ok(http_body::Frame::data)).boxed_unsync()
}
