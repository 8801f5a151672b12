//! The roles and bindings that every cluster has
//! (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings>).

mod controllers;

use serde_json::{Value, json};

use super::rules::Rule;
use crate::{resource::Definition, server::builtin, status::ApiError};
use controllers::{CONTROLLERS, NAMESPACED};

const GROUP: &str = "rbac.authorization.k8s.io";
const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";
const ALL: &str = "create delete deletecollection get list patch update watch";
const CHANGE: &str = "patch update";

/// A rule as the table has it: lists are separated by spaces, and `-` is the core group.
#[derive(Clone, Copy)]
struct Row {
    verbs: &'static str,
    groups: &'static str,
    resources: &'static str,
    names: &'static str,
}

/// A role's name and rules.
type Role = (&'static str, &'static [Row]);

impl Row {
    fn rule(&self) -> Rule {
        Rule {
            verbs: words(self.verbs),
            api_groups: words(self.groups),
            resources: words(self.resources),
            resource_names: words(self.names),
            ..Rule::default()
        }
    }
}

const fn row(verbs: &'static str, groups: &'static str, resources: &'static str) -> Row {
    Row { verbs, groups, resources, names: "" }
}

const fn row_named(
    verbs: &'static str,
    groups: &'static str,
    resources: &'static str,
    names: &'static str,
) -> Row {
    Row { verbs, groups, resources, names }
}

/// Whoever works tells of it.
const EVENTS: Row = row("create patch update", "- events.k8s.io", "events");

