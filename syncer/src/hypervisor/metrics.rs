//! Resource usage (`metrics.k8s.io`) of a tenant's pods and nodes, from the host's metrics-server.
//!
//! The host measures its pods; here they get their virtual names, and containers that the host injected do not show. A
//! made-up node uses what the tenant's pods on it use: what else runs on the machine is nobody's business.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use kube::core::ApiResource;
use serde_json::{Value, json};

use crate::config::NodeSync;
use crate::context::Context;
use crate::labels::{ObjectKey, VIRTUAL_NAMESPACE};
use crate::resources::{node, pod};

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The settings do not ask for them.
    #[error("this virtual cluster has no metrics")]
    Off,
    /// The host has none, or does not give them.
    #[error("the host gives no metrics")]
    Host(#[source] kube::Error),
}

/// The `PodMetrics` of a virtual namespace, or (empty) of all.
pub(super) async fn pods(cx: &Context, namespace: &str) -> Result<Vec<Value>, MetricsError> {
    let measured = measure(cx, namespace).await?;
    Ok(measured.into_iter().map(|(_, metrics)| metrics).collect())
}

/// The `NodeMetrics` of the nodes that the tenant sees.
pub(super) async fn nodes(cx: &Context) -> Result<Vec<Value>, MetricsError> {
    let mut usage = match cx.translator.config.nodes {
        NodeSync::None => return Ok(Vec::new()),
        NodeSync::Synthetic => of_pods(&measure(cx, "").await?),
        NodeSync::Used | NodeSync::Selected(_) => {
            let nodes: Api<DynamicObject> = Api::all_with(cx.host_client.clone(), &resource("NodeMetrics"));
            let found = nodes.list(&ListParams::default()).await.map_err(MetricsError::Host)?;
            let named = |node: DynamicObject| Some((node.metadata.name?, node.data));
            found.items.into_iter().filter_map(named).collect()
        }
    };
    let seen = cx.virtual_side.nodes.all();
    let seen = seen.iter().filter(|node| node::is_kept(&node.metadata));
    let metrics = seen.filter_map(|node| {
        let name = node.metadata.name.as_deref()?;
        let mut metrics = usage.remove(name)?;
        metrics["metadata"] = json!({
            "name": name,
            "creationTimestamp": metrics["timestamp"],
            "labels": node.metadata.labels,
        });
        Some(metrics)
    });
    Ok(metrics.collect())
}

fn resource(kind: &str) -> ApiResource {
    ApiResource {
        group: "metrics.k8s.io".into(),
        version: "v1beta1".into(),
        api_version: "metrics.k8s.io/v1beta1".into(),
        kind: kind.into(),
        plural: if kind == "PodMetrics" { "pods".into() } else { "nodes".into() },
    }
}

/// The tenant's pods with their metrics.
async fn measure(cx: &Context, namespace: &str) -> Result<Vec<(std::sync::Arc<Pod>, Value)>, MetricsError> {
    let mut labels = cx.translator.host_selector();
    if !namespace.is_empty() {
        labels.push_str(&format!(",{VIRTUAL_NAMESPACE}={namespace}"));
    }
    let places = if namespace.is_empty() {
        cx.spaces.host_namespaces(cx)
    } else {
        vec![cx.translator.host_namespace(namespace)]
    };
    let mut found = Vec::new();
    for place in places {
        let all: Api<DynamicObject> =
            Api::namespaced_with(cx.host_client.clone(), &place, &resource("PodMetrics"));
        let listed = all.list(&ListParams::default().labels(&labels)).await.map_err(MetricsError::Host)?;
        found.extend(listed.items);
    }
    let shown = found.into_iter().filter_map(|measured| {
        let pod = cx.pod_behind(&ObjectKey::of(&measured.metadata))?;
        let metrics = of_pod(&pod, &measured.data);
        Some((pod, metrics))
    });
    Ok(shown.collect())
}

