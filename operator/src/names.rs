//! Names and labels of everything that belongs to a virtual cluster.
//!
//! Names follow from the VirtualCluster's namespace and name, never from its UID: a cluster restored from a backup
//! finds its objects. The UID is in a label and decides whether an object is really ours.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kube::{Resource, ResourceExt};
use sha2::{Digest, Sha256};
use vkube_crds::{VirtualCluster, labels};

/// Field manager of every object on the host.
pub const FIELD_MANAGER: &str = "vkube";
/// Field manager of status.
pub const STATUS_MANAGER: &str = "vkube-status";
/// ClusterRole bound to the operator in every host namespace.
pub const TENANT_ROLE: &str = "vkube-tenant";
/// ClusterRole bound to the operator in every namespace that holds a VirtualCluster: the kubeconfig Secrets.
pub const KUBECONFIG_ROLE: &str = "vkube-kubeconfig";
/// ClusterRole bound to the operator in Argo CD's namespace while a cluster is exported there.
pub const EXPORT_ROLE: &str = "vkube-export";
/// ClusterRole bound to a control plane in its host namespace.
pub const CONTROL_PLANE_ROLE: &str = "vkube-controlplane";
/// ClusterRole bound to a control plane for the whole host: reading nodes.
pub const HOST_READER_ROLE: &str = "vkube-controlplane-nodes";
/// ClusterRole bound to a control plane in its host namespace for resources that go by rule. It is aggregated:
/// administrators add to it by roles labelled `vkube.dev/aggregate-to-sync: "true"`.
pub const SYNC_ROLE: &str = "vkube-sync";
/// The same for the whole host, if a cluster has rules: classes, definitions and other namespaces. Its parts are labelled
/// `vkube.dev/aggregate-to-sync-cluster: "true"`.
pub const SYNC_CLUSTER_ROLE: &str = "vkube-sync-cluster";
/// Priority class of control planes.
pub const PRIORITY_CLASS: &str = "vkube-control-plane";
/// Value of [`labels::COMPONENT`] on the control plane.
pub const CONTROL_PLANE: &str = "control-plane";
/// Value of [`labels::COMPONENT`] on the Service by which metrics are read.
pub const METRICS: &str = "metrics";
/// Field manager of the quota in a status.
pub const QUOTA_MANAGER: &str = "vkube-quota";
/// Annotation on applied objects: a hash of what was applied, so that removed fields are noticed.
pub const APPLIED_HASH: &str = "vkube.dev/applied-hash";
/// Annotation on the control plane's pod: a hash of its certificates, so that a new certificate restarts it.
pub const PKI_HASH: &str = "vkube.dev/pki-hash";

/// Annotation on the control plane's pod: a hash of how it gets into its database.
pub const STORE_HASH: &str = "vkube.dev/store-hash";
/// Annotation on the control plane's pod: a hash of the files that it is given.
pub const FILES_HASH: &str = "vkube.dev/files-hash";
/// Annotation on the Secret of a database: the schema that goes with the cluster.
pub const SCHEMA: &str = "vkube.dev/schema";
/// Annotation on the Secret of a database: the schema that a user named, marked as the cluster's as long as that is there.
pub const CLAIMED_SCHEMA: &str = "vkube.dev/claimed-schema";

/// Key in the ConfigMap of the time of the last request from outside.
pub const LAST_REQUEST: &str = "lastRequest";

/// Longest name of a namespace.
const NAMESPACE_LIMIT: usize = 63;

/// Who a virtual cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The VirtualCluster's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The namespace on the host that holds its objects.
    pub host_namespace: String,
}

impl Identity {
    /// The identity of a stored VirtualCluster. A cluster stays in the host namespace that its status names, whatever
    /// becomes of its spec.
    pub fn of(cluster: &VirtualCluster) -> Self {
        let namespace = cluster.namespace().unwrap_or_default();
        let name = cluster.name_any();
        let present = cluster.status.as_ref().and_then(|status| status.host_namespace.clone());
        Self {
            host_namespace: present.unwrap_or_else(|| wanted_host_namespace(cluster)),
            uid: cluster.meta().uid.clone().unwrap_or_default(),
            namespace,
            name,
        }
    }

