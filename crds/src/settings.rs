//! Sections of a VirtualCluster that a VirtualClusterPolicy may default or enforce.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backing_store::{BackingStoreType, EXTERNAL_FITS_THE_TYPE, ExternalStore};
use crate::exposure::{ExposeGateway, ExposeIngress};
use crate::tuning::{AdmissionPlugins, FileRef, Probes, ServiceMonitor};
use crate::{Quantity, schemas};

/// The process that serves the virtual cluster: its image, size and place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlane {
    /// Image of the control plane. Default: the image of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// When the image is pulled. Default: as the kubelet decides from the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Requests and limits of the control plane's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Nodes that the control plane may run on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::string_map")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the control plane tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::tolerations")]
    pub tolerations: Vec<Toleration>,
    /// Priority class of the control plane's pod. Pods of this class do not count against the compute quota.
    /// Default: `vkube-control-plane`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// What is laid over the control plane's pod: `metadata` and `spec` of a pod template. What has a name merges by it:
    /// containers, volumes, variables; every other list replaces. The container `control-plane` keeps its image, command
    /// and arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::open")]
    pub pod_template: Option<serde_json::Value>,
    /// How the control plane is probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    /// How Prometheus finds the control plane's metrics. Default: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_monitor: Option<ServiceMonitor>,
    /// Admission plugins of the virtual API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admission_plugins: Option<AdmissionPlugins>,
    /// What of which requests goes to the control plane's log: a `Policy` of audit.k8s.io/v1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_policy_ref: Option<FileRef>,
    /// Who vouches for users: an `AuthenticationConfiguration` of apiserver.config.k8s.io.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication_config_ref: Option<FileRef>,
    /// Further flags of `vkube controlplane`, as `--flag=value`; those that other fields stand for cannot be set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::flags")]
    pub extra_args: Vec<String>,
}

/// Requests and limits of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler sets aside.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::quantities")]
    pub requests: BTreeMap<String, Quantity>,
    /// What the container may use at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// At every start.
    Always,
    /// Only if the node lacks it.
    IfNotPresent,
    /// Never.
    Never,
}

impl ImagePullPolicy {
    /// The value of a container's `imagePullPolicy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Where the virtual cluster's objects are stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(EXTERNAL_FITS_THE_TYPE)
    .message("backingStore: type ExternalDatabase needs external and has no volume; Embedded has no external"))]
pub struct BackingStore {
    /// Who keeps them. Immutable. Default: `Embedded`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<BackingStoreType>,
    /// The database, for `ExternalDatabase`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalStore>,
    /// The volume of the embedded store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Volume>,
}

/// The volume of the embedded store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Keep the data in a PersistentVolumeClaim. `false` keeps it in the pod: it is lost with the pod. Immutable.
    /// Default: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Size of the volume; it may only grow. Default: `5Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
    /// Storage class of the volume. Immutable. Default: the host's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

/// How clients reach the virtual API server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Expose {
    /// The way to the API server. Default: `ClusterIP`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<ExposeType>,
    /// Details of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ExposeService>,
    /// Details of the Ingress, for `Ingress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<ExposeIngress>,
    /// Details of the route, for `Gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<ExposeGateway>,
    /// Host name or address under which clients outside reach the API server. It becomes part of the serving
    /// certificate and of `status.endpoints.externalURL`. `Ingress` and `Gateway` need a host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9.:-]+$"))]
    pub external_address: Option<String>,
    /// Further host names and addresses in the serving certificate.
    #[serde(rename = "extraSANs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::string_set")]
    pub extra_sans: Vec<String>,
}

/// The way to the API server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExposeType {
    /// Reached from within the host cluster.
    #[default]
    ClusterIP,
    /// Reached at a port of every host node.
    NodePort,
    /// Reached through a load balancer of the host.
    LoadBalancer,
    /// Reached through an Ingress whose controller passes TLS through.
    Ingress,
    /// Reached through a TLSRoute of the Gateway API.
    Gateway,
}

impl ExposeType {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
            Self::Ingress => "Ingress",
            Self::Gateway => "Gateway",
        }
    }
}

/// Details of the API server's Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExposeService {
    /// Annotations of the Service, for the host's load balancer or DNS.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::string_map")]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the Service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::string_map")]
    pub labels: BTreeMap<String, String>,
    /// Port of the nodes, for `NodePort` and `LoadBalancer`. Default: chosen by the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<i32>,
    /// Which load balancer serves it, for `LoadBalancer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub load_balancer_class: Option<String>,
    /// Addresses that may connect, for `LoadBalancer`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::cidrs")]
    pub load_balancer_source_ranges: Vec<String>,
    /// Whether the client's address is kept, for `NodePort` and `LoadBalancer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
}

