//! `VirtualCluster`: what a user asks for.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::backing_store::{REPLICAS_SHARE_A_DATABASE, SCHEMA_IS_FIXED, TYPE_IS_FIXED};
use crate::export::Export;
use crate::lifetime::{DeleteAfter, SleepRule, WritePermissions};
use crate::readiness::ReadinessGate;
use crate::schemas;
use crate::settings::{
    BackingStore, Certificates, ControlPlane, DeletionPolicy, Expose, Isolation, Workloads,
};
use crate::snapshots::{RestoreFrom, Snapshots};
use crate::sources::{ConfigSource, ManifestRef};
use crate::status::VirtualClusterStatus;
use crate::sync::Sync;

/// What a user asks of a virtual cluster. `spec: {}` is a complete request.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "vkube.dev",
    version = "v1alpha1",
    kind = "VirtualCluster",
    plural = "virtualclusters",
    shortname = "vc",
    category = "vkube",
    namespaced,
    status = "VirtualClusterStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A Kubernetes cluster of its own inside the host cluster.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    selectable = ".spec.policyRef.name",
    selectable = ".status.phase",
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Policy", type_ = "string", json_path = ".status.policy.name"),
    printcolumn(
        name = "Endpoint",
        type_ = "string",
        json_path = ".status.endpoints.internalURL",
        priority = 1
    ),
    printcolumn(
        name = "Host-Namespace",
        type_ = "string",
        json_path = ".status.hostNamespace",
        priority = 1
    ),
    printcolumn(
        name = "Kubeconfig",
        type_ = "string",
        json_path = ".status.kubeconfig.secretRef.name",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 40").message("the name may have at most 40 characters"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("the name must be a DNS label that starts with a letter")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(HOST_NAMESPACE_IS_FIXED).message("hostNamespace.name is immutable"),
    validation = Rule::new(CLUSTER_DOMAIN_IS_FIXED).message("networking.clusterDomain is immutable"),
    validation = Rule::new(VOLUME_IS_FIXED).message("backingStore.volume.enabled is immutable"),
    validation = Rule::new(STORAGE_CLASS_IS_FIXED).message("backingStore.volume.storageClassName is immutable"),
    validation = Rule::new(NAMESPACES_ARE_FIXED).message("sync.toHost.namespaces is immutable"),
    validation = Rule::new(TYPE_IS_FIXED).message("backingStore.type is immutable"),
    validation = Rule::new(SCHEMA_IS_FIXED).message("backingStore.external.schema is immutable"),
    validation = Rule::new(REPLICAS_SHARE_A_DATABASE)
        .message("replicas: more than one need backingStore.type ExternalDatabase"),
    validation = Rule::new(DETAILS_FIT_THE_TYPE)
        .message("expose: ingress needs type Ingress, gateway needs type Gateway"),
    validation = Rule::new(GATES_ARE_OF_OTHERS)
        .message("readinessGates: conditions of vkube.dev are the operator's own"),
    validation = Rule::new(ACCESS_HAS_NAMESPACES)
        .message("access: a ServiceAccount has a namespace, and nobody else has one"),
    validation = Rule::new(SERVICE_FIELDS_FIT_THE_TYPE)
        .message("expose.service: nodePort and externalTrafficPolicy need type NodePort or LoadBalancer; loadBalancerClass and loadBalancerSourceRanges need type LoadBalancer")
)]
pub struct VirtualClusterSpec {
    /// The policy that shapes the cluster. Default: the best match of the policies' selectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_ref: Option<PolicyRef>,
    /// Kubernetes version, as `1.36`. Default: that of the operator's release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^v?1\.[0-9]+$"))]
    pub version: Option<String>,
    /// `1` runs the cluster, `0` puts it to sleep: control plane and pods go, the data stays. With a database outside, up to
    /// `5` serve it at once; one of them at a time synchronises with the host.
    #[serde(default = "running", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 5))]
    pub replicas: Option<i32>,
    /// Pausing and deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// The namespace on the host that holds the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_namespace: Option<HostNamespace>,
    /// The process that serves the virtual cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<ControlPlane>,
    /// Where the cluster's objects are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing_store: Option<BackingStore>,
    /// Names inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networking: Option<Networking>,
    /// How clients reach the virtual API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<Expose>,
    /// Life of certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Certificates>,
    /// The credentials written next to this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<Kubeconfig>,
    /// Tools that are told of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<Export>,
    /// Where and as what the cluster's pods run on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<Workloads>,
    /// What the cluster shares with its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<Sync>,
    /// What keeps the workloads within bounds on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Who may do what inside the cluster, besides whom the cluster itself names. What is said here is put back when it is
    /// changed inside, and goes when it goes here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["clusterRole"])
    )]
    pub access: Vec<Access>,
    /// What is applied inside the cluster before it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// Snapshots that are taken by schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<Snapshots>,
    /// A snapshot that the cluster starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_from: Option<RestoreFrom>,
    /// Conditions that others set in `status.conditions`, each under a field manager of its own. Until all of them are `True`
    /// the cluster is not ready, though its kubeconfig is there, for them to do their work inside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["conditionType"])
    )]
    pub readiness_gates: Vec<ReadinessGate>,
    /// A configuration of vCluster, in the form of its `vcluster.yaml`. What it asks for ranks just below the fields of this
    /// spec; keys without meaning here are named by the condition `ConfigAccepted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::open")]
    pub config: Option<serde_json::Value>,
    /// Such configurations in Secrets and ConfigMaps. Later ones go over earlier ones, and `config` over all of them: maps
    /// merge, everything else replaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub config_from: Vec<ConfigSource>,
}

