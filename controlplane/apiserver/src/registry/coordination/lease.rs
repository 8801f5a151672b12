//! Leases.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::{make_map, remove, str_at};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, name};

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
