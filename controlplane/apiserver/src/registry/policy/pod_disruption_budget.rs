//! Pod disruption budgets.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::{int_at, make_map};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, name, shown_or};

/// The rules of pod disruption budgets.
pub struct PodDisruptionBudget;

impl Kind for PodDisruptionBudget {
    fn default(&self, budget: &mut Value) {
        default_status(budget);
    }

    fn prepare_create(&self, budget: &mut Value, _writer: &Writer<'_>) {
        default_status(budget);
    }

    fn prepare_status_update(&self, budget: &mut Value, _old: &Value) {
        default_status(budget);
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, budget: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            name(budget),
            shown_or(budget, "/spec/minAvailable", "N/A"),
            shown_or(budget, "/spec/maxUnavailable", "N/A"),
            int_at(budget, "/status/disruptionsAllowed").into(),
            age(budget, now),
        ]
    }
}

fn default_status(budget: &mut Value) {
    let status = make_map(budget, "/status");
    for count in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
        status.entry(count).or_insert(0.into());
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Min Available", "string", "The minimum number of pods that must be available."),
    column("Max Unavailable", "string", "The maximum number of pods that may be unavailable."),
    column("Allowed Disruptions", "integer", "Calculated number of pods that may be disrupted at this time."),
    AGE,
];
