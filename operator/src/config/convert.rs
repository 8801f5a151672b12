//! What of a `vcluster.yaml` is said otherwise here.

use serde_json::{Map, Value, json};

use super::{Asked, asks_nothing};
use crate::names::CONTROL_PLANE;

const PROBES: [&str; 3] = ["liveness", "readiness", "startup"];

impl Asked {
    /// The entries of a map; none, and a word, if it is none.
    pub(super) fn entries<'a>(
        &mut self,
        path: &str,
        value: &'a Value,
    ) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        let map = value.as_object();
        if map.is_none() && !value.is_null() {
            self.wrong.push(format!("{path}: must be a map"));
        }
        map.into_iter().flatten()
    }

    /// The items of a list; none, and a word, if it is none.
    pub(super) fn items<'a>(
        &mut self,
        path: &str,
        value: &'a Value,
    ) -> impl Iterator<Item = (usize, &'a Value)> + use<'a> {
        let list = value.as_array();
        if list.is_none() && !value.is_null() {
            self.wrong.push(format!("{path}: must be a list"));
        }
        list.into_iter().flatten().enumerate()
    }

    /// On, off, or as the program likes.
    pub(super) fn switch(&mut self, path: &str, value: &Value) -> Option<bool> {
        match value {
            Value::Bool(on) => Some(*on),
            Value::String(text) if text == "true" => Some(true),
            Value::String(text) if text == "false" => Some(false),
            other if asks_nothing(other) => None,
            _ => {
                self.wrong.push(format!("{path}: must be true, false or auto"));
                None
            }
        }
    }

    /// Adds to a list of the pod's template.
    fn add(&mut self, path: &str, list: &str, more: &Value) {
        let mut all = self.listed(list);
        all.extend(self.items(path, more).map(|(_, one)| one.clone()));
        self.put(path, &within(list), all.into());
    }

    /// What is in such a list so far.
    fn listed(&self, list: &str) -> Vec<Value> {
        let template = self.spec.get("controlPlane").and_then(|plane| plane.pointer("/podTemplate/spec"));
        template.and_then(|spec| spec.get(list)?.as_array().cloned()).unwrap_or_default()
    }
}

/// A field of the pod's template.
fn within(field: &str) -> [&str; 4] {
    ["controlPlane", "podTemplate", "spec", field]
}

/// A version of Kubernetes; the patch release is that of the program.
pub(super) fn version(asked: &mut Asked, path: &str, value: &Value) {
    let Some(text) = value.as_str() else {
        asked.wrong.push(format!("{path}: must be a text, such as v1.36"));
        return;
    };
    let minor: Vec<_> = text.trim_start_matches('v').split('.').take(2).collect();
    asked.put(path, &["version"], minor.join(".").into());
}

/// How many control planes there are goes with the store, which is said in the spec.
pub(super) fn replicas(asked: &mut Asked, path: &str, value: &Value) {
    for (key, value) in asked.entries(path, value) {
        if key == "replicas" && value.as_u64().is_none_or(|replicas| replicas > 1) {
            asked
                .idle
                .push(format!("{path}.{key} (several share a database: spec.replicas, spec.backingStore)"));
        }
    }
}

/// A domain that the spec states, or nobody does.
pub(super) fn cluster_domain(asked: &mut Asked, path: &str, value: &Value) {
    if value.as_str() != Some(asked.cluster_domain.as_str()) {
        asked.idle.push(format!("{path} (is fixed for good, so only spec.networking.clusterDomain says it)"));
    }
}

/// The port of the nodes; zero is for the host to choose.
pub(super) fn node_port(asked: &mut Asked, path: &str, value: &Value) {
    if value.as_u64() != Some(0) {
        asked.put(path, &["expose", "service", "nodePort"], value.clone());
    }
}

/// An Ingress, if it is switched on.
pub(super) fn ingress(asked: &mut Asked, path: &str, value: &Value) {
    exposed(asked, path, value, "Ingress", |asked, key, at, value| match key {
        "annotations" => asked.put(at, &["expose", "ingress", "annotations"], value.clone()),
        "spec" => {
            for (key, value) in asked.entries(at, value) {
                match key.as_str() {
                    "ingressClassName" => asked.put(at, &["expose", "ingress", "className"], value.clone()),
                    _ if asks_nothing(value) => {}
                    _ => asked.idle.push(format!("{at}.{key} (the Ingress passes TLS through)")),
                }
            }
        }
        // The path of a connection that is passed through means nothing.
        "pathType" => {}
        _ => asked.idle.push(format!("{at} (see spec.expose.ingress)")),
    });
}

