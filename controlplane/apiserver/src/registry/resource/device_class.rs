//! Device classes.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::make_map;
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, name};

/// The rules of device classes.
pub struct DeviceClass;

impl Kind for DeviceClass {
    fn default(&self, class: &mut Value) {
        make_map(class, "/spec");
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn columns(&self) -> &'static [Column] {
        &[NAME, AGE]
    }

    fn cells(&self, class: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(class), age(class, now)]
    }
}
