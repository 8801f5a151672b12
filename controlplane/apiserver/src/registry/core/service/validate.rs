//! Everything wrong with services.

use std::collections::BTreeSet;

use serde_json::Value;

use super::form::{self, is_headless, kind};
use crate::field::{Errors, Path, Reason};
use crate::registry::access::{at, get, has, int_at, list_at, map_at, opt_str, str_at, strs_at};
use crate::validation::fields::{self, port_number_or_name, qualified_name, required_one_of};
use crate::validation::{formats, ip, labels};

const SPEC: Path<'static> = Path::new("spec");
const ANNOTATIONS: Path<'static> = Path::new("metadata.annotations");
const ONLY_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";
const UNCHANGED: &str = "may not change once set";
const POLICIES: &[&str] = &["PreferDualStack", "RequireDualStack", "SingleStack"];
const DISTRIBUTIONS: &[&str] = &["PreferClose", "PreferSameZone", "PreferSameNode"];
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
pub(super) const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";

/// A new service. Addresses and node ports that cannot be given are all that is said of it: the cluster
/// looks at them before the rest.
pub fn validate_create(service: &Value) -> Errors {
    let mut errors = Errors::default();
    addresses(&mut errors, at(service, "/spec"), None);
    if errors.is_empty() {
        repeated_node_ports(&mut errors, at(service, "/spec"));
    }
    if errors.is_empty() { validate(service, None) } else { errors }
}

fn validate(service: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let spec = at(service, "/spec");
    topology(&mut errors, service);
    by_type(&mut errors, spec);
    let mut names = BTreeSet::new();
    let ports = list_at(spec, "/ports");
    for (index, port) in ports.iter().enumerate() {
        validate_port(&mut errors, &SPEC.child("ports").index(index), port, ports.len() > 1, &mut names);
    }
    labels::labels(&mut errors, &SPEC.child("selector"), map_at(spec, "/selector"));
    affinity(&mut errors, spec);
    external_addresses(&mut errors, spec, old);
    required_one_of(
        &mut errors,
        &SPEC,
        spec,
        "type",
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
    );
    repeated_ports(&mut errors, spec);
    source_ranges(&mut errors, service, old);
    balancer(&mut errors, spec);
    traffic(&mut errors, spec);
    errors
}

/// A changed service: what it may not change, before the rest.
pub fn validate_update(service: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    addresses(&mut errors, at(service, "/spec"), Some(old));
    if !errors.is_empty() {
        return errors;
    }
    kept(&mut errors, service, old, "clusterIPs");
    kept(&mut errors, service, old, "ipFamilies");
    let class = "/spec/loadBalancerClass";
    if kind(service) == "LoadBalancer" && kind(old) == "LoadBalancer" && at(service, class) != at(old, class)
    {
        errors.invalid(&SPEC.child("loadBalancerClass"), at(service, class), UNCHANGED);
    }
    balancer_class(&mut errors, at(service, "/spec"));
    let port = "/spec/healthCheckNodePort";
    if form::needs_health_check(service)
        && form::needs_health_check(old)
        && int_at(service, port) != int_at(old, port)
    {
        errors.forbidden(&SPEC.child("healthCheckNodePort"), fields::IMMUTABLE);
    }
    errors.extend(validate(service, Some(old)));
    errors
}

/// The addresses of a load balancer; ingresses have them too.
pub fn validate_status(service: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let status = Path::new("status");
    let balancer = status.child("loadBalancer");
    let ingresses = balancer.child("ingress");
    let list = list_at(service, "/status/loadBalancer/ingress");
    if kind(service) != "LoadBalancer" && !list.is_empty() {
        errors.forbidden(&ingresses, "may only be used when `spec.type` is 'LoadBalancer'");
        return errors;
    }
    let known: Vec<&str> =
        list_at(old, "/status/loadBalancer/ingress").iter().map(|ingress| str_at(ingress, "/ip")).collect();
    for (index, ingress) in list.iter().enumerate() {
        let path = ingresses.index(index);
        let address = str_at(ingress, "/ip");
        if !address.is_empty() && !known.contains(&address) {
            ip::address(&mut errors, &path.child("ip"), address);
        }
        let mode = path.child("ipMode");
        match (opt_str(ingress, "/ipMode"), address.is_empty()) {
            (None, false) => errors.required(&mode, "must be specified when `ip` is set"),
            (Some(_), true) => errors.forbidden(&mode, "may not be specified when `ip` is not set"),
            _ => fields::one_of(&mut errors, &path, ingress, "ipMode", &["Proxy", "VIP"]),
        }
        validate_host(&mut errors, &path.child("hostname"), str_at(ingress, "/hostname"));
    }
    errors
}

