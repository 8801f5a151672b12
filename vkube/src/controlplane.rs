//! `vkube controlplane`: the control plane of a virtual cluster, or with `--standalone` of a cluster of
//! its own that can be tested and measured without a host.

mod access;
mod activity;
mod audit;
mod authentication;
mod authorization;
mod election;
mod hosted;
pub(crate) mod link;
mod standalone;
pub mod store;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, Parser};
use jiff::SignedDuration;
use kube::Client;
use tokio_util::sync::CancellationToken;
use vkube_apiserver::{
    admission::{Chain, policy::typing},
    block::Blocked,
    instance::{self, Instance},
    user::User,
};
use vkube_controllers::{Authority, Metrics, TypeChecker};

use crate::{
    cli::{Cli, Failure, Outcome},
    stop::Stop,
};

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
    /// Standalone: write a kubeconfig of an administrator to this file once the server is ready.
    #[arg(long, value_name = "FILE")]
    pub write_kubeconfig: Option<PathBuf>,
    /// Which controllers run: `*` for those that are on by default, `NAME` for one, `-NAME` for all but one; `false`
    /// for none.
    #[arg(long, value_name = "NAMES", default_value = "*", value_parser = controllers)]
    pub controllers: vkube_controllers::Controllers,
    #[command(flatten)]
    pub election: election::Options,
    /// Where the store is.
    #[command(flatten)]
    pub store: store::Flags,
    /// Admission plugins to run besides the default ones.
    #[arg(long, value_name = "PLUGINS", value_delimiter = ',')]
    pub enable_admission_plugins: Vec<String>,
    /// Default admission plugins not to run.
    #[arg(long, value_name = "PLUGINS", value_delimiter = ',')]
    pub disable_admission_plugins: Vec<String>,
    /// How many requests that only read run at once; with those that write, what priority levels share.
    #[arg(long, value_name = "NUMBER", default_value_t = 400)]
    pub max_requests_inflight: usize,
    /// How many requests that write run at once; with those that read, what priority levels share.
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    pub max_mutating_requests_inflight: usize,
    /// How long history is kept: a list is continued and a watch resumed no later than that; 0 is for ever.
    #[arg(long, value_name = "DURATION", default_value = "5m0s", value_parser = duration)]
    pub etcd_compaction_interval: Duration,
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
    /// How users show who they are.
    #[command(flatten)]
    pub authentication: authentication::Flags,
    /// Who decides what they may do.
    #[command(flatten)]
    pub authorization: authorization::Flags,
    /// What is told of it.
    #[command(flatten)]
    pub audit: audit::Flags,
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
    /// Tell on the host when somebody from outside used the cluster last.
    #[arg(long)]
    pub report_activity: bool,
    /// A ClusterRole and who has it in the whole cluster, as the JSON of an entry of a VirtualCluster's `spec.access`.
    #[arg(long, value_name = "JSON", value_parser = access::parse)]
    pub access: Vec<vkube_crds::Access>,
    /// Writes that are refused to all but the control plane's own controllers.
    #[arg(long, value_name = "VERBS", value_delimiter = ',')]
    pub block_writes: Vec<BlockedVerb>,
    /// What is shared with the host, as the JSON of a VirtualCluster's `spec.sync`.
    #[arg(long, value_name = "JSON")]
    pub sync: Option<String>,
}

/// A write that can be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BlockedVerb {
    /// What makes objects.
    Create,
    /// What changes objects.
    Update,
    /// What removes objects.
    Delete,
}

/// Runs until the process is told to stop.
pub async fn run(options: Options) -> Outcome {
    let stop = Stop::new()?;
    if options.standalone { standalone::run(options, stop).await } else { hosted::run(options, stop).await }
}

fn read(path: &std::path::Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("failed to read {}: {e}", path.display()))
}

/// A duration as Go writes it.
fn duration(text: &str) -> Result<Duration, String> {
    // The one number that Go takes without a unit.
    let text = if text == "0" { "0s" } else { text };
    let duration: SignedDuration = text.parse().map_err(|why: jiff::Error| why.to_string())?;
    Duration::try_from(duration).map_err(|why| why.to_string())
}

/// The controllers that a list of names stands for.
fn controllers(names: &str) -> Result<vkube_controllers::Controllers, vkube_controllers::UnknownController> {
    match names {
        "true" => Ok(vkube_controllers::Controllers::default()),
        "false" => Ok(vkube_controllers::Controllers::only(&[])),
        names => vkube_controllers::Controllers::named(names.split(',')),
    }
}

