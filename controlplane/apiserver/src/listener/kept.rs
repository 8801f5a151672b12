//! Connections that keep something until they are closed, also after they have become streams of another protocol.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::body::Body;

/// What is kept.
#[derive(Clone, Default)]
pub(super) struct Keeper(Arc<Mutex<Option<Body>>>);

impl Keeper {
    /// Keeps a body, with all that goes with it.
    pub(super) fn keep(&self, body: Body) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }
}

/// A connection that keeps it.
pub(super) struct Kept<S> {
    stream: S,
    keeper: Keeper,
}

impl<S> Kept<S> {
    /// A connection that keeps what the keeper is given.
    pub(super) fn new(stream: S, keeper: &Keeper) -> Self {
        Self { stream, keeper: keeper.clone() }
    }
}

impl<S> Drop for Kept<S> {
    fn drop(&mut self) {
        // Whoever else holds the keeper holds nothing any more.
        self.keeper.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Kept<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Kept<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