/// The public paths that `system:discovery` and its siblings show.
const PATHS: &[(&str, &str)] = &[
    (
        "system:discovery",
        "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/",
    ),
    ("system:public-info-viewer", "/healthz /livez /readyz /version /version/"),
    ("system:monitoring", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"),
    (
        "system:service-account-issuer-discovery",
        "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/",
    ),
];

const VIEW: &[Row] = &[
    row(
        READ,
        "-",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
    ),
    row(
        READ,
        "-",
        "bindings limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status",
    ),
    row(READ, "-", "namespaces"),
    row(READ, "- events.k8s.io", "events"),
    row(READ, "discovery.k8s.io", "endpointslices"),
    row(
        READ,
        "apps",
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
    ),
    row(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    row(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
    row(
        READ,
        "extensions",
        "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale",
    ),
    row(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    row(READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
    row(READ, "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
];

const EDIT: &[Row] = &[
    row(READ, "-", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
    row("impersonate", "-", "serviceaccounts"),
    row(WRITE, "-", "pods pods/attach pods/exec pods/portforward pods/proxy"),
    row("create", "-", "pods/eviction"),
    row(
        WRITE,
        "-",
        "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy",
    ),
    row("create", "-", "serviceaccounts/token"),
    row(
        WRITE,
        "apps",
        "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale",
    ),
    row(WRITE, "autoscaling", "horizontalpodautoscalers"),
    row(WRITE, "batch", "cronjobs jobs"),
    row(
        WRITE,
        "extensions",
        "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets replicasets/scale replicationcontrollers/scale",
    ),
    row(WRITE, "policy", "poddisruptionbudgets"),
    row(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
    row(ALL, "coordination.k8s.io", "leases"),
    row(WRITE, "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
];

const ADMIN: &[Row] = &[
    row("create", "authorization.k8s.io", "localsubjectaccessreviews"),
    row(ALL, GROUP, "rolebindings roles"),
];

/// The other roles of the cluster.
const ROLES: &[Role] = &[
    (
        "system:basic-user",
        &[
            row("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
            row("create", "authentication.k8s.io", "selfsubjectreviews"),
        ],
    ),
    (
        "system:auth-delegator",
        &[
            row("create", "authentication.k8s.io", "tokenreviews"),
            row("create", "authorization.k8s.io", "subjectaccessreviews"),
        ],
    ),
    (
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        &[row("create", "certificates.k8s.io", "certificatesigningrequests/nodeclient")],
    ),
    (
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        &[row("create", "certificates.k8s.io", "certificatesigningrequests/selfnodeclient")],
    ),
    (
        "system:certificates.k8s.io:kube-apiserver-client-approver",
        &[row_named("approve", "certificates.k8s.io", "signers", "kubernetes.io/kube-apiserver-client")],
    ),
    (
        "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
        &[row_named(
            "approve",
            "certificates.k8s.io",
            "signers",
            "kubernetes.io/kube-apiserver-client-kubelet",
        )],
    ),
    (
        "system:certificates.k8s.io:kubelet-serving-approver",
        &[row_named("approve", "certificates.k8s.io", "signers", "kubernetes.io/kubelet-serving")],
    ),
    (
        "system:certificates.k8s.io:legacy-unknown-approver",
        &[row_named("approve", "certificates.k8s.io", "signers", "kubernetes.io/legacy-unknown")],
    ),
    (
        "system:heapster",
        &[row(READ, "-", "events namespaces nodes pods"), row(READ, "extensions", "deployments")],
    ),
    ("system:kube-aggregator", &[row(READ, "-", "endpoints services")]),
    (
        "system:kube-controller-manager",
        &[
            EVENTS,
            row("create", "coordination.k8s.io", "leases"),
            row_named("get list update watch", "coordination.k8s.io", "leases", "kube-controller-manager"),
            row(ALL, "coordination.k8s.io", "leasecandidates"),
            row("create", "-", "secrets serviceaccounts"),
            row("delete", "-", "secrets"),
            row("get", "-", "configmaps namespaces secrets serviceaccounts"),
            row("update", "-", "secrets serviceaccounts"),
            row("create", "authentication.k8s.io", "tokenreviews"),
            row("create", "authorization.k8s.io", "subjectaccessreviews"),
            row("list watch", "*", "*"),
            row("create", "-", "serviceaccounts/token"),
        ],
    ),
    ("system:kube-dns", &[row("list watch", "-", "endpoints services")]),
    (
        "system:kube-scheduler",
        &[
            EVENTS,
            row("create", "coordination.k8s.io", "leases"),
            row_named("get list update watch", "coordination.k8s.io", "leases", "kube-scheduler"),
            row(ALL, "coordination.k8s.io", "leasecandidates"),
            row(READ, "-", "nodes"),
            row("delete get list watch", "-", "pods"),
            row("create", "-", "bindings pods/binding"),
            row(CHANGE, "-", "pods/status"),
            row(READ, "-", "replicationcontrollers services"),
            row(READ, "apps extensions", "replicasets"),
            row(READ, "apps", "statefulsets"),
            row(READ, "policy", "poddisruptionbudgets"),
            row(READ, "-", "persistentvolumeclaims persistentvolumes"),
            row("create", "authentication.k8s.io", "tokenreviews"),
            row("create", "authorization.k8s.io", "subjectaccessreviews"),
            row(READ, "storage.k8s.io", "csinodes"),
            row(READ, "storage.k8s.io", "volumeattachments"),
            row(READ, "-", "namespaces"),
            row(READ, "storage.k8s.io", "csidrivers"),
            row(READ, "storage.k8s.io", "csistoragecapacities"),
            row(READ, "resource.k8s.io", "deviceclasses"),
            row("get list patch update watch", "resource.k8s.io", "resourceclaims"),
            row("get list patch update watch", "resource.k8s.io", "resourceclaims/status"),
            row("update", "-", "pods/finalizers"),
            row(READ, "resource.k8s.io", "resourceslices"),
            row("create delete", "resource.k8s.io", "resourceclaims"),
            row(CHANGE, "resource.k8s.io", "resourceclaims/binding"),
        ],
    ),
    (
        "system:kubelet-api-admin",
        &[
            row(READ, "-", "nodes"),
            row("proxy", "-", "nodes"),
            row(
                "*",
                "-",
                "nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/stats",
            ),
        ],
    ),
    (
        "system:node",
        &[
            row("create", "authentication.k8s.io", "tokenreviews"),
            row("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
            row(READ, "-", "services"),
            row("create get list watch", "-", "nodes"),
            row(CHANGE, "-", "nodes/status"),
            row(CHANGE, "-", "nodes"),
            row("create patch update", "-", "events"),
            row(READ, "-", "pods"),
            row("create delete", "-", "pods"),
            row(CHANGE, "-", "pods/status"),
            row("create", "-", "pods/eviction"),
            row(READ, "-", "configmaps secrets"),
            row("get", "-", "persistentvolumeclaims persistentvolumes"),
            row("get", "-", "endpoints"),
            row("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
            row("create delete get patch update", "coordination.k8s.io", "leases"),
            row("get", "storage.k8s.io", "volumeattachments"),
            row("create", "-", "serviceaccounts/token"),
            row("get patch update", "-", "persistentvolumeclaims/status"),
            row(READ, "storage.k8s.io", "csidrivers"),
            row("create delete get patch update", "storage.k8s.io", "csinodes"),
            row(READ, "node.k8s.io", "runtimeclasses"),
            row("get", "resource.k8s.io", "resourceclaims"),
            row("deletecollection", "resource.k8s.io", "resourceslices"),
            row("create delete get list patch update watch", "resource.k8s.io", "resourceslices"),
        ],
    ),
    (
        "system:node-bootstrapper",
        &[row("create get list watch", "certificates.k8s.io", "certificatesigningrequests")],
    ),
    ("system:node-problem-detector", &[row("get", "-", "nodes"), row("patch", "-", "nodes/status"), EVENTS]),
    (
        "system:node-proxier",
        &[
            row("list watch", "-", "endpoints services"),
            row(READ, "-", "nodes"),
            EVENTS,
            row("list watch", "discovery.k8s.io", "endpointslices"),
            row("list watch", "networking.k8s.io", "servicecidrs"),
        ],
    ),
    (
        "system:persistent-volume-provisioner",
        &[
            row("create delete get list watch", "-", "persistentvolumes"),
            row("get list update watch", "-", "persistentvolumeclaims"),
            row(READ, "storage.k8s.io", "storageclasses"),
            row("watch", "-", "events"),
            EVENTS,
        ],
    ),
    (
        "system:volume-scheduler",
        &[
            row("get list patch update watch", "-", "persistentvolumes"),
            row(READ, "storage.k8s.io", "storageclasses"),
            row("get list patch update watch", "-", "persistentvolumeclaims"),
        ],
    ),
];

/// Who has which roles: the binding is named like the role. Subjects are groups (`g`), users (`u`) and
/// service accounts of `kube-system` (`s`).
const BINDINGS: &[(&str, &[(char, &str)])] = &[
    ("cluster-admin", &[('g', "system:masters")]),
    ("system:basic-user", &[('g', "system:authenticated")]),
    ("system:discovery", &[('g', "system:authenticated")]),
    ("system:kube-controller-manager", &[('u', "system:kube-controller-manager")]),
    ("system:kube-dns", &[('s', "kube-dns")]),
    ("system:kube-scheduler", &[('u', "system:kube-scheduler")]),
    ("system:monitoring", &[('g', "system:monitoring")]),
    ("system:node", &[]),
    ("system:node-proxier", &[('u', "system:kube-proxy")]),
    ("system:public-info-viewer", &[('g', "system:authenticated"), ('g', "system:unauthenticated")]),
    ("system:service-account-issuer-discovery", &[('g', "system:serviceaccounts")]),
    ("system:volume-scheduler", &[('u', "system:kube-scheduler")]),
];

/// Bindings in namespaces: `(namespace, name, role, subjects)`.
type Bound = (&'static str, &'static str, &'static str, &'static [(char, &'static str)]);

const NAMESPACED_BINDINGS: &[Bound] = &[
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        &[('s', "bootstrap-signer")],
    ),
    (
        "kube-system",
        "system::extension-apiserver-authentication-reader",
        "extension-apiserver-authentication-reader",
        &[('u', "system:kube-controller-manager"), ('u', "system:kube-scheduler")],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        "system::leader-locking-kube-controller-manager",
        &[
            ('u', "system:kube-controller-manager"),
            ('s', "kube-controller-manager"),
            ('s', "leader-election-controller"),
        ],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-scheduler",
        "system::leader-locking-kube-scheduler",
        &[('u', "system:kube-scheduler"), ('s', "kube-scheduler")],
    ),
    (
        "kube-system",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        &[('s', "bootstrap-signer")],
    ),
    (
        "kube-system",
        "system:controller:cloud-provider",
        "system:controller:cloud-provider",
        &[('s', "cloud-provider")],
    ),
    (
        "kube-system",
        "system:controller:token-cleaner",
        "system:controller:token-cleaner",
        &[('s', "token-cleaner")],
    ),
];

/// The rules of nodes, for the Node authorizer, which alone grants them.
pub fn node_rules() -> Vec<Rule> {
    let node = ROLES.iter().filter(|(name, _)| *name == "system:node");
    node.flat_map(|(_, rows)| rows.iter().map(Row::rule)).collect()
}

/// The objects of the policy.
pub fn objects() -> Result<Vec<(Definition, Value)>, ApiError> {
    let (roles, bindings) = (builtin(GROUP, "clusterroles")?, builtin(GROUP, "clusterrolebindings")?);
    let mut objects = Vec::with_capacity(160);
    let everything = json!([
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]);
    let mut add = |role: Value| objects.push((roles.clone(), role));
    add(role("ClusterRole", "cluster-admin", &everything));
    for (name, of) in [("admin", ""), ("edit", "admin"), ("view", "edit")] {
        add(aggregated(name, of));
    }
    for (name, rows) in [("admin", ADMIN), ("edit", EDIT), ("view", VIEW)] {
        add(labelled(role("ClusterRole", &format!("system:aggregate-to-{name}"), &rules(rows)), name));
    }
    for (name, urls) in PATHS {
        let rule = Rule { verbs: words("get"), non_resource_urls: words(urls), ..Rule::default() };
        add(role("ClusterRole", name, &json!([rule.to_value()])));
    }
    for (name, rows) in ROLES {
        add(role("ClusterRole", name, &rules(rows)));
    }
    for (name, rows) in CONTROLLERS {
        let role_name = format!("system:controller:{name}");
        add(role("ClusterRole", &role_name, &rules(rows)));
    }
    for (name, _) in CONTROLLERS {
        let role = format!("system:controller:{name}");
        objects.push((bindings.clone(), binding("ClusterRole", &role, &role, &[('s', name)])));
    }
    for (name, subjects) in BINDINGS {
        objects.push((bindings.clone(), binding("ClusterRole", name, name, subjects)));
    }
    let (roles, bindings) = (builtin(GROUP, "roles")?, builtin(GROUP, "rolebindings")?);
    for (namespace, (name, rows)) in NAMESPACED {
        objects.push((roles.clone(), within(role("Role", name, &rules(rows)), namespace)));
    }
    for (namespace, name, role, subjects) in NAMESPACED_BINDINGS {
        objects.push((bindings.clone(), within(binding("Role", name, role, subjects), namespace)));
    }
    Ok(objects)
}

/// What becomes of a role or binding of the policy that is there already: what it lacks is added, unless
/// its annotation says that it shall stay as it is. `None` if it lacks nothing.
pub fn reconcile(existing: &Value, wanted: &Value) -> Option<Value> {
    let annotation = existing.pointer("/metadata/annotations/rbac.authorization.kubernetes.io~1autoupdate");
    if annotation.and_then(Value::as_str) != Some("true") {
        return None;
    }
    let list = |object: &Value, field: &str| {
        object.get(field).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let own = Rule::of(existing);
    let covered =
        |rule: &Value| Rule::parse(rule).split().iter().all(|one| own.iter().any(|rule| rule.covers(one)));
    let (mut rules, mut subjects) = (list(existing, "rules"), list(existing, "subjects"));
    let (had_rules, had_subjects) = (rules.len(), subjects.len());
    rules.extend(list(wanted, "rules").into_iter().filter(|rule| !covered(rule)));
    for subject in list(wanted, "subjects") {
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    let mut object = existing.clone();
    if rules.len() > had_rules {
        object["rules"] = rules.into();
    } else if subjects.len() > had_subjects {
        object["subjects"] = subjects.into();
    } else {
        return None;
    }
    Some(object)
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    })
}

fn role(kind: &str, name: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata(name),
        "rules": rules,
    })
}

fn within(mut object: Value, namespace: &str) -> Value {
    crate::metadata::set(&mut object, "namespace", namespace);
    object
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(|w| if w == "-" { String::new() } else { w.to_owned() }).collect()
}

fn rules(rows: &[Row]) -> Value {
    rows.iter().map(|row| row.rule().to_value()).collect()
}

/// A role that has the rules of all roles labelled for it; it is itself part of the role `of`.
fn aggregated(name: &str, of: &str) -> Value {
    let mut role = role("ClusterRole", name, &Value::Null);
    let selector = json!({"matchLabels": {format!("{GROUP}/aggregate-to-{name}"): "true"}});
    role["aggregationRule"] = json!({"clusterRoleSelectors": [selector]});
    if of.is_empty() { role } else { labelled(role, of) }
}

fn labelled(mut role: Value, of: &str) -> Value {
    role["metadata"]["labels"][format!("{GROUP}/aggregate-to-{of}")] = "true".into();
    role
}

fn binding(role_kind: &str, name: &str, role: &str, subjects: &[(char, &str)]) -> Value {
    let subject = |(kind, name): &(char, &str)| match kind {
        'g' => json!({"kind": "Group", "apiGroup": GROUP, "name": name}),
        'u' => json!({"kind": "User", "apiGroup": GROUP, "name": name}),
        _ => json!({"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}),
    };
    let mut binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": format!("{role_kind}Binding"),
        "metadata": metadata(name),
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role},
    });
    if !subjects.is_empty() {
        binding["subjects"] = subjects.iter().map(subject).collect();
    }
    binding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_of_an_older_version_gets_what_it_lacks_and_keeps_the_rest() {
        let (_, wanted) =
            objects().unwrap().into_iter().find(|(_, o)| o["metadata"]["name"] == "system:node").unwrap();
        assert_eq!(reconcile(&wanted, &wanted), None);
        let mut old = wanted.clone();
        let removed = old["rules"].as_array_mut().unwrap().pop().unwrap();
        old["rules"]
            .as_array_mut()
            .unwrap()
            .insert(0, json!({"verbs": ["get"], "apiGroups": ["own"], "resources": ["x"]}));
        let new = reconcile(&old, &wanted).unwrap();
        assert_eq!(new["rules"].as_array().unwrap().last().unwrap(), &removed);
        assert_eq!(new["rules"][0]["apiGroups"][0], "own");
        old["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false".into();
        assert_eq!(reconcile(&old, &wanted), None);
    }

    #[test]
    fn every_binding_is_to_a_role_of_the_policy() {
        let objects = objects().unwrap();
        for (_, binding) in objects.iter().filter(|(_, o)| o["roleRef"].is_object()) {
            let role = &binding["roleRef"];
            let namespace =
                if role["kind"] == "Role" { &binding["metadata"]["namespace"] } else { &Value::Null };
            let found = objects.iter().any(|(_, o)| {
                o["kind"] == role["kind"]
                    && o["metadata"]["name"] == role["name"]
                    && o["metadata"].get("namespace").unwrap_or(&Value::Null) == namespace
            });
            assert!(found, "{}", role["name"]);
        }
    }
}
