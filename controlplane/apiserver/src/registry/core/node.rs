//! Nodes.

mod validate;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod_spec::round_up_quantities;
use crate::field::{Errors, Path};
use crate::registry::access::{bool_at, entries, get, has, list_at, make_map, of_type, set, str_at, strs_at};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, name, text_or, wide};
use crate::validation::ip;

/// The rules of nodes.
pub struct Node;

impl Kind for Node {
    fn default(&self, node: &mut Value) {
        default_pod_cidrs(node);
        default_status(node);
    }

    fn prepare_create(&self, node: &mut Value, _writer: &Writer<'_>) {
        make_map(node, "/spec");
        default_status(node);
    }

    fn status_on_create(&self) -> bool {
        true
    }

    fn warnings(&self, node: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if has(node, "/spec/configSource") {
            warnings.push("spec.configSource: the feature is removed".into());
        }
        if !str_at(node, "/spec/externalID").is_empty() {
            warnings.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".into());
        }
        let path = Path::new("spec");
        for (index, cidr) in strs_at(node, "/spec/podCIDRs").enumerate() {
            warnings.extend(ip::cidr_warnings(&path.child("podCIDRs").index(index), cidr));
        }
        warnings
    }

    fn validate(&self, node: &Value) -> Errors {
        validate::validate_create(node)
    }

    fn validate_update(&self, node: &Value, old: &Value) -> Errors {
        let mut errors = validate::validate_create(node);
        errors.extend(validate::validate_update(node, old));
        errors
    }

    fn validate_status_update(&self, node: &Value, old: &Value) -> Errors {
        validate::validate_update(node, old)
    }

    fn prepare_status_update(&self, node: &mut Value, _old: &Value) {
        default_status(node);
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, node: &Value, now: Timestamp) -> Vec<Value> {
        let info = |field: &str| text_or(node, &format!("/status/nodeInfo/{field}"), "<unknown>");
        vec![
            name(node),
            status(node).into(),
            roles(node).into(),
            age(node, now),
            str_at(node, "/status/nodeInfo/kubeletVersion").into(),
            address(node, "InternalIP"),
            address(node, "ExternalIP"),
            info("osImage"),
            kernel(node).into(),
            info("containerRuntimeVersion"),
        ]
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn field_values(&self, node: &Value) -> Vec<String> {
        vec![bool_at(node, "/spec/unschedulable").to_string()]
    }
}

/// `podCIDR` is the first of `podCIDRs`.
fn default_pod_cidrs(node: &mut Value) {
    let single = str_at(node, "/spec/podCIDR").to_owned();
    let first = list_at(node, "/spec/podCIDRs").first().and_then(Value::as_str).map(ToOwned::to_owned);
    match first {
        Some(first) if single.is_empty() => set(node, "/spec/podCIDR", first),
        None if !single.is_empty() => set(node, "/spec/podCIDRs", json!([single])),
        _ => {}
    }
}

fn default_status(node: &mut Value) {
    const INFO: [&str; 10] = [
        "machineID",
        "systemUUID",
        "bootID",
        "kernelVersion",
        "osImage",
        "containerRuntimeVersion",
        "kubeletVersion",
        "kubeProxyVersion",
        "operatingSystem",
        "architecture",
    ];
    make_map(node, "/status/daemonEndpoints/kubeletEndpoint").entry("Port").or_insert(0.into());
    let info = make_map(node, "/status/nodeInfo");
    for field in INFO {
        info.entry(field).or_insert("".into());
    }
    round_up_quantities(node, "/status/capacity");
    round_up_quantities(node, "/status/allocatable");
    if !has(node, "/status/allocatable")
        && let Some(capacity) = get(node, "/status/capacity").cloned()
    {
        set(node, "/status/allocatable", capacity);
    }
}

fn status(node: &Value) -> String {
    let ready = match of_type(list_at(node, "/status/conditions"), "Ready").map(|c| str_at(c, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if bool_at(node, "/spec/unschedulable") { format!("{ready},SchedulingDisabled") } else { ready.into() }
}

fn kernel(node: &Value) -> String {
    let version = match str_at(node, "/status/nodeInfo/kernelVersion") {
        "" => "<unknown>",
        version => version,
    };
    match str_at(node, "/status/nodeInfo/architecture") {
        "" => version.to_owned(),
        architecture => format!("{version} ({architecture})"),
    }
}

fn roles(node: &Value) -> String {
    let mut roles = BTreeSet::new();
    for (key, value) in entries(node, "/metadata/labels") {
        let role = match key.strip_prefix("node-role.kubernetes.io/") {
            None if key == "kubernetes.io/role" => value.as_str().unwrap_or_default(),
            role => role.unwrap_or_default(),
        };
        if !role.is_empty() {
            roles.insert(role);
        }
    }
    if roles.is_empty() { "<none>".into() } else { roles.into_iter().collect::<Vec<_>>().join(",") }
}

fn address(node: &Value, kind: &str) -> Value {
    of_type(list_at(node, "/status/addresses"), kind)
        .map_or_else(|| "<none>".into(), |found| str_at(found, "/address").into())
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Status", "string", "The status of the node"),
    column("Roles", "string", "The roles of the node"),
    AGE,
    column("Version", "string", "Kubelet Version reported by the node."),
    wide(
        "Internal-IP",
        "string",
        "List of addresses reachable to the node. Queried from cloud provider, if available. More info: https://kubernetes.io/docs/reference/node/node-status/#addresses Note: This field is declared as mergeable, but the merge key is not sufficiently unique, which can cause data corruption when it is merged. Callers should instead use a full-replacement patch. See https://pr.k8s.io/79391 for an example. Consumers should assume that addresses can change during the lifetime of a Node. However, there are some exceptions where this may not be possible, such as Pods that inherit a Node's address in its own status or consumers of the downward API (status.hostIP).",
    ),
    wide(
        "External-IP",
        "string",
        "List of addresses reachable to the node. Queried from cloud provider, if available. More info: https://kubernetes.io/docs/reference/node/node-status/#addresses Note: This field is declared as mergeable, but the merge key is not sufficiently unique, which can cause data corruption when it is merged. Callers should instead use a full-replacement patch. See https://pr.k8s.io/79391 for an example. Consumers should assume that addresses can change during the lifetime of a Node. However, there are some exceptions where this may not be possible, such as Pods that inherit a Node's address in its own status or consumers of the downward API (status.hostIP).",
    ),
    wide(
        "OS-Image",
        "string",
        "OS Image reported by the node from /etc/os-release (e.g. Debian GNU/Linux 7 (wheezy)).",
    ),
    wide(
        "Kernel-Version",
        "string",
        "Kernel Version reported by the node from 'uname -r' (e.g. 3.16.0-0.bpo.4-amd64).",
    ),
    wide(
        "Container-Runtime",
        "string",
        "ContainerRuntime Version reported by the node through runtime remote API (e.g. containerd://1.4.2).",
    ),
];