/// A TLSRoute, if it is switched on.
pub(super) fn tls_route(asked: &mut Asked, path: &str, value: &Value) {
    exposed(asked, path, value, "Gateway", |asked, key, at, value| match key {
        "annotations" => asked.put(at, &["expose", "gateway", "annotations"], value.clone()),
        "parentRefs" => {
            let known = ["name", "namespace", "sectionName"];
            let parents = asked.items(at, value).map(|(_, parent)| {
                let fields = parent.as_object().into_iter().flatten();
                let fields = fields.filter(|(key, _)| known.contains(&key.as_str()));
                Value::Object(fields.map(|(key, value)| (key.clone(), value.clone())).collect())
            });
            let parents = parents.collect();
            asked.put(at, &["expose", "gateway", "parentRefs"], parents);
        }
        "apiVersion" => {}
        _ => asked.idle.push(format!("{at} (see spec.expose.gateway)")),
    });
}

fn exposed(
    asked: &mut Asked,
    path: &str,
    value: &Value,
    kind: &str,
    detail: impl Fn(&mut Asked, &str, &str, &Value),
) {
    let enabled = value.get("enabled").and_then(|on| asked.switch(&format!("{path}.enabled"), on));
    // Off, the rest is what a chart has by default.
    if enabled != Some(true) {
        return;
    }
    asked.put(path, &["expose", "type"], kind.into());
    for (key, value) in asked.entries(path, value) {
        let at = format!("{path}.{key}");
        match key.as_str() {
            "host" => asked.put(&at, &["expose", "externalAddress"], value.clone()),
            "enabled" => {}
            _ if asks_nothing(value) => {}
            key => detail(asked, key, &at, value),
        }
    }
}

/// Tolerations in one word each: `key=value:Effect`, `key:Effect`, or `*` for all.
pub(super) fn tolerations(asked: &mut Asked, path: &str, value: &Value) {
    let mut found = Vec::new();
    for (index, one) in asked.items(path, value) {
        match one.as_str().and_then(toleration) {
            Some(one) => found.push(one),
            None => asked.wrong.push(format!("{path}[{index}]: must be key=value:Effect, key:Effect or *")),
        }
    }
    asked.put(path, &["workloads", "tolerations"], found.into());
}

fn toleration(text: &str) -> Option<Value> {
    if text == "*" {
        return Some(json!({"operator": "Exists"}));
    }
    let (taint, effect) = text.split_once(':').map_or((text, None), |(taint, effect)| (taint, Some(effect)));
    let (key, value) = taint.split_once('=').map_or((taint, None), |(key, value)| (key, Some(value)));
    if key.is_empty() || effect.is_some_and(|effect| !is_effect(effect)) {
        return None;
    }
    let operator = if value.is_some() { "Equal" } else { "Exists" };
    let fields = [("key", Some(key)), ("operator", Some(operator)), ("value", value), ("effect", effect)];
    let present = fields.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into())));
    Some(Value::Object(present.collect::<Map<_, _>>()))
}

