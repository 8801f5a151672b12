//! What the syncer has to know about its virtual cluster and its place on the host.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// The settings of one syncer.
#[derive(Clone, Debug)]
pub struct Config {
    /// The virtual cluster's name; part of every host name and the value of the host label
    /// `vkube.dev/virtual-cluster`, so it is unique in the host namespace and never changes.
    pub cluster: String,

    /// The host namespace that receives the tenant's objects.
    pub host_namespace: String,

    /// The DNS domain inside the virtual cluster.
    pub cluster_domain: String,

    /// The host Service (in the host namespace) in front of the virtual API server. Its cluster IP becomes the
    /// one of `default/kubernetes`; its port must be 443 for clients that do not read the environment.
    pub api_service: String,

    /// Where pods send DNS queries. `None` = the cluster IP of [`Config::api_service`], which then carries
    /// port 53 as well.
    pub dns_address: Option<IpAddr>,

    /// The host service account that tenant pods run as; no token of it is ever mounted. `None` = `default`.
    pub workload_service_account: Option<String>,

    /// Node labels that every tenant pod must select on the host.
    pub node_selector: BTreeMap<String, String>,

    /// Tolerations that every tenant pod gets on the host.
    pub tolerations: Vec<Toleration>,

    /// The host priority class of tenant pods; what tenants ask for is cleared, since their classes mean
    /// nothing on the host.
    pub priority_class: Option<String>,

    /// The host runtime class of tenant pods, in place of what they ask for.
    pub runtime_class: Option<String>,

    /// Whether Services keep `externalIPs`. Off by default: with them a tenant can catch other tenants' traffic.
    pub external_ips: bool,

    /// Label keys besides `vkube.dev/…` that mean something on the host; tenants' uses of them are renamed.
    pub reserved_labels: Vec<String>,

    /// What tenants see as nodes.
    pub nodes: NodeSync,

    /// Which optional kinds reach the host.
    pub kinds: Kinds,

    /// The kubelet version that synthetic nodes report; the version of the virtual API server.
    pub kubelet_version: String,

    /// Owner of all host objects, so that the host's garbage collector removes what a removed virtual cluster
    /// leaves behind. `None` when the whole namespace is removed with it.
    pub owner: Option<OwnerReference>,
}

impl Config {
    /// The usual settings for `cluster` in `host_namespace`.
    pub fn new(cluster: impl Into<String>, host_namespace: impl Into<String>) -> Self {
        let cluster = cluster.into();
        Self {
            api_service: cluster.clone(),
            cluster,
            host_namespace: host_namespace.into(),
            cluster_domain: "cluster.local".into(),
            dns_address: None,
            workload_service_account: None,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            priority_class: None,
            runtime_class: None,
            external_ips: false,
            reserved_labels: Vec::new(),
            nodes: NodeSync::default(),
            kinds: Kinds::default(),
            kubelet_version: "v1.36.2".into(),
            owner: None,
        }
    }
}

/// What tenants see as nodes. A node appears in the virtual cluster while one of its pods runs there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodeSync {
    /// Made-up nodes of a generous size; needs no rights on the host beyond the namespace.
    #[default]
    Synthetic,
    /// Sanitised copies of the host's nodes; needs to get, list and watch nodes on the host.
    Used,
    /// Like `Used`, for all host nodes with these labels, used or not. Empty = all nodes.
    Selected(BTreeMap<String, String>),
}

/// Optional kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// `networking.k8s.io/v1` Ingress.
    pub ingresses: bool,
    /// `networking.k8s.io/v1` NetworkPolicy.
    pub network_policies: bool,
    /// `policy/v1` PodDisruptionBudget.
    pub pod_disruption_budgets: bool,
}

impl Default for Kinds {
    fn default() -> Self {
        Self { ingresses: false, network_policies: false, pod_disruption_budgets: true }
    }
}
