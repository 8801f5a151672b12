//! Runtime classes.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::str_at;
use crate::registry::core::pod_spec::round_up_quantities;
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, name};

/// The rules of runtime classes.
pub struct RuntimeClass;

impl Kind for RuntimeClass {
    fn default(&self, class: &mut Value) {
        round_up_quantities(class, "/overhead/podFixed");
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, class: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(class), str_at(class, "/handler").into(), age(class, now)]
    }
}

const COLUMNS: &[Column] = &[NAME, column("Handler", "string", ""), AGE];
