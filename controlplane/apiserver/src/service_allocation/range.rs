//! The allocator of a cluster of its own: cluster IPs from a range, node ports from 30000 to 32767.
//!
//! What is taken is derived from the stored Services at start and kept in memory from then on.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::future::BoxFuture;
use ipnet::{IpNet, Ipv4Net};
use rand::Rng;
use serde_json::{Value, json};

use super::Allocator;
use crate::{
    field::{Errors, Path, Reason},
    metadata,
    status::{ApiError, GroupResource},
};

const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;
const KIND: GroupResource<'static> = GroupResource { group: "", resource: "Service" };

/// Allocates from a range of addresses.
#[derive(Debug)]
pub struct RangeAllocator {
    range: Ipv4Net,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    addresses: BTreeSet<Ipv4Addr>,
    /// Ports are taken per protocol.
    ports: BTreeSet<(u16, String)>,
    /// What stored Services hold, where several servers store them. It is not given back by a write that fails.
    stored: Stored,
}

#[derive(Debug, Default)]
struct Stored {
    addresses: BTreeSet<Ipv4Addr>,
    ports: BTreeSet<(u16, String)>,
}

impl Taken {
    fn has_address(&self, address: Ipv4Addr) -> bool {
        self.addresses.contains(&address) || self.stored.addresses.contains(&address)
    }

    fn has_port(&self, port: &(u16, String)) -> bool {
        self.ports.contains(port) || self.stored.ports.contains(port)
    }
}

/// Why a range cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the service range must be an IPv4 network of at least 8 addresses, not {0}")]
pub struct Unusable(IpNet);

/// What a Service asks for or holds.
#[derive(Debug, Default)]
pub(super) struct Claim {
    addresses: Vec<Ipv4Addr>,
    /// Ports are taken per protocol.
    pub(super) ports: Vec<(u16, String)>,
}

impl RangeAllocator {
    /// An allocator for `range`, in which `services` hold what they name. The first address belongs to
    /// the `kubernetes` Service.
    pub fn new(range: IpNet, services: &[Value]) -> Result<Self, Unusable> {
        let IpNet::V4(v4) = range else { return Err(Unusable(range)) };
        if v4.prefix_len() > 29 {
            return Err(Unusable(range));
        }
        let mut taken = Taken::default();
        for service in services {
            let claim = claim(service);
            taken.addresses.extend(claim.addresses);
            taken.ports.extend(claim.ports);
        }
        Ok(Self { range: v4, taken: Mutex::new(taken) })
    }

