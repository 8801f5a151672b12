//! What a `vcluster.yaml` says of synchronisation: of each kind in its own words, of a rule for each resource here.

use serde_json::{Map, Value, json};

use super::{Asked, asks_nothing};

/// Kinds that are always synchronised.
const CORE: [&str; 7] = [
    "configmaps",
    "endpoints",
    "endpointslices.discovery.k8s.io",
    "persistentvolumeclaims",
    "pods",
    "secrets",
    "services",
];

/// Kinds that the Gateway API's switch turns on, by their keys below it.
const GATEWAY_API: [(&str, &str); 4] = [
    ("backendTLSPolicies", "backendtlspolicies.gateway.networking.k8s.io"),
    ("gateways", "gateways.gateway.networking.k8s.io"),
    ("httpRoutes", "httproutes.gateway.networking.k8s.io"),
    ("tlsRoutes", "tlsroutes.gateway.networking.k8s.io"),
];

const TO_HOST: &str = "toHost";
const FROM_HOST: &str = "fromHost";

/// A kind: whether it is synchronised, which objects, and what becomes of them.
pub(super) fn rule(asked: &mut Asked, path: &str, way: &str, resource: &str, value: &Value) {
    let target = |key: &'static str| ["sync", way, resource, key];
    for (key, value) in asked.entries(path, value) {
        let at = format!("{path}.{key}");
        match key.as_str() {
            _ if asks_nothing(value) => {}
            "enabled" => match asked.switch(&at, value) {
                Some(false) if CORE.contains(&resource) && way == TO_HOST => {
                    asked.idle.push(format!("{at} (is always on)"));
                }
                Some(_) if CORE.contains(&resource) && way == TO_HOST => {}
                Some(on) => asked.put(&at, &target("enabled"), on.into()),
                None => {}
            },
            "all" if way == TO_HOST => asked.put(&at, &target("all"), value.clone()),
            "patches" => patches(asked, &at, way, resource, value),
            "selector" if way == FROM_HOST => asked.put(&at, &target("selector"), value.clone()),
            "mappings" if way == FROM_HOST => mappings(asked, &at, resource, value),
            // Whether it is namespaced, its definition says; the rest is what is shown of Gateways here.
            "scope" => {}
            "allowedRoutes" | "status" | "metadata" | "sanitize" => {
                asked.idle.push(format!("{at} (gateways are shown without keys and addresses)"));
            }
            _ => asked.unknown.push(at),
        }
    }
}

/// Changes to objects. References are the same here; expressions are in another language.
fn patches(asked: &mut Asked, path: &str, way: &str, resource: &str, value: &Value) {
    let mut found = Vec::new();
    for (index, patch) in asked.items(path, value) {
        match (patch.get("path"), patch.pointer("/reference/kind")) {
            (Some(at), Some(kind)) => found.push(json!({"path": at, "reference": kind})),
            _ => asked.idle.push(format!(
                "{path}[{index}] (expressions are JavaScript there and CEL here; see spec.sync.{way})"
            )),
        }
    }
    if !found.is_empty() {
        asked.put(path, &["sync", way, resource, "patches"], found.into());
    }
}

/// Changes to pods.
pub(super) fn pods(asked: &mut Asked, path: &str, value: &Value) {
    patches(asked, path, TO_HOST, "pods", value);
}

/// Which objects of the host appear where. No name on the host stands for all there.
fn mappings(asked: &mut Asked, path: &str, resource: &str, value: &Value) {
    for (key, value) in asked.entries(path, value) {
        let at = format!("{path}.{key}");
        if key != "byName" {
            asked.unknown.push(at);
            continue;
        }
        let mut found = Map::new();
        for (from, to) in asked.entries(&at, value) {
            let from = if from.is_empty() { "/*" } else { from };
            found.insert(from.to_owned(), to.clone());
        }
        if !found.is_empty() {
            asked.put(&at, &["sync", FROM_HOST, resource, "mappings"], found.into());
        }
    }
}

/// The switch of the Gateway API, and those below it, which add to it.
pub(super) fn gateway_api(asked: &mut Asked, path: &str, value: &Value) {
    let all = value.get("enabled").and_then(|on| asked.switch(&format!("{path}.enabled"), on)) == Some(true);
    for (key, below) in asked.entries(path, value) {
        let at = format!("{path}.{key}");
        match GATEWAY_API.iter().find(|(name, _)| name == key) {
            Some((_, resource)) => rule(asked, &at, TO_HOST, resource, below),
            // Grants are what the tenant says to the syncer, which asks for them always.
            None if key == "enabled" || key == "referenceGrants" || asks_nothing(below) => {}
            None => asked.idle.push(format!("{at} (patches are for each kind)")),
        }
    }
    if all {
        for (_, resource) in GATEWAY_API {
            asked.put(path, &["sync", TO_HOST, resource, "enabled"], true.into());
        }
        let classes = "gatewayclasses.gateway.networking.k8s.io";
        asked.put(path, &["sync", FROM_HOST, classes, "enabled"], true.into());
    }
}

