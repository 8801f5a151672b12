//! Service CIDRs: where cluster IPs come from.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::make_map;
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, joined, name};

/// The rules of service CIDRs.
pub struct ServiceCidr;

impl Kind for ServiceCidr {
    fn default(&self, cidr: &mut Value) {
        make_map(cidr, "/status");
    }

    fn prepare_create(&self, cidr: &mut Value, _writer: &Writer<'_>) {
        make_map(cidr, "/status");
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, cidr: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(cidr), joined(cidr, "/spec/cidrs").into(), age(cidr, now)]
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "CIDRs",
        "string",
        "CIDRs defines the IP blocks in CIDR notation (e.g. \"192.168.0.0/24\" or \"2001:db8::/64\") from which to assign service cluster IPs. Max of two CIDRs is allowed, one of each IP family. This field is immutable.",
    ),
    AGE,
];