#[expect(clippy::unnecessary_wraps, reason = "the default of an optional field")]
fn running() -> Option<i32> {
    Some(1)
}

// An optional field can be set, changed and unset, on itself or by removing any of its parents. A rule on the field
// alone sees only changes; these compare the value as the operator reads it.
const HOST_NAMESPACE_IS_FIXED: &str = "(has(self.hostNamespace) && has(self.hostNamespace.name) ? self.hostNamespace.name : '') == (has(oldSelf.hostNamespace) && has(oldSelf.hostNamespace.name) ? oldSelf.hostNamespace.name : '')";
const CLUSTER_DOMAIN_IS_FIXED: &str = "(has(self.networking) && has(self.networking.clusterDomain) ? self.networking.clusterDomain : 'cluster.local') == (has(oldSelf.networking) && has(oldSelf.networking.clusterDomain) ? oldSelf.networking.clusterDomain : 'cluster.local')";
const VOLUME_IS_FIXED: &str = "(has(self.backingStore) && has(self.backingStore.volume) && has(self.backingStore.volume.enabled) ? (self.backingStore.volume.enabled ? 'on' : 'off') : '') == (has(oldSelf.backingStore) && has(oldSelf.backingStore.volume) && has(oldSelf.backingStore.volume.enabled) ? (oldSelf.backingStore.volume.enabled ? 'on' : 'off') : '')";
const STORAGE_CLASS_IS_FIXED: &str = "(has(self.backingStore) && has(self.backingStore.volume) && has(self.backingStore.volume.storageClassName) ? self.backingStore.volume.storageClassName : '') == (has(oldSelf.backingStore) && has(oldSelf.backingStore.volume) && has(oldSelf.backingStore.volume.storageClassName) ? oldSelf.backingStore.volume.storageClassName : '')";
const NAMESPACES_ARE_FIXED: &str = "(has(self.sync) && has(self.sync.toHost) && 'namespaces' in self.sync.toHost ? [self.sync.toHost['namespaces']] : []) == (has(oldSelf.sync) && has(oldSelf.sync.toHost) && 'namespaces' in oldSelf.sync.toHost ? [oldSelf.sync.toHost['namespaces']] : [])";
const ACCESS_HAS_NAMESPACES: &str = "!has(self.access) || self.access.all(a, a.subjects.all(s, has(s.__namespace__) == (s.kind == 'ServiceAccount')))";
const GATES_ARE_OF_OTHERS: &str = "!has(self.readinessGates) || !self.readinessGates.exists(gate, gate.conditionType.startsWith('vkube.dev/'))";
// `type` may come from a policy, so the rule speaks only where the cluster itself states one.
const SERVICE_FIELDS_FIT_THE_TYPE: &str = "!has(self.expose) || !has(self.expose.service) || !has(self.expose.type) || self.expose.type == 'LoadBalancer' || (!has(self.expose.service.loadBalancerClass) && !has(self.expose.service.loadBalancerSourceRanges) && (self.expose.type == 'NodePort' || (!has(self.expose.service.nodePort) && !has(self.expose.service.externalTrafficPolicy))))";
const DETAILS_FIT_THE_TYPE: &str = "!has(self.expose) || !has(self.expose.type) || ((self.expose.type == 'Ingress' || !has(self.expose.ingress)) && (self.expose.type == 'Gateway' || !has(self.expose.gateway)))";

