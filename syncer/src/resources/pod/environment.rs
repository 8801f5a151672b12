//! Environment variables by which containers find services.
//!
//! The kubelet would describe the host's services; so it is told not to, and the variables are written into the
//! pod: those of `kubernetes` always, those of the namespace's services when the pod wants service links.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EnvVar, Service};

use super::translate::ApiEndpoint;

/// Variables for a pod, sorted by name. A service without a cluster IP has none.
pub(super) fn service_variables<'a>(
    api: &ApiEndpoint,
    services: impl Iterator<Item = &'a Arc<Service>>,
) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let https = Port { name: Some("https"), number: 443, protocol: "TCP" };
    describe("kubernetes", &api.address, &[https], &mut out);

    for service in services {
        let (Some(name), Some(spec)) = (service.metadata.name.as_deref(), service.spec.as_ref()) else {
            continue;
        };
        let address = spec.cluster_ip.as_deref().unwrap_or_default();
        if address.is_empty() || address == "None" {
            continue;
        }
        let ports: Vec<Port> = spec
            .ports
            .iter()
            .flatten()
            .map(|port| Port {
                name: port.name.as_deref().filter(|name| !name.is_empty()),
                number: port.port,
                protocol: port.protocol.as_deref().unwrap_or("TCP"),
            })
            .collect();
        describe(name, address, &ports, &mut out);
    }
    out
}

/// Puts `variables` in front of a container's own, so that those may refer to them as `$(NAME)`; the container's
/// own win over variables of the same name.
pub(super) fn prepend(env: &mut Option<Vec<EnvVar>>, variables: &BTreeMap<String, String>) {
    let own = env.take().unwrap_or_default();
    let mut merged: Vec<EnvVar> = variables
        .iter()
        .filter(|(name, _)| !own.iter().any(|var| var.name == **name))
        .map(|(name, value)| EnvVar { name: name.clone(), value: Some(value.clone()), value_from: None })
        .collect();
    merged.extend(own);
    *env = Some(merged);
}

struct Port<'a> {
    name: Option<&'a str>,
    number: i32,
    protocol: &'a str,
}

fn describe(service: &str, address: &str, ports: &[Port], out: &mut BTreeMap<String, String>) {
    let Some(first) = ports.first() else { return };
    let prefix = variable(service);
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };

    out.insert(format!("{prefix}_SERVICE_HOST"), address.into());
    out.insert(format!("{prefix}_SERVICE_PORT"), first.number.to_string());
    out.insert(
        format!("{prefix}_PORT"),
        format!("{}://{host}:{}", first.protocol.to_lowercase(), first.number),
    );
    for port in ports {
        if let Some(name) = port.name {
            out.insert(format!("{prefix}_SERVICE_PORT_{}", variable(name)), port.number.to_string());
        }
        let protocol = port.protocol.to_lowercase();
        let link = format!("{prefix}_PORT_{}_{}", port.number, port.protocol.to_uppercase());
        out.insert(format!("{link}_PROTO"), protocol.clone());
        out.insert(format!("{link}_PORT"), port.number.to_string());
        out.insert(format!("{link}_ADDR"), address.into());
        out.insert(link, format!("{protocol}://{host}:{}", port.number));
    }
}

fn variable(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}
