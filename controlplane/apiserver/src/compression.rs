//! Long answers to clients that take gzip, as the real server compresses them (its feature `APIResponseCompression`).

use std::{
    io::Write as _,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, header};
use http_body::Frame;
use http_body_util::BodyExt;

use crate::{
    body::{Body, BoxError, Response},
    request_info::RequestInfo,
};

/// Objects, lists and discovery that are not longer than this are sent as they are.
const LONGER_THAN: u64 = 128 * 1024;
/// Documents of OpenAPI v2 that are shorter than this are sent as they are.
const DOCUMENT: u64 = 1400;

/// From which length on the answer to a request is compressed; `None` if it never is.
pub fn threshold(info: &RequestInfo, headers: &HeaderMap) -> Option<u64> {
    let least = match info.path.as_str() {
        "/openapi/v2" => Some(DOCUMENT),
        path => (path.starts_with("/api") && !info.is_lasting()).then_some(LONGER_THAN + 1),
    };
    least.filter(|_| is_taken(headers))
}

/// Whether a client says that it takes gzip. As on the real server, weights do not count.
fn is_taken(headers: &HeaderMap) -> bool {
    let tokens = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    tokens.is_some_and(|tokens| tokens.split(',').any(|token| token.trim() == "gzip"))
}

/// Compresses what is as long as that. What is sent while it is read is long, or it would not be.
pub fn compressed(mut response: Response, least: u64) -> Response {
    let length = http_body::Body::size_hint(response.body()).exact();
    if length.is_some_and(|length| length < least) {
        return response;
    }
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response.map(|body| {
        let encoder = GzEncoder::new(Vec::new(), Compression::fast());
        Gzip { body, encoder: Some(encoder) }.boxed_unsync()
    })
}

struct Gzip {
    body: Body,
    /// `None` once the body has ended.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl http_body::Body for Gzip {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let Some(mut encoder) = self.encoder.take() else { return Poll::Ready(None) };
            let frame = match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    self.encoder = Some(encoder);
                    return Poll::Pending;
                }
            };
            let written = match frame {
                None => encoder.finish()?,
                Some(frame) => {
                    if let Some(data) = frame?.data_ref() {
                        encoder.write_all(data)?;
                    }
                    let written = std::mem::take(encoder.get_mut());
                    self.encoder = Some(encoder);
                    written
                }
            };
            if !written.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(written.into()))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use futures::stream;
    use http::Method;

    use super::*;
    use crate::body;

    fn asked(method: &Method, path: &str, query: &str, accepted: &'static str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
        threshold(&RequestInfo::new(method, path, query), &headers)
    }

    async fn unpacked(response: Response) -> Vec<u8> {
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(response.headers()[header::VARY], "Accept-Encoding");
        let packed = response.into_body().collect().await.unwrap().to_bytes();
        let mut text = Vec::new();
        GzDecoder::new(packed.as_ref()).read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn long_answers_about_objects_are_compressed_for_those_who_take_it() {
        let pods = "/api/v1/namespaces/n/pods";
        assert_eq!(asked(&Method::GET, pods, "", "gzip"), Some(LONGER_THAN + 1));
        assert_eq!(asked(&Method::GET, pods, "", "deflate, gzip"), Some(LONGER_THAN + 1));
        assert_eq!(asked(&Method::POST, pods, "", "gzip"), Some(LONGER_THAN + 1));
        assert_eq!(asked(&Method::GET, "/openapi/v2", "", "gzip"), Some(DOCUMENT));
        assert_eq!(asked(&Method::GET, pods, "", "br"), None);
        assert_eq!(asked(&Method::GET, pods, "", "gzip;q=1"), None);
        assert_eq!(asked(&Method::GET, pods, "watch=true", "gzip"), None);
        assert_eq!(asked(&Method::GET, &format!("{pods}/p/log"), "", "gzip"), None);
        assert_eq!(asked(&Method::GET, &format!("{pods}/p/proxy/x"), "", "gzip"), None);
        assert_eq!(asked(&Method::GET, "/openapi/v3/api/v1", "", "gzip"), None);
        assert_eq!(asked(&Method::GET, "/metrics", "", "gzip"), None);
    }

    #[tokio::test]
    async fn what_is_compressed_is_what_was_said() {
        let text: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let whole = compressed(Response::new(body::full(text.clone())), LONGER_THAN + 1);
        assert!(unpacked(whole).await == text);
        let parts: Vec<_> = text.chunks(1000).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
        let streamed = compressed(Response::new(body::stream(stream::iter(parts))), LONGER_THAN + 1);
        assert!(unpacked(streamed).await == text);
        let short = compressed(Response::new(body::full("{}")), LONGER_THAN + 1);
        assert!(short.headers().is_empty());
    }

    #[tokio::test]
    async fn a_body_that_fails_fails_compressed_too() {
        let parts = [Ok(Bytes::from_static(b"{")), Err("lost".into())];
        let response = compressed(Response::new(body::stream(stream::iter(parts))), 0);
        assert_eq!(response.into_body().collect().await.unwrap_err().to_string(), "lost");
    }
}