/// The name of a load balancer.
pub fn validate_host(errors: &mut Errors, path: &Path<'_>, host: &str) {
    if host.is_empty() {
        return;
    }
    fields::dns_subdomain(errors, path, host);
    if ip::parse(host).is_some() {
        errors.invalid_str(path, host, "must be a DNS name, not an IP address");
    }
}

fn topology(errors: &mut Errors, service: &Value) {
    let annotation = |name| map_at(service, "/metadata/annotations").and_then(|all| all.get(name));
    if let (Some(mode), Some(hints)) = (annotation(TOPOLOGY_MODE), annotation(TOPOLOGY_HINTS))
        && mode != hints
    {
        errors.invalid(
            &ANNOTATIONS.key(TOPOLOGY_MODE),
            mode,
            &format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified"),
        );
    }
}

fn by_type(errors: &mut Errors, spec: &Value) {
    let kind = str_at(spec, "/type");
    let headless = is_headless(spec);
    if list_at(spec, "/ports").is_empty() && !headless && kind != "ExternalName" {
        errors.required(&SPEC.child("ports"), "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => errors.invalid_str(
            &SPEC.child("clusterIPs").index(0),
            "None",
            &format!("may not be set to 'None' for {kind} services"),
        ),
        "ExternalName" => external_name(errors, spec),
        _ => {}
    }
}

fn external_name(errors: &mut Errors, spec: &Value) {
    for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if get(spec, &format!("/{field}")).is_some_and(|value| value.as_array().is_none_or(|l| !l.is_empty()))
        {
            errors.forbidden(&SPEC.child(field), "may not be set for ExternalName services");
        }
    }
    let path = SPEC.child("externalName");
    let name = str_at(spec, "/externalName");
    match name.strip_suffix('.').unwrap_or(name) {
        "" => errors.required(&path, ""),
        name => fields::dns_subdomain(errors, &path, name),
    }
}

fn validate_port<'a>(
    errors: &mut Errors,
    path: &Path<'_>,
    port: &'a Value,
    must_have_name: bool,
    names: &mut BTreeSet<&'a str>,
) {
    let name = str_at(port, "/name");
    if !name.is_empty() {
        fields::dns_label(errors, &path.child("name"), name);
        if !names.insert(name) {
            errors.duplicate(&path.child("name"), &name.into());
        }
    } else if must_have_name {
        errors.required(&path.child("name"), "");
    }
    let number = int_at(port, "/port");
    for why in formats::port_number(number) {
        errors.invalid(&path.child("port"), &number.into(), &why);
    }
    required_one_of(errors, path, port, "protocol", &["SCTP", "TCP", "UDP"]);
    port_number_or_name(errors, &path.child("targetPort"), at(port, "/targetPort"));
    if let Some(protocol) = opt_str(port, "/appProtocol") {
        qualified_name(errors, &path.child("appProtocol"), protocol);
    }
}

fn affinity(errors: &mut Errors, spec: &Value) {
    const MAX: i64 = 86_400;
    required_one_of(errors, &SPEC, spec, "sessionAffinity", &["ClientIP", "None"]);
    let path = SPEC.child("sessionAffinityConfig");
    match str_at(spec, "/sessionAffinity") {
        "ClientIP" => {
            let client = path.child("clientIP");
            let timeout = int_at(spec, "/sessionAffinityConfig/clientIP/timeoutSeconds");
            if !(1..=MAX).contains(&timeout) {
                errors.invalid(
                    &client.child("timeoutSeconds"),
                    &timeout.into(),
                    &format!("must be greater than 0 and less than {MAX}"),
                );
            }
        }
        "None" if has(spec, "/sessionAffinityConfig") => {
            errors.forbidden(&path, "must not be set when session affinity is None");
        }
        _ => {}
    }
}

fn addresses(errors: &mut Errors, spec: &Value, old: Option<&Value>) {
    if str_at(spec, "/type") == "ExternalName" {
        return;
    }
    let path = SPEC.child("clusterIPs");
    let all = at(spec, "/clusterIPs");
    let list: Vec<&str> = strs_at(spec, "/clusterIPs").collect();
    match (str_at(spec, "/clusterIP"), list.first()) {
        ("", Some(_)) => errors.invalid(&path, all, "must be empty when `clusterIP` is not specified"),
        ("", None) => {}
        (_, None) => errors.required(&path, ""),
        (address, Some(first)) if address != *first => {
            errors.invalid(&path, all, "first value must match `clusterIP`");
        }
        _ => {}
    }
    families(errors, spec);
    let known: Vec<&str> = old.into_iter().flat_map(|old| strs_at(old, "/spec/clusterIPs")).collect();
    let before = errors.0.len();
    for (index, address) in list.iter().enumerate() {
        if index == 0 && *address == "None" {
            if list.len() > 1 {
                errors.invalid(&path, all, "'None' must be the first and only value");
            }
        } else if !known.contains(address) {
            ip::address(errors, &path.index(index), address);
        }
    }
    let wrong = errors.0.len() > before;
    if list.len() > 2 {
        errors.invalid(&path, all, "may only hold up to 2 values");
    }
    if wrong {
        return;
    }
    let is_v6 = |address: &str| ip::parse(address).is_some_and(|address| address.is_ipv6());
    let of_v6 = list.iter().filter(|address| is_v6(address)).count();
    if list.len() > 1 && (of_v6 == 0 || of_v6 == list.len()) {
        errors.invalid(&path, all, "may specify no more than one IP for each IP family");
    }
    if is_headless(spec) {
        return;
    }
    for (index, (address, family)) in list.iter().zip(strs_at(spec, "/ipFamilies")).enumerate() {
        if matches!(family, "IPv4" | "IPv6") && (family == "IPv6") != is_v6(address) {
            errors.invalid_str(
                &path.index(index),
                address,
                &format!("expected an {family} value as indicated by `ipFamilies[{index}]`"),
            );
        }
    }
}

