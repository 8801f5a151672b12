//! Request and response bodies, whatever carries them: a TLS connection or a call in the same process.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
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
    http_body_util::StreamBody::new(chunks.map_ok(Frame::data)).boxed_unsync()
}

/// A body that keeps `companion` until it has ended.
pub fn with<T: Send + Unpin + 'static>(body: Body, companion: T) -> Body {
    Accompanied { body, companion: Some(companion) }.boxed_unsync()
}

/// Reads what is left of a body that nobody wants, as far as Go's server would and its client lets us.
pub async fn drain(body: &mut Body) {
    const MOST: usize = 256 * 1024;
    const PATIENCE: Duration = Duration::from_secs(1);
    let rest = async {
        let mut read = 0;
        while read <= MOST
            && let Some(Ok(frame)) = body.frame().await
        {
            read += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Who takes longer loses the connection.
    let _ = tokio::time::timeout(PATIENCE, rest).await;
}

struct Accompanied<T> {
    body: Body,
    companion: Option<T>,
}

impl<T: Unpin> http_body::Body for Accompanied<T> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.companion = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