    /// The first address of a range: that of the `kubernetes` Service.
    pub fn first(range: IpNet) -> Option<IpAddr> {
        range.hosts().next()
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stored Service holds `now`, and held `before`, whoever gave it.
    pub(super) fn learn(&self, before: Option<Claim>, now: &Claim) {
        let mut taken = self.taken();
        if let Some(before) = before {
            for address in &before.addresses {
                taken.stored.addresses.remove(address);
            }
            for port in &before.ports {
                taken.stored.ports.remove(port);
            }
            give_back(&mut taken, before);
        }
        taken.stored.addresses.extend(&now.addresses);
        taken.stored.ports.extend(now.ports.iter().cloned());
    }

    fn fill(&self, service: &mut Value, old: Option<&Value>, dry_run: bool) -> Result<(), ApiError> {
        let kind = text(service, "/spec/type");
        let held = old.map(claim).unwrap_or_default();
        let mut claimed = Claim::default();
        let mut taken = self.taken();
        let result = if kind == "ExternalName" {
            Ok(())
        } else {
            self.address(service, &held, &mut taken, &mut claimed)
                .and_then(|()| ports(service, &held, &mut taken, &mut claimed))
        };
        if dry_run || result.is_err() {
            give_back(&mut taken, claimed);
        }
        result
    }

    fn address(
        &self,
        service: &mut Value,
        held: &Claim,
        taken: &mut Taken,
        claimed: &mut Claim,
    ) -> Result<(), ApiError> {
        families(service)?;
        let asked = text(service, "/spec/clusterIP");
        if asked == "None" {
            service["spec"]["clusterIPs"] = json!(["None"]);
            return Ok(());
        }
        let address = if asked.is_empty() {
            self.free(taken).ok_or_else(|| {
                invalid(service, |errors| {
                    errors.push(
                        &Path::new("spec").child("clusterIPs"),
                        Reason::Invalid,
                        "Invalid value: []: failed to allocate a serviceIP: range is full".into(),
                    );
                })
            })?
        } else {
            let why = |why: &str| {
                invalid(service, |errors| {
                    errors.invalid(
                        &Path::new("spec").child("clusterIPs"),
                        &json!([asked]),
                        &format!("failed to allocate IP {asked}: {why}"),
                    );
                })
            };
            let address: Ipv4Addr =
                asked.parse().map_err(|_| why("the provided network does not match the current range"))?;
            if !held.addresses.contains(&address) {
                let usable = self.range.contains(&address)
                    && address != self.range.network()
                    && address != self.range.broadcast();
                if !usable {
                    return Err(why("the provided network does not match the current range"));
                }
                if taken.has_address(address) {
                    return Err(why("provided IP is already allocated"));
                }
            }
            address
        };
        if taken.addresses.insert(address) {
            claimed.addresses.push(address);
        }
        service["spec"]["clusterIP"] = address.to_string().into();
        service["spec"]["clusterIPs"] = json!([address.to_string()]);
        Ok(())
    }

    /// A free address: a random one of the upper part, so that the lower stays for those who choose
    /// (KEP-3070), or else the first free one.
    fn free(&self, taken: &Taken) -> Option<Ipv4Addr> {
        let first = u32::from(self.range.network());
        let size = 1_u32.checked_shl(32 - u32::from(self.range.prefix_len())).unwrap_or(u32::MAX);
        let lower = (size / 16).clamp(16.min(size / 2), 256);
        let mut rng = rand::rng();
        for _ in 0..32 {
            let offset = rng.random_range(lower.max(2)..size - 1);
            let address = Ipv4Addr::from(first + offset);
            if !taken.has_address(address) {
                return Some(address);
            }
        }
        (2..size - 1).map(|offset| Ipv4Addr::from(first + offset)).find(|a| !taken.has_address(*a))
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn invalid(service: &Value, fill: impl FnOnce(&mut Errors)) -> ApiError {
    let mut errors = Errors::default();
    fill(&mut errors);
    ApiError::invalid(KIND, metadata::name(service), &errors)
}

/// The IP families of a single-stack cluster.
fn families(service: &mut Value) -> Result<(), ApiError> {
    let spec = Path::new("spec");
    let policy = text(service, "/spec/ipFamilyPolicy");
    let families: Vec<String> = service
        .pointer("/spec/ipFamilies")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(Into::into)
        .collect();
    if families.len() > 1 && !matches!(policy.as_str(), "PreferDualStack" | "RequireDualStack") {
        return Err(invalid(service, |errors| {
            errors.invalid_str(
                &spec.child("ipFamilyPolicy"),
                "SingleStack",
                "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
            );
        }));
    }
    let address = text(service, "/spec/clusterIP");
    if address.contains(':') {
        return Err(invalid(service, |errors| {
            errors.invalid(
                &spec.child("clusterIPs").index(0),
                &json!([address]),
                "IPv6 is not configured on this cluster",
            );
        }));
    }
    let headless_without_selector = address == "None"
        && service.pointer("/spec/selector").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty);
    if !headless_without_selector {
        let mut errors = Errors::default();
        if policy == "RequireDualStack" {
            let why = "this cluster is not configured for dual-stack services";
            errors.invalid_str(&spec.child("ipFamilyPolicy"), &policy, why);
        }
        if let Some(at) = families.iter().position(|family| family == "IPv6") {
            let path = spec.child("ipFamilies");
            errors.invalid_str(&path.index(at), "IPv6", "not configured on this cluster");
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid(KIND, metadata::name(service), &errors));
        }
    }
    // Its endpoints are made by hand, and may be of any family.
    let (any, both) = (headless_without_selector, json!(["IPv4", "IPv6"]));
    if policy.is_empty() {
        service["spec"]["ipFamilyPolicy"] = if any { "RequireDualStack" } else { "SingleStack" }.into();
    }
    if families.is_empty() {
        service["spec"]["ipFamilies"] = if any { both } else { json!(["IPv4"]) };
    }
    Ok(())
}

fn wants_node_ports(service: &Value) -> bool {
    match text(service, "/spec/type").as_str() {
        "NodePort" => true,
        "LoadBalancer" => {
            service.pointer("/spec/allocateLoadBalancerNodePorts").and_then(Value::as_bool) != Some(false)
        }
        _ => false,
    }
}

fn protocol(port: &Value) -> String {
    port.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_owned()
}

fn ports(service: &mut Value, held: &Claim, taken: &mut Taken, claimed: &mut Claim) -> Result<(), ApiError> {
    let automatic = wants_node_ports(service);
    if !automatic && !matches!(text(service, "/spec/type").as_str(), "LoadBalancer") {
        return Ok(());
    }
    let mut list = service.pointer("/spec/ports").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut own: Vec<(u16, String)> = Vec::new();
    for (at, port) in list.iter_mut().enumerate() {
        let protocol = protocol(port);
        let asked =
            port.get("nodePort").and_then(Value::as_u64).and_then(|p| u16::try_from(p).ok()).unwrap_or(0);
        let number = if asked != 0 {
            let key = (asked, protocol.clone());
            let spec = Path::new("spec");
            let ports = spec.child("ports");
            let item = ports.index(at);
            if !NODE_PORTS.contains(&asked) {
                return Err(invalid(service, |errors| {
                    errors.invalid(
                        &item.child("nodePort"),
                        &asked.into(),
                        "provided port is not in the valid range. The range of valid ports is 30000-32767",
                    );
                }));
            }
            if own.contains(&key) || (!held.ports.contains(&key) && taken.has_port(&key)) {
                return Err(invalid(service, |errors| {
                    errors.invalid(
                        &item.child("nodePort"),
                        &asked.into(),
                        "provided port is already allocated",
                    );
                }));
            }
            asked
        } else if automatic {
            free_port(taken, &protocol)
                .ok_or_else(|| ApiError::internal("failed to allocate a nodePort: range is full"))?
        } else {
            continue;
        };
        port["nodePort"] = number.into();
        own.push((number, protocol.clone()));
        if taken.ports.insert((number, protocol.clone())) {
            claimed.ports.push((number, protocol));
        }
    }
    service["spec"]["ports"] = Value::Array(list);
    health_check_port(service, taken, claimed);
    Ok(())
}

/// Load balancers that keep client addresses need a port to ask nodes for their health.
fn health_check_port(service: &mut Value, taken: &mut Taken, claimed: &mut Claim) {
    let local = text(service, "/spec/type") == "LoadBalancer"
        && text(service, "/spec/externalTrafficPolicy") == "Local";
    let asked = service.pointer("/spec/healthCheckNodePort").and_then(Value::as_u64).unwrap_or(0);
    if !local {
        if let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("healthCheckNodePort");
        }
        return;
    }
    let port = u16::try_from(asked).ok().filter(|p| *p != 0).or_else(|| free_port(taken, "TCP"));
    if let Some(port) = port {
        service["spec"]["healthCheckNodePort"] = port.into();
        if taken.ports.insert((port, "TCP".into())) {
            claimed.ports.push((port, "TCP".into()));
        }
    }
}

