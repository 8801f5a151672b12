//! The names of one virtual cluster. Pure, given the caches.
//!
//! | name                                          | answer                                                 |
//! |-----------------------------------------------|--------------------------------------------------------|
//! | `<svc>.<ns>.svc.<domain>`                     | its cluster IPs; ready endpoints if headless; CNAME    |
//! | `<host>.<svc>.<ns>.svc.<domain>`              | the endpoint of that host name, or dashed address; the |
//! |                                               | pod that has it as host name and subdomain             |
//! | `_<port>._<proto>.<svc>.<ns>.svc.<domain>`    | SRV                                                    |
//! | `<dashed address>.<ns>.pod.<domain>`          | the address                                            |
//! | `<reversed address>.in-addr.arpa` / `ip6.arpa` | PTR of services and of headless endpoints             |
//! | `dns-version.<domain>`                        | TXT                                                    |

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt;

use super::overrides::Target;
use crate::context::{Context, VirtualCaches};
use crate::labels::ObjectKey;
use crate::resources::endpoint_slice::SERVICE_NAME;
use crate::resources::service::is_external_name;

/// How long resolvers may keep an answer. Endpoints move; five seconds is what clients of Kubernetes expect.
const TTL: u32 = 5;

/// The version of the specification that is followed.
const SPECIFICATION: &str = "1.1.0";

/// The names of a virtual cluster.
#[derive(Clone)]
pub struct Zone {
    context: Arc<Context>,
    is_ready: tokio::sync::watch::Receiver<usize>,
}

/// What the zone says to a question.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// The name exists; there may be no records of the type asked for.
    Records { answers: Vec<Record>, additionals: Vec<Record> },
    /// The name is an alias of one outside.
    Alias { record: Box<Record>, target: Name },
    /// The name is an alias of one that the host's resolvers know, whatever it looks like.
    Elsewhere { record: Box<Record>, target: Name },
    /// No such name.
    Unknown,
    /// Not a name of this cluster.
    Foreign,
    /// The caches are not filled yet; to say "no such name" would be a lie.
    NotReady,
}

impl Zone {
    pub(crate) fn new(context: Arc<Context>, is_ready: tokio::sync::watch::Receiver<usize>) -> Self {
        Self { context, is_ready }
    }

    /// Answers a question for `name`.
    pub(super) fn answer(&self, name: &Name, kind: RecordType) -> Answer {
        let config = &self.context.translator.config;
        let text = name.to_ascii().to_ascii_lowercase();
        if let Some(target) = config.dns.target(text.trim_end_matches('.')) {
            return overridden(name, kind, target);
        }
        let view = View { caches: &self.context.virtual_side, domain: &config.cluster_domain };
        let answer = view.answer(name, kind);
        match answer {
            Answer::Foreign => answer,
            // Reverse names may be foreign or ours; before the caches are full nobody knows.
            _ if *self.is_ready.borrow() > 0 => Answer::NotReady,
            answer => answer,
        }
    }

    /// The resolvers of the domain that a name lies in, if the settings give it its own.
    pub(super) fn resolvers(&self, name: &Name) -> Option<&[SocketAddr]> {
        self.context.translator.config.dns.resolvers(&name.to_ascii())
    }

    /// The zone's start of authority, which goes with answers that hold no records.
    pub(super) fn authority(&self) -> Record {
        View { caches: &self.context.virtual_side, domain: &self.context.translator.config.cluster_domain }
            .start_of_authority()
    }
}

/// The caches as a zone.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub caches: &'a VirtualCaches,
    pub domain: &'a str,
}

