//! What the operator reports of a virtual cluster.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::export::SecretRef;
use crate::snapshots::SnapshotsStatus;
use crate::{Quantity, schemas};

/// What the operator reports of a virtual cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualClusterStatus {
    /// The generation of the spec that this status speaks of; `-1` before the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions. `Ready` sums them up; `Reconciling` and `Stalled` are present only while they hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
    /// One word for people; programs read conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The Kubernetes version that the API server reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
    /// Control plane pods that exist.
    #[serde(default)]
    pub replicas: i32,
    /// Control plane pods that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Label selector of the control plane's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub selector: Option<String>,
    /// The namespace on the host that holds the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub host_namespace: Option<String>,
    /// Addresses of the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// The administrator's kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<KubeconfigStatus>,
    /// The Secret by which Argo CD knows the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argocd_secret_ref: Option<SecretRef>,
    /// When a person or tool from outside asked the cluster for something last, to the minute; known only where
    /// `lifecycle` depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::time")]
    pub last_activity_time: Option<Time>,
    /// When the cluster will be deleted by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::time")]
    pub delete_at: Option<Time>,
    /// The policy in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStatus>,
    /// Certificates and when they end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub certificates: Vec<CertificateStatus>,
    /// A hash of the `bootstrap.manifests` that were applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub bootstrapped: Option<String>,
    /// The snapshots that are kept, where `spec.snapshots` asks for some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<SnapshotsStatus>,
    /// The snapshot that the cluster was brought to last, as `cluster/snapshot`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub restored_from: Option<String>,
    /// What the operator has made on the host for the cluster, in the order of its fields; of very many, the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_INVENTORY), extend("x-kubernetes-list-type" = "atomic"))]
    pub inventory: Vec<InventoryItem>,
    /// What the workloads may use and do use, as the host counts it. It follows use within half a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaStatus>,
}

/// As many objects `status.inventory` names at most.
pub const MOST_INVENTORY: usize = 256;

/// An object on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryItem {
    /// Its API group; empty for the core group.
    #[schemars(length(max = 253))]
    pub group: String,
    /// Its kind.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Its namespace; empty if it is in none.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
}

/// The quota of the workloads, in all namespaces that the cluster has on the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaStatus {
    /// What they may use together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::quantities")]
    pub hard: BTreeMap<String, Quantity>,
    /// What they use together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::quantities")]
    pub used: BTreeMap<String, Quantity>,
    /// Each namespace by itself, as a quota binds there alone; empty if there is but one, and of very many the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MOST_QUOTAS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub namespaces: Vec<NamespaceQuota>,
}

/// As many namespaces `status.quota` names at most.
pub const MOST_QUOTAS: usize = 32;

/// The quota of the workloads in one namespace of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceQuota {
    /// The namespace on the host.
    #[schemars(length(max = 63))]
    pub name: String,
    /// What they may use there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::quantities")]
    pub hard: BTreeMap<String, Quantity>,
    /// What they use there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::quantities")]
    pub used: BTreeMap<String, Quantity>,
}

/// One word for the state of a cluster, derived from its conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Not yet looked at.
    Pending,
    /// Being built for the first time.
    Provisioning,
    /// Ready.
    Running,
    /// Ready before, being changed now.
    Updating,
    /// Scaled to zero.
    Sleeping,
    /// Left as it is, on request.
    Paused,
    /// Needs a person.
    Failed,
    /// Being deleted.
    Deleting,
}

impl Phase {
    /// All phases, for metrics that report each.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Provisioning,
        Self::Running,
        Self::Updating,
        Self::Sleeping,
        Self::Paused,
        Self::Failed,
        Self::Deleting,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Provisioning => "Provisioning",
            Self::Running => "Running",
            Self::Updating => "Updating",
            Self::Sleeping => "Sleeping",
            Self::Paused => "Paused",
            Self::Failed => "Failed",
            Self::Deleting => "Deleting",
        }
    }
}

/// Addresses of the API server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Endpoints {
    /// URL on the host's network.
    #[serde(rename = "internalURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub internal_url: Option<String>,
    /// URL from outside, when the cluster is exposed.
    #[serde(rename = "externalURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub external_url: Option<String>,
}

/// The administrator's kubeconfig.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubeconfigStatus {
    /// Where it is.
    pub secret_ref: SecretKeyRef,
    /// SHA-256 of the certificate authority that it trusts, in hex.
    #[schemars(length(max = 64))]
    pub ca_hash: String,
    /// When its client certificate ends.
    #[schemars(schema_with = "schemas::time")]
    pub not_after: Option<Time>,
}

/// A key of a Secret in the VirtualCluster's namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Key that holds the kubeconfig.
    #[schemars(length(max = 253))]
    pub key: String,
}

/// The policy in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Name of the VirtualClusterPolicy.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its UID.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The generation of the policy that was applied.
    pub observed_generation: i64,
    /// Fields where the policy overrules what the cluster asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub enforced_fields: Vec<EnforcedField>,
}

/// A field where the policy overrules what the cluster asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnforcedField {
    /// Path below `spec`.
    #[schemars(length(max = 512))]
    pub path: String,
    /// What the cluster asks for.
    #[schemars(length(max = 1024))]
    pub requested: String,
    /// What is in force.
    #[schemars(length(max = 1024))]
    pub effective: String,
}

/// A certificate and when it ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// `ca`, `serving` or `admin`, or the name of an additional kubeconfig.
    #[schemars(length(max = 253))]
    pub name: String,
    /// When it ends.
    #[schemars(schema_with = "schemas::time")]
    pub not_after: Option<Time>,
}
