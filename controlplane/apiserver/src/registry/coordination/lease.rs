//! Leases.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, make_map, opt_int, remove, str_at};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, name};
use crate::validation::fields::non_negative;

/// The rules of leases.
pub struct Lease;

impl Kind for Lease {
    fn default(&self, lease: &mut Value) {
        make_map(lease, "/spec");
    }

    /// Coordinated leader election is not offered, so its fields are not kept.
    fn prepare_create(&self, lease: &mut Value, _writer: &Writer<'_>) {
        drop_coordination(lease);
    }

    fn prepare_update(&self, lease: &mut Value, _old: &Value, _writer: &Writer<'_>) {
        drop_coordination(lease);
    }

    fn validate(&self, lease: &Value) -> Errors {
        const POSITIVE: &str = "must be greater than 0";
        let mut errors = Errors::default();
        let spec = Path::new("spec");
        if let Some(duration) = opt_int(lease, "/spec/leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
            errors.invalid(&spec.child("leaseDurationSeconds"), &duration.into(), POSITIVE);
        }
        non_negative(&mut errors, &spec, at(lease, "/spec"), "leaseTransitions");
        errors
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, lease: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(lease), str_at(lease, "/spec/holderIdentity").into(), age(lease, now)]
    }
}

fn drop_coordination(lease: &mut Value) {
    remove(lease, "/spec/strategy");
    remove(lease, "/spec/preferredHolder");
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Holder",
        "string",
        "holderIdentity contains the identity of the holder of a current lease. If Coordinated Leader Election is used, the holder identity must be equal to the elected LeaseCandidate.metadata.name field.",
    ),
    AGE,
];