fn families(errors: &mut Errors, spec: &Value) {
    let path = SPEC.child("ipFamilies");
    let mut seen = BTreeSet::new();
    for (index, family) in strs_at(spec, "/ipFamilies").enumerate() {
        if !["IPv4", "IPv6"].contains(&family) {
            errors.not_supported(&path.index(index), &family.into(), &["IPv4", "IPv6"]);
        }
        if !seen.insert(family) {
            errors.duplicate(&path.index(index), &family.into());
        }
    }
    if let Some(policy) = opt_str(spec, "/ipFamilyPolicy").filter(|policy| !POLICIES.contains(policy)) {
        errors.not_supported(&SPEC.child("ipFamilyPolicy"), &policy.into(), POLICIES);
    }
}

fn external_addresses(errors: &mut Errors, spec: &Value, old: Option<&Value>) {
    let known: Vec<&str> = old.into_iter().flat_map(|old| strs_at(old, "/spec/externalIPs")).collect();
    for (index, address) in strs_at(spec, "/externalIPs").enumerate() {
        let externals = SPEC.child("externalIPs");
        let path = externals.index(index);
        if known.contains(&address) || ip::address(errors, &path, address) {
            ip::endpoint_address(errors, &path, address);
        }
    }
}

/// A node port can be given to one port of a protocol only.
fn repeated_node_ports(errors: &mut Errors, spec: &Value) {
    if !matches!(str_at(spec, "/type"), "NodePort" | "LoadBalancer") {
        return;
    }
    let mut taken = BTreeSet::new();
    for (index, port) in list_at(spec, "/ports").iter().enumerate() {
        let number = int_at(port, "/nodePort");
        if number != 0 && !taken.insert((str_at(port, "/protocol"), number)) {
            let path = SPEC.child("ports");
            let path = path.index(index);
            errors.invalid(&path.child("nodePort"), &number.into(), "provided port is already allocated");
            return;
        }
    }
}

fn repeated_ports(errors: &mut Errors, spec: &Value) {
    let ports = list_at(spec, "/ports");
    let path = SPEC.child("ports");
    if str_at(spec, "/type") == "ClusterIP" {
        for (index, _) in ports.iter().enumerate().filter(|(_, port)| int_at(port, "/nodePort") != 0) {
            errors.forbidden(
                &path.index(index).child("nodePort"),
                "may not be used when `type` is 'ClusterIP'",
            );
        }
    }
    let mut taken = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let number = int_at(port, "/nodePort");
        if number != 0 && !taken.insert((str_at(port, "/protocol"), number)) {
            errors.duplicate(&path.index(index).child("nodePort"), &number.into());
        }
    }
    taken.clear();
    for (index, port) in ports.iter().enumerate() {
        let (protocol, number) = (str_at(port, "/protocol"), int_at(port, "/port"));
        if !taken.insert((protocol, number)) {
            let shown = format!(
                "Duplicate value: {{\"Name\":\"\",\"Protocol\":\"{protocol}\",\"AppProtocol\":null,\"Port\":{number},\"TargetPort\":0,\"NodePort\":0}}"
            );
            errors.push(&path.index(index), Reason::Duplicate, shown);
        }
    }
}