impl View<'_> {
    pub fn answer(&self, name: &Name, kind: RecordType) -> Answer {
        let text = name.to_ascii().to_ascii_lowercase();
        let text = text.trim_end_matches('.');
        if text.rsplit('.').next() == Some("arpa") {
            return self.reverse(name, text, kind);
        }
        if text == self.domain {
            return self.apex(name, kind);
        }
        let Some(below) = text.strip_suffix(self.domain).and_then(|rest| rest.strip_suffix('.')) else {
            return Answer::Foreign;
        };
        let labels: Vec<&str> = below.split('.').collect();
        match labels.as_slice() {
            ["dns-version"] => typed(name, kind, vec![RData::TXT(TXT::new(vec![SPECIFICATION.into()]))]),
            ["svc" | "pod"] => empty(),
            [namespace, "svc" | "pod"] if self.has_namespace(namespace) => empty(),
            [address, namespace, "pod"] if self.has_namespace(namespace) => match undash(address) {
                Some(address) => typed(name, kind, vec![address_data(address)]),
                None => Answer::Unknown,
            },
            [service, namespace, "svc"] => self.service(name, kind, namespace, service),
            [port, protocol, service, namespace, "svc"]
                if port.starts_with('_') && protocol.starts_with('_') =>
            {
                self.port(name, kind, namespace, service, Some((&port[1..], &protocol[1..])))
            }
            [protocol, service, namespace, "svc"] if protocol.starts_with('_') => {
                match self.find(namespace, service) {
                    Some(_) => empty(),
                    None => Answer::Unknown,
                }
            }
            [host, service, namespace, "svc"] => self.host(name, kind, namespace, service, host),
            _ => Answer::Unknown,
        }
    }

    pub fn start_of_authority(&self) -> Record {
        let zone = self.name(&[]);
        let data =
            SOA::new(self.name(&["ns", "dns"]), self.name(&["hostmaster"]), 1, 7200, 1800, 86_400, TTL);
        Record::from_rdata(zone, TTL, RData::SOA(data))
    }

    fn apex(&self, name: &Name, kind: RecordType) -> Answer {
        match kind {
            RecordType::SOA => {
                Answer::Records { answers: vec![self.start_of_authority()], additionals: Vec::new() }
            }
            RecordType::NS => typed(name, kind, vec![RData::NS(NS(self.name(&["ns", "dns"])))]),
            _ => empty(),
        }
    }

    fn service(&self, name: &Name, kind: RecordType, namespace: &str, service: &str) -> Answer {
        let Some(object) = self.find(namespace, service) else { return Answer::Unknown };
        if is_external_name(&object) {
            let target = object.spec.as_ref().and_then(|spec| spec.external_name.clone()).unwrap_or_default();
            return alias(name, &target);
        }
        if kind == RecordType::SRV {
            return self.port(name, kind, namespace, service, None);
        }
        let addresses = if is_headless(&object) {
            self.ready(namespace, service).iter().flat_map(|(_, endpoint)| addresses(endpoint)).collect()
        } else {
            cluster_ips(&object)
        };
        typed(name, kind, addresses.into_iter().map(address_data).collect())
    }

    fn host(&self, name: &Name, kind: RecordType, namespace: &str, service: &str, host: &str) -> Answer {
        let is_headless = self.find(namespace, service).is_some_and(|object| is_headless(&object));
        if !is_headless {
            return self.itself(name, kind, namespace, service, host);
        }
        let found: BTreeSet<IpAddr> = self
            .ready(namespace, service)
            .iter()
            .flat_map(|(_, endpoint)| {
                let named = endpoint.hostname.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(host));
                addresses(endpoint).into_iter().filter(move |address| named || dash(*address) == host)
            })
            .collect();
        if found.is_empty() {
            return self.itself(name, kind, namespace, service, host);
        }
        typed(name, kind, found.into_iter().map(address_data).collect())
    }

    /// A pod under the name that its kubelet would write into its `/etc/hosts`, with or without a Service: on the host
    /// the pod has no subdomain, which would be one of the host's namespace.
    fn itself(&self, name: &Name, kind: RecordType, namespace: &str, subdomain: &str, host: &str) -> Answer {
        let is_it = |pod: &Arc<Pod>| {
            let Some(spec) = pod.spec.as_ref().filter(|spec| spec.subdomain.as_deref() == Some(subdomain))
            else {
                return false;
            };
            let own = spec.hostname.as_deref().or(pod.metadata.name.as_deref()).unwrap_or_default();
            own.eq_ignore_ascii_case(host)
        };
        let pod = self.caches.pods.namespace(namespace).into_iter().find(is_it);
        let status = pod.as_ref().and_then(|pod| pod.status.as_ref());
        let ips = status.and_then(|status| status.pod_ips.clone()).unwrap_or_default();
        let addresses: Vec<IpAddr> = ips.iter().filter_map(|ip| ip.ip.parse().ok()).collect();
        if addresses.is_empty() {
            return Answer::Unknown;
        }
        typed(name, kind, addresses.into_iter().map(address_data).collect())
    }

    /// SRV records of one port, or of all.
    fn port(
        &self,
        name: &Name,
        kind: RecordType,
        namespace: &str,
        service: &str,
        wanted: Option<(&str, &str)>,
    ) -> Answer {
        let Some(object) = self.find(namespace, service).filter(|object| !is_external_name(object)) else {
            return Answer::Unknown;
        };
        let is_wanted = |port: Option<&str>, protocol: Option<&str>| {
            wanted.is_none_or(|(name, proto)| {
                port.is_some_and(|port| port.eq_ignore_ascii_case(name))
                    && protocol.unwrap_or("TCP").eq_ignore_ascii_case(proto)
            })
        };
        let mut targets: Vec<(u16, Name, Vec<IpAddr>)> = Vec::new();
        if is_headless(&object) {
            for (slice, endpoint) in self.ready(namespace, service) {
                for port in slice.ports.iter().flatten() {
                    if !is_wanted(port.name.as_deref(), port.protocol.as_deref()) {
                        continue;
                    }
                    for address in addresses(&endpoint) {
                        let target = self.endpoint_name(namespace, service, &endpoint, address);
                        targets.push((port.port.unwrap_or(0) as u16, target, vec![address]));
                    }
                }
            }
        } else {
            let ports = object.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
            let ports =
                ports.filter(|port: &&ServicePort| is_wanted(port.name.as_deref(), port.protocol.as_deref()));
            let target = self.name(&[service, namespace, "svc"]);
            targets.extend(ports.map(|port| (port.port as u16, target.clone(), cluster_ips(&object))));
        }
        if targets.is_empty() && wanted.is_some() {
            return Answer::Unknown;
        }
        if kind != RecordType::SRV {
            return empty();
        }

        let weight = (100 / targets.len().max(1)).max(1) as u16;
        let mut additionals = Vec::new();
        for (_, target, addresses) in &targets {
            for address in addresses {
                let record = Record::from_rdata(target.clone(), TTL, address_data(*address));
                if !additionals.contains(&record) {
                    additionals.push(record);
                }
            }
        }
        let answers = targets
            .into_iter()
            .map(|(port, target, _)| {
                Record::from_rdata(name.clone(), TTL, RData::SRV(SRV::new(0, weight, port, target)))
            })
            .collect();
        Answer::Records { answers, additionals }
    }

    /// Addresses of others are foreign, as this zone does not own the reverse one.
    fn reverse(&self, name: &Name, text: &str, kind: RecordType) -> Answer {
        let Some(address) = unreverse(text) else { return Answer::Foreign };
        let is_its = |service: &Service| !is_headless(service) && cluster_ips(service).contains(&address);
        if let Some(service) = self.caches.services.find(is_its) {
            let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
            let target = self.name(&[&service.name_any(), namespace, "svc"]);
            return typed(name, kind, vec![RData::PTR(PTR(target))]);
        }
        let mut targets = Vec::new();
        for slice in self.caches.endpoint_slices.all() {
            let Some(service) = slice.labels().get(SERVICE_NAME) else { continue };
            let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
            for endpoint in slice.endpoints.iter().flatten().filter(|endpoint| is_ready(endpoint)) {
                let is_headless = || self.find(namespace, service).is_some_and(|object| is_headless(&object));
                if addresses(endpoint).contains(&address) && is_headless() {
                    targets.push(RData::PTR(PTR(self.endpoint_name(namespace, service, endpoint, address))));
                }
            }
        }
        if targets.is_empty() { Answer::Foreign } else { typed(name, kind, targets) }
    }

    fn endpoint_name(&self, namespace: &str, service: &str, endpoint: &Endpoint, address: IpAddr) -> Name {
        let dashed = dash(address);
        let host = endpoint.hostname.as_deref().filter(|host| !host.is_empty()).unwrap_or(&dashed);
        self.name(&[host, service, namespace, "svc"])
    }

    fn find(&self, namespace: &str, service: &str) -> Option<Arc<Service>> {
        self.caches.services.get(&ObjectKey::new(namespace, service))
    }

    fn ready(&self, namespace: &str, service: &str) -> Vec<(Arc<EndpointSlice>, Endpoint)> {
        let mut out = Vec::new();
        for slice in self.caches.endpoint_slices.namespace(namespace) {
            if slice.labels().get(SERVICE_NAME).is_none_or(|name| name != service) {
                continue;
            }
            for endpoint in slice.endpoints.iter().flatten().filter(|endpoint| is_ready(endpoint)) {
                out.push((slice.clone(), endpoint.clone()));
            }
        }
        out
    }

    fn has_namespace(&self, name: &str) -> bool {
        self.caches.namespaces.get(&ObjectKey::new("", name)).is_some()
    }

    /// A name below the domain. Labels come from Kubernetes names, which are valid.
    fn name(&self, labels: &[&str]) -> Name {
        let mut text = labels.join(".");
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(self.domain);
        text.push('.');
        Name::from_ascii(&text).unwrap_or_default()
    }
}

