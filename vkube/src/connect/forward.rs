//! A tunnel to a control plane that cannot be reached directly: a local port whose connections go
//! through the host's API server.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};
use tokio::net::TcpListener;
use vkube_crds::VirtualCluster;

/// The control plane's port in its pod.
const PORT: u16 = 8443;

/// An open tunnel; it closes with the process.
pub struct Tunnel {
    /// Where it listens.
    pub address: SocketAddr,
}

/// Opens a tunnel to a cluster's control plane.
pub async fn open(
    host: &Client,
    cluster: &VirtualCluster,
) -> Result<Tunnel, Box<dyn std::error::Error + Send + Sync>> {
    let namespace = cluster.status.as_ref().and_then(|s| s.host_namespace.clone());
    let namespace = namespace.ok_or("the VirtualCluster has no host namespace yet")?;
    let pods: Api<Pod> = Api::namespaced(host.clone(), &namespace);
    let params = ListParams::default().labels(&format!("{}=control-plane", vkube_crds::labels::COMPONENT));
    let pod = pods.list(&params).await?.items.into_iter().find_map(|p| p.metadata.name);
    let pod = pod.ok_or("the control plane has no pod; is the cluster asleep?")?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let (pods, pod) = (pods.clone(), pod.clone());
            tokio::spawn(async move {
                let forwarded = pods.portforward(&pod, &[PORT]).await;
                let mut forwarder = match forwarded {
                    Ok(forwarder) => forwarder,
                    Err(error) => return tracing::warn!(%error, "failed to forward a connection"),
                };
                if let Some(mut stream) = forwarder.take_stream(PORT) {
                    let _ = tokio::io::copy_bidirectional(&mut connection, &mut stream).await;
                }
            });
        }
    });
    Ok(Tunnel { address })
}
