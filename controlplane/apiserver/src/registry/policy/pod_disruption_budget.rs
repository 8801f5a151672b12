//! Pod disruption budgets.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{Errors, Path, Reason, quoted};
use crate::registry::access::{at, get, has, int_at, make_map, opt_str};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, name, shown_or};
use crate::validation::fields::{at_most_100_percent, int_or_percent, non_negative};
use crate::validation::{conditions, labels};

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

    fn validate(&self, budget: &Value) -> Errors {
        const POLICIES: &[&str] = &["AlwaysAllow", "IfHealthyBudget"];
        let mut errors = Errors::default();
        let (spec, path) = (at(budget, "/spec"), Path::new("spec"));
        if has(spec, "/minAvailable") && has(spec, "/maxUnavailable") {
            let detail =
                format!("Invalid value: {}: minAvailable and maxUnavailable cannot be both set", shown(spec));
            errors.push(&path, Reason::Invalid, detail);
        }
        for field in ["minAvailable", "maxUnavailable"] {
            if let Some(amount) = get(spec, &format!("/{field}")) {
                int_or_percent(&mut errors, &path.child(field), amount);
                at_most_100_percent(&mut errors, &path.child(field), amount);
            }
        }
        labels::selector(&mut errors, &path.child("selector"), at(spec, "/selector"));
        let policy = opt_str(spec, "/unhealthyPodEvictionPolicy");
        if let Some(policy) = policy.filter(|policy| !POLICIES.contains(policy)) {
            errors.not_supported(&path.child("unhealthyPodEvictionPolicy"), &policy.into(), POLICIES);
        }
        errors
    }

    fn validate_status_update(&self, budget: &Value, _old: &Value) -> Errors {
        let mut errors = Errors::default();
        let (status, path) = (at(budget, "/status"), Path::new("status"));
        conditions::validate(&mut errors, &path.child("conditions"), status);
        for count in COUNTS {
            non_negative(&mut errors, &path, status, count);
        }
        errors
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

const COUNTS: [&str; 4] = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];

/// A spec by the names of its Go fields.
fn shown(spec: &Value) -> String {
    format!(
        "{{\"MinAvailable\":{},\"Selector\":{},\"MaxUnavailable\":{},\"UnhealthyPodEvictionPolicy\":{}}}",
        at(spec, "/minAvailable"),
        at(spec, "/selector"),
        at(spec, "/maxUnavailable"),
        opt_str(spec, "/unhealthyPodEvictionPolicy").map_or_else(|| "null".into(), quoted),
    )
}

fn default_status(budget: &mut Value) {
    let status = make_map(budget, "/status");
    for count in COUNTS {
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
