//! Events of events.k8s.io/v1, as they come and go; they are stored as core/v1 events.

use jiff::Timestamp;
use serde_json::Value;

use super::{conversion::events_to_core, validate};
use crate::field::Errors;
use crate::registry::access::make_map;
use crate::registry::core::event::{self, COLUMNS};
use crate::registry::kind::{Column, Kind};

/// The rules of events.k8s.io/v1 events.
pub struct Event;

impl Kind for Event {
    fn default(&self, object: &mut Value) {
        make_map(object, "/deprecatedSource");
        let map = make_map(object, "");
        for time in ["deprecatedFirstTimestamp", "deprecatedLastTimestamp", "eventTime"] {
            map.entry(time).or_insert(Value::Null);
        }
    }

    fn validate(&self, object: &Value) -> Errors {
        validate::validate_create(&events_to_core(object.clone()))
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Errors {
        validate::validate_update(&events_to_core(object.clone()), &events_to_core(old.clone()))
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        event::cells(&events_to_core(object.clone()), now)
    }

    /// In the order of core/v1's, whose values are indexed.
    fn selectable_fields(&self) -> &'static [&'static str] {
        &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ]
    }

    fn field_values(&self, object: &Value) -> Vec<String> {
        let mut values = event::Event.field_values(&events_to_core(object.clone()));
        values.truncate(self.selectable_fields().len());
        values
    }
}
