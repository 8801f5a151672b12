//! `vkube controlplane`: the control plane of a virtual cluster, or with `--standalone` of a cluster of
//! its own that can be tested and measured without a host.

mod hosted;
mod link;
mod standalone;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use clap::Args;
use kube::Client;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vkube_apiserver::{
    authentication::static_tokens::StaticTokens,
    instance::{self, Instance},
    user::User,
};
use vkube_controllers::Authority;

use crate::{cli::Outcome, stop::Stop};

/// Flags are named as kube-apiserver names them, where it has them.
#[derive(Debug, Args)]
pub struct Options {
    /// Run without a host cluster: no syncer, no pods that run.
    #[arg(long)]
    pub standalone: bool,
    /// Where the store (and, standalone, the certificates) are kept.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:6443")]
    pub listen: SocketAddr,
    /// Static tokens: lines of `token,user,uid,"group1,group2"`.
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
    /// Standalone: write a kubeconfig of an administrator to this file once the server is ready.
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
    /// Standalone: the range of cluster IPs. A virtual cluster takes the addresses that its host gives.
    #[arg(long, value_name = "CIDR", default_value = "10.96.0.0/16")]
    pub service_cluster_ip_range: ipnet::IpNet,
    /// The virtual cluster's name.
    #[arg(long, value_name = "NAME", required_unless_present = "standalone")]
    pub name: Option<String>,
    /// The uid of the VirtualCluster, as the issuer of its tokens.
    #[arg(long, value_name = "UID")]
    pub uid: Option<String>,
    /// The host namespace that receives the pods and what they need.
    #[arg(long, value_name = "NAMESPACE", required_unless_present = "standalone")]
    pub host_namespace: Option<String>,
    /// The host Service in front of this control plane.
    #[arg(long, value_name = "NAME")]
    pub service_name: Option<String>,
    /// Where `ca.crt`, `ca.key`, `tls.crt` and `tls.key` are.
    #[arg(long, value_name = "DIR", required_unless_present = "standalone")]
    pub pki_dir: Option<PathBuf>,
    /// The DNS domain of the virtual cluster.
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Node labels that every pod selects on the host.
    #[arg(long, value_name = "KEY=VALUE")]
    pub workload_node_selector: Vec<String>,
    /// A toleration that every pod gets on the host, as JSON.
    #[arg(long, value_name = "JSON")]
    pub workload_toleration: Vec<String>,
    /// The host's priority class of every pod.
    #[arg(long, value_name = "NAME")]
    pub workload_priority_class: Option<String>,
    /// The host's runtime class of every pod.
    #[arg(long, value_name = "NAME")]
    pub workload_runtime_class: Option<String>,
    /// An image, or what its name begins with, and what stands there instead on the host.
    #[arg(long, value_name = "FROM=TO")]
    pub workload_image: Vec<String>,
    /// A name, or `*.` and a domain, and the address or the name of the host that it stands for.
    #[arg(long, value_name = "NAME=TARGET")]
    pub resolve_dns: Vec<String>,
    /// A domain and the addresses of its resolvers.
    #[arg(long, value_name = "DOMAIN=ADDRESS,…")]
    pub forward_dns: Vec<String>,
    /// What the host's own network policies allow, as JSON; without, tenants' policies mean what they say.
    #[arg(long, value_name = "JSON")]
    pub network_bounds: Option<String>,
    /// What is shared with the host, as the JSON of a VirtualCluster's `spec.sync`.
    #[arg(long, value_name = "JSON")]
    pub sync: Option<String>,
}

/// Runs until the process is told to stop.
pub async fn run(options: Options) -> Outcome {
    let stop = Stop::new()?;
    if options.standalone { standalone::run(options, stop).await } else { hosted::run(options, stop).await }
}

fn read(path: &std::path::Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("failed to read {}: {e}", path.display()))
}

fn static_tokens(options: &Options) -> Result<StaticTokens, Box<dyn std::error::Error + Send + Sync>> {
    Ok(match &options.token_auth_file {
        Some(path) => StaticTokens::parse(&read(path)?)?,
        None => StaticTokens::default(),
    })
}

/// What both kinds of control planes tell their API server.
fn server_options(options: &Options) -> Result<instance::Options, Box<dyn std::error::Error + Send + Sync>> {
    Ok(instance::Options {
        data_dir: Some(options.data_dir.clone()),
        listen: Some(options.listen),
        static_tokens: static_tokens(options)?,
        authorization_modes: options.authorization_mode.clone(),
        enable_admission: options.enable_admission_plugins.clone(),
        disable_admission: options.disable_admission_plugins.clone(),
        service_range: options.service_cluster_ip_range,
        ..instance::Options::default()
    })
}

/// A client of the server in this process.
fn client(instance: &Instance, component: &str) -> Client {
    Client::new(instance.server.service(User::component(component)), "default")
}

/// Runs the controllers until `shutdown`; the process ends if they do.
///
/// Approved certificate signing requests are signed with the authority whose `ca.crt` and `ca.key` are in `pki`.
fn start_controllers(
    instance: &Instance,
    root_ca: String,
    pki: &std::path::Path,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let client = client(instance, "system:kube-controller-manager");
    let authority = Authority::new(&read(&pki.join("ca.crt"))?, &read(&pki.join("ca.key"))?)?;
    let options = vkube_controllers::Options {
        root_ca: Some(root_ca),
        authority: Some(Arc::new(authority)),
        ..Default::default()
    };
    let shutdown = shutdown.clone();
    tasks.spawn(async move {
        if let Err(error) = vkube_controllers::run(client, options, shutdown.clone()).await {
            tracing::error!(error = &error as &dyn std::error::Error, "the controllers ended");
            shutdown.cancel();
        }
    });
    Ok(())
}