fn of_pod(pod: &Pod, measured: &Value) -> Value {
    let key = ObjectKey::of(&pod.metadata);
    let own = pod::containers(pod);
    let mut containers = measured["containers"].clone();
    if let Value::Array(containers) = &mut containers {
        containers.retain(|container| container["name"].as_str().is_some_and(|name| own.contains(&name)));
    }
    json!({
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "creationTimestamp": measured["timestamp"],
            "labels": pod.metadata.labels,
        },
        "timestamp": measured["timestamp"],
        "window": measured["window"],
        "containers": containers,
    })
}

/// What nodes use, by the pods on them.
fn of_pods(measured: &[(std::sync::Arc<Pod>, Value)]) -> BTreeMap<String, Value> {
    let mut sums: BTreeMap<&str, (u64, u64, &Value)> = BTreeMap::new();
    for (pod, metrics) in measured {
        let Some(node) = node::of(pod) else { continue };
        let (cpu, memory, newest) = sums.entry(node).or_insert((0, 0, metrics));
        for container in metrics["containers"].as_array().into_iter().flatten() {
            *cpu += amount(&container["usage"]["cpu"], NANO);
            *memory += amount(&container["usage"]["memory"], 1);
        }
        if metrics["timestamp"].as_str() > newest["timestamp"].as_str() {
            *newest = metrics;
        }
    }
    let node = |(name, (cpu, memory, newest)): (&str, (u64, u64, &Value))| {
        let usage = json!({ "cpu": format!("{cpu}n"), "memory": format!("{}Ki", memory / 1024) });
        let metrics = json!({ "timestamp": newest["timestamp"], "window": newest["window"], "usage": usage });
        (name.to_owned(), metrics)
    };
    sums.into_iter().map(node).collect()
}

const NANO: u64 = 1_000_000_000;

/// A whole quantity in the `base`th part of its unit; metrics-server writes nothing else.
fn amount(quantity: &Value, base: u64) -> u64 {
    let text = quantity.as_str().unwrap_or_default();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().unwrap_or(0);
    let (times, by) = match &text[digits..] {
        "n" => (1, NANO),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (NANO, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        _ => (1, 1),
    };
    number.saturating_mul(times).saturating_mul(base) / by
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn pod(node: &str) -> Arc<Pod> {
        let text = format!(
            "{{metadata: {{name: web, namespace: shop, labels: {{app: web}}}}, \
             spec: {{nodeName: {node}, containers: [{{name: app}}], initContainers: [{{name: sidecar}}]}}}}"
        );
        Arc::new(serde_saphyr::from_str(&text).unwrap())
    }

    fn container(name: &str, cpu: &str, memory: &str) -> Value {
        json!({ "name": name, "usage": { "cpu": cpu, "memory": memory } })
    }

    #[test]
    fn a_pods_metrics_have_its_names_and_no_injected_containers() {
        let containers = [("app", "1m"), ("sidecar", "1m"), ("injected", "1")];
        let containers: Vec<Value> = containers.map(|(name, cpu)| container(name, cpu, "1Ki")).into();
        let measured = json!({
            "timestamp": "2026-01-01T00:00:00Z", "window": "15s", "containers": containers,
        });
        let shown = of_pod(&pod("n1"), &measured);
        assert_eq!(shown["metadata"]["name"], "web");
        assert_eq!(shown["metadata"]["namespace"], "shop");
        assert_eq!(shown["metadata"]["labels"]["app"], "web");
        assert_eq!(shown["containers"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_made_up_node_uses_what_the_tenants_pods_on_it_use() {
        let metrics = |cpu: &str, memory: &str, at: &str| json!({ "timestamp": at, "window": "15s", "containers": [container("app", cpu, memory)] });
        let usage = of_pods(&[
            (pod("n1"), metrics("1500000n", "2048Ki", "2026-01-01T00:00:00Z")),
            (pod("n1"), metrics("2m", "1Mi", "2026-01-01T00:00:05Z")),
            (pod("n2"), metrics("3", "1024", "2026-01-01T00:00:00Z")),
        ]);
        assert_eq!(usage["n1"]["usage"], json!({ "cpu": "3500000n", "memory": "3072Ki" }));
        assert_eq!(usage["n1"]["timestamp"], "2026-01-01T00:00:05Z");
        assert_eq!(usage["n2"]["usage"], json!({ "cpu": "3000000000n", "memory": "1Ki" }));
    }
}
