//! Device classes.

use jiff::Timestamp;
use serde_json::Value;

use super::validate::{MOST, configuration, each, selectors};
use crate::field::{Errors, Path};
use crate::registry::access::{at, list_at, make_map, opt_str};
use crate::registry::core::pod_spec::is_extended;
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, name};

/// The rules of device classes.
pub struct DeviceClass;

impl Kind for DeviceClass {
    fn default(&self, class: &mut Value) {
        make_map(class, "/spec");
    }

    fn validate(&self, class: &Value) -> Errors {
        validate(class, None)
    }

    fn validate_update(&self, class: &Value, old: &Value) -> Errors {
        validate(class, Some(old))
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

/// What was accepted before the rules became stricter stays acceptable.
fn validate(class: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let spec = Path::new("spec");
    let changed = |path: &str| old.is_none_or(|old| at(class, path) != at(old, path));
    if changed("/spec/selectors") {
        selectors(&mut errors, &spec.child("selectors"), list_at(class, "/spec/selectors"));
    }
    if changed("/spec/config") {
        each(&mut errors, &spec.child("config"), list_at(class, "/spec/config"), MOST, configuration);
    }
    if let Some(name) = opt_str(class, "/spec/extendedResourceName").filter(|name| !is_extended(name)) {
        errors.invalid_str(
            &spec.child("extendedResourceName"),
            name,
            "must be a valid extended resource name",
        );
    }
    errors
}