fn free_port(taken: &Taken, protocol: &str) -> Option<u16> {
    let free = |port: &u16| !taken.has_port(&(*port, protocol.to_owned()));
    let mut rng = rand::rng();
    (0..32).map(|_| rng.random_range(NODE_PORTS)).find(free).or_else(|| NODE_PORTS.into_iter().find(free))
}

/// What a stored Service holds.
pub(super) fn claim(service: &Value) -> Claim {
    let addresses = service.pointer("/spec/clusterIPs").and_then(Value::as_array);
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    let mut claim = Claim {
        addresses: addresses
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter_map(|a| a.parse().ok())
            .collect(),
        ports: ports
            .into_iter()
            .flatten()
            .filter_map(|p| {
                let number = p.get("nodePort").and_then(Value::as_u64)?;
                Some((u16::try_from(number).ok()?, protocol(p)))
            })
            .collect(),
    };
    if let Some(port) = service.pointer("/spec/healthCheckNodePort").and_then(Value::as_u64) {
        claim.ports.extend(u16::try_from(port).ok().map(|p| (p, "TCP".to_owned())));
    }
    claim
}

fn give_back(taken: &mut Taken, claim: Claim) {
    for address in claim.addresses {
        taken.addresses.remove(&address);
    }
    for port in claim.ports {
        taken.ports.remove(&port);
    }
}

impl Allocator for RangeAllocator {
    fn allocate<'a>(
        &'a self,
        service: &'a mut Value,
        old: Option<&'a Value>,
        dry_run: bool,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(std::future::ready(self.fill(service, old, dry_run)))
    }

    fn release<'a>(&'a self, service: &'a Value, kept: Option<&'a Value>) -> BoxFuture<'a, ()> {
        let mut released = claim(service);
        if let Some(kept) = kept.map(claim) {
            released.addresses.retain(|a| !kept.addresses.contains(a));
            released.ports.retain(|p| !kept.ports.contains(p));
        }
        give_back(&mut self.taken(), released);
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocator() -> RangeAllocator {
        RangeAllocator::new("10.96.0.0/24".parse().unwrap(), &[]).unwrap()
    }

    #[test]
    fn an_address_is_given_once() {
        let allocator = allocator();
        let mut first =
            json!({"metadata": {"name": "a"}, "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.77"}});
        allocator.fill(&mut first, None, false).unwrap();
        let mut second = first.clone();
        let error = allocator.fill(&mut second, None, false).unwrap_err();
        assert!(
            error.message.ends_with("failed to allocate IP 10.96.0.77: provided IP is already allocated")
        );
    }

    #[test]
    fn a_dry_run_takes_nothing() {
        let allocator = allocator();
        for _ in 0..300 {
            let mut service =
                json!({"metadata": {"name": "a"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
            allocator.fill(&mut service, None, true).unwrap();
        }
        assert!(allocator.taken().addresses.is_empty() && allocator.taken().ports.is_empty());
    }
}
