//! Endpoint slices.

mod validate;

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{
    at, has, int_at, list_at, list_mut, make_map, opt_int, opt_str, remove, set, set_default, str_at, strs_at,
};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, first, name};
use crate::validation::ip;

/// The rules of endpoint slices.
pub struct EndpointSlice;

impl Kind for EndpointSlice {
    fn default(&self, slice: &mut Value) {
        let map = make_map(slice, "");
        for list in ["endpoints", "ports"] {
            map.entry(list).or_insert(Value::Null);
        }
        for endpoint in list_mut(slice, "/endpoints") {
            make_map(endpoint, "/conditions");
        }
        for port in list_mut(slice, "/ports") {
            if !has(port, "/name") {
                set(port, "/name", "");
            }
            set_default(port, "/protocol", "TCP");
        }
    }

    fn prepare_create(&self, slice: &mut Value, _writer: &Writer<'_>) {
        drop_topology(slice);
    }

    /// Labels count as well: they say whose slice it is.
    fn prepare_update(&self, slice: &mut Value, old: &Value, _writer: &Writer<'_>) {
        if at(slice, "/endpoints") != at(old, "/endpoints") {
            drop_topology(slice);
        }
        if at(slice, "/metadata/labels") != at(old, "/metadata/labels") {
            set(slice, "/metadata/generation", int_at(old, "/metadata/generation") + 1);
        }
    }

    fn warnings(&self, slice: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if old.is_none() && str_at(slice, "/addressType") == "FQDN" {
            warnings.push("spec.addressType: FQDN endpoints are deprecated".into());
        }
        let manager = at(slice, "/metadata/labels").get("endpointslice.kubernetes.io/managed-by");
        if manager.and_then(Value::as_str).is_some_and(|manager| CONTROLLERS.contains(&manager)) {
            return warnings;
        }
        let endpoints = Path::new("endpoints");
        for (index, endpoint) in list_at(slice, "/endpoints").iter().enumerate() {
            let path = endpoints.index(index);
            let path = path.child("addresses");
            for (index, address) in strs_at(endpoint, "/addresses").enumerate() {
                warnings.extend(ip::address_warnings(&path.index(index), address));
            }
        }
        warnings
    }

    fn validate(&self, slice: &Value) -> Errors {
        validate::validate(slice, None)
    }

    fn validate_update(&self, slice: &Value, old: &Value) -> Errors {
        validate::validate_update(slice, old)
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["addressType", "endpoints", "ports"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, slice: &Value, now: Timestamp) -> Vec<Value> {
        let ports: Vec<String> = list_at(slice, "/ports")
            .iter()
            .map(|port| match (opt_int(port, "/port"), opt_str(port, "/name")) {
                (Some(number), _) => number.to_string(),
                (None, Some(name)) => name.to_owned(),
                (None, None) => "*".into(),
            })
            .collect();
        let addresses: Vec<String> = list_at(slice, "/endpoints")
            .iter()
            .flat_map(|endpoint| strs_at(endpoint, "/addresses"))
            .map(ToOwned::to_owned)
            .collect();
        vec![
            name(slice),
            str_at(slice, "/addressType").into(),
            first(&ports, 3, "<unset>").into(),
            first(&addresses, 3, "<unset>").into(),
            age(slice, now),
        ]
    }
}

/// Who writes addresses as they should be.
const CONTROLLERS: &[&str] = &["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];

/// Only the beta version had a topology of endpoints.
fn drop_topology(slice: &mut Value) {
    for endpoint in list_mut(slice, "/endpoints") {
        remove(endpoint, "/deprecatedTopology");
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "AddressType",
        "string",
        "addressType specifies the type of address carried by this EndpointSlice. All addresses in this slice must be the same type. This field is immutable after creation. The following address types are currently supported: * IPv4: Represents an IPv4 Address. * IPv6: Represents an IPv6 Address. * FQDN: Represents a Fully Qualified Domain Name.",
    ),
    column(
        "Ports",
        "string",
        "ports specifies the list of network ports exposed by each endpoint in this slice. Each port must have a unique name. When ports is empty, it indicates that there are no defined ports. When a port is defined with a nil port value, it indicates \"all ports\". Each slice may include a maximum of 100 ports.",
    ),
    column(
        "Endpoints",
        "string",
        "endpoints is a list of unique endpoints in this slice. Each slice may include a maximum of 1000 endpoints.",
    ),
    AGE,
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn domains_are_deprecated_for_new_slices() {
        let slice = json!({"addressType": "FQDN", "endpoints": [{"addresses": ["a.example.com"]}]});
        assert_eq!(EndpointSlice.warnings(&slice, None), ["spec.addressType: FQDN endpoints are deprecated"]);
        assert_eq!(EndpointSlice.warnings(&slice, Some(&slice)), [""; 0]);
    }

    #[test]
    fn addresses_of_the_controllers_are_not_looked_at() {
        let mut slice = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["010.0.0.1"]}]});
        assert_eq!(EndpointSlice.warnings(&slice, None).len(), 1);
        let manager = "endpointslice.kubernetes.io/managed-by";
        slice["metadata"] = json!({"labels": {manager: "endpointslice-controller.k8s.io"}});
        assert_eq!(EndpointSlice.warnings(&slice, None), [""; 0]);
    }
}