fn is_effect(text: &str) -> bool {
    ["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&text)
}

/// A field of the control plane's own container, by the last part of the path.
pub(super) fn container(asked: &mut Asked, path: &str, value: &Value) {
    let field = if path.ends_with("addVolumeMounts") { "volumeMounts" } else { "env" };
    let is_own = |one: &Value| one.get("name").and_then(Value::as_str) == Some(CONTROL_PLANE);
    let mut all = asked.listed("containers");
    match all.iter_mut().find(|one| is_own(one)).and_then(Value::as_object_mut) {
        Some(own) => drop(own.insert(field.to_owned(), value.clone())),
        None => all.push(json!({"name": CONTROL_PLANE, field: value})),
    }
    asked.put(path, &within("containers"), all.into());
}

/// Containers that run before the control plane.
pub(super) fn init_containers(asked: &mut Asked, path: &str, value: &Value) {
    asked.add(path, "initContainers", value);
}

/// Containers beside the control plane.
pub(super) fn sidecars(asked: &mut Asked, path: &str, value: &Value) {
    asked.add(path, "containers", value);
}

/// Names that are answered otherwise.
pub(super) fn host_names(asked: &mut Asked, path: &str, value: &Value) {
    let mut found = Map::new();
    for (index, one) in asked.items(path, value) {
        let text =
            |pointer: &str| one.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        let service = text("/target/hostService").and_then(|service| service.split_once('/'));
        let service = service.map(|(namespace, name)| format!("{name}.{namespace}.svc.cluster.local"));
        let target =
            text("/target/ip").or_else(|| text("/target/hostname")).map(ToOwned::to_owned).or(service);
        match (text("/hostname"), target) {
            (Some(name), Some(target)) => {
                found.insert(name.to_owned(), target.into());
            }
            _ => asked.idle.push(format!(
                "{path}[{index}] (a hostname is answered with an ip, a hostname or a hostService)"
            )),
        }
    }
    if !found.is_empty() {
        asked.put(path, &["networking", "resolveDNS"], found.into());
    }
}

/// Addresses outside that workloads may reach.
pub(super) fn egress(asked: &mut Asked, path: &str, value: &Value) {
    let target = |field| ["isolation", "networkPolicy", field];
    let enabled = value.get("enabled").and_then(|on| asked.switch(&format!("{path}.enabled"), on));
    if enabled == Some(false) {
        asked.put(path, &target("egressCIDRs"), json!([]));
        return;
    }
    for (key, value) in asked.entries(path, value) {
        let at = format!("{path}.{key}");
        match key.as_str() {
            "cidr" => asked.put(&at, &target("egressCIDRs"), json!([value])),
            "except" => asked.put(&at, &target("egressExceptCIDRs"), value.clone()),
            "enabled" => {}
            _ => asked.unknown.push(at),
        }
    }
}

/// Snapshots by schedule.
pub(super) fn snapshots(asked: &mut Asked, path: &str, value: &Value) {
    if value.get("schedule").is_none_or(asks_nothing) {
        asked.idle.push(format!("{path} (without a schedule none is taken)"));
        return;
    }
    for (key, value) in asked.entries(path, value) {
        let at = format!("{path}.{key}");
        match key.as_str() {
            _ if asks_nothing(value) => {}
            "schedule" | "timezone" => asked.put(&at, &["snapshots", key], value.clone()),
            "retention" => {
                for (key, value) in asked.entries(&at, value) {
                    let at = format!("{at}.{key}");
                    match key.as_str() {
                        _ if super::is_off(value) => {}
                        "maxSnapshots" => asked.put(&at, &["snapshots", "keep"], value.clone()),
                        "period" => asked.idle.push(format!("{at} (see spec.snapshots.keep)")),
                        _ => asked.unknown.push(at),
                    }
                }
            }
            "storage" if super::is_off(value) => {}
            "storage" => asked.idle.push(format!("{at} (they are on the cluster's volume)")),
            _ => asked.unknown.push(at),
        }
    }
}

/// Whether Prometheus is told of the control plane.
pub(super) fn monitored(asked: &mut Asked, path: &str, value: &Value) {
    if let Some(on) = asked.switch(path, value) {
        let switch = if on { "Enabled" } else { "Disabled" };
        asked.put(path, &["controlPlane", "serviceMonitor", "enabled"], switch.into());
    }
}

/// Flags of the API server; those that it does not have here are told when the spec is checked.
pub(super) fn flags(asked: &mut Asked, path: &str, value: &Value) {
    let is_name = |name: &str| name.starts_with(|c: char| c.is_ascii_lowercase());
    let is_flag = |one: &Value| one.as_str().and_then(|text| text.strip_prefix("--")).is_some_and(is_name);
    if value.as_array().is_some_and(|all| all.iter().all(is_flag)) {
        asked.put(path, &["controlPlane", "extraArgs"], value.clone());
    } else {
        asked.wrong.push(format!("{path}: must be a list of flags such as --flag=value"));
    }
}

/// The times of probes; what they ask is not to be chosen.
pub(super) fn probes(asked: &mut Asked, path: &str, value: &Value) {
    for (key, probe) in asked.entries(path, value) {
        let at = format!("{path}.{key}");
        let Some(name) = key.strip_suffix("Probe").filter(|name| PROBES.contains(name)) else {
            asked.unknown.push(at);
            continue;
        };
        for (key, value) in asked.entries(&at, probe) {
            let at = format!("{at}.{key}");
            match key.as_str() {
                "failureThreshold" | "timeoutSeconds" | "periodSeconds" => {
                    asked.put(&at, &["controlPlane", "probes", name, key], value.clone());
                }
                "enabled" if value.as_bool() != Some(false) => {}
                "enabled" => asked.idle.push(format!("{at} (is always on)")),
                _ => asked.idle.push(format!("{at} (see spec.controlPlane.probes)")),
            }
        }
    }
}
