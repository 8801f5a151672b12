//! Runtime classes.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{Errors, Path, Reason};
use crate::registry::access::{entries, get, list_at, map_at, str_at};
use crate::registry::core::pod_spec::{
    deprecated_label, round_up_quantities, validate_overhead, validate_tolerations,
};
use crate::registry::internal::Internal;
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, name};
use crate::validation::fields::{dns_label, immutable_field, required};
use crate::validation::labels;

/// The rules of runtime classes.
pub struct RuntimeClass;

impl Kind for RuntimeClass {
    fn default(&self, class: &mut Value) {
        round_up_quantities(class, "/overhead/podFixed");
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn warnings(&self, class: &Value, _old: Option<&Value>) -> Vec<String> {
        entries(class, "/scheduling/nodeSelector")
            .filter_map(|(key, _)| deprecated_label(key))
            .map(|why| format!("scheduling.nodeSelector: {why}"))
            .collect()
    }

    fn validate(&self, class: &Value) -> Errors {
        let mut errors = Errors::default();
        if required(&mut errors, &Path::ROOT, class, "handler") {
            dns_label(&mut errors, &Path::new("handler"), str_at(class, "/handler"));
        }
        if let Some(amounts) = map_at(class, "/overhead/podFixed") {
            validate_overhead(&mut errors, &Path::new("overhead"), amounts);
        }
        if let Some(scheduling) = get(class, "/scheduling") {
            let path = Path::new("scheduling");
            labels::labels(&mut errors, &path.child("nodeSelector"), map_at(scheduling, "/nodeSelector"));
            let (tolerations, path) = (list_at(scheduling, "/tolerations"), path.child("tolerations"));
            validate_tolerations(&mut errors, &path, tolerations);
            for (index, toleration) in tolerations.iter().enumerate() {
                if tolerations[..index].contains(toleration) {
                    let shown = Internal::new("Toleration", toleration).compact();
                    errors.push(&path.index(index), Reason::Duplicate, format!("Duplicate value: {shown}"));
                }
            }
        }
        errors
    }

    fn validate_update(&self, class: &Value, old: &Value) -> Errors {
        let mut errors = self.validate(class);
        immutable_field(&mut errors, &Path::ROOT, class, old, "handler");
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, class: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(class), str_at(class, "/handler").into(), age(class, now)]
    }
}

const COLUMNS: &[Column] = &[NAME, column("Handler", "string", ""), AGE];
