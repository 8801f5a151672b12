//! Carries TCP connections.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::copy_bidirectional_with_sizes,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use super::Backends;

/// How long one endpoint may take to accept.
const CONNECT: Duration = Duration::from_secs(5);
/// What a connection buffers in each direction.
const BUFFER: usize = 16 * 1024;

/// Accepts for as long as it is polled; what it carries ends with it.
pub(crate) async fn serve(listener: TcpListener, backends: Backends) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let candidates = backends.next();
                    connections.spawn(carry(client, candidates));
                }
                Err(error) => {
                    tracing::debug!(%error, "connection not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Connects the client to the first endpoint that accepts. What goes wrong later is the two ends' own matter.
async fn carry(mut client: TcpStream, candidates: Vec<SocketAddr>) {
    let Ok(mut server) = connect(&candidates).await else { return };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let _ = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await;
}

async fn connect(candidates: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotConnected, "no endpoints");
    for candidate in candidates {
        match timeout(CONNECT, TcpStream::connect(candidate)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(elapsed) => last = elapsed.into(),
        }
    }
    Err(last)
}
