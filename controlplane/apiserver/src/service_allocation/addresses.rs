//! IPAddress objects: who holds which address of a range
//! (<https://kubernetes.io/docs/reference/networking/virtual-ips/#ipaddress-id-tracking>).
//!
//! The object of an address is written in the same commit as the Service that comes to hold it, so that
//! neither is seen without the other.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Value, json};
use vkube_store::{Change, Expect, Write};

use super::shared;
use crate::{
    metadata, ownership,
    resource::Definition,
    server::{Server, builtin},
    status::ApiError,
    stored, system_metadata,
};

/// The addresses that a Service holds.
fn held(service: Option<&Value>) -> Vec<IpAddr> {
    let addresses = service.and_then(|s| s.pointer("/spec/clusterIPs")).and_then(Value::as_array);
    addresses.into_iter().flatten().filter_map(Value::as_str).filter_map(|a| a.parse().ok()).collect()
}

/// What follows for IPAddress objects when a Service changes from `old` to `new`; nothing where the
/// addresses are those of another cluster.
pub fn writes(server: &Server, old: Option<&Value>, new: Option<&Value>) -> Result<Vec<Write>, ApiError> {
    if !server.parts.own_services {
        return Ok(Vec::new());
    }
    let definition = builtin("networking.k8s.io", "ipaddresses")?;
    let (before, now) = (held(old), held(new));
    let is_shared = server.store().is_shared();
    let mut writes = if is_shared { shared::node_ports(old, new) } else { Vec::new() };
    for address in before.iter().filter(|address| !now.contains(address)) {
        let change = Change::Delete { last: None };
        writes.push(Write { key: definition.key("", &address.to_string()), expect: Expect::Any, change });
    }
    for address in now.iter().filter(|address| !before.contains(address)) {
        let Some(service) = new else { continue };
        let mut object = address_of(service, *address);
        ownership::of_server(&definition, &mut object, "kube-apiserver")?;
        system_metadata::prepare_create(&mut object, &definition, Timestamp::now());
        let change = Change::Put { document: stored::encode(&mut object, &definition)?, ttl: None };
        // The one server of a store knows who holds what.
        let expect = if is_shared { Expect::Absent } else { Expect::Any };
        writes.push(Write { key: definition.key("", &address.to_string()), expect, change });
    }
    Ok(writes)
}

/// The IPAddress objects of these Services, for those who bring a store of before up to date.
pub fn objects(services: &[Value]) -> Result<Vec<(Definition, Value)>, ApiError> {
    let definition = builtin("networking.k8s.io", "ipaddresses")?;
    let of = |service| held(Some(service)).into_iter().map(move |address| address_of(service, address));
    Ok(services.iter().flat_map(of).map(|object| (definition.clone(), object)).collect())
}

fn address_of(service: &Value, address: IpAddr) -> Value {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": address.to_string(),
            "labels": {
                "ipaddress.kubernetes.io/ip-family": family,
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {"parentRef": {
            "resource": "services",
            "namespace": metadata::namespace(service),
            "name": metadata::name(service),
        }},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_an_object_for_each_of_its_addresses() {
        let service = json!({
            "metadata": {"name": "s", "namespace": "n"},
            "spec": {"clusterIPs": ["10.96.0.7", "fd00::7"]},
        });
        let objects = objects(&[service, json!({"spec": {"clusterIPs": ["None"]}})]).unwrap();
        let names: Vec<&str> = objects.iter().map(|(_, object)| metadata::name(object)).collect();
        assert_eq!(names, ["10.96.0.7", "fd00::7"]);
        assert_eq!(objects[1].1["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"], "IPv6");
        assert_eq!(objects[0].1["spec"]["parentRef"]["name"], "s");
    }
}
