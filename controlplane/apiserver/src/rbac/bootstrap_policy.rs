//! The roles and bindings that every cluster has
//! (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings>).

use serde_json::{Value, json};

use super::rules::Rule;
use crate::{resource::Definition, server::builtin, status::ApiError};

const GROUP: &str = "rbac.authorization.k8s.io";
const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";

/// A rule as the table has it: verbs, groups (`-` is core) and resources, separated by spaces.
type Row = (&'static str, &'static str, &'static str);

/// The public paths that `system:discovery` and its siblings show.
const DISCOVERY: &str = "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/";
const PUBLIC: &str = "/healthz /livez /readyz /version /version/";

const VIEW: &[Row] = &[
    (
        READ,
        "-",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
    ),
    (
        READ,
        "-",
        "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status",
    ),
    (READ, "-", "namespaces"),
    (READ, "discovery.k8s.io", "endpointslices"),
    (
        READ,
        "apps",
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
    ),
    (READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    (READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
    (
        READ,
        "extensions",
        "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale",
    ),
    (READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    (READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
    (READ, "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
];

const EDIT: &[Row] = &[
    (READ, "-", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
    ("impersonate", "-", "serviceaccounts"),
    (WRITE, "-", "pods pods/attach pods/exec pods/portforward pods/proxy"),
    ("create", "-", "pods/eviction"),
    (
        WRITE,
        "-",
        "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy",
    ),
    ("create", "-", "serviceaccounts/token"),
    (
        WRITE,
        "apps",
        "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale",
    ),
    (WRITE, "autoscaling", "horizontalpodautoscalers"),
    (WRITE, "batch", "cronjobs jobs"),
    (
        WRITE,
        "extensions",
        "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets replicasets/scale replicationcontrollers/scale",
    ),
    (WRITE, "policy", "poddisruptionbudgets"),
    (WRITE, "networking.k8s.io", "ingresses networkpolicies"),
    ("create delete deletecollection get list patch update watch", "coordination.k8s.io", "leases"),
    (WRITE, "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
];

const ADMIN: &[Row] = &[
    ("create", "authorization.k8s.io", "localsubjectaccessreviews"),
    ("create delete deletecollection get list patch update watch", GROUP, "rolebindings roles"),
];

/// The objects of the policy.
pub fn objects() -> Result<Vec<(Definition, Value)>, ApiError> {
    let roles = builtin(GROUP, "clusterroles")?;
    let bindings = builtin(GROUP, "clusterrolebindings")?;
    let everything = vec![
        json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}),
        json!({"nonResourceURLs": ["*"], "verbs": ["*"]}),
    ];
    let mut objects = vec![
        role("cluster-admin", everything),
        role("system:discovery", vec![paths(DISCOVERY)]),
        role("system:public-info-viewer", vec![paths(PUBLIC)]),
        role("system:monitoring", vec![paths("/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*")]),
        role(
            "system:service-account-issuer-discovery",
            vec![paths("/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/")],
        ),
        role(
            "system:basic-user",
            rules(&[
                ("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
                ("create", "authentication.k8s.io", "selfsubjectreviews"),
            ]),
        ),
        aggregated("admin", &["admin"], &[ADMIN, EDIT, VIEW]),
        aggregated("edit", &["edit"], &[EDIT, VIEW]),
        aggregated("view", &["view"], &[VIEW]),
        part("system:aggregate-to-admin", "admin", ADMIN),
        part("system:aggregate-to-edit", "edit", EDIT),
        part("system:aggregate-to-view", "view", VIEW),
    ];
    // `edit` is part of `admin`, and `view` of `edit`, by labels on the roles themselves.
    label(&mut objects, "edit", "rbac.authorization.k8s.io/aggregate-to-admin");
    label(&mut objects, "view", "rbac.authorization.k8s.io/aggregate-to-edit");
    let mut all: Vec<(Definition, Value)> = objects.into_iter().map(|o| (roles.clone(), o)).collect();
    for (name, groups) in [
        ("cluster-admin", &["system:masters"][..]),
        ("system:discovery", &["system:authenticated"]),
        ("system:basic-user", &["system:authenticated"]),
        ("system:public-info-viewer", &["system:authenticated", "system:unauthenticated"]),
        ("system:monitoring", &["system:monitoring"]),
        ("system:service-account-issuer-discovery", &["system:serviceaccounts"]),
    ] {
        all.push((bindings.clone(), binding(name, groups)));
    }
    Ok(all)
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    })
}

fn role(name: &str, rules: Vec<Value>) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": metadata(name),
        "rules": rules,
    })
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(|w| if w == "-" { String::new() } else { w.to_owned() }).collect()
}

fn rules(rows: &[Row]) -> Vec<Value> {
    rows.iter()
        .map(|(verbs, groups, resources)| {
            Rule {
                verbs: words(verbs),
                api_groups: words(groups),
                resources: words(resources),
                ..Rule::default()
            }
            .to_value()
        })
        .collect()
}

fn paths(paths: &str) -> Value {
    Rule { verbs: words("get"), non_resource_urls: words(paths), ..Rule::default() }.to_value()
}

fn aggregated(name: &str, to: &[&str], parts: &[&[Row]]) -> Value {
    let mut role = role(name, parts.iter().flat_map(|rows| rules(rows)).collect());
    let selectors: Vec<Value> = to
        .iter()
        .map(|t| json!({"matchLabels": {format!("rbac.authorization.k8s.io/aggregate-to-{t}"): "true"}}))
        .collect();
    role["aggregationRule"] = json!({"clusterRoleSelectors": selectors});
    role
}

fn part(name: &str, to: &str, rows: &[Row]) -> Value {
    let mut role = role(name, rules(rows));
    role["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{to}")] = "true".into();
    role
}

fn label(roles: &mut [Value], name: &str, label: &str) {
    if let Some(role) = roles.iter_mut().find(|r| r["metadata"]["name"] == name) {
        role["metadata"]["labels"][label] = "true".into();
    }
}

fn binding(role: &str, groups: &[&str]) -> Value {
    let subjects: Vec<Value> =
        groups.iter().map(|g| json!({"kind": "Group", "apiGroup": GROUP, "name": g})).collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": metadata(role),
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    })
}
