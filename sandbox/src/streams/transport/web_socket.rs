//! Sessions over WebSocket: each message starts with the number of its channel.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use super::{
    super::session::{Input, Output},
    TransportError,
};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// The size of a client's window, as its messages say it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Size {
    width: u16,
    height: u16,
}

impl From<Size> for Input {
    fn from(size: Size) -> Self {
        Self::Resize { width: size.width, height: size.height }
    }
}

/// The end of a connection on which all was said; kubectl takes any other for a failure.
pub(crate) fn normal_end() -> CloseFrame {
    CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() }
}

/// Carries messages until the session has told its status or the client is gone.
pub(super) async fn carry(
    io: impl AsyncRead + AsyncWrite + Unpin,
    closes: bool,
    input: mpsc::Sender<Input>,
    mut output: mpsc::Receiver<Output>,
) -> Result<(), TransportError> {
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    let (mut sink, mut messages) = socket.split();
    let receive = async move {
        while let Some(Ok(message)) = messages.next().await {
            let received = match message {
                Message::Binary(bytes) => decode(bytes, closes),
                Message::Text(text) => decode(Bytes::from(text), closes),
                Message::Close(_) => break,
                _ => None,
            };
            if let Some(received) = received
                && input.send(received).await.is_err()
            {
                // The session has ended; what is still to be told is told by the other half.
                std::future::pending::<()>().await;
            }
        }
    };
    let send = async {
        while let Some(out) = output.recv().await {
            sink.send(Message::Binary(encode(&out))).await?;
        }
        sink.send(Message::Close(Some(normal_end()))).await
    };
    tokio::pin!(receive, send);
    tokio::select! {
        result = &mut send => Ok(result?),
        // Dropping `input` with `receive` is what tells the session.
        () = &mut receive => Ok(()),
    }
}

fn decode(mut message: Bytes, closes: bool) -> Option<Input> {
    let channel = *message.first()?;
    let rest = message.split_off(1);
    match channel {
        STDIN if rest.is_empty() => None,
        STDIN => Some(Input::Bytes(rest)),
        RESIZE => serde_json::from_slice::<Size>(&rest).ok().map(Into::into),
        CLOSE if closes && rest.first() == Some(&STDIN) => Some(Input::End),
        _ => None,
    }
}

fn encode(output: &Output) -> Bytes {
    let framed = |channel: u8, bytes: &[u8]| {
        let mut message = Vec::with_capacity(bytes.len() + 1);
        message.push(channel);
        message.extend_from_slice(bytes);
        Bytes::from(message)
    };
    match output {
        Output::Stdout(bytes) => framed(STDOUT, bytes),
        Output::Stderr(bytes) => framed(STDERR, bytes),
        Output::Status(status) => framed(ERROR, status.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_name_their_channel() {
        assert_eq!(decode("\0hi".into(), true), Some(Input::Bytes("hi".into())));
        let size = Bytes::from_static(b"\x04{\"Width\":80,\"Height\":24}");
        assert_eq!(decode(size, false), Some(Input::Resize { width: 80, height: 24 }));
        assert_eq!(encode(&Output::Stderr("oops".into())), "\x02oops");
        assert_eq!(encode(&Output::Status(json!({"status": "Success"}))), "\x03{\"status\":\"Success\"}");
    }

    #[test]
    fn only_version_5_ends_standard_input() {
        let close = Bytes::from_static(&[255, 0]);
        assert_eq!(decode(close.clone(), true), Some(Input::End));
        assert_eq!(decode(close, false), None);
        assert_eq!(decode(Bytes::from_static(&[255, 1]), true), None);
        assert_eq!(decode(Bytes::new(), true), None);
    }

    async fn mk_client() -> (
        WebSocketStream<tokio::io::DuplexStream>,
        mpsc::Receiver<Input>,
        mpsc::Sender<Output>,
        tokio::task::JoinHandle<()>,
    ) {
        let (client, server) = tokio::io::duplex(4096);
        let (input, inputs) = mpsc::channel(4);
        let (outputs, output) = mpsc::channel(4);
        let carried = tokio::spawn(async move { carry(server, true, input, output).await.unwrap() });
        (WebSocketStream::from_raw_socket(client, Role::Client, None).await, inputs, outputs, carried)
    }

    #[tokio::test]
    async fn a_session_is_carried_to_its_status() {
        let (mut client, mut inputs, outputs, served) = mk_client().await;
        client.send(Message::Binary("\0in".into())).await.unwrap();
        assert_eq!(inputs.recv().await, Some(Input::Bytes("in".into())));
        outputs.send(Output::Stdout("out".into())).await.unwrap();
        outputs.send(Output::Status(json!({}))).await.unwrap();
        drop(outputs);
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary("\x01out".into()));
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary("\x03{}".into()));
        assert!(client.next().await.unwrap().unwrap().is_close());
        served.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_goes_ends_the_input() {
        let (client, mut inputs, _outputs, served) = mk_client().await;
        drop(client);
        assert_eq!(inputs.recv().await, None);
        served.await.unwrap();
    }
}
