//! Carries UDP: each client gets a socket of its own towards one endpoint, for as long as it is in use.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::UdpSocket, task::JoinSet, time::timeout};

use super::Backends;

/// The largest datagram.
const DATAGRAM: usize = 65_535;
/// How long a client may be silent before it is forgotten.
const IDLE: Duration = Duration::from_secs(30);
/// How many clients are carried at once; further ones replace none and are dropped.
const CLIENTS: usize = 1024;

/// Carries datagrams for as long as it is polled.
pub(crate) async fn serve(socket: UdpSocket, backends: Backends) {
    let socket = Arc::new(socket);
    let mut flows: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut replies = JoinSet::new();
    let mut datagram = vec![0; DATAGRAM];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut datagram) => {
                let Ok((length, client)) = received else { continue };
                if !flows.contains_key(&client) {
                    if flows.len() >= CLIENTS {
                        continue;
                    }
                    let Ok(flow) = open(&backends).await else { continue };
                    let flow = Arc::new(flow);
                    replies.spawn(answer(Arc::clone(&socket), Arc::clone(&flow), client));
                    flows.insert(client, flow);
                }
                if let Some(flow) = flows.get(&client) {
                    // Lost datagrams are the clients' business, as everywhere with UDP.
                    let _ = flow.send(&datagram[..length]).await;
                }
            }
            Some(ended) = replies.join_next() => {
                if let Ok(client) = ended {
                    flows.remove(&client);
                }
            }
        }
    }
}

async fn open(backends: &Backends) -> io::Result<UdpSocket> {
    let backend = backends.next().first().copied();
    let backend = backend.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "no endpoints"))?;
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(backend).await?;
    Ok(socket)
}

/// Sends an endpoint's answers to the client; ends when either is silent for long.
async fn answer(socket: Arc<UdpSocket>, flow: Arc<UdpSocket>, client: SocketAddr) -> SocketAddr {
    let mut datagram = vec![0; DATAGRAM];
    while let Ok(Ok(length)) = timeout(IDLE, flow.recv(&mut datagram)).await {
        if socket.send_to(&datagram[..length], client).await.is_err() {
            break;
        }
    }
    client
}
