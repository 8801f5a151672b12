//! `VirtualClusterPolicy`: what an administrator allows, defaults and enforces.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::{BackingStore, Certificates, ControlPlane, Expose, ExposeType, Isolation, Workloads};
use crate::sync::Sync;
use crate::{Quantity, schemas};

/// What an administrator allows, defaults and enforces for virtual clusters.
///
/// One policy shapes a cluster: the one that `spec.policyRef` names, else the matching one of the highest priority
/// (ties go to the first name), else one marked `default`. A setting is `enforced`, else the cluster's own, else of
/// `defaults`, else built in. Maps merge, lists replace.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "vkube.dev",
    version = "v1alpha1",
    kind = "VirtualClusterPolicy",
    plural = "virtualclusterpolicies",
    shortname = "vcp",
    category = "vkube",
    status = "VirtualClusterPolicyStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "What an administrator allows, defaults and enforces for virtual clusters.",
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(name = "Default", type_ = "boolean", json_path = ".spec.default"),
    printcolumn(name = "Matched", type_ = "integer", json_path = ".status.matchedVirtualClusters"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::duplicated_attributes, reason = "columns repeat their keys")]
pub struct VirtualClusterPolicySpec {
    /// The clusters that the policy is for. Without a selector it binds only by `policyRef` or as the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<PolicySelector>,
    /// The higher wins when selectors of several policies match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub priority: Option<i32>,
    /// Binds clusters that no selector matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
    /// Settings for what a cluster leaves open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<PolicySettings>,
    /// Settings that overrule a cluster's own; each is reported in its `status.policy.enforcedFields`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforced: Option<PolicySettings>,
    /// What a cluster may ask for at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraints: Option<Constraints>,
}

/// The clusters that a policy is for: those that match every selector given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicySelector {
    /// By labels of the VirtualCluster's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::label_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// By labels of the VirtualCluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::label_selector")]
    pub cluster_selector: Option<LabelSelector>,
}

/// Settings that a policy defaults or enforces: sections of a VirtualCluster's spec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicySettings {
    /// The process that serves the virtual cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<ControlPlane>,
    /// Where the cluster's objects are stored. A volume that exists keeps its storage class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing_store: Option<BackingStore>,
    /// How clients reach the virtual API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<Expose>,
    /// Life of certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Certificates>,
    /// Where and as what the cluster's pods run on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<Workloads>,
    /// What the cluster shares with its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<Sync>,
    /// What keeps the workloads within bounds on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
}

/// What a cluster may ask for at all. A cluster that asks for more is not built, or left as it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Constraints {
    /// Types of exposure allowed. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_expose_types: Vec<ExposeType>,
    /// Host names allowed as `expose.externalAddress` and in `expose.extraSANs`: whole names, or `*.` and a domain for
    /// every name below it. Empty: all. A tenant that may choose any name can choose that of another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::string_set")]
    pub allowed_host_names: Vec<String>,
    /// Namespaces on the host that clusters may have for virtual ones (`sync.toHost.namespaces`): whole names, or a
    /// beginning followed by `*`. Empty: all that are free, which may be one that somebody else is to have later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::string_set")]
    pub allowed_host_namespaces: Vec<String>,
    /// Storage classes allowed. Empty: all, and the host's default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::string_set")]
    pub allowed_storage_classes: Vec<String>,
    /// Prefixes of control plane images allowed, such as `registry.example.com/vkube`. A prefix ends at a `/`, `:` or
    /// `@` of the image. Empty: all. The operator's own image always is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::string_set")]
    pub allowed_images: Vec<String>,
    /// Refuse clusters that lay a template over their control plane's pod. Without, images of its containers are bound to
    /// `allowedImages` too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_pod_template: Option<bool>,
    /// Flags that `controlPlane.extraArgs` may not have: names as `--audit-log-path`, or a beginning followed by `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::string_set")]
    pub denied_extra_args: Vec<String>,
    /// Namespaces other than a cluster's own in which it may be exported to Argo CD. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::string_set")]
    pub allowed_export_namespaces: Vec<String>,
    /// The longest that a cluster may live, such as `168h`: the shorter of this and its `lifecycle.deleteAfter` is in
    /// force, also where the cluster states none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::duration")]
    pub max_lifetime: Option<String>,
    /// The largest volume allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_volume_size: Option<Quantity>,
    /// Upper bounds of the cluster's quota: the smaller of both is in force, also where the cluster disables its quota.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::quantities")]
    pub max_resource_quota: BTreeMap<String, Quantity>,
}

/// What the operator reports of a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualClusterPolicyStatus {
    /// The generation of the spec that this status speaks of; `-1` before the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Clusters bound to the policy.
    #[serde(default)]
    pub matched_virtual_clusters: i32,
    /// `Ready`: the policy is well-formed. `Stalled`: it needs an edit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
}
