//! IP addresses: which service has which.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::{get, str_at};
use crate::registry::kind::{Column, Kind};
use crate::table::{NAME, age, column, name};

/// The rules of IP addresses.
pub struct IpAddress;

impl Kind for IpAddress {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    /// One cell more than columns, as the real server has it.
    fn cells(&self, address: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(address), parent(address).into(), age(address, now)]
    }
}

fn parent(address: &Value) -> String {
    let Some(parent) = get(address, "/spec/parentRef") else { return "<none>".into() };
    let mut text = match str_at(parent, "/group") {
        "" => str_at(parent, "/resource").to_lowercase(),
        group => format!("{}.{group}", str_at(parent, "/resource")).to_lowercase(),
    };
    for part in ["/namespace", "/name"] {
        match str_at(parent, part) {
            "" if part == "/namespace" => {}
            value => {
                text.push('/');
                text.push_str(value);
            }
        }
    }
    text
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "ParentRef",
        "string",
        "ParentRef references the resource that an IPAddress is attached to. An IPAddress must reference a parent object.",
    ),
];
