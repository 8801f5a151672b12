//! Controller revisions: immutable snapshots of stateful sets and daemon sets.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::{bool_at, int_at, list_at, str_at};
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, name};

/// The rules of controller revisions.
pub struct ControllerRevision;

impl Kind for ControllerRevision {
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
