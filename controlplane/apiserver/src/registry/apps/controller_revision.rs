//! Controller revisions: immutable snapshots of stateful sets and daemon sets.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, bool_at, int_at, list_at, str_at};
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, name};
use crate::validation::fields::{immutable, non_negative};

/// The rules of controller revisions.
pub struct ControllerRevision;

impl Kind for ControllerRevision {
    fn validate(&self, revision: &Value) -> Errors {
        let mut errors = Errors::default();
        if at(revision, "/data").is_null() {
            errors.required(&Path::new("data"), "data is mandatory");
        }
        non_negative(&mut errors, &Path::ROOT, revision, "revision");
        errors
    }

    fn validate_update(&self, revision: &Value, old: &Value) -> Errors {
        let mut errors = Errors::default();
        non_negative(&mut errors, &Path::ROOT, revision, "revision");
        immutable(&mut errors, &Path::new("data"), at(revision, "/data"), at(old, "/data"));
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, revision: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            name(revision),
            controller(revision).into(),
            int_at(revision, "/revision").into(),
            age(revision, now),
        ]
    }
}

fn controller(revision: &Value) -> String {
    let owners = list_at(revision, "/metadata/ownerReferences");
    let Some(owner) = owners.iter().find(|owner| bool_at(owner, "/controller")) else {
        return "<none>".into();
    };
    let kind = str_at(owner, "/kind").to_lowercase();
    match str_at(owner, "/apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", str_at(owner, "/name")),
        None => format!("{kind}/{}", str_at(owner, "/name")),
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Controller", "string", "Controller of the object"),
    column("Revision", "string", "Revision indicates the revision of the state represented by Data."),
    AGE,
];
