//! How a Prometheus of the host finds the control plane's metrics and may read them.
//!
//! It shows a client certificate of the group `system:monitoring`, to which the API server's own bootstrap policy gives
//! metrics and health, and nothing else.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Secret, Service, ServiceSpec};
use kube::api::ObjectMeta;
use kube::core::ApiResource;
use serde_json::json;
use vkube_crds::{ServiceMonitor, annotations, labels};

use super::control_plane::API_PORT;
use super::identity::metadata;
use super::object::{Key, Object};
use super::secrets::data;
use super::service::port;
use crate::names::{Identity, METRICS};
use crate::pki::{Authority, Pair};

/// Group of the Prometheus operator's API.
pub const MONITORING_GROUP: &str = "monitoring.coreos.com";
/// Plural of what leads a Prometheus to Services.
pub const SERVICE_MONITORS: &str = "servicemonitors";
/// User of the certificate.
pub const METRICS_USER: &str = "vkube:metrics";
/// Its group.
pub const METRICS_GROUP: &str = "system:monitoring";

/// The certificate by which metrics are read, and the authority by which the API server is known.
pub fn metrics_secret(
    identity: &Identity,
    authority: &Authority,
    client: &Pair,
    rotation: Option<String>,
) -> Secret {
    let texts =
        [("ca.crt", &authority.pair.certificate), ("tls.crt", &client.certificate), ("tls.key", &client.key)];
    Secret {
        metadata: ObjectMeta {
            annotations: rotation.map(|token| BTreeMap::from([(annotations::ROTATE.to_owned(), token)])),
            ..metadata(identity, &identity.host_namespace, &identity.metrics())
        },
        type_: Some("kubernetes.io/tls".into()),
        data: Some(data(texts)),
        ..Secret::default()
    }
}

/// The Secret that [`metrics_secret`] builds.
pub fn metrics_key(identity: &Identity) -> Key {
    Key::new::<Secret>(Some(&identity.host_namespace), &identity.metrics())
}

/// The Service that [`metrics_service`] builds.
pub fn metrics_service_key(identity: &Identity) -> Key {
    Key::new::<Service>(Some(&identity.host_namespace), &identity.metrics())
}

/// The Service by which metrics are read, as that of clients leads to the operator while the cluster sleeps: whoever
/// measures is not to wake it.
pub fn metrics_service(identity: &Identity) -> Service {
    Service {
        metadata: ObjectMeta {
            labels: Some(selected(identity).chain(identity.labels()).collect()),
            ..metadata(identity, &identity.host_namespace, &identity.metrics())
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".into()),
            selector: Some(identity.control_plane_selector()),
            ports: Some(vec![port("https", "TCP", API_PORT, "https")]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The labels by which that Service is found.
fn selected(identity: &Identity) -> impl Iterator<Item = (String, String)> {
    [(labels::CLUSTER_UID, identity.uid.as_str()), (labels::COMPONENT, METRICS)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into_iter()
}

/// The ServiceMonitor of a cluster, in the version that the host serves.
pub fn service_monitor_key(identity: &Identity, version: &str) -> Key {
    Key {
        resource: ApiResource {
            group: MONITORING_GROUP.into(),
            version: version.into(),
            api_version: format!("{MONITORING_GROUP}/{version}"),
            kind: "ServiceMonitor".into(),
            plural: SERVICE_MONITORS.into(),
        },
        namespace: Some(identity.host_namespace.clone()),
        name: identity.metrics(),
    }
}

/// Leads a Prometheus to the pods of the control plane.
pub fn service_monitor(identity: &Identity, asked: &ServiceMonitor, version: &str) -> Object {
    let key = service_monitor_key(identity, version);
    let mut all_labels = asked.labels.clone();
    all_labels.extend(identity.labels());
    let secret = |key: &str| json!({"name": identity.metrics(), "key": key});
    let mut endpoint = json!({
        "port": "https",
        "scheme": "https",
        "path": "/metrics",
        "tlsConfig": {
            "serverName": identity.service_host(),
            "ca": {"secret": secret("ca.crt")},
            "cert": {"secret": secret("tls.crt")},
            "keySecret": secret("tls.key"),
        },
    });
    if let Some(interval) = &asked.interval {
        endpoint["interval"] = json!(interval);
    }
    let body = json!({
        "apiVersion": key.resource.api_version,
        "kind": key.resource.kind,
        "metadata": ObjectMeta {
            labels: Some(all_labels),
            ..metadata(identity, &identity.host_namespace, &key.name)
        },
        "spec": {
            "selector": {"matchLabels": selected(identity).collect::<BTreeMap<_, _>>()},
            "endpoints": [endpoint],
        },
    });
    Object { key, body }
}
