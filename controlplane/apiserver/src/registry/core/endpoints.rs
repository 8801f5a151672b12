//! Endpoints, the older form of endpoint slices.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, int_at, list_at, list_mut, opt_str, set_default, str_at};
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, first, name};
use crate::validation::fields::{dns_label, dns_subdomain, qualified_name, required_one_of};
use crate::validation::{formats, ip};

/// Names who keeps the endpoints.
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

/// The rules of endpoints.
pub struct Endpoints;

impl Kind for Endpoints {
    fn default(&self, endpoints: &mut Value) {
        for port in list_mut(endpoints, "/subsets").flat_map(|subset| list_mut(subset, "/ports")) {
            set_default(port, "/protocol", "TCP");
        }
    }

    fn warnings(&self, endpoints: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        // The controller copies what it is given.
        if at(endpoints, "/metadata/labels").get(MANAGED_BY).is_some_and(|by| by == "endpoint-controller") {
            return warnings;
        }
        let subsets = Path::new("subsets");
        for (index, subset) in list_at(endpoints, "/subsets").iter().enumerate() {
            let path = subsets.index(index);
            for list in ["addresses", "notReadyAddresses"] {
                let path = path.child(list);
                for (index, address) in list_at(subset, &format!("/{list}")).iter().enumerate() {
                    let path = path.index(index);
                    warnings.extend(ip::address_warnings(&path.child("ip"), str_at(address, "/ip")));
                }
            }
        }
        warnings
    }

    fn validate(&self, endpoints: &Value) -> Errors {
        let mut errors = Errors::default();
        let subsets = Path::new("subsets");
        for (index, subset) in list_at(endpoints, "/subsets").iter().enumerate() {
            validate_subset(&mut errors, &subsets.index(index), subset);
        }
        errors
    }

    /// What was once accepted may stay.
    fn validate_update(&self, endpoints: &Value, old: &Value) -> Errors {
        if at(endpoints, "/subsets") == at(old, "/subsets") {
            return Errors::default();
        }
        self.validate(endpoints)
    }

    fn deprecation(&self) -> Option<&'static str> {
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, endpoints: &Value, now: Timestamp) -> Vec<Value> {
        let mut shown = Vec::new();
        for subset in list_at(endpoints, "/subsets") {
            let addresses = || list_at(subset, "/addresses").iter().map(|address| str_at(address, "/ip"));
            let ports = list_at(subset, "/ports");
            if ports.is_empty() {
                shown.extend(addresses().map(ToOwned::to_owned));
            }
            for port in ports {
                shown.extend(addresses().map(|ip| host_port(ip, int_at(port, "/port"))));
            }
        }
        let none = if list_at(endpoints, "/subsets").is_empty() { "<none>" } else { "" };
        vec![name(endpoints), first(&shown, 3, none).into(), age(endpoints, now)]
    }
}

fn validate_subset(errors: &mut Errors, path: &Path<'_>, subset: &Value) {
    let mut any = false;
    for field in ["addresses", "notReadyAddresses"] {
        any |= !list_at(subset, &format!("/{field}")).is_empty();
    }
    if !any {
        errors.required(path, "must specify `addresses` or `notReadyAddresses`");
    }
    for field in ["addresses", "notReadyAddresses"] {
        let list = path.child(field);
        for (index, address) in list_at(subset, &format!("/{field}")).iter().enumerate() {
            validate_address(errors, &list.index(index), address);
        }
    }
    let ports = list_at(subset, "/ports");
    for (index, port) in ports.iter().enumerate() {
        let list = path.child("ports");
        let path = list.index(index);
        match str_at(port, "/name") {
            "" if ports.len() > 1 => errors.required(&path.child("name"), ""),
            "" => {}
            name => dns_label(errors, &path.child("name"), name),
        }
        let number = int_at(port, "/port");
        for why in formats::port_number(number) {
            errors.invalid(&path.child("port"), &number.into(), &why);
        }
        required_one_of(errors, &path, port, "protocol", &["SCTP", "TCP", "UDP"]);
        if let Some(protocol) = opt_str(port, "/appProtocol") {
            qualified_name(errors, &path.child("appProtocol"), protocol);
        }
    }
}

fn validate_address(errors: &mut Errors, path: &Path<'_>, address: &Value) {
    let text = str_at(address, "/ip");
    ip::address(errors, &path.child("ip"), text);
    let host = str_at(address, "/hostname");
    if !host.is_empty() {
        dns_label(errors, &path.child("hostname"), host);
    }
    if let Some(node) = opt_str(address, "/nodeName") {
        dns_subdomain(errors, &path.child("nodeName"), node);
    }
    ip::endpoint_address(errors, &path.child("ip"), text);
}

fn host_port(host: &str, port: i64) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Endpoints",
        "string",
        "The set of all endpoints is the union of all subsets. Addresses are placed into subsets according to the IPs they share. A single address with multiple ports, some of which are ready and some of which are not (because they come from different containers) will result in the address being displayed in different subsets for the different ports. No address will appear in both Addresses and NotReadyAddresses in the same subset. Sets of addresses and ports that comprise a service.",
    ),
    AGE,
];