fn source_ranges(errors: &mut Errors, service: &Value, old: Option<&Value>) {
    let balanced = kind(service) == "LoadBalancer";
    let ranges = list_at(service, "/spec/loadBalancerSourceRanges");
    if !ranges.is_empty() {
        let path = SPEC.child("LoadBalancerSourceRanges");
        if !balanced {
            errors.forbidden(&path, ONLY_BALANCERS);
        }
        let known: Vec<&str> = old
            .into_iter()
            .flat_map(|old| strs_at(old, "/spec/loadBalancerSourceRanges"))
            .map(str::trim)
            .collect();
        for (index, range) in ranges.iter().enumerate() {
            let range = range.as_str().unwrap_or_default().trim();
            if !known.contains(&range) {
                ip::cidr(errors, &path.index(index), range);
            }
        }
        return;
    }
    let annotation = |object| map_at(object, "/metadata/annotations").and_then(|all| all.get(SOURCE_RANGES));
    let Some(value) = annotation(service) else { return };
    let path = ANNOTATIONS.key(SOURCE_RANGES);
    if !balanced {
        errors.forbidden(&path, ONLY_BALANCERS);
    }
    if old.and_then(annotation) != Some(value) {
        let text = value.as_str().unwrap_or_default().trim();
        for range in text.split(',').filter(|_| !text.is_empty()) {
            ip::cidr(errors, &path, range.trim());
        }
    }
}

fn balancer(errors: &mut Errors, spec: &Value) {
    if has(spec, "/allocateLoadBalancerNodePorts") && str_at(spec, "/type") != "LoadBalancer" {
        errors.forbidden(&SPEC.child("allocateLoadBalancerNodePorts"), ONLY_BALANCERS);
    }
    balancer_class(errors, spec);
}

fn balancer_class(errors: &mut Errors, spec: &Value) {
    let path = SPEC.child("loadBalancerClass");
    match opt_str(spec, "/loadBalancerClass") {
        Some(class) if str_at(spec, "/type") == "LoadBalancer" => qualified_name(errors, &path, class),
        Some(_) => errors.forbidden(&path, ONLY_BALANCERS),
        None => {}
    }
}

fn traffic(errors: &mut Errors, spec: &Value) {
    let policy = str_at(spec, "/externalTrafficPolicy");
    if form::is_external(spec) {
        required_one_of(errors, &SPEC, spec, "externalTrafficPolicy", &["Cluster", "Local"]);
    } else if !policy.is_empty() {
        errors.invalid_str(
            &SPEC.child("externalTrafficPolicy"),
            policy,
            "may only be set for externally-accessible services",
        );
    }
    let port = int_at(spec, "/healthCheckNodePort");
    let path = SPEC.child("healthCheckNodePort");
    if form::checks_health(spec) {
        // The allocator gives a port to those who name none.
        for why in formats::port_number(port).iter().filter(|_| port != 0) {
            errors.invalid(&path, &port.into(), why);
        }
    } else if port != 0 {
        errors.invalid(
            &path,
            &port.into(),
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        );
    }
    if let Some(policy) = opt_str(spec, "/internalTrafficPolicy")
        && !["Cluster", "Local"].contains(&policy)
    {
        errors.not_supported(&SPEC.child("internalTrafficPolicy"), &policy.into(), &["Cluster", "Local"]);
    }
    if let Some(distribution) = opt_str(spec, "/trafficDistribution")
        && !DISTRIBUTIONS.contains(&distribution)
    {
        errors.not_supported(&SPEC.child("trafficDistribution"), &distribution.into(), DISTRIBUTIONS);
    }
}

/// Demands that what the cluster gave to a service stays; a second address or family may come and go.
fn kept(errors: &mut Errors, service: &Value, old: &Value, field: &str) {
    let addresses = field == "clusterIPs";
    if !form::needs_address(service) || !form::needs_address(old) {
        return;
    }
    let headless = (is_headless(at(service, "/spec")), is_headless(at(old, "/spec")));
    if headless == (true, true) || !addresses && headless.0 != headless.1 {
        return;
    }
    let pointer = format!("/spec/{field}");
    let (new, was) = (list_at(service, &pointer), list_at(old, &pointer));
    let shown = at(service, &pointer);
    let path = SPEC.child(field);
    if new.len() == was.len() {
        for (index, _) in new.iter().zip(was).enumerate().filter(|(_, (new, was))| new != was) {
            errors.invalid(&path.index(if addresses { index } else { 0 }), shown, UNCHANGED);
        }
        return;
    }
    let one = if addresses { "clusterIP" } else { "ipFamily" };
    if list_at(service, "/spec/clusterIPs").is_empty() && was.len() > new.len() {
        errors.invalid(&path.index(0), shown, &format!("primary {one} can not be unset"));
    }
    if let (Some(new), Some(was)) = (new.first(), was.first())
        && new != was
    {
        errors.invalid(&path.index(0), at(service, "/spec/clusterIPs"), UNCHANGED);
    }
    let policy = at(service, "/spec/ipFamilyPolicy");
    if was.len() > new.len() && new.len() == 1 && policy != "SingleStack" {
        errors.invalid(
            &SPEC.child("ipFamilyPolicy"),
            policy,
            &format!("must be set to 'SingleStack' when releasing the secondary {one}"),
        );
    }
}
