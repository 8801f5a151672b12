//! Priority classes.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{bool_at, int_at, opt_str, set_default, str_at};
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, name};
use crate::validation::fields::immutable_field;

/// The rules of priority classes.
pub struct PriorityClass;

impl Kind for PriorityClass {
    fn default(&self, class: &mut Value) {
        set_default(class, "/preemptionPolicy", "PreemptLowerPriority");
    }

    /// Classes have a generation, which no change counts up.
    fn generation_fields(&self) -> &'static [&'static str] {
        &["value", "preemptionPolicy"]
    }

    fn validate(&self, class: &Value) -> Errors {
        let mut errors = Errors::default();
        let (name, value) = (str_at(class, "/metadata/name"), int_at(class, "/value"));
        if name.starts_with("system-") {
            if let Some(why) = system_error(name, value, bool_at(class, "/globalDefault")) {
                let metadata = Path::new("metadata");
                let why = format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: {why}"
                );
                errors.forbidden(&metadata.child("name"), &why);
            }
        } else if value > HIGHEST {
            let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
            errors.forbidden(&Path::new("value"), &why);
        }
        let policy = opt_str(class, "/preemptionPolicy");
        if let Some(policy) = policy.filter(|policy| !POLICIES.contains(policy)) {
            errors.not_supported(&Path::new("preemptionPolicy"), &policy.into(), POLICIES);
        }
        errors
    }

    fn validate_update(&self, class: &Value, old: &Value) -> Errors {
        let mut errors = Errors::default();
        if int_at(class, "/value") != int_at(old, "/value") {
            errors.forbidden(&Path::new("value"), "may not be changed in an update.");
        }
        immutable_field(&mut errors, &Path::ROOT, class, old, "preemptionPolicy");
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, class: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            name(class),
            int_at(class, "/value").into(),
            bool_at(class, "/globalDefault").into(),
            age(class, now),
            str_at(class, "/preemptionPolicy").into(),
        ]
    }
}

const HIGHEST: i64 = 1_000_000_000;
const POLICIES: &[&str] = &["PreemptLowerPriority", "Never"];
const SYSTEM: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

fn system_error(name: &str, value: i64, global_default: bool) -> Option<String> {
    match SYSTEM.iter().find(|(known, _)| *known == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, required)) if value != *required => {
            Some(format!("value of {name} PriorityClass must be {required}"))
        }
        Some(_) if global_default => Some(format!("globalDefault of {name} PriorityClass must be false")),
        Some(_) => None,
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Value",
        "integer",
        "value represents the integer value of this priority class. This is the actual priority that pods receive when they have the name of this class in their pod spec.",
    ),
    column(
        "Global-Default",
        "boolean",
        "globalDefault specifies whether this PriorityClass should be considered as the default priority for pods that do not have any priority class. Only one PriorityClass can be marked as `globalDefault`. However, if more than one PriorityClasses exists with their `globalDefault` field set to true, the smallest value of such global default PriorityClasses will be used as the default priority.",
    ),
    AGE,
    column(
        "PreemptionPolicy",
        "string",
        "preemptionPolicy is the Policy for preempting pods with lower priority. One of Never, PreemptLowerPriority. Defaults to PreemptLowerPriority if unset.",
    ),
];
