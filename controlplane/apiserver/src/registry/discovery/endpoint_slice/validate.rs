//! Everything wrong with endpoint slices.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, count_at, list_at, map_at, opt_str, str_at, strs_at};
use crate::validation::fields::{self, dns_label, dns_subdomain, one_of, qualified_name};
use crate::validation::{ip, labels, names};

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_TOPOLOGY: usize = 16;
const MAX_HINTS: usize = 8;

/// A slice, new or changed.
pub fn validate(slice: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    fields::required_one_of(&mut errors, &Path::ROOT, slice, "addressType", &["FQDN", "IPv4", "IPv6"]);
    let (endpoints, path) = (list_at(slice, "/endpoints"), Path::new("endpoints"));
    if endpoints.len() > MAX_ENDPOINTS {
        errors.too_many(&path, endpoints.len(), MAX_ENDPOINTS);
    } else {
        let known: BTreeSet<&str> = old
            .into_iter()
            .flat_map(|old| list_at(old, "/endpoints"))
            .flat_map(|endpoint| strs_at(endpoint, "/addresses"))
            .collect();
        for (index, endpoint) in endpoints.iter().enumerate() {
            validate_endpoint(
                &mut errors,
                &path.index(index),
                endpoint,
                str_at(slice, "/addressType"),
                &known,
            );
        }
    }
    let (ports, path) = (list_at(slice, "/ports"), Path::new("ports"));
    if ports.len() > MAX_PORTS {
        errors.too_many(&path, ports.len(), MAX_PORTS);
    } else {
        validate_ports(&mut errors, &path, ports);
    }
    errors
}

/// A changed slice.
pub fn validate_update(slice: &Value, old: &Value) -> Errors {
    let mut errors = validate(slice, Some(old));
    fields::immutable_field(&mut errors, &Path::ROOT, slice, old, "addressType");
    errors
}

fn validate_endpoint(
    errors: &mut Errors,
    path: &Path<'_>,
    endpoint: &Value,
    family: &str,
    known: &BTreeSet<&str>,
) {
    let list = path.child("addresses");
    match list_at(endpoint, "/addresses").len() {
        0 => errors.required(&list, "must contain at least 1 address"),
        count if count > MAX_ADDRESSES => errors.too_many(&list, count, MAX_ADDRESSES),
        _ => {}
    }
    for (index, address) in strs_at(endpoint, "/addresses").enumerate() {
        let path = list.index(index);
        match family {
            "IPv4" | "IPv6" => {
                if !known.contains(address) && !ip::address(errors, &path, address) {
                    continue;
                }
                let Some(parsed) = ip::parse(address) else { continue };
                if parsed.is_ipv6() != (family == "IPv6") {
                    errors.invalid_str(&list, address, &format!("must be an {family} address"));
                }
                ip::endpoint_address(errors, &path, address);
            }
            "FQDN" => full_domain(errors, &path, address),
            _ => {}
        }
    }
    if let Some(node) = opt_str(endpoint, "/nodeName") {
        dns_subdomain(errors, &path.child("nodeName"), node);
    }
    let topology = path.child("deprecatedTopology");
    let count = count_at(endpoint, "/deprecatedTopology");
    if count > MAX_TOPOLOGY {
        errors.too_many(&topology, count, MAX_TOPOLOGY);
    }
    labels::labels(errors, &topology, map_at(endpoint, "/deprecatedTopology"));
    if let Some(host) = opt_str(endpoint, "/hostname") {
        dns_label(errors, &path.child("hostname"), host);
    }
    validate_hints(errors, &path.child("hints"), at(endpoint, "/hints"));
}

/// A domain of at least two labels.
fn full_domain(errors: &mut Errors, path: &Path<'_>, name: &str) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let wrong = names::dns1123_subdomain(name);
    if !wrong.is_empty() {
        return errors.invalid_str(path, name, &wrong.join(","));
    }
    if !name.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        return errors.invalid_str(path, name, why);
    }
    for label in name.split('.') {
        let wrong = names::dns1123_label(label);
        if !wrong.is_empty() {
            return errors.invalid_str(path, label, &wrong.join(","));
        }
    }
}

fn validate_hints(errors: &mut Errors, path: &Path<'_>, hints: &Value) {
    for field in ["forZones", "forNodes"] {
        let list = path.child(field);
        let targets = list_at(hints, if field == "forZones" { "/forZones" } else { "/forNodes" });
        if targets.len() > MAX_HINTS {
            errors.too_many(&list, targets.len(), MAX_HINTS);
            continue;
        }
        let mut seen = BTreeSet::new();
        for (index, target) in targets.iter().enumerate() {
            let (item, name) = (list.index(index), str_at(target, "/name"));
            let path = item.child("name");
            if !seen.insert(name) {
                errors.duplicate(&path, &name.into());
            }
            let wrong = match field {
                "forZones" => names::label_value(name),
                _ => names::dns1123_subdomain(name),
            };
            for why in wrong {
                errors.invalid_str(&path, name, &why);
            }
        }
    }
}

fn validate_ports(errors: &mut Errors, path: &Path<'_>, ports: &[Value]) {
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let (path, name) = (path.index(index), str_at(port, "/name"));
        if !name.is_empty() {
            dns_label(errors, &path.child("name"), name);
        }
        if !seen.insert(name) {
            errors.duplicate(&path.child("name"), &name.into());
        }
        one_of(errors, &path, port, "protocol", &["SCTP", "TCP", "UDP"]);
        if let Some(protocol) = opt_str(port, "/appProtocol") {
            qualified_name(errors, &path.child("appProtocol"), protocol);
        }
    }
}
