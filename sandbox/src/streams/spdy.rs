//! SPDY/3.1, as far as `kubectl` speaks it: streams that the client opens over one connection.
//!
//! Flow control is answered but not enforced: Kubernetes' own clients and servers have none, so waiting for
//! their window updates would wait for ever. Back-pressure is that of the connection itself.

pub(crate) mod frame;
mod header;

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

use frame::{Decoder, Encoder, Frame, FrameError, Headers};

/// How many frames may wait to be written or to be taken by a stream's reader.
const QUEUE: usize = 32;
/// How much of the connection is read at once.
const READ: usize = 32 * 1024;
/// The largest data frame that is sent.
const CHUNK: usize = 16 * 1024;
/// The status by which a stream is refused.
const CANCEL: u32 = 5;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpdyError {
    /// The connection broke.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    /// The other side does not speak SPDY/3.1.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// A stream that the client has opened; it is accepted already.
pub(crate) struct Stream {
    /// Its headers.
    pub headers: Headers,
    /// What the client sends; ends when it has sent all.
    pub incoming: mpsc::Receiver<Bytes>,
    /// To send to the client.
    pub outgoing: Sender,
}

/// The sending half of a stream. When dropped without [`Self::finish`], the stream is reset.
pub(crate) struct Sender {
    stream: u32,
    frames: mpsc::Sender<Frame>,
    finished: bool,
}

impl Sender {
    /// Sends bytes; `false` if the connection is gone.
    pub async fn send(&self, bytes: Bytes) -> bool {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(CHUNK));
            let frame = Frame::Data { stream: self.stream, bytes: part, fin: false };
            if self.frames.send(frame).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Says that nothing more is sent.
    pub async fn finish(mut self) {
        self.finished = true;
        let frame = Frame::Data { stream: self.stream, bytes: Bytes::new(), fin: true };
        // A connection that is gone needs no end.
        let _ = self.frames.send(frame).await;
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.frames.try_send(Frame::Reset { stream: self.stream, status: CANCEL });
        }
    }
}

/// Serves a connection whose client opens streams, which come out of `accepted`. Returns when the client
/// has closed the connection, or, once `accepted`'s receiver and all senders are dropped, when everything
/// is written.
pub(crate) async fn serve(
    io: impl AsyncRead + AsyncWrite + Send + 'static,
    accepted: mpsc::Sender<Stream>,
) -> Result<(), SpdyError> {
    let (reader, writer) = tokio::io::split(io);
    let (frames, queue) = mpsc::channel(QUEUE);
    let write = write(writer, queue);
    let read = read(reader, frames, accepted);
    tokio::pin!(write, read);
    tokio::select! {
        result = &mut write => result,
        result = &mut read => {
            result?;
            write.await
        }
    }
}

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Frame>,
) -> Result<(), SpdyError> {
    let mut encoder = Encoder::new()?;
    let mut wire = BytesMut::new();
    while let Some(frame) = queue.recv().await {
        encoder.encode(&frame, &mut wire)?;
        while let Ok(frame) = queue.try_recv() {
            encoder.encode(&frame, &mut wire)?;
        }
        writer.write_all(&wire).await?;
        writer.flush().await?;
        wire.clear();
    }
    writer.shutdown().await?;
    Ok(())
}

