//! Between a VirtualControlPlane and its VirtualCluster. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use kube::{Resource, ResourceExt};
use serde_json::json;
use vkube_crds::{
    ApiEndpoint, Initialization, VirtualCluster, VirtualClusterSpec, VirtualControlPlane,
    VirtualControlPlaneStatus,
};

/// The label that leads from everything to its Cluster.
pub const CLUSTER_NAME: &str = "cluster.x-k8s.io/cluster-name";
/// The annotation that pauses one object.
const PAUSED: &str = "cluster.x-k8s.io/paused";

/// The Cluster that owns a control plane.
pub type Owner = OwnerReference;

/// What an attempt found.
pub enum Found {
    /// No Cluster refers to it yet.
    Unowned,
    /// It, or its Cluster, is paused.
    Paused,
    /// A VirtualCluster of that name is somebody else's.
    Foreign(String),
    /// No VirtualCluster can be made of the spec.
    Invalid(String),
    /// The VirtualCluster.
    Cluster(Box<VirtualCluster>),
}

/// The Cluster that owns the control plane.
pub fn cluster(plane: &VirtualControlPlane) -> Option<&Owner> {
    let is_cluster =
        |owner: &&Owner| owner.kind == "Cluster" && owner.api_version.starts_with("cluster.x-k8s.io/");
    plane.owner_references().iter().find(is_cluster)
}

/// Whether the control plane itself is paused: the annotation counts, whatever its value.
pub fn is_paused(plane: &VirtualControlPlane) -> bool {
    plane.annotations().contains_key(PAUSED)
}

/// Whether the VirtualCluster was made for this control plane.
pub fn owns(plane: &VirtualControlPlane, cluster: &VirtualCluster) -> bool {
    cluster.owner_references().iter().any(|owner| Some(&owner.uid) == plane.metadata.uid.as_ref())
}

/// The VirtualCluster for the control plane of the Cluster of this name.
pub fn virtual_cluster(plane: &VirtualControlPlane, name: &str) -> Result<VirtualCluster, String> {
    let asked = plane.spec.virtual_cluster.clone().unwrap_or_else(|| json!({}));
    let mut spec: VirtualClusterSpec =
        serde_json::from_value(asked).map_err(|error| format!("spec.virtualCluster: {error}"))?;
    spec.replicas = Some(plane.spec.replicas.unwrap_or(1));
    spec.version = plane.spec.version.as_deref().map(minor);
    // The contract has the Secret's name.
    if let Some(kubeconfig) = &mut spec.kubeconfig {
        kubeconfig.secret_name = None;
    }
    spec.export.get_or_insert_default().cluster_api.get_or_insert_default().enabled = Some(true);
    let mut cluster = VirtualCluster::new(name, spec);
    cluster.metadata.namespace = plane.namespace();
    cluster.labels_mut().insert(CLUSTER_NAME.into(), name.into());
    cluster.metadata.owner_references = Some(plane.controller_owner_ref(&()).into_iter().collect());
    Ok(cluster)
}

/// `v1.36.2` as a VirtualCluster states it: its releases have one version of each minor.
fn minor(version: &str) -> String {
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    format!("{major}.{digits}")
}

/// Whether nothing of what is wanted is missing.
pub fn is_as(live: &VirtualCluster, wanted: &VirtualCluster) -> bool {
    let labelled = wanted.labels().iter().all(|(key, value)| live.labels().get(key) == Some(value));
    live.spec == wanted.spec && labelled
}

/// Where clients reach the cluster: outside of the host if it is exposed, else in it.
pub fn endpoint(cluster: &VirtualCluster) -> Option<ApiEndpoint> {
    let endpoints = cluster.status.as_ref()?.endpoints.as_ref()?;
    let url = endpoints.external_url.as_ref().or(endpoints.internal_url.as_ref())?;
    let (host, port) = url.strip_prefix("https://")?.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some(ApiEndpoint { host, port: port.parse().ok()? })
}

