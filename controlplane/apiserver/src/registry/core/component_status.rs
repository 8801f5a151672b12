//! Component statuses, a view that is computed when read.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::{list_at, of_type, str_at};
use crate::registry::kind::{Column, Kind};
use crate::table::{NAME, column, name};

/// The rules of component statuses.
pub struct ComponentStatus;

impl Kind for ComponentStatus {
    fn deprecation(&self) -> Option<&'static str> {
        Some("v1 ComponentStatus is deprecated in v1.19+")
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, component: &Value, _now: Timestamp) -> Vec<Value> {
        let condition = of_type(list_at(component, "/conditions"), "Healthy");
        let health = match condition.map(|c| str_at(c, "/status")) {
            Some("True") => "Healthy",
            Some(_) => "Unhealthy",
            None => "Unknown",
        };
        let text = |path| condition.map_or("", |c| str_at(c, path)).into();
        vec![name(component), health.into(), text("/message"), text("/error")]
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Status", "string", "Status of the component conditions"),
    column("Message", "string", "Message of the component conditions"),
    column("Error", "string", "Error of the component conditions"),
];