async fn read(
    mut reader: impl AsyncRead + Unpin,
    frames: mpsc::Sender<Frame>,
    accepted: mpsc::Sender<Stream>,
) -> Result<(), SpdyError> {
    // Held weakly, so that the writer ends when no stream can write any more.
    let weak = frames.downgrade();
    let mut frames = Some(frames);
    let mut decoder = Decoder::new();
    let mut buffer = BytesMut::with_capacity(READ);
    let mut streams: HashMap<u32, mpsc::Sender<Bytes>> = HashMap::new();
    loop {
        while let Some(frame) = decoder.decode(&mut buffer)? {
            if accepted.is_closed() {
                frames = None;
            }
            match frame {
                Frame::Open { stream, headers, fin } => {
                    let Some(frames) = &frames else { continue };
                    let (bytes, incoming) = mpsc::channel(QUEUE);
                    if !fin {
                        streams.insert(stream, bytes);
                    }
                    let outgoing = Sender { stream, frames: frames.clone(), finished: false };
                    let _ = frames.send(Frame::Reply { stream, headers: Headers::new() }).await;
                    let _ = accepted.send(Stream { headers, incoming, outgoing }).await;
                }
                Frame::Data { stream, bytes, fin } => {
                    let length = bytes.len() as u32;
                    if let Some(reader) = streams.get(&stream) {
                        // A stream that nobody reads any more swallows what comes.
                        if !bytes.is_empty() {
                            let _ = reader.send(bytes).await;
                        }
                    }
                    if fin {
                        streams.remove(&stream);
                    }
                    if length > 0
                        && let Some(frames) = weak.upgrade()
                    {
                        for stream in [stream, 0] {
                            let _ = frames.send(Frame::Window { stream, more: length }).await;
                        }
                    }
                }
                Frame::Reset { stream, .. } => drop(streams.remove(&stream)),
                Frame::Ping(id) if id % 2 == 1 => {
                    if let Some(frames) = weak.upgrade() {
                        let _ = frames.send(Frame::Ping(id)).await;
                    }
                }
                Frame::GoAway { .. } => frames = None,
                Frame::Reply { .. } | Frame::Window { .. } | Frame::Ping(_) | Frame::Other => {}
            }
        }
        if buffer.capacity() - buffer.len() < READ / 2 {
            buffer.reserve(READ);
        }
        let gone =
            async { if frames.is_some() { accepted.closed().await } else { std::future::pending().await } };
        tokio::select! {
            count = reader.read_buf(&mut buffer) => {
                if count? == 0 {
                    return Ok(());
                }
            }
            () = gone => frames = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client's end of a connection, frame by frame.
    struct Client {
        io: tokio::io::DuplexStream,
        encoder: Encoder,
        decoder: Decoder,
        buffer: BytesMut,
    }

    impl Client {
        async fn send(&mut self, frame: Frame) {
            let mut wire = BytesMut::new();
            self.encoder.encode(&frame, &mut wire).unwrap();
            self.io.write_all(&wire).await.unwrap();
        }

        /// The next frame that is not a window update.
        async fn receive(&mut self) -> Option<Frame> {
            loop {
                match self.decoder.decode(&mut self.buffer).unwrap() {
                    Some(Frame::Window { .. }) => {}
                    Some(frame) => return Some(frame),
                    None if self.io.read_buf(&mut self.buffer).await.unwrap() == 0 => return None,
                    None => {}
                }
            }
        }
    }

    fn mk_connection() -> (Client, mpsc::Receiver<Stream>) {
        let (io, server) = tokio::io::duplex(1024);
        let (accepted, streams) = mpsc::channel(4);
        tokio::spawn(serve(server, accepted));
        let client =
            Client { io, encoder: Encoder::new().unwrap(), decoder: Decoder::new(), buffer: BytesMut::new() };
        (client, streams)
    }

    #[tokio::test]
    async fn a_stream_carries_bytes_both_ways() {
        let (mut client, mut streams) = mk_connection();
        let headers = Headers::from([("streamtype".to_owned(), "data".to_owned())]);
        client.send(Frame::Open { stream: 1, headers: headers.clone(), fin: false }).await;
        assert_eq!(client.receive().await, Some(Frame::Reply { stream: 1, headers: Headers::new() }));
        let mut stream = streams.recv().await.unwrap();
        assert_eq!(stream.headers, headers);

        client.send(Frame::Data { stream: 1, bytes: "in".into(), fin: true }).await;
        assert_eq!(stream.incoming.recv().await, Some("in".into()));
        assert_eq!(stream.incoming.recv().await, None);

        assert!(stream.outgoing.send("out".into()).await);
        stream.outgoing.finish().await;
        assert_eq!(client.receive().await, Some(Frame::Data { stream: 1, bytes: "out".into(), fin: false }));
        assert_eq!(client.receive().await, Some(Frame::Data { stream: 1, bytes: Bytes::new(), fin: true }));
    }

    #[tokio::test]
    async fn the_connection_closes_when_its_streams_are_done() {
        let (mut client, mut streams) = mk_connection();
        client.send(Frame::Open { stream: 1, headers: Headers::new(), fin: false }).await;
        client.receive().await;
        let stream = streams.recv().await.unwrap();
        drop(streams);
        stream.outgoing.finish().await;
        assert_eq!(client.receive().await, Some(Frame::Data { stream: 1, bytes: Bytes::new(), fin: true }));
        assert_eq!(client.receive().await, None);
    }

    #[tokio::test]
    async fn answers_pings_and_resets_abandoned_streams() {
        let (mut client, mut streams) = mk_connection();
        client.send(Frame::Ping(1)).await;
        assert_eq!(client.receive().await, Some(Frame::Ping(1)));
        client.send(Frame::Open { stream: 3, headers: Headers::new(), fin: false }).await;
        client.receive().await;
        drop(streams.recv().await.unwrap());
        assert_eq!(client.receive().await, Some(Frame::Reset { stream: 3, status: CANCEL }));
    }
}
