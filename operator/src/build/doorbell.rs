//! What leads the clients of a sleeping cluster to the operator, which wakes it.
//!
//! A Service's traffic goes to the endpoints of all its EndpointSlices. While the cluster sleeps those of the host's
//! controller are empty, so that this one is all there is.

use std::net::SocketAddr;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use kube::api::ObjectMeta;

use super::identity::metadata;
use super::object::Key;
use crate::names::Identity;

/// Selects all of them, of all clusters.
pub const DOORBELL: &str = "endpointslice.kubernetes.io/managed-by=vkube-operator";

/// Leads clients of the Service of this name to the operator's door.
pub fn doorbell(identity: &Identity, service: &str, door: SocketAddr) -> EndpointSlice {
    let mut labels = identity.labels();
    labels.insert("kubernetes.io/service-name".into(), service.to_owned());
    labels.insert("endpointslice.kubernetes.io/managed-by".into(), "vkube-operator".into());
    EndpointSlice {
        metadata: ObjectMeta {
            labels: Some(labels),
            ..metadata(identity, &identity.host_namespace, &name(service))
        },
        address_type: if door.is_ipv4() { "IPv4" } else { "IPv6" }.into(),
        endpoints: Some(vec![Endpoint {
            addresses: vec![door.ip().to_string()],
            conditions: Some(EndpointConditions {
                ready: Some(true),
                serving: Some(true),
                terminating: Some(false),
            }),
            ..Endpoint::default()
        }]),
        ports: Some(vec![EndpointPort {
            name: Some("https".into()),
            protocol: Some("TCP".into()),
            port: Some(door.port().into()),
            ..EndpointPort::default()
        }]),
    }
}

/// Those of both Services of a cluster.
pub fn doorbells(identity: &Identity) -> [Key; 2] {
    [identity.name.clone(), identity.external_service()]
        .map(|service| Key::new::<EndpointSlice>(Some(&identity.host_namespace), &name(&service)))
}

fn name(service: &str) -> String {
    format!("{service}-doorbell")
}
