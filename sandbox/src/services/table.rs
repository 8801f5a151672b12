//! Which address leads where: a pure function of the Services and their endpoint slices.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::{Service, ServicePort, ServiceSpec},
    discovery::v1::{Endpoint, EndpointSlice},
};
use kube::ResourceExt;

use vkube_watch::feed::{self, Key};

/// Where node ports are served.
const NODE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The label by which a slice names its Service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// An address that a Service is reached at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Frontend {
    /// The address and port.
    pub address: SocketAddr,
    /// The protocol.
    pub protocol: Protocol,
}

/// The Services and slices that are known.
#[derive(Default)]
pub(crate) struct Known {
    services: BTreeMap<Key, Arc<Service>>,
    slices: BTreeMap<Key, Arc<EndpointSlice>>,
}

impl Known {
    /// Takes in a Service.
    pub fn set_service(&mut self, service: Arc<Service>) {
        self.services.insert(feed::key(&*service), service);
    }

    /// Forgets a Service.
    pub fn remove_service(&mut self, key: &Key) {
        self.services.remove(key);
    }

    /// Takes in a slice.
    pub fn set_slice(&mut self, slice: Arc<EndpointSlice>) {
        self.slices.insert(feed::key(&*slice), slice);
    }

    /// Forgets a slice.
    pub fn remove_slice(&mut self, key: &Key) {
        self.slices.remove(key);
    }

    /// All Services.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// Every frontend that leads somewhere, with the endpoints that are ready behind it.
    pub fn routes(&self) -> BTreeMap<Frontend, Vec<SocketAddr>> {
        let mut slices: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
        for ((namespace, _), slice) in &self.slices {
            if let Some(service) = slice.labels().get(SERVICE_NAME) {
                slices.entry((namespace, service)).or_default().push(slice);
            }
        }
        let mut routes = BTreeMap::new();
        for ((namespace, name), service) in &self.services {
            let Some(spec) = &service.spec else { continue };
            let own = slices.get(&(namespace.as_str(), name.as_str())).map(Vec::as_slice).unwrap_or_default();
            for port in spec.ports.iter().flatten() {
                let backends = backends(own, port);
                if backends.is_empty() {
                    continue;
                }
                for frontend in frontends(service, spec, port) {
                    routes.entry(frontend).or_insert_with(|| backends.clone());
                }
            }
        }
        routes
    }
}

fn frontends(service: &Service, spec: &ServiceSpec, port: &ServicePort) -> Vec<Frontend> {
    let protocol = match port.protocol.as_deref() {
        None | Some("TCP" | "") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some(_) => return Vec::new(),
    };
    let number = |port: i32| u16::try_from(port).ok().filter(|port| *port > 0);
    let ingress = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = ingress.into_iter().flat_map(|balancer| balancer.ingress.iter().flatten());
    let given = spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten());
    let addresses: BTreeSet<IpAddr> = given
        .chain(spec.external_ips.iter().flatten())
        .chain(ingress.filter_map(|ingress| ingress.ip.as_ref()))
        .filter_map(|address| address.parse().ok())
        // Only loopback addresses can be listened at without set-up.
        .filter(IpAddr::is_loopback)
        .collect();
    let at_port = addresses.into_iter().zip(std::iter::repeat(number(port.port)));
    let at_node = [(NODE, port.node_port.and_then(number))];
    at_port
        .chain(at_node)
        .filter_map(|(address, port)| Some(Frontend { address: SocketAddr::new(address, port?), protocol }))
        .collect()
}

fn backends(slices: &[&EndpointSlice], port: &ServicePort) -> Vec<SocketAddr> {
    let name = port.name.as_deref().unwrap_or_default();
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let mut backends = BTreeSet::new();
    for slice in slices {
        let ports = slice.ports.iter().flatten().filter(|candidate| {
            candidate.name.as_deref().unwrap_or_default() == name
                && candidate.protocol.as_deref().unwrap_or("TCP") == protocol
        });
        let numbers: Vec<u16> = ports.filter_map(|port| u16::try_from(port.port?).ok()).collect();
        for endpoint in endpoints(slice).filter(|endpoint| is_ready(endpoint)) {
            let address = endpoint.addresses.first().and_then(|address| address.parse::<IpAddr>().ok());
            for (address, number) in
                address.iter().flat_map(|address| numbers.iter().map(move |n| (address, n)))
            {
                backends.insert(SocketAddr::new(*address, *number));
            }
        }
    }
    backends.into_iter().collect()
}