/// Whether external traffic may cross nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExternalTrafficPolicy {
    /// It may; the client's address is lost.
    Cluster,
    /// It stays on the node that received it; the client's address is kept.
    Local,
}

impl ExternalTrafficPolicy {
    /// The value of a Service's `externalTrafficPolicy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Local => "Local",
        }
    }
}

/// Life of the certificates that the operator issues.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Certificates {
    /// Validity of serving and client certificates. Default: `8760h` (one year).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::duration")]
    pub validity: Option<String>,
    /// How long before their end certificates are renewed; shorter than the validity. Default: `2160h` (90 days).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::duration")]
    pub renew_before: Option<String>,
    /// A Secret of type `kubernetes.io/tls`, beside the VirtualCluster, with the certificate authority that signs for this
    /// cluster. When it changes, all that it signed is issued anew. Default: an authority of the cluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<LocalSecret>,
}

/// A Secret in the namespace of the VirtualCluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalSecret {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// Where and as what the tenant's pods run on the host, whatever they ask for themselves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workloads {
    /// Node labels that every pod selects, besides its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::string_map")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that every pod tolerates, besides its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::tolerations")]
    pub tolerations: Vec<Toleration>,
    /// Priority class of every pod. Default: the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Runtime class of every pod. Default: the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub runtime_class_name: Option<String>,
    /// Images by what their names begin with, such as a registry, and what stands there instead on the host. The longest
    /// beginning wins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::string_map")]
    pub images: BTreeMap<String, String>,
}

/// What becomes of the host namespace when the cluster is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It is deleted with all that it holds.
    #[default]
    Delete,
    /// It stays with its volumes, secrets and config maps; the control plane, pods, services and ingresses go.
    /// A VirtualCluster of the same name and namespace adopts it again.
    Retain,
}

/// What keeps the tenant's workloads within bounds on the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Isolation {
    /// Totals that the workloads may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_quota: Option<ResourceQuota>,
    /// Requests and limits of containers that state none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_range: Option<LimitRange>,
    /// Who may talk to the workloads, and to whom they may talk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicy>,
    /// Pod Security Standard enforced on the workloads. Default: `baseline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security: Option<PodSecurity>,
}

/// Totals that the workloads may use. The control plane's own pod is not counted against compute totals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceQuota {
    /// Whether totals are limited. Default: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Resource name to total, as in a ResourceQuota; added to the operator's defaults, replacing those of the same name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::quantities")]
    pub hard: BTreeMap<String, Quantity>,
}

/// Requests and limits of containers, as in a LimitRange of type `Container`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitRange {
    /// Whether a LimitRange is applied. Default: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Limits of a container that states none. Default: cpu `1`, memory `512Mi`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::quantities")]
    pub default: BTreeMap<String, Quantity>,
    /// Requests of a container that states none. Default: cpu `50m`, memory `64Mi`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::quantities")]
    pub default_request: BTreeMap<String, Quantity>,
    /// The least that a container may state.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::quantities")]
    pub min: BTreeMap<String, Quantity>,
    /// The most that a container may state.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::quantities")]
    pub max: BTreeMap<String, Quantity>,
}

/// Who may talk to the workloads, and to whom they may talk. Pods of the cluster always reach each other, the
/// virtual API server and DNS; link-local addresses (cloud metadata) are never reachable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// Whether NetworkPolicies are applied. Default: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Addresses outside that workloads may reach. Default: `0.0.0.0/0` and `::/0`; an empty list reaches nothing outside.
    #[serde(rename = "egressCIDRs", default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::cidrs")]
    pub egress_cidrs: Option<Vec<String>>,
    /// Addresses excepted from `egressCIDRs`. Default: the private and shared address ranges.
    #[serde(rename = "egressExceptCIDRs", default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::cidrs")]
    pub egress_except_cidrs: Option<Vec<String>>,
    /// Addresses outside that may reach workloads, for load balancers. Default: none.
    #[serde(rename = "ingressCIDRs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::cidrs")]
    pub ingress_cidrs: Vec<String>,
    /// Host namespaces, by name, whose pods may reach workloads, for ingress controllers. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::string_set")]
    pub ingress_namespaces: Vec<String>,
}

/// A Pod Security Standard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PodSecurity {
    /// No restrictions.
    Privileged,
    /// Known privilege escalations are denied.
    #[default]
    Baseline,
    /// Hardening best practice is required.
    Restricted,
}

impl PodSecurity {
    /// The value of the `pod-security.kubernetes.io/enforce` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}
