//! The Services of the API server.
//!
//! The internal one carries the API and the cluster's DNS at one address, that of `default/kubernetes` as tenants see
//! it. Exposure outside is a second Service with the API alone, so that it can change without moving the first.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use vkube_crds::ExposeType;

use super::identity::metadata;
use super::object::Key;
use crate::names::Identity;
use crate::settings::Settings;

/// The Service on the host's network.
pub(super) fn internal(identity: &Identity) -> Service {
    Service {
        metadata: metadata(identity, &identity.host_namespace, &identity.name),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            selector: Some(identity.control_plane_selector()),
            ports: Some(vec![
                port("https", "TCP", 443, "https"),
                port("dns", "UDP", 53, "dns"),
                port("dns-tcp", "TCP", 53, "dns-tcp"),
            ]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The Service for clients outside, if the cluster is exposed.
pub(super) fn external(identity: &Identity, settings: &Settings) -> Option<Service> {
    let expose = &settings.expose;
    if ![ExposeType::NodePort, ExposeType::LoadBalancer].contains(&expose.type_) {
        return None;
    }
    let mut labels = expose.service.labels.clone();
    labels.extend(identity.labels());
    Some(Service {
        metadata: ObjectMeta {
            labels: Some(labels),
            annotations: Some(expose.service.annotations.clone()).filter(|map| !map.is_empty()),
            ..metadata(identity, &identity.host_namespace, &identity.external_service())
        },
        spec: Some(ServiceSpec {
            type_: Some(expose.type_.as_str().into()),
            selector: Some(identity.control_plane_selector()),
            ports: Some(vec![ServicePort {
                node_port: expose.service.node_port,
                ..port("https", "TCP", 443, "https")
            }]),
            load_balancer_class: expose.service.load_balancer_class.clone(),
            load_balancer_source_ranges: Some(expose.service.load_balancer_source_ranges.clone())
                .filter(|ranges| !ranges.is_empty()),
            external_traffic_policy: expose
                .service
                .external_traffic_policy
                .map(|policy| policy.as_str().into()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    })
}

/// The Service that [`external`] may build.
pub(super) fn external_key(identity: &Identity) -> Key {
    Key::new::<Service>(Some(&identity.host_namespace), &identity.external_service())
}

pub(super) fn port(name: &str, protocol: &str, number: i32, target: &str) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        protocol: Some(protocol.into()),
        port: number,
        target_port: Some(IntOrString::String(target.into())),
        ..ServicePort::default()
    }
}
