//! Named formats of texts, such as names of objects.

use super::super::{Error, value::Value};
use crate::{custom::checks::formats::is_of, validation::names};

const NAMES: &[&str] = &[
    "byte",
    "date",
    "datetime",
    "dns1035Label",
    "dns1035LabelPrefix",
    "dns1123Label",
    "dns1123LabelPrefix",
    "dns1123Subdomain",
    "dns1123SubdomainPrefix",
    "labelValue",
    "qualifiedName",
    "uri",
    "uuid",
];

/// The functions of this library.
pub fn call<'a>(function: &str, arguments: &[Value<'a>]) -> Option<Result<Value<'a>, Error>> {
    if let ("validate", [Value::Format(format), Value::Text(text)]) = (function, arguments) {
        let wrong = wrong(format, text);
        let wrong: Vec<Value<'a>> = wrong.into_iter().map(Value::text).collect();
        return Some(Ok(if wrong.is_empty() {
            Value::Optional(None)
        } else {
            Value::some(Value::list(wrong))
        }));
    }
    let name = function.strip_prefix("format.")?;
    let known = |name: &str| NAMES.iter().find(|n| **n == name).map(|n| Value::Format(n));
    Some(match (name, arguments) {
        ("named", [Value::Text(name)]) => Ok(known(name).into()),
        (name, []) => known(name).ok_or(Error::NoSuchOverload),
        _ => Err(Error::NoSuchOverload),
    })
}

fn wrong(format: &str, text: &str) -> Vec<String> {
    // A prefix may end in a dash; what follows makes it valid.
    let masked = text.strip_suffix('-').map_or_else(|| text.to_owned(), |head| format!("{head}a"));
    match format {
        "dns1123Label" => names::dns1123_label(text),
        "dns1123LabelPrefix" => names::dns1123_label(&masked),
        "dns1123Subdomain" => names::dns1123_subdomain(text),
        "dns1123SubdomainPrefix" => names::dns1123_subdomain(&masked),
        "dns1035Label" => names::dns1035_label(text),
        "dns1035LabelPrefix" => names::dns1035_label(&masked),
        "qualifiedName" => names::qualified_name(text),
        "labelValue" => names::label_value(text),
        "uri" if is_of("uri", text) => Vec::new(),
        "uri" => vec!["invalid URL".into()],
        "uuid" if is_of("uuid", text) => Vec::new(),
        "uuid" => vec!["does not match the UUID format".into()],
        "byte" if is_of("byte", text) => Vec::new(),
        "byte" => vec!["invalid base64".into()],
        "date" if is_of("date", text) => Vec::new(),
        "date" => vec!["invalid date".into()],
        _ if is_of("date-time", text) => Vec::new(),
        _ => vec!["invalid datetime".into()],
    }
}