/// The status that Cluster API reads.
pub fn status(plane: &VirtualControlPlane, found: &Found, now: Timestamp) -> VirtualControlPlaneStatus {
    let before = plane.status.clone().unwrap_or_default();
    let generation = plane.metadata.generation;
    let mut conditions = Conditions { before: &before.conditions, generation, now, all: Vec::new() };
    let paused = matches!(found, Found::Paused);
    let (status, reason) = if paused { ("True", "Paused") } else { ("False", "NotPaused") };
    conditions.add("Paused", status, reason, "");
    if plane.metadata.deletion_timestamp.is_some() {
        conditions.add("Deleting", "True", "Deleting", "the VirtualCluster is being deleted");
    }
    let mut after = VirtualControlPlaneStatus {
        observed_generation: generation,
        external_managed_control_plane: true,
        conditions: Vec::new(),
        ..before.clone()
    };
    match found {
        Found::Paused => conditions.keep(&["Available", "Ready", "CertificatesAvailable"]),
        Found::Unowned => conditions.both("Unknown", "WaitingForCluster", "no Cluster refers to it yet"),
        Found::Foreign(name) => {
            let message = format!("VirtualCluster {name} exists and does not belong to this control plane");
            conditions.both("False", "NameConflict", &message);
        }
        Found::Invalid(wrong) => conditions.both("False", "InvalidSpec", wrong),
        Found::Cluster(cluster) => {
            observe(&mut after, cluster, &before);
            for name in ["Available", "Ready", "CertificatesAvailable"] {
                conditions.mirror(name, cluster);
            }
        }
    }
    after.conditions = conditions.all;
    after
}

fn observe(
    after: &mut VirtualControlPlaneStatus,
    cluster: &VirtualCluster,
    before: &VirtualControlPlaneStatus,
) {
    let status = cluster.status.clone().unwrap_or_default();
    let current = status.observed_generation == cluster.metadata.generation;
    let is = |name: &str| status.conditions.iter().any(|one| one.type_ == name && one.status == "True");
    let available = current && is("Available") && status.replicas > 0;
    // What has been initialised stays so, whatever happens to it later.
    let initialized = before.initialized || (available && status.kubeconfig.is_some());
    after.initialized = initialized;
    after.initialization = initialized.then_some(Initialization { control_plane_initialized: true });
    after.ready = available;
    after.version = status.version;
    after.selector = status.selector;
    after.replicas = status.replicas;
    after.ready_replicas = status.ready_replicas;
    after.available_replicas = if available { status.ready_replicas } else { 0 };
    after.up_to_date_replicas = if current && !is("Reconciling") { status.replicas } else { 0 };
    after.updated_replicas = after.up_to_date_replicas;
    let wanted = cluster.spec.replicas.unwrap_or(1).max(status.replicas);
    after.unavailable_replicas = (wanted - status.ready_replicas).max(0);
}

struct Conditions<'a> {
    before: &'a [Condition],
    generation: Option<i64>,
    now: Timestamp,
    all: Vec<Condition>,
}