/// Custom resources that go to the host.
pub(super) fn resources_to_host(asked: &mut Asked, path: &str, value: &Value) {
    custom(asked, path, TO_HOST, value);
}

/// Custom resources that the host shows.
pub(super) fn resources_from_host(asked: &mut Asked, path: &str, value: &Value) {
    custom(asked, path, FROM_HOST, value);
}

fn custom(asked: &mut Asked, path: &str, way: &str, value: &Value) {
    for (name, below) in asked.entries(path, value) {
        let (resource, version) = name.split_once('/').map_or((name.as_str(), None), |(a, b)| (a, Some(b)));
        let at = format!("{path}.{name}");
        rule(asked, &at, way, resource, below);
        if let Some(version) = version {
            asked.put(&at, &["sync", way, resource, "version"], version.into());
        }
    }
}

/// What is seen of nodes: made-up ones unless some are shown.
pub(super) fn nodes(asked: &mut Asked, path: &str, value: &Value) {
    let (mut shown, mut all, mut labels) = (None, false, None);
    for (key, below) in asked.entries(path, value) {
        let at = format!("{path}.{key}");
        match key.as_str() {
            "enabled" => shown = asked.switch(&at, below),
            "selector" => {
                for (key, below) in asked.entries(&at, below) {
                    match key.as_str() {
                        "all" => all = below.as_bool() == Some(true),
                        "labels" => labels = Some(below).filter(|labels| !asks_nothing(labels)),
                        _ => asked.unknown.push(format!("{at}.{key}")),
                    }
                }
            }
            _ if super::is_off(below) => {}
            "syncBackChanges" | "clearImageStatus" | "patches" => {
                asked.idle.push(format!("{at} (nodes are shown without what identifies them)"));
            }
            _ => asked.unknown.push(at),
        }
    }
    let mode = match (shown, all, labels) {
        (None, ..) => return,
        (Some(false), ..) => "Virtual",
        (Some(true), true, _) => "All",
        (Some(true), false, None) => "Used",
        (Some(true), false, Some(labels)) => {
            asked.put(path, &["sync", "nodes", "selector", "matchLabels"], labels.clone());
            "Selected"
        }
    };
    asked.put(path, &["sync", "nodes", "mode"], mode.into());
}

/// A scheduler of the cluster's own, which chooses among all nodes unless others are named.
pub(super) fn scheduler(asked: &mut Asked, path: &str, value: &Value) {
    if asked.switch(path, value) == Some(true) {
        asked.put(path, &["sync", "nodes", "scheduler"], json!({}));
        let is_named = |mode: &Value| mode == "Selected";
        let mode = asked.spec.get("sync").and_then(|sync| sync.pointer("/nodes/mode"));
        if !mode.is_some_and(is_named) {
            asked.put(path, &["sync", "nodes", "mode"], "All".into());
        }
    }
}

/// The host's metrics of the tenant's pods and nodes, both or neither.
pub(super) fn metrics(asked: &mut Asked, path: &str, value: &Value) {
    let enabled = value.get("enabled").and_then(|on| asked.switch(&format!("{path}.enabled"), on));
    if let Some(on) = enabled {
        asked.put(path, &["sync", FROM_HOST, "pods.metrics.k8s.io", "enabled"], on.into());
    }
    for (key, below) in asked.entries(path, value) {
        let at = format!("{path}.{key}");
        match key.as_str() {
            "nodes" | "pods" if below.as_bool() == Some(false) && enabled == Some(true) => {
                asked.idle.push(format!("{at} (both are shown, or neither)"));
            }
            "enabled" | "nodes" | "pods" => {}
            // Where the host has them is the host's to say.
            "apiService" => {}
            _ => asked.unknown.push(at),
        }
    }
}

/// Services under further names on the host; without a namespace, in the cluster's own.
pub(super) fn services_to_host(asked: &mut Asked, path: &str, value: &Value) {
    services(asked, path, TO_HOST, value, here, there);
}

/// Services of the host; without a namespace, of the cluster's own.
pub(super) fn services_from_host(asked: &mut Asked, path: &str, value: &Value) {
    services(asked, path, FROM_HOST, value, there, here);
}

/// A Service in the virtual cluster.
fn here(name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { format!("default/{name}") }
}

/// A Service on the host.
fn there(name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { format!("/{name}") }
}

fn services(
    asked: &mut Asked,
    path: &str,
    way: &str,
    value: &Value,
    from: fn(&str) -> String,
    to: fn(&str) -> String,
) {
    let mut found = Map::new();
    for (index, pair) in asked.items(path, value) {
        match (pair.get("from").and_then(Value::as_str), pair.get("to").and_then(Value::as_str)) {
            (Some(source), Some(target)) => {
                found.insert(from(source), to(target).into());
            }
            _ => asked.wrong.push(format!("{path}[{index}]: needs from and to")),
        }
    }
    asked.put(path, &["sync", way, "services", "mappings"], found.into());
}
