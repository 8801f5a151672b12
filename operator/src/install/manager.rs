//! The operator itself.

use serde_json::{Value, json};

use super::{HTTP_PORT, NAMESPACE, OPERATOR, labels};
use crate::build::MALLOC;
use crate::doors::PORTS;

/// The operator's namespace.
pub(super) fn namespace() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": NAMESPACE,
            "labels": {
                "app.kubernetes.io/name": "vkube",
                "app.kubernetes.io/part-of": "vkube",
                "pod-security.kubernetes.io/enforce": "restricted",
            },
        },
    })
}

/// The operator itself, with its Service for metrics.
pub(super) fn all(image: &str) -> Vec<Value> {
    vec![network_policy(), service(), deployment(image)]
}

fn selector() -> Value {
    json!({"app.kubernetes.io/name": "vkube", "app.kubernetes.io/component": "operator"})
}

fn metadata() -> Value {
    json!({"name": OPERATOR, "namespace": NAMESPACE, "labels": labels()})
}

fn deployment(image: &str) -> Value {
    let field =
        |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let probe =
        |path: &str, period: u32| json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": period});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": selector()},
            "template": {
                "metadata": {"labels": selector()},
                "spec": {
                    "serviceAccountName": OPERATOR,
                    "enableServiceLinks": false,
                    "securityContext": {
                        "runAsNonRoot": true,
                        "runAsUser": 65532,
                        "runAsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [{
                        "name": "operator",
                        "image": image,
                        "args": ["operator", "--image", image, "--listen", format!("0.0.0.0:{HTTP_PORT}")],
                        "env": [
                            field("POD_NAME", "metadata.name"),
                            field("POD_NAMESPACE", "metadata.namespace"),
                            field("POD_IP", "status.podIP"),
                            {"name": "GLIBC_TUNABLES", "value": MALLOC},
                        ],
                        "ports": [{"name": "http", "containerPort": HTTP_PORT}],
                        "livenessProbe": probe("/livez", 20),
                        "readinessProbe": probe("/readyz", 10),
                        "resources": {
                            "requests": {"cpu": "20m", "memory": "32Mi"},
                            "limits": {"memory": "256Mi"},
                        },
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }],
                },
            },
        },
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(),
        "spec": {
            "selector": selector(),
            "ports": [{"name": "http", "port": HTTP_PORT, "targetPort": "http"}],
        },
    })
}

/// In: probes and scrapes, and clients of sleeping clusters. Out: DNS, and API servers, the host's and the virtual ones.
fn network_policy() -> Value {
    let port = |protocol: &str, number: u16| json!({"protocol": protocol, "port": number});
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(),
        "spec": {
            "podSelector": {"matchLabels": selector()},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [
                port("TCP", HTTP_PORT),
                {"protocol": "TCP", "port": PORTS.start(), "endPort": PORTS.end()},
            ]}],
            "egress": [
                {"ports": [port("UDP", 53), port("TCP", 53)]},
                {"ports": [port("TCP", 443), port("TCP", 6443), port("TCP", 8443)]},
            ],
        },
    })
}
