//! Priority classes.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::{bool_at, int_at, set_default, str_at};
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, name};

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
