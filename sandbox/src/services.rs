//! Carries Services to their endpoints: the role of kube-proxy and of a cloud's load balancers.
//!
//! A Service's cluster address is a loopback address at which this process itself listens. It does so only
//! while there are endpoints, so that a Service without any refuses connections at once, and one that just
//! got its first can be reached at once.

mod balancer;
mod table;
mod tcp;
mod udp;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::StreamExt;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{Api, Client};
use tokio::{
    net::{TcpListener, TcpSocket, UdpSocket},
    task::JoinHandle,
};

use crate::node::address::Pool;
use balancer::Balancer;
use table::{Frontend, Known, Protocol};
use vkube_watch::feed::{self, Change};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Carries Services for as long as it is polled. Load balancers get their addresses from `balancers`.
pub(crate) async fn run(client: Client, balancers: Pool) {
    let mut services = feed::changes::<Service>(Api::all(client.clone()), "");
    let mut slices = feed::changes::<EndpointSlice>(Api::all(client.clone()), "");
    let mut known = Known::default();
    let mut proxy = Proxy::default();
    let mut balancer = Balancer::new(client, balancers);
    let mut synced = false;
    loop {
        tokio::select! {
            Some(change) = services.next() => match change {
                Change::Applied(service) => {
                    balancer.observe(&service, !synced);
                    known.set_service(service);
                }
                Change::Deleted(service) => {
                    let key = feed::key(&*service);
                    balancer.forget(&key);
                    known.remove_service(&key);
                }
                Change::Synced => {
                    synced = true;
                    for service in known.services() {
                        balancer.observe(service, false);
                    }
                }
            },
            Some(change) = slices.next() => match change {
                Change::Applied(slice) => known.set_slice(slice),
                Change::Deleted(slice) => known.remove_slice(&feed::key(&*slice)),
                Change::Synced => {}
            },
            () = balancer.written() => continue,
        }
        proxy.apply(known.routes());
    }
}

/// The endpoints behind a frontend, which change while it is served; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Backends {
    addresses: Arc<RwLock<Vec<SocketAddr>>>,
    turn: Arc<AtomicUsize>,
}

impl Backends {
    fn set(&self, addresses: Vec<SocketAddr>) {
        *self.addresses.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// All endpoints, the one whose turn it is first.
    fn next(&self) -> Vec<SocketAddr> {
        let mut addresses = self.addresses.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !addresses.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len();
            addresses.rotate_left(turn);
        }
        addresses
    }
}

/// The frontends being served.
#[derive(Default)]
struct Proxy {
    served: BTreeMap<Frontend, Served>,
    /// Frontends that could not be listened at, so that it is said only once.
    refused: BTreeMap<Frontend, io::ErrorKind>,
}

struct Served {
    backends: Backends,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Serves exactly these routes from now on.
    fn apply(&mut self, routes: BTreeMap<Frontend, Vec<SocketAddr>>) {
        self.served.retain(|frontend, _| routes.contains_key(frontend));
        self.refused.retain(|frontend, _| routes.contains_key(frontend));
        for (frontend, addresses) in routes {
            if let Some(served) = self.served.get(&frontend) {
                served.backends.set(addresses);
                continue;
            }
            let backends = Backends::default();
            backends.set(addresses);
            match serve(frontend, backends.clone()) {
                Ok(task) => {
                    self.refused.remove(&frontend);
                    self.served.insert(frontend, Served { backends, task });
                }
                Err(error) => {
                    if self.refused.insert(frontend, error.kind()) != Some(error.kind()) {
                        tracing::warn!(%error, address = %frontend.address, "service address not served");
                    }
                }
            }
        }
    }
}

/// Listens at once, so that a client that learns of the endpoint can connect.
fn serve(frontend: Frontend, backends: Backends) -> io::Result<JoinHandle<()>> {
    match frontend.protocol {
        Protocol::Tcp => {
            let listener = listen(frontend.address)?;
            Ok(tokio::spawn(tcp::serve(listener, backends)))
        }
        Protocol::Udp => {
            let socket = std::net::UdpSocket::bind(frontend.address)?;
            socket.set_nonblocking(true)?;
            Ok(tokio::spawn(udp::serve(UdpSocket::from_std(socket)?, backends)))
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn mk_tcp_echo(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        address
    }

    async fn ask(address: SocketAddr) -> String {
        let mut answer = String::new();
        TcpStream::connect(address).await.unwrap().read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn free_address() -> SocketAddr {
        std::net::TcpListener::bind("127.97.13.1:0").unwrap().local_addr().unwrap()
    }

    fn tcp(address: SocketAddr) -> Frontend {
        Frontend { address, protocol: Protocol::Tcp }
    }

    #[tokio::test]
    async fn takes_turns_among_endpoints_and_skips_dead_ones() {
        let (one, two, dead) = (mk_tcp_echo("one").await, mk_tcp_echo("two").await, free_address());
        let front = free_address();
        let mut proxy = Proxy::default();
        proxy.apply(BTreeMap::from([(tcp(front), vec![one, two])]));
        assert_eq!((ask(front).await, ask(front).await), ("one".into(), "two".into()));

        proxy.apply(BTreeMap::from([(tcp(front), vec![dead, two])]));
        assert_eq!((ask(front).await, ask(front).await), ("two".into(), "two".into()));
    }

    #[tokio::test]
    async fn refuses_connections_once_the_endpoints_are_gone() {
        let (one, front) = (mk_tcp_echo("one").await, free_address());
        let mut proxy = Proxy::default();
        proxy.apply(BTreeMap::from([(tcp(front), vec![one])]));
        assert_eq!(ask(front).await, "one");
        let task = &proxy.served[&tcp(front)].task;
        let ended = task.abort_handle();
        proxy.apply(BTreeMap::new());
        while !ended.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(TcpStream::connect(front).await.is_err());
    }

    #[tokio::test]
    async fn carries_datagrams_both_ways() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let backend = server.local_addr().unwrap();
        let front = std::net::UdpSocket::bind("127.97.13.2:0").unwrap().local_addr().unwrap();
        let mut proxy = Proxy::default();
        let frontend = Frontend { address: front, protocol: Protocol::Udp };
        proxy.apply(BTreeMap::from([(frontend, vec![backend])]));

        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(b"ping", front).await.unwrap();
        let mut datagram = [0; 16];
        let (length, carrier) = server.recv_from(&mut datagram).await.unwrap();
        assert_eq!(&datagram[..length], b"ping");
        server.send_to(b"pong", carrier).await.unwrap();
        let (length, from) = client.recv_from(&mut datagram).await.unwrap();
        assert_eq!((&datagram[..length], from), (&b"pong"[..], front));
    }
}
