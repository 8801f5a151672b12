//! `vkube operator`: reconciles VirtualCluster resources on the host.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use clap::Args;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use vkube_apiserver::custom::{CustomResource, compile::compile, validation};
use vkube_crds::{VirtualClusterSpec, virtual_cluster_crd};
use vkube_operator::Refusal;

use crate::{
    cli::Outcome,
    stop::{Stop, pod_address, pod_ip},
};

/// What the operator is told.
#[derive(Debug, Args)]
pub struct Options {
    /// The image of control planes; normally the operator's own.
    #[arg(long, env = "VKUBE_IMAGE", value_name = "IMAGE", default_value = vkube_operator::install::DEFAULT_IMAGE)]
    pub image: String,
    /// The operator's namespace.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", default_value = "vkube-system")]
    pub namespace: String,
    /// The operator's service account.
    #[arg(long, env = "SERVICE_ACCOUNT", value_name = "NAME")]
    pub service_account: Option<String>,
    /// The name of this replica, for the lease and events.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub identity: Option<String>,
    /// Where to serve /livez, /readyz and /metrics.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Serve metrics of every single cluster.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub cluster_metrics: bool,
    /// Work only while holding the lease.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,
    /// How many clusters are reconciled at once.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub concurrency: u16,
    /// Keep the data of clusters that say nothing of it in a volume.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub persistence: bool,
    /// Ask API servers through their Services before clusters count as ready. Off where the operator runs outside its
    /// host, whose Services it cannot reach.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub probe: bool,
    /// Serve VirtualControlPlanes, the control planes of Cluster API. Their CRD and the operator's rights to them must be
    /// installed.
    #[arg(long)]
    pub cluster_api: bool,
    /// Address API servers in kubeconfigs by cluster IP instead of by name.
    #[arg(long)]
    pub cluster_ip_addresses: bool,
}

/// Runs until the process is told to stop.
pub async fn run(options: Options) -> Outcome {
    let mut stop = Stop::new()?;
    let config = match kube::Config::incluster() {
        Ok(config) => config,
        Err(_) => kube::Config::infer().await?,
    };
    let client = kube::Client::try_from(config)?;
    let defaults = vkube_operator::Options::new(&options.image);
    let settings = vkube_operator::Options {
        namespace: options.namespace,
        service_account: options.service_account.unwrap_or_else(|| defaults.service_account.clone()),
        identity: options.identity.unwrap_or_else(|| defaults.identity.clone()),
        listen: Some(pod_address(options.listen)),
        cluster_metrics: options.cluster_metrics,
        leader_election: options.leader_elect,
        concurrency: options.concurrency,
        persistence: options.persistence,
        probe: options.probe,
        doors: pod_ip(),
        cluster_api: options.cluster_api,
        internal_address: if options.cluster_ip_addresses {
            vkube_operator::InternalAddress::ClusterIp
        } else {
            vkube_operator::InternalAddress::ServiceName
        },
        next_time: vkube_controllers::next_time,
        check: problems,
        admit: refusals,
        drop_schema: crate::controlplane::store::drop_schema,
        claim_schema: crate::controlplane::store::claim_schema,
        release_schema: crate::controlplane::store::release_schema,
        ..defaults
    };
    let shutdown = CancellationToken::new();
    let running = vkube_operator::run(client, settings, shutdown.clone());
    let mut running = std::pin::pin!(running);
    tokio::select! {
        ended = running.as_mut() => return Ok(ended?),
        () = stop.wait() => shutdown.cancel(),
    }
    Ok(running.await?)
}

/// Everything that a control plane would not accept of a spec.
fn problems(spec: &VirtualClusterSpec) -> Vec<String> {
    let mut problems = crate::sync::problems(spec);
    problems.extend(spec.control_plane.iter().flat_map(crate::controlplane::problems));
    problems
}

/// What an API server with the CRD has against an object of its kind. The CRD is compiled for the first that is asked about.
fn refusals(object: &Value) -> Vec<Refusal> {
    static COMPILED: OnceLock<Option<Arc<CustomResource>>> = OnceLock::new();
    let compiled = COMPILED.get_or_init(|| {
        // A CRD always has a JSON form.
        let definition = serde_json::to_value(virtual_cluster_crd()).unwrap_or_default();
        compile(&definition, &definition["spec"]["names"], 0).pop()
    });
    let errors = compiled.iter().flat_map(|resource| validation::create(resource, object).0);
    errors.map(|error| Refusal { field: error.field, why: error.detail }).collect()
}
