//! The verbs on virtual clusters: `vkube create`, `list`, `describe`, `sleep`, `delete` and their like.
//!
//! Each is a thin shell around the `VirtualCluster` that `kubectl` sees too: what a verb changes is a field or an
//! annotation that a manifest could state, so that people, pipelines and GitOps tools mean the same by the same words.

mod create;
mod delete;
mod describe;
mod kubeconfig;
mod list;
mod logs;
mod output;
mod policy;
mod snapshot;
mod state;
mod table;
mod wait;

use std::{path::PathBuf, time::Duration};

use clap::Args;
use kube::{Api, Client, ResourceExt, api::ListParams};
use vkube_crds::VirtualCluster;

use crate::cli::Failure;

pub use self::{
    create::{Options as CreateOptions, run as create},
    delete::{Options as DeleteOptions, run as delete},
    describe::{Options as DescribeOptions, run as describe},
    kubeconfig::{Options as KubeconfigOptions, run as kubeconfig},
    list::{Options as ListOptions, run as list},
    logs::{Options as LogsOptions, run as logs},
    policy::{Command as PolicyCommand, run as policy},
    snapshot::{Command as SnapshotCommand, RestoreOptions, restore, run as snapshot},
    state::{Options as StateOptions, RotateOptions, pause, resume, rotate, rouse, sleep, wake},
};

/// Field manager of what the command line changes.
const FIELD_MANAGER: &str = "vkube-cli";

/// The host, and where on it.
#[derive(Clone, Debug, Default, Args)]
pub struct Place {
    /// The namespace of the VirtualCluster.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The kubeconfig of the host; by default that of kubectl, or else that of a running sandbox.
    #[arg(long, value_name = "FILE")]
    pub host_kubeconfig: Option<PathBuf>,
    /// The context of that kubeconfig.
    #[arg(long, value_name = "CONTEXT")]
    pub context: Option<String>,
}

impl Place {
    /// A client of the host.
    pub async fn client(&self) -> Result<Client, Failure> {
        crate::connect::host_client(self.host_kubeconfig.as_deref(), self.context.as_deref()).await
    }

    /// Where something new goes: the namespace given, else that of the context.
    fn namespace_for_new(&self, client: &Client) -> String {
        self.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned())
    }
}

/// A cluster on a host.
#[derive(Debug, Args)]
pub struct Target {
    /// The VirtualCluster's name.
    pub name: String,
    /// Where it is; without a namespace, the name is looked for in all.
    #[command(flatten)]
    pub place: Place,
}

impl Target {
    /// A client of the host, and the cluster on it.
    pub async fn find(&self) -> Result<(Client, VirtualCluster), Failure> {
        let host = self.place.client().await?;
        let cluster = find(&host, &self.name, &self.place).await?;
        Ok((host, cluster))
    }
}

/// Whether to wait until what was asked is so, and how long.
#[derive(Debug, Args)]
pub struct Patience {
    /// Do not wait until it is so.
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = state::duration)]
    pub timeout: Duration,
}

/// Finds a cluster by its name: in the namespace given, else in all that may be read.
async fn find(host: &Client, name: &str, place: &Place) -> Result<VirtualCluster, Failure> {
    if let Some(namespace) = &place.namespace {
        return find_in(host, name, namespace).await;
    }
    let api: Api<VirtualCluster> = Api::all(host.clone());
    let params = ListParams::default().fields(&format!("metadata.name={name}"));
    let mut found = match api.list(&params).await {
        Ok(list) => list.items,
        // Whoever may not look everywhere means their own namespace.
        Err(kube::Error::Api(status)) if status.code == 403 => {
            return find_in(host, name, host.default_namespace()).await;
        }
        Err(error) => return Err(error.into()),
    };
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            Err(format!("no VirtualCluster {name:?} on this host; `vkube list` shows those there are").into())
        }
        _ => {
            let namespaces: Vec<String> = found.iter().filter_map(ResourceExt::namespace).collect();
            let namespaces = namespaces.join(", ");
            Err(format!(
                "VirtualCluster {name:?} exists in namespaces {namespaces}; choose one with --namespace"
            )
            .into())
        }
    }
}

async fn find_in(host: &Client, name: &str, namespace: &str) -> Result<VirtualCluster, Failure> {
    let found = Api::<VirtualCluster>::namespaced(host.clone(), namespace).get_opt(name).await?;
    found.ok_or_else(|| format!("no VirtualCluster {name:?} in namespace {namespace:?}").into())
}

/// The collection that a cluster is in.
fn api_of(host: &Client, cluster: &VirtualCluster) -> Api<VirtualCluster> {
    Api::namespaced(host.clone(), &cluster.namespace().unwrap_or_default())
}
