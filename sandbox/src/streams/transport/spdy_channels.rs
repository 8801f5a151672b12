//! Sessions over SPDY: a stream a channel, told apart by the header `streamtype`.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::timeout,
};

use super::{
    super::{
        session::{Input, Output, Wants},
        spdy::{self, Stream},
    },
    TransportError,
    web_socket::Size,
};

/// How long a client may take to open its streams.
const OPENING: Duration = Duration::from_secs(30);
/// How many streams may wait to be taken.
const QUEUE: usize = 8;

/// Carries streams until the session has told its status or the client is gone.
pub(super) async fn carry(
    io: impl AsyncRead + AsyncWrite + Send + 'static,
    wants: Wants,
    input: mpsc::Sender<Input>,
    output: mpsc::Receiver<Output>,
) -> Result<(), TransportError> {
    let (accepted, streams) = mpsc::channel(QUEUE);
    let (served, carried) = tokio::join!(spdy::serve(io, accepted), exchange(streams, wants, input, output));
    carried?;
    Ok(served?)
}

async fn exchange(
    mut streams: mpsc::Receiver<Stream>,
    wants: Wants,
    input: mpsc::Sender<Input>,
    mut output: mpsc::Receiver<Output>,
) -> Result<(), TransportError> {
    let mut opened = timeout(OPENING, open(&mut streams, wants)).await.unwrap_or_default();
    let error = opened.remove("error").ok_or(TransportError::Missing("error"))?;
    let mut stdout = opened.remove("stdout").map(|stream| stream.outgoing);
    let mut stderr = opened.remove("stderr").map(|stream| stream.outgoing);
    // Their own halves of these stay open: ending them early would tell the client that all is over.
    let (stdin, resize) = (opened.remove("stdin"), opened.remove("resize"));
    let (mut stdin_bytes, stdin) = stdin.map(halves).unzip();
    let (mut resize_bytes, resize) = resize.map(halves).unzip();

    let receive = async {
        let mut sizes = Vec::new();
        loop {
            tokio::select! {
                bytes = next(&mut stdin_bytes) => {
                    // A session that has ended takes no more; what it tells comes by the other half.
                    let _ = input.send(bytes.map_or(Input::End, Input::Bytes)).await;
                }
                bytes = next(&mut resize_bytes) => {
                    sizes.extend_from_slice(&bytes.unwrap_or_default());
                    for size in take_sizes(&mut sizes) {
                        let _ = input.send(size.into()).await;
                    }
                }
                more = streams.recv() => {
                    if more.is_none() {
                        return;
                    }
                }
            }
        }
    };
    let send = async {
        while let Some(out) = output.recv().await {
            match out {
                Output::Stdout(bytes) => tell(stdout.as_ref(), bytes).await,
                Output::Stderr(bytes) => tell(stderr.as_ref(), bytes).await,
                Output::Status(status) => {
                    for stream in [stdout.take(), stderr.take()].into_iter().flatten() {
                        stream.finish().await;
                    }
                    error.outgoing.send(status.to_string().into()).await;
                    break;
                }
            }
        }
        for stream in [Some(error.outgoing), stdin, resize].into_iter().flatten() {
            stream.finish().await;
        }
    };
    // Dropping `input` is what tells the session that the client is gone.
    tokio::select! {
        () = send => {}
        () = receive => {}
    }
    Ok(())
}

fn halves(stream: Stream) -> (mpsc::Receiver<Bytes>, spdy::Sender) {
    (stream.incoming, stream.outgoing)
}

/// The next bytes of a stream; `None` once, at its end.
async fn next(stream: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    let bytes = match stream {
        Some(stream) => stream.recv().await,
        None => std::future::pending().await,
    };
    if bytes.is_none() {
        *stream = None;
    }
    bytes
}

async fn tell(stream: Option<&spdy::Sender>, bytes: Bytes) {
    if let Some(stream) = stream {
        stream.send(bytes).await;
    }
}

/// Collects the streams that the client's request announced.
async fn open(streams: &mut mpsc::Receiver<Stream>, wants: Wants) -> HashMap<String, Stream> {
    let mut missing: Vec<&str> = vec!["error"];
    missing.extend(wants.stdin.then_some("stdin"));
    missing.extend(wants.stdout.then_some("stdout"));
    missing.extend(wants.stderr.then_some("stderr"));
    missing.extend(wants.tty.then_some("resize"));
    let mut opened = HashMap::new();
    while !missing.is_empty() {
        let Some(stream) = streams.recv().await else { break };
        let kind = stream.headers.get("streamtype").cloned().unwrap_or_default();
        missing.retain(|name| *name != kind);
        opened.insert(kind, stream);
    }
    opened
}

/// Takes the complete sizes out of what has come of them so far.
fn take_sizes(bytes: &mut Vec<u8>) -> Vec<Size> {
    let mut stream = serde_json::Deserializer::from_slice(bytes).into_iter::<Size>();
    let mut sizes = Vec::new();
    let mut taken = 0;
    while let Some(Ok(size)) = stream.next() {
        taken = stream.byte_offset();
        sizes.push(size);
    }
    bytes.drain(..taken);
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_may_come_in_pieces() {
        let mut bytes = b"{\"Width\":80,\"Height\":24}\n{\"Width\":1".to_vec();
        let sizes: Vec<Input> = take_sizes(&mut bytes).into_iter().map(Into::into).collect();
        assert_eq!(sizes, [Input::Resize { width: 80, height: 24 }]);
        bytes.extend_from_slice(b"00,\"Height\":30}");
        let sizes: Vec<Input> = take_sizes(&mut bytes).into_iter().map(Into::into).collect();
        assert_eq!(sizes, [Input::Resize { width: 100, height: 30 }]);
        assert!(bytes.is_empty());
    }
}
