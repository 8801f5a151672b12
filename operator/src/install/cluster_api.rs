//! What makes the operator a control plane provider of Cluster API: optional, for it is of use only beside it.

use serde_json::{Value, json};
use vkube_crds::cluster_api_crds;

use super::rbac::{bound, cluster_role, rule};

const ROLE: &str = "vkube-cluster-api";

pub(super) fn crds() -> Vec<Value> {
    cluster_api_crds().iter().filter_map(|crd| serde_json::to_value(crd).ok()).collect()
}

pub(super) fn rbac() -> Vec<Value> {
    let planes = &["virtualcontrolplanes"];
    let operator = [
        rule(&["vkube.dev"], planes, &["get", "list", "patch", "watch"]),
        rule(&["vkube.dev"], &["virtualcontrolplanes/status"], &["patch"]),
        rule(&["vkube.dev"], &["virtualclusters"], &["create"]),
        rule(&["cluster.x-k8s.io"], &["clusters"], &["get", "list", "watch"]),
    ];
    // The Cluster's controller sets owner references and copies templates; with this label it gets the rights to.
    let verbs = &["create", "delete", "get", "list", "patch", "update", "watch"];
    let mut manager = cluster_role(
        "vkube-cluster-api-manager",
        &[
            rule(&["vkube.dev"], planes, verbs),
            rule(&["vkube.dev"], &["virtualcontrolplanes/status"], &["get"]),
            rule(&["vkube.dev"], &["virtualcontrolplanetemplates"], verbs),
        ],
    );
    manager["metadata"]["labels"]["cluster.x-k8s.io/aggregate-to-manager"] = json!("true");
    vec![cluster_role(ROLE, &operator), bound(ROLE), manager]
}