fn empty() -> Answer {
    Answer::Records { answers: Vec::new(), additionals: Vec::new() }
}

/// Those of `data` that are of the type asked for.
fn typed(name: &Name, kind: RecordType, data: Vec<RData>) -> Answer {
    let mut answers: Vec<Record> = Vec::new();
    for data in data {
        let record = Record::from_rdata(name.clone(), TTL, data);
        let is_wanted = kind == RecordType::ANY || record.record_type() == kind;
        if is_wanted && !answers.contains(&record) {
            answers.push(record);
        }
    }
    Answer::Records { answers, additionals: Vec::new() }
}

fn overridden(name: &Name, kind: RecordType, target: &Target) -> Answer {
    match target {
        Target::Address(address) => typed(name, kind, vec![address_data(*address)]),
        Target::Host(target) => {
            let data = RData::CNAME(CNAME(target.clone()));
            let record = Record::from_rdata(name.clone(), TTL, data);
            Answer::Elsewhere { record: Box::new(record), target: target.clone() }
        }
    }
}

fn alias(name: &Name, target: &str) -> Answer {
    let Ok(mut target) = Name::from_str(target) else { return empty() };
    target.set_fqdn(true);
    let record = Record::from_rdata(name.clone(), TTL, RData::CNAME(CNAME(target.clone())));
    Answer::Alias { record: Box::new(record), target }
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The specification has only ready endpoints; `publishNotReadyAddresses` makes the endpoint controller call
/// them ready.
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

fn cluster_ips(service: &Service) -> Vec<IpAddr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let mut ips: Vec<IpAddr> = spec.cluster_ips.iter().flatten().filter_map(|ip| ip.parse().ok()).collect();
    if ips.is_empty() {
        ips.extend(spec.cluster_ip.iter().filter_map(|ip| ip.parse::<IpAddr>().ok()));
    }
    ips
}

