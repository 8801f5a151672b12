//! Everything wrong with CSI nodes.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, list_at, named, remove, str_at, strs_at};
use crate::registry::core::pod_spec::validate_csi_driver_name;
use crate::registry::internal;
use crate::validation::fields::{IMMUTABLE, non_negative, required};
use crate::validation::names;

const MAX_ID: usize = 256;

/// A node, new or changed.
pub fn validate(node: &Value) -> Errors {
    let mut errors = Errors::default();
    let spec = Path::new("spec");
    let drivers = spec.child("drivers");
    let mut seen = BTreeSet::new();
    for (index, driver) in list_at(node, "/spec/drivers").iter().enumerate() {
        let path = drivers.index(index);
        let name = str_at(driver, "/name");
        validate_csi_driver_name(&mut errors, &path.child("name"), name);
        let id = str_at(driver, "/nodeID");
        if required(&mut errors, &path, driver, "nodeID") && id.len() > MAX_ID {
            errors.invalid_str(&path.child("nodeID"), id, &format!("must be {MAX_ID} characters or less"));
        }
        non_negative(&mut errors, &path.child("allocatable"), at(driver, "/allocatable"), "count");
        if !seen.insert(name) {
            errors.duplicate(&path.child("name"), &name.into());
        }
        validate_topology(&mut errors, &path, driver);
    }
    errors
}

/// A changed node. A driver stays as it is, but may be able to attach another number of volumes.
pub fn validate_update(node: &Value, old: &Value) -> Errors {
    let mut errors = validate(node);
    let identity = |driver: &Value| {
        let mut driver = driver.clone();
        remove(&mut driver, "/allocatable");
        driver
    };
    for had in list_at(old, "/spec/drivers") {
        let same = named(list_at(node, "/spec/drivers"), str_at(had, "/name"));
        if let Some(driver) = same.filter(|driver| identity(driver) != identity(had)) {
            internal::invalid(&mut errors, &Path::new("CSINodeDriver"), "CSINodeDriver", driver, IMMUTABLE);
        }
    }
    errors
}

fn validate_topology(errors: &mut Errors, path: &Path<'_>, driver: &Value) {
    let mut seen = BTreeSet::new();
    for key in strs_at(driver, "/topologyKeys") {
        if key.is_empty() {
            errors.required(path, key);
        }
        if !seen.insert(key) {
            errors.duplicate(path, &key.into());
        }
        for why in names::qualified_name(key) {
            errors.invalid(path, at(driver, "/topologyKeys"), &why);
        }
    }
}
