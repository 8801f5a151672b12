//! Documents as values: what a schema says of them decides what they are.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value as Json;

use super::{
    Error,
    functions::times,
    parse,
    value::{Array, Object, Value},
};
use crate::{
    custom::checks::{Checks, formats},
    schema::time,
};

/// A value of a document.
pub fn value<'a>(json: &'a Json, schema: Option<&'a Checks>) -> Value<'a> {
    let types = schema.map_or(&[][..], |schema| schema.types);
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(number) => match (types, number.as_i64()) {
            (["number"], _) => Value::Double(number.as_f64().unwrap_or_default()),
            (_, Some(whole)) => Value::Int(whole),
            (["integer"], None) => Value::Int(number.as_f64().unwrap_or_default() as i64),
            _ => Value::Double(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => {
            let format = schema.filter(|_| types == ["string"]).and_then(|schema| schema.format.as_deref());
            formatted(text, format.unwrap_or_default()).unwrap_or_else(|| Value::text(text.as_str()))
        }
        Json::Array(items) => Value::Array(Array { items, schema }),
        Json::Object(map) => Value::Object(Object { map, schema }),
    }
}

/// Texts of some formats are more than texts.
fn formatted(text: &str, format: &str) -> Option<Value<'static>> {
    match format {
        "byte" => STANDARD.decode(text).ok().map(|bytes| Value::Bytes(bytes.into())),
        "duration" => formats::duration(text).map(Value::Duration),
        "date" => time::read(&format!("{text}T00:00:00Z")).map(Value::Timestamp),
        "date-time" => time::read(text).map(Value::Timestamp),
        _ => None,
    }
}

/// A value as a document: what a patch is made of.
pub fn document(value: &Value<'_>) -> Result<Json, Error> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(n) => (*n).into(),
        Value::Uint(n) => (*n).into(),
        Value::Double(n) => (*n).into(),
        Value::Text(text) => (&**text).into(),
        Value::Bytes(bytes) => STANDARD.encode(bytes).into(),
        Value::Duration(nanoseconds) => times::shown(*nanoseconds).into(),
        Value::Timestamp(time) => times::instant(*time).into(),
        Value::List(items) => Json::Array(items.iter().map(document).collect::<Result<_, _>>()?),
        Value::Array(array) => array.items.to_vec().into(),
        Value::Object(object) => object.map.clone().into(),
        Value::Map(entries) => {
            let entry = |(key, value): &(Value<'_>, Value<'_>)| match key {
                Value::Text(key) => Ok((key.to_string(), document(value)?)),
                key => {
                    let (key, kind) = (key.to_text(), key.type_name());
                    Err(Error::other(format!("map key {key:?} is of type {kind}, not string")))
                }
            };
            Json::Object(entries.iter().map(entry).collect::<Result<_, _>>()?)
        }
        Value::Made(made) => {
            let field = |(name, value): &(&str, Value<'_>)| Ok((unescape(name).into(), document(value)?));
            Json::Object(made.fields.iter().map(field).collect::<Result<_, Error>>()?)
        }
        other => return Err(Error::other(format!("{} has no form in JSON", other.type_name()))),
    })
}

/// The name of a field that CEL cannot say as it is
/// (<https://kubernetes.io/docs/reference/using-api/cel/#escaping>).
pub fn unescape(name: &str) -> Cow<'_, str> {
    if !name.contains("__") {
        return name.into();
    }
    let inner = name.strip_prefix("__").and_then(|n| n.strip_suffix("__"));
    if let Some(word) = inner.filter(|inner| parse::is_reserved(inner)) {
        return word.into();
    }
    let plain = name.replace("__dot__", ".").replace("__dash__", "-").replace("__slash__", "/");
    plain.replace("__underscores__", "__").into()
}

/// The name of a field as expressions write it; `None` if they cannot speak of it.
pub fn escape(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(plain) {
        return None;
    }
    if parse::is_reserved(name) {
        return Some(format!("__{name}__"));
    }
    let escaped = name.replace("__", "__underscores__");
    Some(escaped.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__"))
}
