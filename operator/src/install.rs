//! Everything that has to be on a host before the operator runs.
//!
//! One list serves all: `install.yaml`, the kustomize bases and the Helm chart are generated from it, and the binary
//! applies it. Everything can be applied over what is there.

mod admission;
mod cluster_api;
mod manager;
mod monitoring;
mod rbac;

use kube::api::DynamicObject;
use serde_json::{Value, json};
use vkube_crds::{policy_crd, virtual_cluster_crd};

/// The operator's namespace.
pub const NAMESPACE: &str = "vkube-system";
/// Name of the operator's Deployment, ServiceAccount, ClusterRole and Lease.
pub const OPERATOR: &str = "vkube-operator";
/// Port of the operator's probes and metrics.
pub const HTTP_PORT: u16 = 8080;
/// Image of this release.
pub const DEFAULT_IMAGE: &str = concat!("vkube/vkube:", env!("CARGO_PKG_VERSION"));

/// Everything that has to be on a host, in the order to apply it; operator and control planes run `image`.
pub fn install_manifests(image: &str) -> Vec<DynamicObject> {
    all(image).into_iter().filter_map(|object| serde_json::from_value(object).ok()).collect()
}

/// [`install_manifests`] as YAML documents.
pub fn install_yaml(image: &str) -> String {
    documents(&all(image))
}

/// YAML documents of some of the manifests.
pub fn documents(objects: &[Value]) -> String {
    // Maps of JSON always have a YAML form.
    let texts: Vec<_> = objects.iter().filter_map(|object| serde_saphyr::to_string(object).ok()).collect();
    texts.join("---\n")
}

fn all(image: &str) -> Vec<Value> {
    [vec![manager::namespace()], crds(), rbac(), admission(), manager(image)].concat()
}

/// The CRDs.
pub fn crds() -> Vec<Value> {
    [virtual_cluster_crd(), policy_crd()].iter().filter_map(|crd| serde_json::to_value(crd).ok()).collect()
}

/// Who may do what.
pub fn rbac() -> Vec<Value> {
    rbac::all()
}

/// The operator itself.
pub fn manager(image: &str) -> Vec<Value> {
    manager::all(image)
}

/// What Prometheus and Grafana are told. Not among [`install_manifests`]: it needs the CRDs of the Prometheus operator.
pub fn monitoring() -> Vec<Value> {
    monitoring::all()
}

/// What makes the operator a control plane provider of Cluster API: CRDs, then who may do what. Not among
/// [`install_manifests`]; the operator needs `--cluster-api` besides.
pub fn cluster_api() -> [Vec<Value>; 2] {
    [cluster_api::crds(), cluster_api::rbac()]
}

/// The operator's namespace.
pub fn namespace() -> Value {
    manager::namespace()
}

/// What admission knows of clusters: their priority class, their protection, and what control planes may write.
pub fn admission() -> Vec<Value> {
    admission::all()
}

fn labels() -> Value {
    json!({"app.kubernetes.io/name": "vkube", "app.kubernetes.io/part-of": "vkube"})
}
