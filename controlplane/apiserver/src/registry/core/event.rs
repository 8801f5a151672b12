//! Events.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::Errors;
use crate::registry::access::{get, has, int_at, make_map, str_at};
use crate::registry::events::validate;
use crate::registry::kind::{Column, Kind};
use crate::table::{NAME, column, since, wide};

/// The rules of core/v1 events.
pub struct Event;

impl Kind for Event {
    fn default(&self, event: &mut Value) {
        make_map(event, "/source");
        let map = make_map(event, "");
        for time in ["firstTimestamp", "lastTimestamp", "eventTime"] {
            map.entry(time).or_insert(Value::Null);
        }
        for text in ["reportingComponent", "reportingInstance"] {
            map.entry(text).or_insert("".into());
        }
    }

    fn validate(&self, event: &Value) -> Errors {
        validate::validate(event, "reportingComponent")
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, event: &Value, now: Timestamp) -> Vec<Value> {
        cells(event, now)
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "type",
            "source",
        ]
    }

    fn field_values(&self, event: &Value) -> Vec<String> {
        let involved = |field: &str| str_at(event, &format!("/involvedObject/{field}")).to_owned();
        let component = str_at(event, "/reportingComponent");
        let source = match str_at(event, "/source/component") {
            "" => component,
            source => source,
        };
        vec![
            involved("kind"),
            involved("namespace"),
            involved("name"),
            involved("uid"),
            involved("apiVersion"),
            involved("resourceVersion"),
            involved("fieldPath"),
            str_at(event, "/reason").to_owned(),
            component.to_owned(),
            str_at(event, "/type").to_owned(),
            source.to_owned(),
        ]
    }
}

/// The row of an event in its stored form, for both API groups.
pub fn cells(event: &Value, now: Timestamp) -> Vec<Value> {
    let first =
        since(event, if has(event, "/firstTimestamp") { "/firstTimestamp" } else { "/eventTime" }, now);
    let (last, count) = match get(event, "/series") {
        Some(series) => (since(series, "/lastObservedTime", now), int_at(series, "/count")),
        None => {
            let last = if has(event, "/lastTimestamp") {
                since(event, "/lastTimestamp", now)
            } else {
                first.clone()
            };
            (last, int_at(event, "/count").max(1))
        }
    };
    let kind = str_at(event, "/involvedObject/kind").to_lowercase();
    let target = match str_at(event, "/involvedObject/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        last.into(),
        str_at(event, "/type").into(),
        str_at(event, "/reason").into(),
        target.into(),
        str_at(event, "/involvedObject/fieldPath").into(),
        source(event).into(),
        str_at(event, "/message").trim().into(),
        first.into(),
        count.into(),
        str_at(event, "/metadata/name").into(),
    ]
}

fn source(event: &Value) -> String {
    let either = |path, other| match str_at(event, path) {
        "" => str_at(event, other),
        text => text,
    };
    let component = either("/source/component", "/reportingComponent");
    match either("/source/host", "/reportingInstance") {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    }
}

/// The columns of events, for both API groups.
pub const COLUMNS: &[Column] = &[
    column("Last Seen", "string", "The time at which the most recent occurrence of this event was recorded."),
    column("Type", "string", "Type of this event (Normal, Warning), new types could be added in the future"),
    column(
        "Reason",
        "string",
        "This should be a short, machine understandable string that gives the reason for the transition into the object's current status.",
    ),
    column("Object", "string", "The object that this event is about."),
    wide(
        "Subobject",
        "string",
        "If referring to a piece of an object instead of an entire object, this string should contain a valid JSON/Go field access statement, such as desiredState.manifest.containers[2]. For example, if the object reference is to a container within a pod, this would take on a value like: \"spec.containers{name}\" (where \"name\" refers to the name of the container that triggered the event) or if no container name is specified \"spec.containers[2]\" (container with index 2 in this pod). This syntax is chosen only to have some well-defined way of referencing a part of an object.",
    ),
    wide(
        "Source",
        "string",
        "The component reporting this event. Should be a short machine understandable string.",
    ),
    column("Message", "string", "A human-readable description of the status of this operation."),
    wide(
        "First Seen",
        "string",
        "The time at which the event was first recorded. (Time of server receipt is in TypeMeta.)",
    ),
    wide("Count", "string", "The number of times this event has occurred."),
    Column { priority: 1, ..NAME },
];