fn addresses(endpoint: &Endpoint) -> Vec<IpAddr> {
    endpoint.addresses.iter().filter_map(|address| address.parse().ok()).collect()
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

fn dash(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string().replace('.', "-"),
        IpAddr::V6(address) => {
            let groups: Vec<String> = address.segments().iter().map(|group| format!("{group:x}")).collect();
            groups.join("-")
        }
    }
}

fn undash(label: &str) -> Option<IpAddr> {
    if let Ok(address) = label.replace('-', ".").parse::<std::net::Ipv4Addr>() {
        return Some(IpAddr::V4(address));
    }
    label.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

fn unreverse(text: &str) -> Option<IpAddr> {
    if let Some(reversed) = text.strip_suffix(".in-addr.arpa") {
        let octets: Vec<&str> = reversed.split('.').rev().collect();
        return octets.join(".").parse().ok().map(IpAddr::V4);
    }
    let reversed = text.strip_suffix(".ip6.arpa")?;
    let nibbles: Vec<u16> = reversed
        .split('.')
        .rev()
        .map(|nibble| u16::from_str_radix(nibble, 16))
        .collect::<Result<_, _>>()
        .ok()?;
    if nibbles.len() != 32 || nibbles.iter().any(|nibble| *nibble > 15) {
        return None;
    }
    let mut groups = [0_u16; 8];
    for (group, nibbles) in groups.iter_mut().zip(nibbles.chunks(4)) {
        *group = nibbles.iter().fold(0, |value, nibble| (value << 4) | nibble);
    }
    Some(IpAddr::V6(groups.into()))
}
