//! A control plane of its own, as a child process, to be measured from outside.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::Stdio,
    time::Duration,
};

use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::process::{Child, Command};

use super::Failure;

/// A running control plane; it is killed when this is dropped.
pub struct Standalone {
    child: Child,
    /// A client of an administrator.
    pub client: Client,
}

/// A port that is free now.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl Standalone {
    /// Starts one in `directory` with these flags besides; it is ready when this returns.
    pub async fn start(directory: &Path, flags: &[&str]) -> Result<Self, Failure> {
        std::fs::create_dir_all(directory)?;
        let kubeconfig = directory.join("kubeconfig");
        let mut child = Command::new(std::env::current_exe()?)
            .args(["controlplane", "--standalone", "--data-dir"])
            .arg(directory.join("data"))
            .arg("--write-kubeconfig")
            .arg(&kubeconfig)
            .args(["--listen", &format!("127.0.0.1:{}", free_port()?)])
            .args(flags)
            // As it runs in a pod.
            .env("GLIBC_TUNABLES", vkube_operator::MALLOC)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let client = loop {
            if let Some(status) = child.try_wait()? {
                return Err(format!("the control plane ended: {status}").into());
            }
            if let Ok(kubeconfig) = Kubeconfig::read_from(&kubeconfig)
                && let Ok(config) =
                    kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await
            {
                break Client::try_from(config)?;
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        };
        client.request_text(http::Request::get("/readyz").body(Vec::new())?).await?;
        Ok(Self { child, client })
    }

    /// The process.
    pub fn pid(&self) -> Result<u32, Failure> {
        self.child.id().ok_or_else(|| "the control plane has ended".into())
    }

    /// Ends it at once.
    pub async fn kill(mut self) -> Result<(), Failure> {
        Ok(self.child.kill().await?)
    }
}