impl Conditions<'_> {
    fn add(&mut self, type_: &str, status: &str, reason: &str, message: &str) {
        let unchanged = self.before.iter().find(|before| before.type_ == type_ && before.status == status);
        let now = || Time(Timestamp::from_second(self.now.as_second()).unwrap_or(self.now));
        self.all.push(Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: self.generation,
            last_transition_time: unchanged.map_or_else(now, |before| before.last_transition_time.clone()),
        });
    }

    fn both(&mut self, status: &str, reason: &str, message: &str) {
        self.add("Available", status, reason, message);
        self.add("Ready", status, reason, message);
    }

    fn keep(&mut self, names: &[&str]) {
        self.all.extend(self.before.iter().filter(|before| names.contains(&before.type_.as_str())).cloned());
    }

    /// What the VirtualCluster says under the same name.
    fn mirror(&mut self, name: &str, cluster: &VirtualCluster) {
        let of_cluster =
            cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        match of_cluster.iter().find(|condition| condition.type_ == name) {
            Some(said) => self.add(name, &said.status, &said.reason, &said.message),
            None => self.add(name, "Unknown", "Waiting", "the VirtualCluster has not been looked at yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn mk(spec: Value) -> VirtualControlPlane {
        serde_json::from_value(json!({
            "apiVersion": "vkube.dev/v1alpha1", "kind": "VirtualControlPlane",
            "metadata": {"name": "demo-plane", "namespace": "tenants", "uid": "p", "generation": 1,
                "ownerReferences": [
                    {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "demo", "uid": "c"}]},
            "spec": spec,
        }))
        .unwrap()
    }

    fn cluster_with(status: Value) -> VirtualCluster {
        serde_json::from_value(json!({
            "apiVersion": "vkube.dev/v1alpha1", "kind": "VirtualCluster",
            "metadata": {"name": "demo", "generation": 1}, "spec": {}, "status": status,
        }))
        .unwrap()
    }

    fn available() -> VirtualCluster {
        cluster_with(json!({
            "observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "version": "v1.36.2",
            "kubeconfig": {"secretRef": {"name": "demo-kubeconfig", "key": "value"}, "caHash": "x"},
            "endpoints": {"internalURL": "https://[fd00::1]:443", "externalURL": "https://demo.example.com:6443"},
            "conditions": [{"type": "Available", "status": "True", "reason": "Applied", "message": "answers",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        }))
    }

    #[test]
    fn the_contract_decides_version_replicas_and_the_name_of_the_secret() {
        let plane = mk(json!({"version": "v1.36.2", "replicas": 0,
            "virtualCluster": {"kubeconfig": {"secretName": "mine"}, "expose": {"type": "NodePort"}}}));
        let made = virtual_cluster(&plane, "demo").unwrap();
        assert_eq!((made.name_any().as_str(), made.namespace().as_deref()), ("demo", Some("tenants")));
        assert_eq!((made.spec.version.as_deref(), made.spec.replicas), (Some("1.36"), Some(0)));
        assert_eq!(made.spec.kubeconfig.as_ref().unwrap().secret_name, None);
        assert_eq!(made.labels()[CLUSTER_NAME], "demo");
        assert_eq!(made.metadata.owner_references.unwrap()[0].uid, "p");
        assert!(virtual_cluster(&mk(json!({"virtualCluster": {"expose": 1}})), "demo").is_err());
    }

    #[test]
    fn the_endpoint_is_the_one_outside() {
        assert_eq!(endpoint(&available()), Some(ApiEndpoint { host: "demo.example.com".into(), port: 6443 }));
        let mut inside = available();
        inside.status.as_mut().unwrap().endpoints.as_mut().unwrap().external_url = None;
        assert_eq!(endpoint(&inside), Some(ApiEndpoint { host: "fd00::1".into(), port: 443 }));
    }

    #[test]
    fn a_control_plane_stays_initialised_when_it_is_no_longer_available() {
        let mut plane = mk(json!({}));
        let first = status(&plane, &Found::Cluster(Box::new(available())), Timestamp::UNIX_EPOCH);
        assert!(first.initialized && first.ready && first.external_managed_control_plane);
        assert_eq!(
            (first.available_replicas, first.up_to_date_replicas, first.unavailable_replicas),
            (1, 1, 0)
        );
        plane.status = Some(first);
        let gone = cluster_with(
            json!({"observedGeneration": 1, "conditions": [{"type": "Available", "status": "False",
            "reason": "PodNotReady", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}),
        );
        let second = status(&plane, &Found::Cluster(Box::new(gone)), Timestamp::UNIX_EPOCH);
        assert!(second.initialized && !second.ready);
        assert_eq!((second.available_replicas, second.unavailable_replicas), (0, 1));
    }

    #[test]
    fn a_paused_control_plane_keeps_what_was_known() {
        let mut plane = mk(json!({}));
        plane.status = Some(status(&plane, &Found::Cluster(Box::new(available())), Timestamp::UNIX_EPOCH));
        let paused = status(&plane, &Found::Paused, Timestamp::MAX);
        let said: Vec<_> =
            paused.conditions.iter().map(|one| (one.type_.as_str(), one.status.as_str())).collect();
        assert!(said.contains(&("Paused", "True")) && said.contains(&("Available", "True")), "{said:?}");
        assert!(paused.initialized);
    }

    #[test]
    fn a_status_that_says_the_same_keeps_its_times() {
        let mut plane = mk(json!({}));
        let first = status(&plane, &Found::Cluster(Box::new(available())), Timestamp::UNIX_EPOCH);
        plane.status = Some(first.clone());
        assert_eq!(status(&plane, &Found::Cluster(Box::new(available())), Timestamp::MAX), first);
    }
}
