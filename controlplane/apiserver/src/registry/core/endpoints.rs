//! Endpoints, the older form of endpoint slices.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::{int_at, list_at, list_mut, set_default, str_at};
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, first, name};

/// The rules of endpoints.
pub struct Endpoints;

impl Kind for Endpoints {
    fn default(&self, endpoints: &mut Value) {
        for port in list_mut(endpoints, "/subsets").flat_map(|subset| list_mut(subset, "/ports")) {
            set_default(port, "/protocol", "TCP");
        }
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