/// What both kinds of control planes tell their API server.
fn server_options(options: &Options) -> Result<instance::Options, Failure> {
    let mut all = instance::Options {
        data_dir: Some(options.data_dir.clone()),
        database: options.store.address()?,
        history: options.etcd_compaction_interval,
        listen: Some(options.listen),
        authentication: options.authentication.options()?,
        audit: options.audit.options(),
        enable_admission: options.enable_admission_plugins.clone(),
        disable_admission: options.disable_admission_plugins.clone(),
        service_range: options.service_cluster_ip_range,
        blocked: Blocked {
            create: options.block_writes.contains(&BlockedVerb::Create),
            update: options.block_writes.contains(&BlockedVerb::Update),
            delete: options.block_writes.contains(&BlockedVerb::Delete),
        },
        seats: options.max_requests_inflight + options.max_mutating_requests_inflight,
        ..instance::Options::default()
    };
    options.authorization.apply(&mut all);
    Ok(all)
}

/// A client of the server in this process.
fn client(instance: &Instance, component: &str) -> Client {
    Client::new(instance.server.service(User::component(component)), "default")
}

/// The controllers of a cluster, and what they need.
struct Controllers {
    client: Client,
    options: vkube_controllers::Options,
}

impl Controllers {
    /// Approved certificate signing requests are signed with the authority whose `ca.crt` and `ca.key` are in `pki`.
    /// What they count is shown by the server's `/metrics`.
    fn new(
        instance: &Instance,
        root_ca: String,
        pki: &std::path::Path,
        enabled: vkube_controllers::Controllers,
    ) -> Result<Self, Failure> {
        let authority = Authority::new(&read(&pki.join("ca.crt"))?, &read(&pki.join("ca.key"))?)?;
        let server = instance.server.clone();
        let options = vkube_controllers::Options {
            root_ca: Some(root_ca),
            authority: Some(Arc::new(authority)),
            enabled,
            type_checker: Some(TypeChecker::new(move |policy| typing::warnings(&server, policy))),
            ..Default::default()
        };
        let metrics = options.metrics.clone();
        instance.server.counters.expose(move || Box::new(metrics.clone()));
        Ok(Self { client: client(instance, "system:kube-controller-manager"), options })
    }

    fn metrics(&self) -> Metrics {
        self.options.metrics.clone()
    }

    /// Runs them until `shutdown`; the process ends if they do.
    async fn run(self, shutdown: CancellationToken) {
        if let Err(error) = vkube_controllers::run(self.client, self.options, shutdown.clone()).await {
            tracing::error!(error = &error as &dyn std::error::Error, "the controllers ended");
            shutdown.cancel();
        }
    }
}

/// What is wrong with the flags and plugins that a spec asks for.
pub fn problems(asked: &vkube_crds::ControlPlane) -> Vec<String> {
    let flags = asked.extra_args.iter().map(String::as_str);
    let line = ["vkube", "controlplane", "--data-dir=/data"].into_iter().chain(flags);
    let refused = Cli::try_parse_from(line).err().map(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        format!("controlPlane.extraArgs: {first}")
    });
    let plugins = asked.admission_plugins.clone().unwrap_or_default();
    let chain = Chain::new(&plugins.enable, &plugins.disable).err();
    refused.into_iter().chain(chain.map(|why| format!("controlPlane.admissionPlugins: {why}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::{duration, problems};
    use std::time::Duration;

    use serde_json::json;

    #[test]
    fn flags_and_plugins_that_a_control_plane_does_not_have_are_told() {
        let told = |asked| problems(&serde_json::from_value(asked).unwrap()).join("; ");
        assert_eq!(told(json!({"extraArgs": ["--max-requests-inflight=50", "--verbose"]})), "");
        let unknown = told(json!({"extraArgs": ["--no-such-flag=1"]}));
        assert_eq!(unknown, "controlPlane.extraArgs: unexpected argument '--no-such-flag' found");
        assert!(told(json!({"extraArgs": ["--max-requests-inflight=many"]})).contains("invalid value"));
        assert_eq!(told(json!({"admissionPlugins": {"enable": ["AlwaysPullImages"]}})), "");
        assert!(told(json!({"admissionPlugins": {"disable": ["NoSuch"]}})).contains("NoSuch"));
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("5m0s"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert!(duration("-1s").is_err());
        assert!(duration("5").is_err());
    }
}
