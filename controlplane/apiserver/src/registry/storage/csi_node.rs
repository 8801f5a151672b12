//! CSI nodes: which drivers a node has.

mod validate;

use jiff::Timestamp;
use serde_json::Value;

use crate::field::Errors;
use crate::registry::access::{count_at, list_mut, make_map};
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, name};

/// The rules of CSI nodes.
pub struct CsiNode;

impl Kind for CsiNode {
    fn default(&self, node: &mut Value) {
        make_map(node, "/spec").entry("drivers").or_insert(Value::Null);
        for driver in list_mut(node, "/spec/drivers") {
            make_map(driver, "").entry("topologyKeys").or_insert(Value::Null);
        }
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, node: &Value) -> Errors {
        validate::validate(node)
    }

    fn validate_update(&self, node: &Value, old: &Value) -> Errors {
        validate::validate_update(node, old)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, node: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(node), count_at(node, "/spec/drivers").into(), age(node, now)]
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Drivers", "integer", "Drivers indicates the number of CSI drivers registered on the node"),
    AGE,
];
