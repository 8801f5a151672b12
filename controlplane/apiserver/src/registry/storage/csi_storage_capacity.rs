//! CSI storage capacities.

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, get, str_at};
use crate::registry::kind::Kind;
use crate::validation::fields::{dns_subdomain, immutable_field, non_negative_quantity};
use crate::validation::labels;

/// The rules of CSI storage capacities.
pub struct CsiStorageCapacity;

impl Kind for CsiStorageCapacity {
    fn validate(&self, capacity: &Value) -> Errors {
        let mut errors = Errors::default();
        labels::selector(&mut errors, &Path::new("nodeTopology"), at(capacity, "/nodeTopology"));
        let class = str_at(capacity, "/storageClassName");
        dns_subdomain(&mut errors, &Path::new("storageClassName"), class);
        for field in ["capacity", "maximumVolumeSize"] {
            if let Some(amount) = get(capacity, &format!("/{field}")) {
                non_negative_quantity(&mut errors, &Path::new(field), amount);
            }
        }
        errors
    }

    fn validate_update(&self, capacity: &Value, old: &Value) -> Errors {
        let mut errors = self.validate(capacity);
        for field in ["nodeTopology", "storageClassName"] {
            immutable_field(&mut errors, &Path::ROOT, capacity, old, field);
        }
        errors
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}
