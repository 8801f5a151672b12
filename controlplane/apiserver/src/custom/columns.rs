//! The columns of custom resources' tables: `additionalPrinterColumns`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::json_path::JsonPath;
use crate::{
    registry::{
        access::{int_at, str_at},
        kind::NAME_COLUMN,
    },
    table,
};

/// A column besides the name.
#[derive(Clone, Debug)]
pub struct PrinterColumn {
    name: String,
    kind: String,
    format: String,
    description: String,
    priority: i64,
    path: Option<JsonPath>,
}

/// Reads the columns of a version; without any, the age is shown.
pub fn read(columns: &[Value]) -> Vec<PrinterColumn> {
    if columns.is_empty() {
        return vec![age()];
    }
    columns.iter().map(column).collect()
}

fn age() -> PrinterColumn {
    column(&json!({
        "name": "Age",
        "type": "date",
        "description": "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
        "jsonPath": ".metadata.creationTimestamp",
    }))
}

fn column(column: &Value) -> PrinterColumn {
    let path = str_at(column, "/jsonPath");
    let description = match str_at(column, "/description") {
        "" => format!("Custom resource definition column (in JSONPath format): {path}"),
        description => description.into(),
    };
    PrinterColumn {
        name: str_at(column, "/name").into(),
        kind: str_at(column, "/type").into(),
        format: str_at(column, "/format").into(),
        description,
        priority: int_at(column, "/priority"),
        path: JsonPath::parse(path).ok(),
    }
}

/// The definitions of all columns.
pub fn definitions(columns: &[PrinterColumn]) -> Value {
    let name = json!({
        "name": NAME_COLUMN.name,
        "type": NAME_COLUMN.kind,
        "format": NAME_COLUMN.format,
        "description": NAME_COLUMN.description,
        "priority": NAME_COLUMN.priority,
    });
    let others = columns.iter().map(|c| {
        json!({
            "name": c.name,
            "type": c.kind,
            "format": c.format,
            "description": c.description,
            "priority": c.priority,
        })
    });
    std::iter::once(name).chain(others).collect()
}

/// The row of an object.
pub fn cells(columns: &[PrinterColumn], object: &Value, now: Timestamp) -> Vec<Value> {
    std::iter::once(table::name(object)).chain(columns.iter().map(|c| cell(c, object, now))).collect()
}

fn cell(column: &PrinterColumn, object: &Value, now: Timestamp) -> Value {
    let found = column.path.as_ref().and_then(|path| path.find(object).first().copied());
    let Some(value) = found else { return Value::Null };
    match (column.kind.as_str(), value) {
        ("string", Value::String(_)) => value.clone(),
        ("string", Value::Null) => "<no value>".into(),
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(n)) if n.is_i64() => value.clone(),
        ("integer", Value::Number(n)) => n.as_f64().map_or(Value::Null, |n| (n as i64).into()),
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(text)) => text.parse::<Timestamp>().map_or_else(
            |_| "<invalid>".into(),
            |time| table::human_duration(now.duration_since(time).as_secs()).into(),
        ),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_of_their_columns_types() {
        let columns =
            [("integer", ".a"), ("string", ".b"), ("date", ".t"), ("boolean", ".a"), ("number", ".x")]
                .map(|(kind, path)| json!({"name": "x", "type": kind, "jsonPath": path}));
        let object =
            json!({"metadata": {"name": "n"}, "a": 1.5, "b": [{"n": "x"}], "t": "1970-01-01T00:00:00Z"});
        let now = Timestamp::from_second(90).unwrap();
        assert_eq!(
            cells(&read(&columns), &object, now),
            [json!("n"), json!(1), json!("[{\"n\":\"x\"}]"), json!("90s"), Value::Null, Value::Null]
        );
    }
}
