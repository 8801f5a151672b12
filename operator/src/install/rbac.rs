//! Who may do what.
//!
//! The operator may do little on the whole host: look after clusters and namespaces, watch what it manages, and *bind*
//! five named roles. What it may do in a tenant's namespace it gets there by such a binding. So it can read no Secret
//! outside the namespaces of clusters, and can grant nothing but these roles.

use serde_json::{Value, json};

use super::{NAMESPACE, OPERATOR, labels};
use crate::names::{CONTROL_PLANE_ROLE, EXPORT_ROLE, HOST_READER_ROLE, KUBECONFIG_ROLE, TENANT_ROLE};

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
/// Server-side apply creates what is missing.
const APPLY: &[&str] = &["create", "delete", "get", "list", "patch"];

pub(super) fn all() -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": OPERATOR, "namespace": NAMESPACE, "labels": labels()},
        }),
        cluster_role(OPERATOR, &operator()),
        cluster_role(TENANT_ROLE, &tenant()),
        cluster_role(KUBECONFIG_ROLE, &[rule(&[""], &["secrets"], WRITE)]),
        cluster_role(EXPORT_ROLE, &export()),
        cluster_role(CONTROL_PLANE_ROLE, &control_plane()),
        cluster_role(HOST_READER_ROLE, &host_reader()),
        aggregated("vkube-view", &["view"], &view()),
        aggregated("vkube-edit", &["edit", "admin"], &edit()),
        binding("ClusterRoleBinding", None),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": OPERATOR, "namespace": NAMESPACE, "labels": labels()},
            "rules": [rule(&["coordination.k8s.io"], &["leases"], &["create", "get", "update"])],
        }),
        binding("RoleBinding", Some(NAMESPACE)),
    ]
}

/// On the whole host.
fn operator() -> Vec<Value> {
    let roles = [CONTROL_PLANE_ROLE, EXPORT_ROLE, HOST_READER_ROLE, KUBECONFIG_ROLE, TENANT_ROLE];
    vec![
        rule(
            &["vkube.dev"],
            &["virtualclusters", "virtualclusterpolicies"],
            &["get", "list", "patch", "watch"],
        ),
        // Those whose lifetime has ended.
        rule(&["vkube.dev"], &["virtualclusters"], &["delete"]),
        rule(&["vkube.dev"], &["virtualclusters/status", "virtualclusterpolicies/status"], &["patch"]),
        rule(&[""], &["namespaces"], &["create", "delete", "get", "list", "patch", "watch"]),
        rule(
            &[""],
            &["limitranges", "persistentvolumeclaims", "resourcequotas", "serviceaccounts", "services"],
            &["list", "watch"],
        ),
        rule(&["apps"], &["statefulsets"], &["list", "watch"]),
        rule(&["networking.k8s.io"], &["ingresses", "networkpolicies"], &["list", "watch"]),
        rule(&["rbac.authorization.k8s.io"], &["rolebindings"], &["create", "get", "list", "patch", "watch"]),
        rule(
            &["rbac.authorization.k8s.io"],
            &["clusterrolebindings"],
            &["create", "delete", "get", "list", "patch", "watch"],
        ),
        json!({
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["clusterroles"],
            "resourceNames": roles,
            "verbs": ["bind"],
        }),
        rule(&["events.k8s.io"], &["events"], &["create", "patch"]),
    ]
}

/// The operator, in each host namespace.
fn tenant() -> Vec<Value> {
    vec![
        rule(
            &[""],
            &[
                "limitranges",
                "persistentvolumeclaims",
                "resourcequotas",
                "secrets",
                "serviceaccounts",
                "services",
            ],
            APPLY,
        ),
        rule(&[""], &["pods"], &["delete", "get", "list"]),
        rule(&["apps"], &["statefulsets"], APPLY),
        rule(&["networking.k8s.io"], &["ingresses", "networkpolicies"], APPLY),
        rule(&["gateway.networking.k8s.io"], &["tlsroutes"], APPLY),
        rule(&["rbac.authorization.k8s.io"], &["rolebindings"], APPLY),
    ]
}

/// The operator, in Argo CD's namespace while a cluster is exported there. It takes these rights from itself again.
fn export() -> Vec<Value> {
    vec![
        rule(&[""], &["secrets"], WRITE),
        rule(&["rbac.authorization.k8s.io"], &["rolebindings"], &["delete"]),
    ]
}

/// A control plane, in its host namespace: what tenants' objects become there.
fn control_plane() -> Vec<Value> {
    vec![
        rule(
            &[""],
            &[
                "configmaps",
                "endpoints",
                "persistentvolumeclaims",
                "pods",
                "pods/ephemeralcontainers",
                "pods/resize",
                "secrets",
                "services",
            ],
            WRITE,
        ),
        // The conditions of readiness gates that tenants set.
        rule(&[""], &["pods/status"], &["get", "patch"]),
        rule(&[""], &["pods/log"], &["get"]),
        rule(&[""], &["pods/attach", "pods/exec", "pods/portforward"], &["create", "get"]),
        // A proxied request has the verb of its method.
        rule(&[""], &["pods/proxy", "services/proxy"], &["create", "delete", "get", "patch", "update"]),
        rule(&[""], &["events"], READ),
        rule(&["discovery.k8s.io"], &["endpointslices"], WRITE),
        rule(&["networking.k8s.io"], &["ingresses", "networkpolicies"], WRITE),
        rule(&["policy"], &["poddisruptionbudgets"], WRITE),
    ]
}

/// A control plane, on the whole host: the nodes that its pods run on.
fn host_reader() -> Vec<Value> {
    vec![rule(&[""], &["nodes"], READ)]
}

fn view() -> Vec<Value> {
    vec![rule(&["vkube.dev"], &["virtualclusters", "virtualclusters/status", "virtualclusterpolicies"], READ)]
}

fn edit() -> Vec<Value> {
    let verbs = &["create", "delete", "deletecollection", "patch", "update"];
    vec![
        rule(&["vkube.dev"], &["virtualclusters"], verbs),
        rule(&["vkube.dev"], &["virtualclusters/scale"], &["get", "patch", "update"]),
    ]
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
}

fn cluster_role(name: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels()},
        "rules": rules,
    })
}

/// A role that becomes part of those that people have.
fn aggregated(name: &str, into: &[&str], rules: &[Value]) -> Value {
    let mut role = cluster_role(name, rules);
    for target in into {
        role["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{target}")] =
            json!("true");
    }
    role
}

/// Binds the operator's role to the operator.
fn binding(kind: &str, namespace: Option<&str>) -> Value {
    let mut binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": OPERATOR, "labels": labels()},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": kind.trim_end_matches("Binding"),
            "name": OPERATOR,
        },
        "subjects": [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": NAMESPACE}],
    });
    if let Some(namespace) = namespace {
        binding["metadata"]["namespace"] = json!(namespace);
    }
    binding
}
