//! Resource claim templates.

use jiff::Timestamp;
use serde_json::Value;

use super::resource_claim::{default_claim_spec, validate_spec};
use crate::field::{Errors, Path, Reason};
use crate::registry::access::at;
use crate::registry::internal::Internal;
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, name};
use crate::validation::{fields, labels};

/// The rules of resource claim templates.
pub struct ResourceClaimTemplate;

impl Kind for ResourceClaimTemplate {
    fn default(&self, template: &mut Value) {
        default_claim_spec(template, "/spec/spec");
    }

    fn validate(&self, template: &Value) -> Errors {
        let mut errors = Errors::default();
        let spec = Path::new("spec");
        labels::template_metadata(&mut errors, &spec.child("metadata"), at(template, "/spec/metadata"));
        validate_spec(&mut errors, &spec.child("spec"), at(template, "/spec/spec"));
        errors
    }

    fn validate_update(&self, template: &Value, old: &Value) -> Errors {
        let mut errors = Errors::default();
        let spec = at(template, "/spec");
        if spec != at(old, "/spec") {
            let shown = Internal::template(spec, "ResourceClaimSpec").compact();
            let why = format!("Invalid value: {shown}: {}", fields::IMMUTABLE);
            errors.push(&Path::new("spec"), Reason::Invalid, why);
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        &[NAME, AGE]
    }

    fn cells(&self, template: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(template), age(template, now)]
    }
}
