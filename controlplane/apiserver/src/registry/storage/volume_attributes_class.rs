//! Volume attributes classes.

use jiff::Timestamp;
use serde_json::Value;

use super::validate::{forbid_changes, validate_parameters, validate_provisioner};
use crate::field::Errors;
use crate::registry::access::str_at;
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, name};

/// The rules of volume attributes classes.
pub struct VolumeAttributesClass;

impl Kind for VolumeAttributesClass {
    fn validate(&self, class: &Value) -> Errors {
        let mut errors = Errors::default();
        validate_provisioner(&mut errors, class, "driverName");
        validate_parameters(&mut errors, class, true);
        errors
    }

    fn validate_update(&self, class: &Value, old: &Value) -> Errors {
        let mut errors = self.validate(class);
        forbid_changes(&mut errors, class, old, &["driverName", "parameters"]);
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, class: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(class), str_at(class, "/driverName").into(), age(class, now)]
    }
}

const COLUMNS: &[Column] =
    &[NAME, column("DriverName", "string", "Name of the CSI driver This field is immutable."), AGE];
