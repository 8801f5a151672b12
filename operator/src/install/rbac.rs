//! Who may do what.
//!
//! The operator may do little on the whole host: look after clusters and namespaces, watch what it manages, and *bind*
//! seven named roles. What it may do in a tenant's namespace it gets there by such a binding. So it can read no Secret
//! outside the namespaces of clusters, and can grant nothing but these roles.

use serde_json::{Value, json};

use super::{NAMESPACE, OPERATOR, labels};
use crate::names::{
    CONTROL_PLANE_ROLE, EXPORT_ROLE, HOST_READER_ROLE, KUBECONFIG_ROLE, SYNC_CLUSTER_ROLE, SYNC_ROLE,
    TENANT_ROLE,
};

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
/// Server-side apply creates what is missing.
const APPLY: &[&str] = &["create", "delete", "get", "list", "patch"];

const AGGREGATE_TO_SYNC: &str = "vkube.dev/aggregate-to-sync";
const AGGREGATE_TO_SYNC_CLUSTER: &str = "vkube.dev/aggregate-to-sync-cluster";

pub(super) fn all() -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": OPERATOR, "namespace": NAMESPACE, "labels": labels()},
        }),
        cluster_role(OPERATOR, &operator()),
        cluster_role(TENANT_ROLE, &tenant()),
        cluster_role(KUBECONFIG_ROLE, &beside_cluster()),
        cluster_role(EXPORT_ROLE, &export()),
        cluster_role(CONTROL_PLANE_ROLE, &control_plane()),
        cluster_role(HOST_READER_ROLE, &host_reader()),
        gathering(SYNC_ROLE, AGGREGATE_TO_SYNC),
        gathering(SYNC_CLUSTER_ROLE, AGGREGATE_TO_SYNC_CLUSTER),
        contribution("vkube-sync-known", AGGREGATE_TO_SYNC, &sync_known()),
        contribution("vkube-sync-cluster-known", AGGREGATE_TO_SYNC_CLUSTER, &sync_cluster_known()),
        aggregated("vkube-view", &["view"], &view()),
        aggregated("vkube-edit", &["edit", "admin"], &edit()),
        bound(OPERATOR),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": OPERATOR, "namespace": NAMESPACE, "labels": labels()},
            "rules": [rule(&["coordination.k8s.io"], &["leases"], &["create", "get", "update"])],
        }),
        binding("RoleBinding", OPERATOR, Some(NAMESPACE)),
    ]
}

/// On the whole host.
fn operator() -> Vec<Value> {
    let roles = [
        CONTROL_PLANE_ROLE,
        EXPORT_ROLE,
        HOST_READER_ROLE,
        KUBECONFIG_ROLE,
        SYNC_CLUSTER_ROLE,
        SYNC_ROLE,
        TENANT_ROLE,
    ];
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
        rule(&["discovery.k8s.io"], &["endpointslices"], &["list", "watch"]),
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
        // In which a control plane tells when it was used, and asks for namespaces; and the answers.
        rule(&[""], &["configmaps"], &["create", "get", "list", "patch", "watch"]),
        rule(&["apps"], &["statefulsets"], APPLY),
        // By which clients of a sleeping cluster reach the operator.
        rule(&["discovery.k8s.io"], &["endpointslices"], &["create", "delete", "get", "patch"]),
        rule(&["policy"], &["poddisruptionbudgets"], APPLY),
        rule(&["networking.k8s.io"], &["ingresses", "networkpolicies"], APPLY),
        rule(&["gateway.networking.k8s.io"], &["tlsroutes"], APPLY),
        // By which a Prometheus finds the control plane's metrics.
        rule(&["monitoring.coreos.com"], &["servicemonitors"], APPLY),
        rule(&["rbac.authorization.k8s.io"], &["rolebindings"], APPLY),
    ]
}

/// The operator, in the namespaces of clusters: kubeconfigs, and what specs refer to.
fn beside_cluster() -> Vec<Value> {
    vec![rule(&[""], &["secrets"], WRITE), rule(&[""], &["configmaps"], READ)]
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

/// A control plane, in its host namespace, for resources that are synchronised by rule. Custom resources of others are
/// for administrators to allow.
fn sync_known() -> Vec<Value> {
    vec![
        // Its own namespace, as the owner of what is its own outside of it.
        rule(&[""], &["namespaces"], &["get"]),
        rule(&[""], &["serviceaccounts"], WRITE),
        rule(
            &["gateway.networking.k8s.io"],
            &[
                "backendtlspolicies",
                "gateways",
                "grpcroutes",
                "httproutes",
                "tcproutes",
                "tlsroutes",
                "udproutes",
            ],
            WRITE,
        ),
        rule(&["metrics.k8s.io"], &["pods"], &["get", "list"]),
        rule(&["resource.k8s.io"], &["resourceclaims", "resourceclaimtemplates"], WRITE),
        rule(&["snapshot.storage.k8s.io"], &["volumesnapshots"], WRITE),
    ]
}

/// A control plane, on the whole host, for what the host shows by rule: classes and definitions, which tell of no
/// tenant.
fn sync_cluster_known() -> Vec<Value> {
    vec![
        rule(&["apiextensions.k8s.io"], &["customresourcedefinitions"], READ),
        rule(&["gateway.networking.k8s.io"], &["gatewayclasses"], READ),
        rule(&["metrics.k8s.io"], &["nodes"], &["get", "list"]),
        rule(&["networking.k8s.io"], &["ingressclasses"], READ),
        rule(&["node.k8s.io"], &["runtimeclasses"], READ),
        rule(&["resource.k8s.io"], &["deviceclasses"], READ),
        rule(&["scheduling.k8s.io"], &["priorityclasses"], READ),
        rule(&["snapshot.storage.k8s.io"], &["volumesnapshotclasses"], READ),
        rule(
            &["storage.k8s.io"],
            &["csidrivers", "csinodes", "csistoragecapacities", "storageclasses"],
            READ,
        ),
    ]
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

pub(super) fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
}

pub(super) fn cluster_role(name: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels()},
        "rules": rules,
    })
}

/// A role made of all roles with a label.
fn gathering(name: &str, label: &str) -> Value {
    let mut role = cluster_role(name, &[]);
    role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
    // The host's controller fills them in.
    if let Some(fields) = role.as_object_mut() {
        fields.remove("rules");
    }
    role
}

/// A part of a role made of all roles with a label.
fn contribution(name: &str, label: &str, rules: &[Value]) -> Value {
    let mut role = cluster_role(name, rules);
    role["metadata"]["labels"][label] = json!("true");
    role
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

/// Binds a ClusterRole to the operator.
pub(super) fn bound(role: &str) -> Value {
    binding("ClusterRoleBinding", role, None)
}

/// Binds a role to the operator, under the role's name.
fn binding(kind: &str, role: &str, namespace: Option<&str>) -> Value {
    let mut binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": role, "labels": labels()},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": kind.trim_end_matches("Binding"),
            "name": role,
        },
        "subjects": [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": NAMESPACE}],
    });
    if let Some(namespace) = namespace {
        binding["metadata"]["namespace"] = json!(namespace);
    }
    binding
}
