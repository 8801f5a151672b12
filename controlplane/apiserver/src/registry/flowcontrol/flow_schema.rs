//! Flow schemas.

mod validate;

use jiff::Timestamp;
use serde_json::Value;

use crate::field::Errors;
use crate::registry::access::{int_at, list_at, make_map, of_type, set_nonzero, str_at};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, name, shown_or};

/// The rules of flow schemas.
pub struct FlowSchema;

impl Kind for FlowSchema {
    fn default(&self, schema: &mut Value) {
        set_nonzero(schema, "/spec/matchingPrecedence", 1000);
        make_map(schema, "/status");
    }

    fn prepare_create(&self, schema: &mut Value, _writer: &Writer<'_>) {
        make_map(schema, "/status");
    }

    fn validate(&self, schema: &Value) -> Errors {
        validate::validate(schema)
    }

    fn validate_status_update(&self, schema: &Value, _old: &Value) -> Errors {
        let mut errors = Errors::default();
        super::validate_conditions(&mut errors, schema);
        errors
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, schema: &Value, now: Timestamp) -> Vec<Value> {
        let dangling = of_type(list_at(schema, "/status/conditions"), "Dangling");
        vec![
            name(schema),
            str_at(schema, "/spec/priorityLevelConfiguration/name").into(),
            int_at(schema, "/spec/matchingPrecedence").into(),
            shown_or(schema, "/spec/distinguisherMethod/type", "<none>"),
            age(schema, now),
            dangling.map_or("?", |condition| str_at(condition, "/status")).into(),
        ]
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "PriorityLevel",
        "string",
        "`name` is the name of the priority level configuration being referenced Required.",
    ),
    column(
        "MatchingPrecedence",
        "string",
        "`matchingPrecedence` is used to choose among the FlowSchemas that match a given request. The chosen FlowSchema is among those with the numerically lowest (which we take to be logically highest) MatchingPrecedence.  Each MatchingPrecedence value must be ranged in [1,10000]. Note that if the precedence is not specified, it will be set to 1000 as default.",
    ),
    column(
        "DistinguisherMethod",
        "string",
        "`distinguisherMethod` defines how to compute the flow distinguisher for requests that match this schema. `nil` specifies that the distinguisher is disabled and thus will always be the empty string.",
    ),
    AGE,
    column("MissingPL", "string", "references a broken or non-existent PriorityLevelConfiguration"),
];
