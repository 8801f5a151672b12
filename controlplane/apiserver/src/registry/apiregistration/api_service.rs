//! API services: which server answers for which group and version.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::{has, list_at, make_map, of_type, set_default, str_at};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, name};

/// The rules of API services.
pub struct ApiService;

impl Kind for ApiService {
    fn default(&self, service: &mut Value) {
        if has(service, "/spec/service") {
            set_default(service, "/spec/service/port", 443);
        }
        make_map(service, "/status");
    }

    fn prepare_create(&self, service: &mut Value, _writer: &Writer<'_>) {
        make_map(service, "/status");
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, service: &Value, now: Timestamp) -> Vec<Value> {
        let provider = if has(service, "/spec/service") {
            format!(
                "{}/{}",
                str_at(service, "/spec/service/namespace"),
                str_at(service, "/spec/service/name")
            )
        } else {
            "Local".into()
        };
        let available = match of_type(list_at(service, "/status/conditions"), "Available") {
            None => "Unknown".into(),
            Some(condition) => match (str_at(condition, "/status"), str_at(condition, "/reason")) {
                ("True", _) => "True".into(),
                (status, reason) => format!("{status} ({reason})"),
            },
        };
        vec![name(service), provider.into(), available.into(), age(service, now)]
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Service", "string", "The reference to the service that hosts this API endpoint."),
    column("Available", "string", "Whether this service is available."),
    AGE,
];