    /// Labels of every object on the host.
    pub fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("app.kubernetes.io/name".into(), "vkube".into()),
            ("app.kubernetes.io/instance".into(), self.name.clone()),
            ("app.kubernetes.io/part-of".into(), "vkube".into()),
            ("app.kubernetes.io/managed-by".into(), "vkube-operator".into()),
            (labels::MANAGED.into(), "true".into()),
            (labels::CLUSTER_NAMESPACE.into(), self.namespace.clone()),
            (labels::CLUSTER_NAME.into(), self.name.clone()),
            (labels::CLUSTER_UID.into(), self.uid.clone()),
        ])
    }

    /// Labels that select the control plane's pod.
    pub fn control_plane_selector(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (labels::CLUSTER_NAME.into(), self.name.clone()),
            (labels::COMPONENT.into(), CONTROL_PLANE.into()),
        ])
    }

    /// That as text, as a selector of lists and of the scale subresource is written.
    pub fn control_plane_pods(&self) -> String {
        let labels: Vec<_> =
            self.control_plane_selector().iter().map(|(key, value)| format!("{key}={value}")).collect();
        labels.join(",")
    }

    /// Selects every host object of the cluster.
    pub fn uid_selector(&self) -> String {
        format!("{}={}", labels::CLUSTER_UID, self.uid)
    }

    /// Whether an object with these labels belongs to this very cluster.
    pub fn owns(&self, labels_of: Option<&BTreeMap<String, String>>) -> bool {
        labels_of.and_then(|map| map.get(labels::CLUSTER_UID)).is_some_and(|uid| *uid == self.uid)
    }

    /// Name of the service account and role bindings of the control plane.
    pub fn account(&self) -> String {
        format!("vc-{}", self.name)
    }

    /// Name of the Secret with the certificate authority and serving certificate.
    pub fn pki_secret(&self) -> String {
        format!("vc-{}-pki", self.name)
    }

    /// Name of the Secret with which the control plane gets into its database.
    pub fn store_secret(&self) -> String {
        format!("vc-{}-store", self.name)
    }

    /// Name of the Secret with the files that the control plane is given.
    pub fn files_secret(&self) -> String {
        format!("vc-{}-files", self.name)
    }

    /// Name of what lets a Prometheus read the control plane's metrics: a Secret, a Service and a ServiceMonitor.
    pub fn metrics(&self) -> String {
        format!("vc-{}-metrics", self.name)
    }

    /// Name of the ConfigMap in which the control plane tells when it was used last.
    pub fn activity(&self) -> String {
        activity_name(&self.name)
    }

    /// Name of the store's PersistentVolumeClaim.
    pub fn volume_claim(&self) -> String {
        format!("vc-{}-data", self.name)
    }

    /// Name of the Service that exposes the API server outside.
    pub fn external_service(&self) -> String {
        format!("{}-external", self.name)
    }

    /// Name of the ClusterRoleBinding of the control plane.
    pub fn cluster_binding(&self) -> String {
        format!("vkube:{}", self.host_namespace)
    }

    /// Name of the RoleBinding by which the control plane synchronises further resources.
    pub fn sync_binding(&self) -> String {
        format!("{}-sync", self.account())
    }

    /// Name of the ClusterRoleBinding by which the control plane synchronises further resources.
    pub fn cluster_sync_binding(&self) -> String {
        format!("vkube:{}:sync", self.host_namespace)
    }

    /// Name of the RoleBinding that lets the operator write kubeconfig Secrets next to the VirtualCluster.
    pub fn kubeconfig_binding(&self) -> String {
        format!("vc-{}-kubeconfig", self.name)
    }

    /// Name of the cluster's Secret, and of the RoleBinding for it, in the namespaces of tools: one that no other cluster
    /// has.
    pub fn export_name(&self) -> String {
        self.host_namespace.clone()
    }

    /// DNS name of the API server's Service.
    pub fn service_host(&self) -> String {
        format!("{}.{}.svc", self.name, self.host_namespace)
    }
}

/// Name of the ConfigMap in which the control plane of the cluster of this name tells when it was used last.
pub fn activity_name(cluster: &str) -> String {
    format!("vc-{cluster}-activity")
}

/// The host namespace that the spec asks for.
pub fn wanted_host_namespace(cluster: &VirtualCluster) -> String {
    let chosen = cluster.spec.host_namespace.as_ref().and_then(|host| host.name.clone());
    chosen.unwrap_or_else(|| {
        default_host_namespace(&cluster.namespace().unwrap_or_default(), &cluster.name_any())
    })
}

/// `vc-<namespace>-<name>-<hash>`, cut to a namespace's length before the hash.
fn default_host_namespace(namespace: &str, name: &str) -> String {
    let hash = short_hash(format!("{namespace}/{name}").as_bytes());
    let mut readable = format!("vc-{namespace}-{name}");
    readable.truncate(NAMESPACE_LIMIT - hash.len() - 1);
    format!("{}-{hash}", readable.trim_end_matches('-'))
}

/// The first eight hex digits of the SHA-256.
pub fn short_hash(bytes: &[u8]) -> String {
    let mut hash = sha256_hex(bytes);
    hash.truncate(8);
    hash
}

/// The SHA-256 in hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_namespaces_are_readable_and_end_in_a_hash() {
        assert_eq!(default_host_namespace("tenants", "team-a"), "vc-tenants-team-a-1fa9df8c");
    }

    #[test]
    fn long_names_are_cut_but_stay_distinct() {
        let (left, right) = ("a".repeat(63), format!("{}b", "a".repeat(62)));
        let names = [default_host_namespace(&left, "x"), default_host_namespace(&right, "x")];
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| name.len() <= NAMESPACE_LIMIT), "{names:?}");
    }

    #[test]
    fn a_dash_moved_between_namespace_and_name_makes_another_host_namespace() {
        assert_ne!(default_host_namespace("a-b", "c"), default_host_namespace("a", "b-c"));
    }
}
