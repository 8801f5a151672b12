//! `vkube controlplane`: the control plane of a virtual cluster, or with `--standalone` of a cluster of
//! its own that can be tested and measured without a host.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use vkube_apiserver::{
    authentication::static_tokens::StaticTokens,
    instance::{self, Instance},
    pki::Authority,
};

use crate::{
    cli::Outcome,
    kubeconfig::{self, Identity},
};

/// Flags are named as kube-apiserver names them, where it has them.
#[derive(Debug, Args)]
pub struct Options {
    /// Run without a host cluster: no syncer, no pods that run.
    #[arg(long)]
    pub standalone: bool,
    /// Where the store and the certificates are kept.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:6443")]
    pub listen: SocketAddr,
    /// Static tokens: lines of `token,user,uid,"group1,group2"`.
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
    /// Write a kubeconfig of an administrator to this file once the server is ready.
    #[arg(long, value_name = "FILE")]
    pub write_kubeconfig: Option<PathBuf>,
    /// Run the controllers.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub controllers: bool,
    /// Who decides what users may do, in order.
    #[arg(long, value_name = "MODES", default_value = "RBAC", value_delimiter = ',')]
    pub authorization_mode: Vec<String>,
    /// Admission plugins to run besides the default ones.
    #[arg(long, value_name = "PLUGINS", value_delimiter = ',')]
    pub enable_admission_plugins: Vec<String>,
    /// Default admission plugins not to run.
    #[arg(long, value_name = "PLUGINS", value_delimiter = ',')]
    pub disable_admission_plugins: Vec<String>,
    /// The range of cluster IPs.
    #[arg(long, value_name = "CIDR", default_value = "10.96.0.0/16")]
    pub service_cluster_ip_range: ipnet::IpNet,
}

/// Runs until the process is told to stop.
pub async fn run(options: Options) -> Outcome {
    let mut terminate = signal(SignalKind::terminate())?;
    let static_tokens = match &options.token_auth_file {
        Some(path) => StaticTokens::parse(&read(path)?)?,
        None => StaticTokens::default(),
    };
    let authority = Authority::open(&options.data_dir.join("pki"))?;
    let names: Vec<String> = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        .into_iter()
        .map(Into::into)
        .collect();
    let addresses = instance::serving_addresses(options.listen.ip(), options.service_cluster_ip_range);
    let instance = Instance::start(instance::Options {
        data_dir: Some(options.data_dir.clone()),
        listen: Some(options.listen),
        tls: Some(authority.serving(&names, &addresses)?),
        static_tokens,
        authorization_modes: options.authorization_mode,
        enable_admission: options.enable_admission_plugins,
        disable_admission: options.disable_admission_plugins,
        service_range: options.service_cluster_ip_range,
        ..instance::Options::default()
    })
    .await?;

    let address = instance.address.unwrap_or(options.listen);
    if let Some(path) = &options.write_kubeconfig {
        let (certificate, key) = authority.client("kubernetes-admin", &["system:masters"])?;
        let identity = Identity::Certificate(&certificate, &key);
        let document =
            kubeconfig::document("vkube", &format!("https://{address}"), &authority.certificate, &identity);
        kubeconfig::write(path, &document)?;
    }
    tracing::info!(%address, "ready");

    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    instance.stop().await;
    Ok(())
}

fn read(path: &PathBuf) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("failed to read {}: {e}", path.display()))
}
