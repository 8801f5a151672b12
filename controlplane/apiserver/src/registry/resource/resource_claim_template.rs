//! Resource claim templates.

use jiff::Timestamp;
use serde_json::Value;

use super::resource_claim::default_claim_spec;
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, name};

/// The rules of resource claim templates.
pub struct ResourceClaimTemplate;

impl Kind for ResourceClaimTemplate {
    fn default(&self, template: &mut Value) {
        default_claim_spec(template, "/spec/spec");
    }

    fn columns(&self) -> &'static [Column] {
        &[NAME, AGE]
    }

    fn cells(&self, template: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(template), age(template, now)]
    }
}
