//! Config maps.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::count_at;
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, name};

/// The rules of config maps.
pub struct ConfigMap;

impl Kind for ConfigMap {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, map: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(map), (count_at(map, "/data") + count_at(map, "/binaryData")).into(), age(map, now)]
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Data",
        "string",
        "Data contains the configuration data. Each key must consist of alphanumeric characters, '-', '_' or '.'. Values with non-UTF-8 byte sequences must use the BinaryData field. The keys stored in Data must not overlap with the keys in the BinaryData field, this is enforced during validation process.",
    ),
    AGE,
];
