//! Where clients of sleeping clusters knock.
//!
//! A sleeping cluster that is to wake when somebody connects has a port of the operator's: the connection names no cluster
//! by itself, as clients that use an address say no name in TLS, and what they connected to is lost on the way. Whoever
//! connects has the cluster woken; the connection is held until the control plane is ready and then passed on as it is, so
//! the operator neither sees what is said nor needs a certificate for it. The client just waits for its first answer.
//!
//! ```text
//!   client ─► Service ─► EndpointSlice of the operator ─► door ─┬─► annotation `vkube.dev/wake`
//!                                                               └─► pod of the control plane, once it is ready
//! ```
//!
//! A door is shut once the control plane is ready; connections that were let in live on. The leader has the doors: another
//! that takes over opens its own, and the slice follows.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::task::AbortOnDropHandle;
use vkube_crds::{VirtualCluster, annotations};

use crate::build::API_PORT;
use crate::names::Identity;

/// Ports of doors; as many clusters can sleep and wake by being connected to. The operator's network policy lets them in.
pub const PORTS: RangeInclusive<u16> = 10_000..=10_999;
/// Field manager of the request to wake.
const MANAGER: &str = "vkube-door";
/// Connections that wait at one door; more would only wait for the same.
const MOST_WAITING: usize = 64;
/// How long a connection is held for a cluster that does not come.
const PATIENCE: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(200);

/// The doors that are open, by the UID of their cluster.
pub struct Doors {
    client: Client,
    address: Option<IpAddr>,
    open: Mutex<HashMap<String, Door>>,
}

struct Door {
    port: u16,
    _listening: AbortOnDropHandle<()>,
}

impl Doors {
    /// At this address of the operator's, which the host's Services reach; without one there are none.
    pub fn new(client: Client, address: Option<IpAddr>) -> Self {
        Self { client, address, open: Mutex::default() }
    }

    /// Opens the door of a cluster, unless it is open; says where it is. `None` if the operator cannot be reached.
    pub async fn open(&self, identity: &Identity) -> io::Result<Option<SocketAddr>> {
        let Some(address) = self.address else { return Ok(None) };
        if let Some(port) = self.port(&identity.uid) {
            return Ok(Some(SocketAddr::new(address, port)));
        }
        let listener = listen(address).await?;
        let port = listener.local_addr()?.port();
        let listening = tokio::spawn(answer(listener, self.client.clone(), identity.clone()));
        let door = Door { port, _listening: AbortOnDropHandle::new(listening) };
        // A cluster is reconciled by one task at a time, so nobody else has opened it meanwhile.
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(identity.uid.clone(), door);
        Ok(Some(SocketAddr::new(address, port)))
    }

    /// Shuts the door of a cluster; says whether it was open.
    pub fn shut(&self, uid: &str) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(uid).is_some()
    }

    fn port(&self, uid: &str) -> Option<u16> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(uid).map(|door| door.port)
    }
}

/// Listens at the first port that is free, beginning anywhere so that few attempts are needed.
async fn listen(address: IpAddr) -> io::Result<TcpListener> {
    let first = rand::random_range(PORTS);
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for port in (first..=*PORTS.end()).chain(*PORTS.start()..first) {
        match TcpListener::bind((address, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

async fn answer(listener: TcpListener, client: Client, identity: Identity) {
    let waiting = Arc::new(Semaphore::new(MOST_WAITING));
    let woken = Arc::new(OnceCell::new());
    loop {
        let connection = match listener.accept().await {
            Ok((connection, _)) => connection,
            Err(error) => {
                tracing::warn!(%error, name = identity.name, "a connection to a sleeping cluster was lost");
                tokio::time::sleep(POLL).await;
                continue;
            }
        };
        // Who finds no place is refused, and may try again.
        let Ok(place) = Arc::clone(&waiting).try_acquire_owned() else { continue };
        let (client, identity, woken) = (client.clone(), identity.clone(), Arc::clone(&woken));
        tokio::spawn(async move {
            let ready = async {
                woken.get_or_try_init(|| wake(&client, &identity)).await?;
                ready(&client, &identity).await
            };
            let found = tokio::time::timeout(PATIENCE, ready).await;
            drop(place);
            match found {
                Ok(Ok(address)) => pass_on(connection, address).await,
                Ok(Err(error)) => tracing::warn!(%error, name = identity.name, "failed to wake a cluster"),
                Err(_) => tracing::warn!(name = identity.name, "a cluster took too long to wake"),
            }
        });
    }
}

/// Asks for the cluster to be woken, as a person would.
async fn wake(client: &Client, identity: &Identity) -> Result<(), kube::Error> {
    tracing::info!(namespace = identity.namespace, name = identity.name, "somebody connects; waking");
    let api: Api<VirtualCluster> = Api::namespaced(client.clone(), &identity.namespace);
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let patch =
        json!({"metadata": {"uid": identity.uid, "annotations": {annotations::WAKE: now.to_string()}}});
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    api.patch(&identity.name, &params, &Patch::Merge(patch)).await.map(|_| ())
}

/// Waits until the control plane's pod is ready; says where it is.
async fn ready(client: &Client, identity: &Identity) -> Result<SocketAddr, kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &identity.host_namespace);
    loop {
        let pod = pods.get_opt(&format!("{}-0", identity.name)).await?;
        if let Some(address) = pod.and_then(|pod| address_of(&pod)) {
            return Ok(address);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn address_of(pod: &Pod) -> Option<SocketAddr> {
    let status = pod.status.as_ref()?;
    let mut conditions = status.conditions.iter().flatten();
    let is_ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let address = status.pod_ip.as_ref().filter(|_| is_ready && pod.metadata.deletion_timestamp.is_none())?;
    Some(SocketAddr::new(address.parse().ok()?, u16::try_from(API_PORT).ok()?))
}

async fn pass_on(mut client: TcpStream, address: SocketAddr) {
    match TcpStream::connect(address).await {
        Ok(mut server) => {
            // Either side may end the connection as it likes.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
        Err(error) => tracing::warn!(%error, %address, "a control plane that is ready does not answer"),
    }
}
