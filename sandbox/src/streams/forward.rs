//! Port-forward: TCP connections to a pod over one connection of the client.

mod tunnel;

use std::{collections::HashMap, net::IpAddr, time::Duration};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::{
    handshake::{Dialect, Upgrade},
    spdy::{self, Stream},
    transport::{TransportError, web_socket::normal_end},
};

/// How long a port of the pod may take to accept.
const CONNECT: Duration = Duration::from_secs(10);
const READ: usize = 16 * 1024;
/// How many streams may wait to be taken.
const QUEUE: usize = 16;

/// The ports that a WebSocket client names in its query.
pub(super) fn ports(query: &str) -> Vec<u16> {
    let values =
        form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| matches!(&**name, "ports" | "port"));
    values
        .flat_map(|(_, value)| value.split(',').filter_map(|port| port.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Forwards over an upgraded connection until the client closes it.
pub(super) async fn serve(upgrade: Upgrade, ip: IpAddr, ports: Vec<u16>) -> Result<(), TransportError> {
    let io = TokioIo::new(upgrade.connection.await?);
    match upgrade.dialect {
        Dialect::Spdy => over_spdy(io, ip).await,
        Dialect::Tunnel => {
            let (inner, outer) = tokio::io::duplex(64 * 1024);
            let (tunnelled, served) = tokio::join!(tunnel::carry(io, outer), over_spdy(inner, ip));
            served.and(tunnelled)
        }
        Dialect::WebSocket { .. } => over_web_socket(io, ip, ports).await,
    }
}

async fn connect(ip: IpAddr, port: u16) -> Result<TcpStream, String> {
    let failed = |error: &dyn std::fmt::Display| {
        format!("failed to connect to localhost:{port} inside the pod: {error}")
    };
    match timeout(CONNECT, TcpStream::connect((ip, port))).await {
        Ok(Ok(stream)) => {
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => Err(failed(&error)),
        Err(elapsed) => Err(failed(&elapsed)),
    }
}

/// Each forwarded connection is a pair of streams with one `requestid`: `data` and `error`.
async fn over_spdy(
    io: impl AsyncRead + AsyncWrite + Send + 'static,
    ip: IpAddr,
) -> Result<(), TransportError> {
    let (accepted, mut streams) = mpsc::channel::<Stream>(QUEUE);
    let forward = async move {
        let mut halves: HashMap<String, Stream> = HashMap::new();
        let mut pairs = JoinSet::new();
        loop {
            tokio::select! {
                stream = streams.recv() => {
                    let Some(stream) = stream else { break };
                    let id = stream.headers.get("requestid").cloned().unwrap_or_default();
                    match halves.remove(&id) {
                        None => drop(halves.insert(id, stream)),
                        Some(other) => {
                            let is_data = stream.headers.get("streamtype").is_some_and(|kind| kind == "data");
                            let (data, error) = if is_data { (stream, other) } else { (other, stream) };
                            pairs.spawn(pair(data, error, ip));
                        }
                    }
                }
                Some(_) = pairs.join_next() => {}
            }
        }
        // The client is gone; its connections go with it.
        pairs.shutdown().await;
    };
    let (served, ()) = tokio::join!(spdy::serve(io, accepted), forward);
    Ok(served?)
}

async fn pair(data: Stream, error: Stream, ip: IpAddr) {
    let port = data.headers.get("port").and_then(|port| port.parse().ok());
    let connected = match port {
        Some(port) => connect(ip, port).await,
        None => Err("the stream names no port".to_owned()),
    };
    match connected {
        Ok(mut connection) => {
            let Stream { mut incoming, outgoing, .. } = data;
            let (mut reader, mut writer) = connection.split();
            let upload = async {
                while let Some(bytes) = incoming.recv().await {
                    if writer.write_all(&bytes).await.is_err() {
                        break;
                    }
                }
                let _ = writer.shutdown().await;
            };
            let download = async {
                let mut chunk = vec![0; READ];
                while let Ok(count) = reader.read(&mut chunk).await {
                    if count == 0 || !outgoing.send(Bytes::copy_from_slice(&chunk[..count])).await {
                        break;
                    }
                }
                outgoing.finish().await;
            };
            // When the pod's side has said all, nothing more can become of the connection.
            tokio::pin!(upload, download);
            let mut uploaded = false;
            loop {
                tokio::select! {
                    () = &mut download => break,
                    () = &mut upload, if !uploaded => uploaded = true,
                }
            }
        }
        Err(message) => {
            error.outgoing.send(message.into()).await;
            data.outgoing.finish().await;
        }
    }
    error.outgoing.finish().await;
}

/// Without SPDY, each port named in the query has two channels: data, then errors. The first message on
/// each is the port.
async fn over_web_socket(
    io: impl AsyncRead + AsyncWrite + Unpin,
    ip: IpAddr,
    ports: Vec<u16>,
) -> Result<(), TransportError> {
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    let (mut sink, mut messages) = socket.split();
    let (outputs, mut output) = mpsc::channel::<Vec<u8>>(QUEUE);
    let mut uploads = HashMap::new();
    let mut connections = JoinSet::new();
    for (index, port) in (0_u8..).zip(ports) {
        let channel = index * 2;
        for channel in [channel, channel + 1] {
            let [low, high] = port.to_le_bytes();
            sink.send(Message::Binary(vec![channel, low, high].into())).await?;
        }
        let (upload, incoming) = mpsc::channel::<Bytes>(QUEUE);
        uploads.insert(channel, upload);
        connections.spawn(channel_pair(ip, port, channel, incoming, outputs.clone()));
    }
    drop(outputs);

    let receive = async {
        while let Some(Ok(message)) = messages.next().await {
            let mut bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Close(_) => break,
                _ => continue,
            };
            let Some(channel) = bytes.first().copied() else { continue };
            if let Some(upload) = uploads.get(&channel) {
                let _ = upload.send(bytes.split_off(1)).await;
            }
        }
    };
    let send = async {
        while let Some(message) = output.recv().await {
            sink.send(Message::Binary(message.into())).await?;
        }
        sink.send(Message::Close(Some(normal_end()))).await
    };
    tokio::select! {
        () = receive => {}
        result = send => result?,
    }
    connections.shutdown().await;
    Ok(())
}

async fn channel_pair(
    ip: IpAddr,
    port: u16,
    channel: u8,
    mut incoming: mpsc::Receiver<Bytes>,
    outputs: mpsc::Sender<Vec<u8>>,
) {
    let framed = |channel: u8, bytes: &[u8]| [&[channel], bytes].concat();
    let mut connection = match connect(ip, port).await {
        Ok(connection) => connection,
        Err(message) => {
            let _ = outputs.send(framed(channel + 1, message.as_bytes())).await;
            return;
        }
    };
    let (mut reader, mut writer) = connection.split();
    let mut chunk = vec![0; READ];
    loop {
        tokio::select! {
            count = reader.read(&mut chunk) => match count {
                Ok(count @ 1..) => {
                    if outputs.send(framed(channel, &chunk[..count])).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            Some(bytes) = incoming.recv() => {
                if writer.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_may_be_repeated_or_listed() {
        assert_eq!(ports("ports=80&ports=8443,9090&other=1&ports=x"), [80, 8443, 9090]);
    }
}
