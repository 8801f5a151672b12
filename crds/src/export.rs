//! Making a cluster known to tools that deploy to it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schemas;

/// Tools that are told of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Export {
    /// Argo CD, told by a cluster Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argocd: Option<ArgocdExport>,
    /// Cluster API, told by the type and label of the administrator's Secret.
    #[serde(rename = "clusterAPI", default, skip_serializing_if = "Option::is_none")]
    pub cluster_api: Option<ClusterApiExport>,
}

/// The administrator's Secret as the contract of Cluster API wants it, for a Cluster of this cluster's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterApiExport {
    /// Give the Secret the type `cluster.x-k8s.io/secret` and the label `cluster.x-k8s.io/cluster-name`.
    /// Default: `false`; VirtualClusters of VirtualControlPlanes have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// The cluster Secret by which Argo CD knows the cluster.
///
/// In another namespace than the VirtualCluster's it is written only if the policy in force lists that namespace in
/// `constraints.allowedExportNamespaces`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArgocdExport {
    /// Write the Secret. Default: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Argo CD's namespace. Default: `argocd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// Name of the cluster in Argo CD. Default: `<namespace>-<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// The Argo CD project that alone may use the cluster. Default: every project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub project: Option<String>,
    /// Labels of the Secret, for generators of ApplicationSets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::string_map")]
    pub labels: BTreeMap<String, String>,
    /// The namespaces inside the cluster that Argo CD looks after. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::string_set")]
    pub namespaces: Vec<String>,
    /// With `namespaces`: whether Argo CD looks after objects without a namespace too. Default: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_resources: Option<bool>,
    /// URL of the API server. Default: the one on the host's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^https://[^\s]+$"))]
    pub server: Option<String>,
    /// User that Argo CD is inside the cluster. Default: `argocd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub user: Option<String>,
    /// Group that Argo CD is in inside the cluster. Default: `system:masters`; with another, bind a role to it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub group: Option<String>,
}

/// A Secret in any namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Its namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
}
