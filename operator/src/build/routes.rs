//! The ways to the API server by host name: an Ingress or a TLSRoute, which carry TLS connections on unopened, so that
//! clients still prove who they are to the API server itself.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, ServiceBackendPort,
};
use kube::api::ObjectMeta;
use kube::core::ApiResource;
use serde_json::{Value, json};
use vkube_crds::ExposeType;

use super::identity::metadata;
use super::object::{Key, Object};
use crate::names::Identity;
use crate::settings::Settings;

/// Group of the Gateway API.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// Kind and plural of routes by the name in a TLS handshake.
pub const TLS_ROUTE: (&str, &str) = ("TLSRoute", "tlsroutes");

/// Annotations by which ingress controllers pass TLS through: those of ingress-nginx and of HAProxy.
const PASSTHROUGH: [(&str, &str); 3] = [
    ("nginx.ingress.kubernetes.io/ssl-passthrough", "true"),
    ("nginx.ingress.kubernetes.io/backend-protocol", "HTTPS"),
    ("haproxy.org/ssl-passthrough", "true"),
];

/// The Ingress, if the cluster is exposed by one.
pub(super) fn ingress(identity: &Identity, settings: &Settings) -> Option<Ingress> {
    let expose = &settings.expose;
    if expose.type_ != ExposeType::Ingress {
        return None;
    }
    let mut annotations: BTreeMap<String, String> =
        PASSTHROUGH.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    annotations.extend(expose.ingress.annotations.clone());
    let backend = IngressServiceBackend {
        name: identity.name.clone(),
        port: Some(ServiceBackendPort { name: Some("https".into()), number: None }),
    };
    Some(Ingress {
        metadata: ObjectMeta {
            annotations: Some(annotations),
            ..metadata(identity, &identity.host_namespace, &identity.external_service())
        },
        spec: Some(IngressSpec {
            ingress_class_name: expose.ingress.class_name.clone(),
            rules: Some(vec![IngressRule {
                host: expose.external_address.clone(),
                http: Some(HTTPIngressRuleValue {
                    paths: vec![HTTPIngressPath {
                        path: Some("/".into()),
                        path_type: "Prefix".into(),
                        backend: IngressBackend { service: Some(backend), resource: None },
                    }],
                }),
            }]),
            ..IngressSpec::default()
        }),
        ..Ingress::default()
    })
}

/// The Ingress that [`ingress`] may build.
pub(super) fn ingress_key(identity: &Identity) -> Key {
    Key::new::<Ingress>(Some(&identity.host_namespace), &identity.external_service())
}

/// The TLSRoute of a cluster, in the version that the host serves.
pub fn tls_route_key(identity: &Identity, version: &str) -> Key {
    let (kind, plural) = TLS_ROUTE;
    Key {
        resource: ApiResource {
            group: GATEWAY_GROUP.into(),
            version: version.into(),
            api_version: format!("{GATEWAY_GROUP}/{version}"),
            kind: kind.into(),
            plural: plural.into(),
        },
        namespace: Some(identity.host_namespace.clone()),
        name: identity.external_service(),
    }
}

/// The TLSRoute, if the cluster is exposed by one.
pub fn tls_route(identity: &Identity, settings: &Settings, version: &str) -> Option<Object> {
    let expose = &settings.expose;
    if expose.type_ != ExposeType::Gateway {
        return None;
    }
    let key = tls_route_key(identity, version);
    let parents: Vec<Value> = expose
        .gateway
        .parent_refs
        .iter()
        .map(|parent| {
            let mut value = json!({"name": parent.name, "namespace": parent.namespace});
            if let Some(section) = &parent.section_name {
                value["sectionName"] = json!(section);
            }
            value
        })
        .collect();
    let annotations = Some(expose.gateway.annotations.clone()).filter(|map| !map.is_empty());
    let body = json!({
        "apiVersion": key.resource.api_version,
        "kind": key.resource.kind,
        "metadata": ObjectMeta {
            annotations,
            ..metadata(identity, &identity.host_namespace, &key.name)
        },
        "spec": {
            "parentRefs": parents,
            "hostnames": expose.external_address.iter().collect::<Vec<_>>(),
            "rules": [{"backendRefs": [{"name": identity.name, "port": 443}]}],
        },
    });
    Some(Object { key, body })
}
