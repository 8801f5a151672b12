//! The VirtualCluster and VirtualClusterPolicy types and their CRDs.
//!
//! Types only, no I/O: what a user may write, what the operator reports, and the CRD manifests generated from both.
//! A field exists here only if the operator acts on it.

mod access;
mod backing_store;
mod cluster;
mod cluster_api;
mod export;
mod exposure;
mod lifetime;
mod manifest;
mod namespaces;
mod policy;
mod quantity;
mod readiness;
mod schemas;
mod settings;
mod snapshots;
mod sources;
mod status;
mod sync;
mod tuning;

pub use access::{Access, AccessSubject, SubjectKind};
pub use backing_store::{BackingStoreType, ExternalStore, StoreSecretRef};
pub use cluster::{
    AdditionalKubeconfig, Bootstrap, HostNamespace, Kubeconfig, Lifecycle, Networking, PolicyRef,
    VirtualCluster, VirtualClusterSpec,
};
pub use cluster_api::{
    ApiEndpoint, Initialization, TemplateMetadata, VirtualControlPlane, VirtualControlPlaneSpec,
    VirtualControlPlaneStatus, VirtualControlPlaneTemplate, VirtualControlPlaneTemplateResource,
    VirtualControlPlaneTemplateResourceSpec, VirtualControlPlaneTemplateSpec, cluster_api_crds,
};
pub use export::{ArgocdExport, ClusterApiExport, Export, SecretRef};
pub use exposure::{ExposeGateway, ExposeIngress, GatewayRef};
pub use lifetime::{DeleteAfter, SleepRule, WritePermissions};
pub use manifest::{policy_crd, virtual_cluster_crd};
pub use namespaces::{Answer, NamespaceMap, answers_name, claims_name, is_namespace};
pub use policy::{
    Constraints, PolicySelector, PolicySettings, VirtualClusterPolicy, VirtualClusterPolicySpec,
    VirtualClusterPolicyStatus,
};
pub use quantity::Quantity;
pub use readiness::ReadinessGate;
pub use settings::{
    BackingStore, Certificates, ControlPlane, DeletionPolicy, Expose, ExposeService, ExposeType,
    ExternalTrafficPolicy, ImagePullPolicy, Isolation, LimitRange, LocalSecret, NetworkPolicy, PodSecurity,
    ResourceQuota, Resources, Volume, Workloads,
};
pub use snapshots::{RestoreFrom, SnapshotStatus, Snapshots, SnapshotsStatus};
pub use sources::{ConfigSource, KeyRef, ManifestRef, SourceKind};
pub use status::{
    CertificateStatus, Endpoints, EnforcedField, InventoryItem, KubeconfigStatus, MOST_INVENTORY,
    MOST_QUOTAS, NamespaceQuota, Phase, PolicyStatus, QuotaStatus, SecretKeyRef, VirtualClusterStatus,
};
pub use sync::{NAMESPACES, NodeMode, Nodes, Scheduler, Sync, SyncPatch, SyncRule, ToHost};
pub use tuning::{AdmissionPlugins, Probe, Probes, ServiceMonitor, Switch};

/// The API group of every vkube resource.
pub const GROUP: &str = "vkube.dev";

/// Finalizer that keeps a VirtualCluster until its host objects are gone.
pub const FINALIZER: &str = "vkube.dev/virtualcluster";

/// Finalizer that keeps a VirtualClusterPolicy while clusters are bound to it.
pub const POLICY_FINALIZER: &str = "vkube.dev/policy-in-use";

/// Annotations a user may set on a VirtualCluster.
pub mod annotations {
    /// `"true"` stops reconciling, as `spec.lifecycle.paused` does.
    pub const PAUSED: &str = "vkube.dev/paused";
    /// `"true"` releases the finalizer without waiting for host objects to disappear.
    pub const FORCE_DELETE: &str = "vkube.dev/force-delete";
    /// Any new value reissues the serving and client certificates once.
    pub const ROTATE: &str = "vkube.dev/rotate";
    /// Any new value reissues the certificate authority and all that it signed, once.
    pub const ROTATE_CA: &str = "vkube.dev/rotate-ca";
    /// A time, as RFC 3339 has it: a cluster that sleeps by its own rule is awake from then on, until the next time to sleep.
    pub const WAKE: &str = "vkube.dev/wake";
    /// On a host namespace that a virtual one has for itself: `Namespace`.
    pub const OBJECT_KIND: &str = "vkube.dev/object-kind";
    /// On a host namespace that a virtual one has for itself: the virtual one.
    pub const OBJECT_NAME: &str = "vkube.dev/object-name";
    /// On a host namespace that a virtual one has for itself: the UID of that one.
    pub const OBJECT_UID: &str = "vkube.dev/object-uid";
    /// On a host namespace: its cluster was deleted with `deletionPolicy: Retain`; a cluster of the same name may adopt it.
    pub const RETAINED: &str = "vkube.dev/retained";
}

/// Labels on every host object of a virtual cluster.
pub mod labels {
    /// `"true"` on every object that the operator applies.
    pub const MANAGED: &str = "vkube.dev/managed";
    /// Namespace of the VirtualCluster (hashed when longer than a label value may be).
    pub const CLUSTER_NAMESPACE: &str = "vkube.dev/cluster-namespace";
    /// Name of the VirtualCluster.
    pub const CLUSTER_NAME: &str = "vkube.dev/cluster-name";
    /// UID of the VirtualCluster; decides ownership.
    pub const CLUSTER_UID: &str = "vkube.dev/cluster-uid";
    /// On a host namespace: the policy that shaped it.
    pub const POLICY: &str = "vkube.dev/policy";
    /// On every host namespace of a cluster that has several: the one that its control plane runs in.
    pub const HOST_NAMESPACE: &str = "vkube.dev/host-namespace";
    /// On a host pod: what it is, `control-plane` for the control plane itself.
    pub const COMPONENT: &str = "vkube.dev/component";
    /// On a tenant's pod: a NetworkPolicy of the tenant's says who may reach it, so the host's permission does not count.
    pub const TENANT_INGRESS: &str = "vkube.dev/tenant-ingress";
    /// On a tenant's pod: a NetworkPolicy of the tenant's says whom it may reach.
    pub const TENANT_EGRESS: &str = "vkube.dev/tenant-egress";
}
