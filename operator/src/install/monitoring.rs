//! What Prometheus and Grafana are told: optional, for it needs the CRDs of the Prometheus operator.

use serde_json::{Value, json};

use super::{NAMESPACE, OPERATOR, labels};

/// A ServiceMonitor, a PrometheusRule, and a ConfigMap with a dashboard that Grafana's sidecar finds by its label.
pub(super) fn all() -> Vec<Value> {
    vec![service_monitor(), rules(), dashboard()]
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "namespace": NAMESPACE, "labels": labels()})
}

fn service_monitor() -> Value {
    json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": metadata(OPERATOR),
        "spec": {
            "selector": {"matchLabels": labels()},
            "namespaceSelector": {"matchNames": [NAMESPACE]},
            // The series have a `namespace` of their own: the cluster's.
            "endpoints": [{"port": "http", "path": "/metrics", "honorLabels": true}],
        },
    })
}

fn rules() -> Value {
    let alert = |name: &str, expression: &str, lasting: &str, severity: &str, summary: &str| {
        json!({
            "alert": name,
            "expr": expression,
            "for": lasting,
            "labels": {"severity": severity},
            "annotations": {"summary": summary},
        })
    };
    json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata(OPERATOR),
        "spec": {"groups": [{"name": "vkube", "rules": [
            alert(
                "VkubeCertificateExpiring",
                "vkube_certificate_expiry_timestamp_seconds - time() < 7 * 86400",
                "15m",
                "warning",
                "Certificate {{ $labels.certificate }} of {{ $labels.namespace }}/{{ $labels.name }} ends within a week.",
            ),
            alert(
                "VkubeVirtualClusterStalled",
                "vkube_virtualcluster_condition{type=\"Stalled\"} == 1",
                "10m",
                "warning",
                "VirtualCluster {{ $labels.namespace }}/{{ $labels.name }} needs an edit.",
            ),
            alert(
                "VkubeVirtualClusterNotReady",
                "vkube_virtualcluster_condition{type=\"Ready\"} == 0 and on(namespace, name) \
                 vkube_virtualcluster_info{phase!~\"Sleeping|Paused|Deleting\"}",
                "15m",
                "critical",
                "VirtualCluster {{ $labels.namespace }}/{{ $labels.name }} is not ready.",
            ),
            alert(
                "VkubeDeletionStuck",
                "vkube_virtualcluster_info{phase=\"Deleting\"} == 1",
                "1h",
                "warning",
                "VirtualCluster {{ $labels.namespace }}/{{ $labels.name }} has been going for an hour.",
            ),
            alert(
                "VkubeReconcileErrors",
                "sum(rate(vkube_reconcile_failures_total[10m])) / sum(rate(vkube_reconcile_runs_total[10m])) > 0.1",
                "15m",
                "warning",
                "More than a tenth of the operator's reconciles fail.",
            ),
            alert(
                "VkubeNoLeader",
                "absent(vkube_leader) or sum(vkube_leader) == 0",
                "5m",
                "critical",
                "No replica of the operator works.",
            ),
        ]}]},
    })
}

fn dashboard() -> Value {
    let text = serde_json::to_string_pretty(&board()).unwrap_or_default();
    let mut config = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata("vkube-dashboard"),
        "data": {"vkube.json": text},
    });
    config["metadata"]["labels"]["grafana_dashboard"] = json!("1");
    config
}

fn board() -> Value {
    let plain = |title: &str, expression: &str, legend: &str, unit: &str| {
        [title, expression, legend, unit].map(ToOwned::to_owned)
    };
    let latency = |what: &str, series: &str, window: &str, legend: &str| {
        let rates = format!("sum by (le) (rate(vkube_{series}_bucket[{window}]))");
        let expression = format!("histogram_quantile(0.95, {rates})");
        plain(&format!("{what}, 95th percentile"), &expression, legend, "s")
    };
    let panels = [
        plain("Virtual clusters by phase", "vkube_virtualclusters", "{{phase}}", "short"),
        plain(
            "Not ready",
            "sum by (namespace, name) (vkube_virtualcluster_condition{type=\"Ready\"} == 0)",
            "{{namespace}}/{{name}}",
            "short",
        ),
        latency("From creation to ready", "provision_duration_seconds", "1h", "ready"),
        latency("From deletion to gone", "deletion_duration_seconds", "1h", "gone"),
        plain(
            "Reconciles",
            "sum by (controller) (rate(vkube_reconcile_runs_total[5m]))",
            "{{controller}}",
            "ops",
        ),
        plain("Failures", "sum by (reason) (rate(vkube_reconcile_failures_total[5m]))", "{{reason}}", "ops"),
        latency("Time of a reconcile", "reconcile_duration_seconds", "5m", "reconcile"),
        plain("Writes", "sum by (kind, result) (rate(vkube_apply_total[5m]))", "{{kind}} {{result}}", "ops"),
        plain(
            "Drift put right",
            "sum by (kind) (increase(vkube_drift_corrected_total[1h]))",
            "{{kind}}",
            "short",
        ),
        plain(
            "Days until the first certificate ends",
            "(min by (namespace, name) (vkube_certificate_expiry_timestamp_seconds) - time()) / 86400",
            "{{namespace}}/{{name}}",
            "d",
        ),
    ];
    let panels: Vec<Value> = panels
        .into_iter()
        .enumerate()
        .map(|(index, [title, expression, legend, unit])| {
            json!({
                "id": index + 1,
                "type": "timeseries",
                "title": title,
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "gridPos": {"h": 8, "w": 12, "x": 12 * (index % 2), "y": 8 * (index / 2)},
                "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
                "targets": [{"refId": "A", "expr": expression, "legendFormat": legend}],
            })
        })
        .collect();
    json!({
        "uid": "vkube",
        "title": "vkube",
        "tags": ["kubernetes", "vkube"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": panels,
    })
}