/// The policy that shapes a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRef {
    /// Name of a VirtualClusterPolicy. Its selector, if it has one, must match this cluster.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Pausing and deletion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// The operator leaves the cluster as it is. Deletion still proceeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Deletion is refused while this is `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_protection: Option<bool>,
    /// What becomes of the host namespace on deletion. Default: `Delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// When the cluster sleeps by itself. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep: Option<SleepRule>,
    /// When the cluster is deleted by itself. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_after: Option<DeleteAfter>,
    /// Writes that the API server refuses to all but the cluster's own controllers, such as for a freeze. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_permissions: Option<WritePermissions>,
}

/// The namespace on the host that holds the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostNamespace {
    /// Its name; it starts with `vc-`, so that no tenant can take a name of the host's own. Immutable.
    /// Default: `vc-<namespace>-<name>-<hash>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = "^vc-[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Further labels of the namespace; those of Kubernetes and vkube cannot be set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::string_map")]
    pub labels: BTreeMap<String, String>,
    /// Further annotations of the namespace; those of Kubernetes and vkube cannot be set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::string_map")]
    pub annotations: BTreeMap<String, String>,
}

/// What is applied inside the cluster before it is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.manifests) || (has(self.manifestRefs) && size(self.manifestRefs) > 0)")
    .message("bootstrap: manifests or manifestRefs"))]
pub struct Bootstrap {
    /// Objects as YAML documents, applied in their order as the field manager `vkube-bootstrap`: once for each text. What is
    /// changed or deleted inside afterwards stays so, and what goes from the text stays inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub manifests: Option<String>,
    /// Further such texts, in Secrets and ConfigMaps beside this object, applied after `manifests` in this order. When one
    /// of them changes all are applied anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub manifest_refs: Vec<ManifestRef>,
}

/// Names inside the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Networking {
    /// DNS domain of the cluster's services. Immutable. Default: `cluster.local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub cluster_domain: Option<String>,
    /// Names, or `*.` and a domain, that are answered with an address, or as the host answers for another name, such as
    /// that of one of its services.
    #[serde(rename = "resolveDNS", default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::mappings")]
    pub resolve_dns: BTreeMap<String, String>,
    /// Domains that have resolvers of their own, by address.
    #[serde(rename = "forwardDNS", default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::resolvers")]
    pub forward_dns: BTreeMap<String, Vec<String>>,
}

/// The credentials written next to the VirtualCluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kubeconfig {
    /// Name of the administrator's Secret. Default: `<name>-kubeconfig`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub secret_name: Option<String>,
    /// URL of the API server in the kubeconfig. Default: the external URL of an exposed cluster, else
    /// the address on the host's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^https://[^\s]+$"))]
    pub server: Option<String>,
    /// Further kubeconfigs for other identities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub additional: Vec<AdditionalKubeconfig>,
}

/// A kubeconfig for another identity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalKubeconfig {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// User name inside the virtual cluster.
    #[schemars(length(min = 1, max = 64))]
    pub user: String,
    /// Group inside the virtual cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub group: Option<String>,
    /// URL of the API server. Default: as in the administrator's kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^https://[^\s]+$"))]
    pub server: Option<String>,
}
