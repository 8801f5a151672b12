//! What the operator is told at start.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use vkube_crds::ImagePullPolicy;

/// The Kubernetes version that this release serves.
pub const KUBERNETES_VERSION: &str = "1.36";

/// What the operator is told at start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Image of control planes that choose none: normally the operator's own.
    pub image: String,
    /// Pull policy of control planes that choose none.
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// The operator's namespace.
    pub namespace: String,
    /// The operator's service account in that namespace; bound in the namespaces it works in.
    pub service_account: String,
    /// Name of this replica, for leases and events; normally the pod's.
    pub identity: String,
    /// Where `/livez`, `/readyz` and `/metrics` are served; nowhere if `None`.
    pub listen: Option<SocketAddr>,
    /// Whether every cluster has metrics of its own; a host of very many may do without.
    pub cluster_metrics: bool,
    /// Work only while holding the lease, so that replicas do not work against each other.
    pub leader_election: bool,
    /// How many clusters are reconciled at once.
    pub concurrency: u16,
    /// Whether clusters that say nothing of it keep their data in a volume.
    pub persistence: bool,
    /// How kubeconfigs of clusters that are not exposed address the API server.
    pub internal_address: InternalAddress,
    /// Whether the API server must answer through its Service before a cluster is ready. Needs the host's Service
    /// network, so it is off when the operator runs outside its host.
    pub probe: bool,
    /// The operator's own address, by which the host's Services lead clients of sleeping clusters to it. Without one, no
    /// cluster wakes by being connected to.
    pub doors: Option<IpAddr>,
    /// Whether to serve VirtualControlPlanes. Their CRD must be there.
    pub cluster_api: bool,
    /// How times of cron schedules are found.
    pub next_time: NextTime,
    /// What the control plane will not accept of a spec, as `path: why`: expressions, names, what cannot be synchronised.
    pub check: fn(&vkube_crds::VirtualClusterSpec) -> Vec<String>,
    /// What the CRD has against an object of its kind, in the words of an API server, which has read it otherwise.
    pub admit: fn(&serde_json::Value) -> Vec<Refusal>,
    /// How the schema of a database is removed with its cluster.
    pub drop_schema: fn(Login) -> BoxFuture<'static, Result<(), String>>,
    /// How a schema that a user named is marked as its cluster's; it says whose it is if it is another's.
    pub claim_schema: fn(Login) -> BoxFuture<'static, Result<Option<String>, String>>,
    /// How that mark is taken off with the cluster.
    pub release_schema: fn(Login) -> BoxFuture<'static, Result<(), String>>,
    /// Another way into virtual clusters than through their Services.
    pub inwards: Option<Inwards>,
}

/// Makes clients of virtual clusters, each by the name that its API server's certificate has.
#[derive(Clone)]
pub struct Inwards(pub Arc<dyn Fn(&str) -> kube::Client + Send + Sync>);

impl std::fmt::Debug for Inwards {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Inwards")
    }
}

/// A field that an API server refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where, from the top of the object.
    pub field: String,
    /// Why, in its words, which may repeat the value.
    pub why: String,
}

/// How to get to a schema of a database.
#[derive(Clone)]
pub struct Login {
    /// What the Secret says: `uri`, and if need be `password`, `ca.crt`, `tls.crt` and `tls.key`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The schema.
    pub schema: String,
    /// UID of the cluster.
    pub owner: String,
}

impl Options {
    /// The settings of an operator that runs on its host, with control planes of this image.
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            image_pull_policy: None,
            namespace: crate::install::NAMESPACE.into(),
            service_account: crate::install::OPERATOR.into(),
            identity: crate::install::OPERATOR.into(),
            listen: None,
            cluster_metrics: true,
            leader_election: true,
            concurrency: 16,
            persistence: true,
            internal_address: InternalAddress::ServiceName,
            probe: true,
            doors: None,
            cluster_api: false,
            next_time: |schedule, _, _| Err(format!("{schedule:?}: no schedules here")),
            check: |_| Vec::new(),
            admit: |_| Vec::new(),
            drop_schema: |_| Box::pin(std::future::ready(Err("no databases here".into()))),
            claim_schema: |_| Box::pin(std::future::ready(Ok(None))),
            release_schema: |_| Box::pin(std::future::ready(Ok(()))),
            inwards: None,
        }
    }
}

/// The first time of a cron schedule after another, in a time zone by its IANA name; `None` if there is none.
pub type NextTime = fn(&str, &str, Timestamp) -> Result<Option<Timestamp>, String>;

/// How kubeconfigs address an API server that is not exposed outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InternalAddress {
    /// `<service>.<namespace>.svc`, resolved by the host's DNS.
    #[default]
    ServiceName,
    /// The Service's cluster IP, for hosts whose DNS the users do not share.
    ClusterIp,
}
