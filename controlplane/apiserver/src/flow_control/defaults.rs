//! The objects that every cluster begins with, as the documentation lists them
//! (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#defaults>).

use serde_json::{Value, json};

/// Says whether the server keeps the spec of an object as it is by default.
pub const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// How many queues, cards in a hand, and requests in a queue.
type Queuing = (i64, i64, i64);

/// Name, shares, percentage lent, and queues; what has none rejects.
const LEVELS: &[(&str, i64, i64, Option<Queuing>)] = &[
    ("catch-all", 5, 0, None),
    ("global-default", 20, 50, Some((128, 6, 50))),
    ("leader-election", 10, 0, Some((16, 4, 50))),
    ("node-high", 40, 25, Some((64, 6, 50))),
    ("system", 30, 33, Some((64, 6, 50))),
    ("workload-high", 40, 50, Some((128, 6, 50))),
    ("workload-low", 100, 90, Some((128, 6, 50))),
];

/// The two levels and schemas without which there is no limiting.
pub const MANDATORY: [&str; 2] = ["catch-all", "exempt"];

const EVERYONE: &[&str] = &["system:unauthenticated", "system:authenticated"];

/// All of them.
pub fn all() -> Vec<Value> {
    let mut objects = vec![exempt()];
    objects.extend(LEVELS.iter().map(|(name, shares, lendable, queuing)| {
        let response = match queuing {
            Some((queues, hand, length)) => json!({
                "type": "Queue",
                "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": length},
            }),
            None => json!({"type": "Reject"}),
        };
        let limited =
            json!({"nominalConcurrencyShares": shares, "limitResponse": response, "lendablePercent": lendable});
        level(name, &json!({"type": "Limited", "limited": limited}))
    }));
    objects.extend(schemas());
    objects
}

/// Those that hold even when they have been deleted.
pub fn mandatory() -> impl Iterator<Item = Value> {
    all().into_iter().filter(|object| MANDATORY.iter().any(|name| object["metadata"]["name"] == *name))
}

fn exempt() -> Value {
    let exempt = json!({"nominalConcurrencyShares": 0, "lendablePercent": 0});
    level("exempt", &json!({"type": "Exempt", "exempt": exempt}))
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "annotations": {AUTOUPDATE: "true"}},
        "spec": spec,
    })
}

fn level(name: &str, spec: &Value) -> Value {
    object("PriorityLevelConfiguration", name, spec)
}

fn schemas() -> Vec<Value> {
    let managers = || users(&["system:kube-controller-manager"]);
    let leases = || rule(&["get", "create", "update"], "coordination.k8s.io", &["leases"], false);
    let endpoints = rule(&["get", "create", "update"], "", &["endpoints"], false);
    let leaders =
        [users(&["system:kube-controller-manager", "system:kube-scheduler"]), accounts(&["*"])].concat();
    let endpoint_controllers =
        [managers(), accounts(&["endpoint-controller", "endpointslicemirroring-controller"])].concat();
    let nodes = [rule(&["*"], "", &["nodes", "nodes/status"], true), {
        rule(&["*"], "coordination.k8s.io", &["leases"], false)
    }];
    let probes = json!({
        "subjects": groups(EVERYONE),
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}],
    });
    vec![
        schema("exempt", "exempt", 1, "", everything(&groups(&["system:masters"]))),
        schema("probes", "exempt", 2, "", probes),
        schema("system-leader-election", "leader-election", 100, "ByUser", some(&leaders, &[leases()])),
        schema(
            "endpoint-controller",
            "workload-high",
            150,
            "ByUser",
            some(&endpoint_controllers, &[endpoints]),
        ),
        schema(
            "workload-leader-election",
            "leader-election",
            200,
            "ByUser",
            some(&accounts(&["*"]), &[leases()]),
        ),
        schema("system-node-high", "node-high", 400, "ByUser", some(&groups(&["system:nodes"]), &nodes)),
        schema("system-nodes", "system", 500, "ByUser", everything(&groups(&["system:nodes"]))),
        schema("kube-controller-manager", "workload-high", 800, "ByNamespace", everything(&managers())),
        schema(
            "kube-scheduler",
            "workload-high",
            800,
            "ByNamespace",
            everything(&users(&["system:kube-scheduler"])),
        ),
        schema(
            "kube-system-service-accounts",
            "workload-high",
            900,
            "ByNamespace",
            everything(&accounts(&["*"])),
        ),
        schema(
            "service-accounts",
            "workload-low",
            9000,
            "ByUser",
            everything(&groups(&["system:serviceaccounts"])),
        ),
        schema("global-default", "global-default", 9900, "ByUser", everything(&groups(EVERYONE))),
        schema("catch-all", "catch-all", 10000, "ByUser", everything(&groups(EVERYONE))),
    ]
}

fn schema(name: &str, level: &str, precedence: i64, distinguisher: &str, rule: Value) -> Value {
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [rule],
    });
    if !distinguisher.is_empty() {
        spec["distinguisherMethod"] = json!({"type": distinguisher});
    }
    object("FlowSchema", name, &spec)
}

fn everything(subjects: &[Value]) -> Value {
    let resources = json!({
        "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"],
    });
    json!({
        "subjects": subjects,
        "resourceRules": [resources],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    })
}

fn some(subjects: &[Value], rules: &[Value]) -> Value {
    json!({"subjects": subjects, "resourceRules": rules})
}

fn rule(verbs: &[&str], group: &str, resources: &[&str], cluster_scope: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"]});
    if cluster_scope {
        rule["clusterScope"] = true.into();
    }
    rule
}

fn groups(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({"kind": "Group", "group": {"name": name}})).collect()
}

fn users(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({"kind": "User", "user": {"name": name}})).collect()
}

/// Service accounts of `kube-system`.
fn accounts(names: &[&str]) -> Vec<Value> {
    let account = |name: &&str| json!({"namespace": "kube-system", "name": name});
    names.iter().map(|name| json!({"kind": "ServiceAccount", "serviceAccount": account(name)})).collect()
}