fn endpoints(slice: &EndpointSlice) -> impl Iterator<Item = &Endpoint> {
    slice.endpoints.iter().flatten()
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn mk_known(services: &[Value], slices: &[Value]) -> Known {
        let mut known = Known::default();
        for service in services {
            known.set_service(Arc::new(serde_json::from_value(service.clone()).unwrap()));
        }
        for slice in slices {
            known.set_slice(Arc::new(serde_json::from_value(slice.clone()).unwrap()));
        }
        known
    }

    fn mk_service(spec: &Value) -> Value {
        json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec})
    }

    fn mk_slice(name: &str, endpoints: &Value, ports: &Value) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "ns", "labels": {SERVICE_NAME: "web"}},
            "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
        })
    }

    fn shown(known: &Known) -> Vec<String> {
        let show = |(frontend, backends): (&Frontend, &Vec<SocketAddr>)| {
            let backends: Vec<_> = backends.iter().map(ToString::to_string).collect();
            format!("{:?} {} -> {}", frontend.protocol, frontend.address, backends.join(" "))
        };
        known.routes().iter().map(show).collect()
    }

    #[test]
    fn leads_every_address_of_a_service_to_its_ready_endpoints() {
        let mut service = mk_service(&json!({
            "clusterIP": "127.96.0.5", "clusterIPs": ["127.96.0.5"],
            "ports": [{"name": "http", "port": 80, "nodePort": 30080, "targetPort": 8080}],
        }));
        service["status"] = json!({"loadBalancer": {"ingress": [{"ip": "127.112.0.1"}]}});
        let slices = [
            mk_slice(
                "a",
                &json!([
                    {"addresses": ["127.64.0.1"], "conditions": {"ready": true}},
                    {"addresses": ["127.64.0.2"], "conditions": {"ready": false}},
                ]),
                &json!([{"name": "http", "port": 8080}, {"name": "other", "port": 9}]),
            ),
            mk_slice("b", &json!([{"addresses": ["127.64.0.3"]}]), &json!([{"name": "http", "port": 8080}])),
        ];
        assert_eq!(
            shown(&mk_known(&[service], &slices)),
            [
                "Tcp 127.0.0.1:30080 -> 127.64.0.1:8080 127.64.0.3:8080",
                "Tcp 127.96.0.5:80 -> 127.64.0.1:8080 127.64.0.3:8080",
                "Tcp 127.112.0.1:80 -> 127.64.0.1:8080 127.64.0.3:8080",
            ]
        );
    }

    #[test]
    fn keeps_protocols_apart() {
        let service = mk_service(&json!({"clusterIP": "127.96.0.10", "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        ]}));
        let slice = mk_slice(
            "a",
            &json!([{"addresses": ["127.64.0.1"]}]),
            &json!([{"name": "dns", "port": 1053, "protocol": "UDP"}, {"name": "dns-tcp", "port": 1054}]),
        );
        assert_eq!(
            shown(&mk_known(&[service], &[slice])),
            ["Tcp 127.96.0.10:53 -> 127.64.0.1:1054", "Udp 127.96.0.10:53 -> 127.64.0.1:1053"]
        );
    }

    #[test]
    fn leads_nowhere_without_endpoints_or_loopback_addresses() {
        let spec = json!({"clusterIP": "127.96.0.5", "ports": [{"port": 80}]});
        assert!(mk_known(&[mk_service(&spec)], &[]).routes().is_empty());

        let slice = mk_slice("a", &json!([{"addresses": ["127.64.0.1"]}]), &json!([{"port": 80}]));
        for ip in ["None", "10.0.0.1"] {
            let spec = json!({"clusterIP": ip, "ports": [{"port": 80}]});
            assert!(mk_known(&[mk_service(&spec)], std::slice::from_ref(&slice)).routes().is_empty(), "{ip}");
        }
    }
}
