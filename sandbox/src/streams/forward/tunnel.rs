//! A connection carried in the binary messages of a WebSocket, as `kubectl` carries SPDY since 1.30.

use bytes::BytesMut;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::super::transport::{TransportError, web_socket::normal_end};

const READ: usize = 32 * 1024;

/// Carries what `inner` sends to the client and the other way round, until either side ends.
pub(super) async fn carry(
    io: impl AsyncRead + AsyncWrite + Unpin,
    inner: DuplexStream,
) -> Result<(), TransportError> {
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    let (mut sink, mut messages) = socket.split();
    let (mut reader, mut writer) = tokio::io::split(inner);
    let upload = async {
        while let Some(Ok(message)) = messages.next().await {
            match message {
                Message::Binary(bytes) => match writer.write_all(&bytes).await {
                    Ok(()) => {}
                    Err(_) => break,
                },
                Message::Close(_) => break,
                _ => {}
            }
        }
        let _ = writer.shutdown().await;
    };
    let download = async {
        loop {
            let mut bytes = BytesMut::with_capacity(READ);
            match reader.read_buf(&mut bytes).await {
                Ok(1..) => sink.send(Message::Binary(bytes.freeze())).await?,
                _ => break sink.send(Message::Close(Some(normal_end()))).await,
            }
        }
    };
    tokio::pin!(upload, download);
    let mut uploaded = false;
    loop {
        tokio::select! {
            result = &mut download => return Ok(result?),
            () = &mut upload, if !uploaded => uploaded = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_pass_both_ways_and_the_end_too() {
        let (client, server) = tokio::io::duplex(4096);
        let (mut inner, outer) = tokio::io::duplex(4096);
        let carried = tokio::spawn(carry(server, outer));
        let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;

        client.send(Message::Binary("up".into())).await.unwrap();
        let mut bytes = [0; 2];
        inner.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"up");

        inner.write_all(b"down").await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary("down".into()));
        drop(inner);
        assert!(client.next().await.unwrap().unwrap().is_close());
        carried.await.unwrap().unwrap();
    }
}
