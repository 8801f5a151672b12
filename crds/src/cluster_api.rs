//! `VirtualControlPlane`: a virtual cluster as the control plane of a Cluster of Cluster API.
//!
//! The fields are those of the contract for control planes, version `v1beta2`, with the counters and flags that version
//! `v1beta1` looks for (<https://cluster-api.sigs.k8s.io/developer/providers/contracts/control-plane>). It is a thin
//! shell: the operator makes a VirtualCluster of it, so that what Cluster API writes never gets into what people declare.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schemas;

/// What Cluster API asks of a control plane, and the virtual cluster that serves as one.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "vkube.dev",
    version = "v1alpha1",
    kind = "VirtualControlPlane",
    plural = "virtualcontrolplanes",
    shortname = "vcplane",
    category = "cluster-api",
    namespaced,
    status = "VirtualControlPlaneStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A virtual cluster as the control plane of a Cluster of Cluster API.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = r#".metadata.labels['cluster\.x-k8s\.io/cluster-name']"#
    ),
    printcolumn(
        name = "Initialized",
        type_ = "boolean",
        json_path = ".status.initialization.controlPlaneInitialized"
    ),
    printcolumn(
        name = "Available",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Available")].status"#
    ),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::duplicated_attributes, reason = "columns repeat their keys")]
pub struct VirtualControlPlaneSpec {
    /// Where the API server is reached. The operator fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane_endpoint: Option<ApiEndpoint>,
    /// Kubernetes version, as `v1.36.0`. Default: that of the operator's release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = r"^v?1\.[0-9]+(\.[0-9]+)?([-+][-+.0-9A-Za-z]+)?$")
    )]
    pub version: Option<String>,
    /// `1` runs the cluster, `0` puts it to sleep. Default: `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub replicas: Option<i32>,
    /// Everything else of the VirtualCluster's `spec`, which has the rules of that kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::open")]
    pub virtual_cluster: Option<serde_json::Value>,
}

/// A reachable API server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiEndpoint {
    /// Its host name or address.
    #[schemars(length(max = 512))]
    pub host: String,
    /// Its port.
    #[schemars(range(min = 0, max = 65535))]
    pub port: i32,
}

/// What Cluster API reads of a control plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualControlPlaneStatus {
    /// The generation of the spec that this status speaks of; `-1` before the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How far it came for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialization: Option<Initialization>,
    /// `initialization.controlPlaneInitialized`, as contract `v1beta1` names it.
    #[serde(default)]
    pub initialized: bool,
    /// Whether the API server answers; of contract `v1beta1`.
    #[serde(default)]
    pub ready: bool,
    /// Always `true`: no node of the cluster runs its control plane.
    #[serde(default)]
    pub external_managed_control_plane: bool,
    /// The Kubernetes version that the API server reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub version: Option<String>,
    /// Label selector of the control plane's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub selector: Option<String>,
    /// Pods that exist.
    #[serde(default)]
    pub replicas: i32,
    /// Pods that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Pods whose API server answers.
    #[serde(default)]
    pub available_replicas: i32,
    /// Pods that are as the spec says.
    #[serde(default)]
    pub up_to_date_replicas: i32,
    /// `upToDateReplicas`, as contract `v1beta1` names it.
    #[serde(default)]
    pub updated_replicas: i32,
    /// Pods that should be ready and are not; of contract `v1beta1`.
    #[serde(default)]
    pub unavailable_replicas: i32,
    /// Conditions; Cluster API shows `Available` as that of the Cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
}

/// How far a control plane came for the first time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Initialization {
    /// Whether the API server has answered.
    #[serde(default)]
    pub control_plane_initialized: bool,
}

/// A template of control planes, for ClusterClasses.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "vkube.dev",
    version = "v1alpha1",
    kind = "VirtualControlPlaneTemplate",
    plural = "virtualcontrolplanetemplates",
    category = "cluster-api",
    namespaced,
    derive = "PartialEq",
    doc = "A template of VirtualControlPlanes, for the ClusterClasses of Cluster API."
)]
#[serde(rename_all = "camelCase")]
pub struct VirtualControlPlaneTemplateSpec {
    /// What is stamped out.
    pub template: VirtualControlPlaneTemplateResource,
}

/// What is stamped out of a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualControlPlaneTemplateResource {
    /// Labels and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// The spec. Endpoint, version and replicas come from the Cluster.
    #[serde(default)]
    pub spec: VirtualControlPlaneTemplateResourceSpec,
}

/// What a template says of a VirtualControlPlane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualControlPlaneTemplateResourceSpec {
    /// The VirtualCluster's `spec`, as in a VirtualControlPlane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::open")]
    pub virtual_cluster: Option<serde_json::Value>,
}

/// Labels and annotations of what is stamped out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::string_map")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::string_map")]
    pub annotations: BTreeMap<String, String>,
}

/// The CRDs of the contract, labelled with the versions of it that they fulfil.
pub fn cluster_api_crds() -> Vec<CustomResourceDefinition> {
    let all = [VirtualControlPlane::crd(), VirtualControlPlaneTemplate::crd()];
    let labelled = all.into_iter().map(|crd| {
        let mut crd = crate::manifest::finish(crd);
        let labels = crd.metadata.labels.get_or_insert_default();
        for contract in ["v1beta1", "v1beta2"] {
            labels.insert(format!("cluster.x-k8s.io/{contract}"), "v1alpha1".into());
        }
        crd
    });
    labelled.collect()
}
