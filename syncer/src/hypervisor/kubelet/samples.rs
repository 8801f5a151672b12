//! A kubelet's figures, reduced to the tenant's own pods and claims and told in virtual names.

use http::Response;
use serde_json::{Value, json};

use super::{Body, answered};
use crate::context::{Context, Kind};
use crate::labels::ObjectKey;
use crate::resources::pod;

/// The Prometheus text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The samples that are the tenant's, as the answer; those that speak of no pod are the machine's.
pub(super) fn own(cx: &Context, text: &[u8], with_machine: bool) -> Response<Body> {
    let text = String::from_utf8_lossy(text);
    let mut out = String::with_capacity(text.len() / 4);
    for line in text.lines() {
        if line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        } else if let Some(line) = sample(cx, line, with_machine) {
            out.push_str(&line);
            out.push('\n');
        }
    }
    answered(TEXT, out)
}

fn sample(cx: &Context, line: &str, with_machine: bool) -> Option<String> {
    let machine = || with_machine.then(|| line.to_owned());
    let Some((name, rest)) = line.split_once('{') else { return machine() };
    let (mut labels, value) = labels(rest)?;
    let get = |labels: &[(&str, String)], wanted: &str| {
        labels
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value.clone())
            .filter(|v| !v.is_empty())
    };
    let Some(namespace) = get(&labels, "namespace") else { return machine() };
    let mut set = |wanted: &str, to: &str| {
        if let Some((_, value)) = labels.iter_mut().find(|(name, _)| *name == wanted) {
            to.clone_into(value);
        }
    };
    if let Some(host) = get(&labels_of(rest)?, "pod") {
        let pod = own_pod(cx, &namespace, &host)?;
        let container = get(&labels_of(rest)?, "container");
        if container.is_some_and(|name| name != "POD" && !pod::containers(&pod).contains(&name.as_str())) {
            return None;
        }
        let key = ObjectKey::of(&pod.metadata);
        set("namespace", &key.namespace);
        set("pod", &key.name);
        set("pod_uid", pod.metadata.uid.as_deref().unwrap_or_default());
        set("uid", pod.metadata.uid.as_deref().unwrap_or_default());
    } else {
        let key = own_claim(cx, &namespace, &get(&labels_of(rest)?, "persistentvolumeclaim")?)?;
        set("namespace", &key.namespace);
        set("persistentvolumeclaim", &key.name);
    }
    let shown: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    Some(format!("{name}{{{}}}{value}", shown.join(",")))
}

fn labels_of(rest: &str) -> Option<Vec<(&str, String)>> {
    labels(rest).map(|(labels, _)| labels)
}

/// The labels after a `{`, their values as they are written, and what follows the `}`.
fn labels(rest: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    let mut rest = rest;
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(value) = rest.strip_prefix('}') {
            return Some((labels, value));
        }
        let (name, after) = rest.split_once("=\"")?;
        let mut escaped = false;
        let end = after.find(|c| match c {
            _ if std::mem::take(&mut escaped) => false,
            '\\' => {
                escaped = true;
                false
            }
            c => c == '"',
        })?;
        labels.push((name, after[..end].to_owned()));
        rest = &after[end + 1..];
    }
}

/// A `stats/summary` without what is not the tenant's.
pub(super) fn own_summary(cx: &Context, mut summary: Value, with_machine: bool) -> Value {
    if !with_machine {
        summary["node"] = json!({ "nodeName": summary["node"]["nodeName"] });
    }
    if let Some(pods) = summary["pods"].as_array_mut() {
        let all = std::mem::take(pods);
        pods.extend(all.into_iter().filter_map(|stats| own_stats(cx, stats)));
    }
    summary
}

fn own_stats(cx: &Context, mut stats: Value) -> Option<Value> {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let named = &stats["podRef"];
    let pod = own_pod(cx, &text(named, "namespace"), &text(named, "name"))?;
    let key = ObjectKey::of(&pod.metadata);
    let own = pod::containers(&pod);
    if let Some(containers) = stats["containers"].as_array_mut() {
        containers.retain(|container| own.contains(&text(container, "name").as_str()));
    }
    for volume in stats["volume"].as_array_mut().into_iter().flatten() {
        let claim = &volume["pvcRef"];
        if claim.is_object() {
            let own = own_claim(cx, &text(claim, "namespace"), &text(claim, "name"))?;
            volume["pvcRef"] = json!({ "name": own.name, "namespace": own.namespace });
        }
    }
    stats["podRef"] = json!({ "name": key.name, "namespace": key.namespace, "uid": pod.metadata.uid });
    Some(stats)
}

fn own_pod(
    cx: &Context,
    namespace: &str,
    name: &str,
) -> Option<std::sync::Arc<k8s_openapi::api::core::v1::Pod>> {
    cx.pod_behind(&ObjectKey::new(namespace, name))
}

fn own_claim(cx: &Context, namespace: &str, name: &str) -> Option<ObjectKey> {
    let claim = cx.host_side.claims.get(&ObjectKey::new(namespace, name))?;
    cx.translator.origin(Kind::PersistentVolumeClaim.name(), &claim.metadata)
}
