//! What every long-running subcommand needs: the signals that end it, and where it listens.

use std::net::{IpAddr, SocketAddr};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a process.
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// From now on the signals no longer end the process by themselves.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The address of the pod that this process runs in.
pub fn pod_ip() -> Option<IpAddr> {
    std::env::var("POD_IP").ok()?.parse().ok()
}

/// Where to listen. Pods of the sandbox share one network and have loopback addresses: there, and only
/// there, a process listens on its pod's address alone.
pub fn pod_address(listen: SocketAddr) -> SocketAddr {
    match pod_ip() {
        Some(ip) if ip.is_loopback() => SocketAddr::new(ip, listen.port()),
        _ => listen,
    }
}
