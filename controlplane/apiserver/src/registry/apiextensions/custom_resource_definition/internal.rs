//! Definitions as the real server shows them inside of errors: its Go structs, printed as JSON.

use std::fmt::Write;

use serde_json::Value;

use super::version::is_common;
use crate::{
    field::{Errors, Path, Reason},
    registry::access::{at, bool_at, has},
};

/// How a field of a Go struct is printed when it is not set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Zero {
    Null,
    Text,
    False,
}

/// The fields of a schema in Go's order: JSON name, Go name, zero value.
const SCHEMA: &[(&str, &str, Zero)] = &[
    ("id", "ID", Zero::Text),
    ("$schema", "Schema", Zero::Text),
    ("$ref", "Ref", Zero::Null),
    ("description", "Description", Zero::Text),
    ("type", "Type", Zero::Text),
    ("nullable", "Nullable", Zero::False),
    ("format", "Format", Zero::Text),
    ("title", "Title", Zero::Text),
    ("default", "Default", Zero::Null),
    ("maximum", "Maximum", Zero::Null),
    ("exclusiveMaximum", "ExclusiveMaximum", Zero::False),
    ("minimum", "Minimum", Zero::Null),
    ("exclusiveMinimum", "ExclusiveMinimum", Zero::False),
    ("maxLength", "MaxLength", Zero::Null),
    ("minLength", "MinLength", Zero::Null),
    ("pattern", "Pattern", Zero::Text),
    ("maxItems", "MaxItems", Zero::Null),
    ("minItems", "MinItems", Zero::Null),
    ("uniqueItems", "UniqueItems", Zero::False),
    ("multipleOf", "MultipleOf", Zero::Null),
    ("enum", "Enum", Zero::Null),
    ("maxProperties", "MaxProperties", Zero::Null),
    ("minProperties", "MinProperties", Zero::Null),
    ("required", "Required", Zero::Null),
    ("items", "Items", Zero::Null),
    ("allOf", "AllOf", Zero::Null),
    ("oneOf", "OneOf", Zero::Null),
    ("anyOf", "AnyOf", Zero::Null),
    ("not", "Not", Zero::Null),
    ("properties", "Properties", Zero::Null),
    ("additionalProperties", "AdditionalProperties", Zero::Null),
    ("patternProperties", "PatternProperties", Zero::Null),
    ("dependencies", "Dependencies", Zero::Null),
    ("additionalItems", "AdditionalItems", Zero::Null),
    ("definitions", "Definitions", Zero::Null),
    ("externalDocs", "ExternalDocs", Zero::Null),
    ("example", "Example", Zero::Null),
    ("x-kubernetes-preserve-unknown-fields", "XPreserveUnknownFields", Zero::Null),
    ("x-kubernetes-embedded-resource", "XEmbeddedResource", Zero::False),
    ("x-kubernetes-int-or-string", "XIntOrString", Zero::False),
    ("x-kubernetes-list-map-keys", "XListMapKeys", Zero::Null),
    ("x-kubernetes-list-type", "XListType", Zero::Null),
    ("x-kubernetes-map-type", "XMapType", Zero::Null),
    ("x-kubernetes-validations", "XValidations", Zero::Null),
];

/// The fields that the root of a schema may have if there is a status subresource.
pub const ROOT_FIELDS: &[&str] = &[
    "Description",
    "Type",
    "Format",
    "Title",
    "Maximum",
    "ExclusiveMaximum",
    "Minimum",
    "ExclusiveMinimum",
    "MaxLength",
    "MinLength",
    "Pattern",
    "MaxItems",
    "MinItems",
    "UniqueItems",
    "MultipleOf",
    "Required",
    "Items",
    "Properties",
    "ExternalDocs",
    "Example",
    "XPreserveUnknownFields",
    "XValidations",
];

/// The Go names of the fields that a schema has.
pub fn fields(schema: &Value) -> impl Iterator<Item = &'static str> {
    SCHEMA.iter().filter(|(name, ..)| has(schema, &format!("/{name}"))).map(|(_, go, _)| *go)
}

/// Adds an error that shows a Go value.
pub fn invalid(errors: &mut Errors, path: &Path<'_>, shown: &str, why: &str) {
    errors.push(path, Reason::Invalid, format!("Invalid value: {shown}: {why}"));
}

/// Versions as Go prints them; what they have in common is not theirs.
pub fn versions(versions: &[Value]) -> String {
    if versions.is_empty() {
        return "null".into();
    }
    let own = |version: &Value, pointer: &str| {
        if is_common(versions, pointer) { Value::Null } else { at(version, pointer).clone() }
    };
    let shown: Vec<String> = versions
        .iter()
        .map(|version| {
            let full = own(version, "/schema");
            let schema = match full.get("openAPIV3Schema") {
                Some(inner) => format!("{{\"OpenAPIV3Schema\":{}}}", schema(inner)),
                None => "null".into(),
            };
            format!(
                "{{\"Name\":{},\"Served\":{},\"Storage\":{},\"Deprecated\":{},\"DeprecationWarning\":{},\"Schema\":{schema},\"Subresources\":{},\"AdditionalPrinterColumns\":{},\"SelectableFields\":{}}}",
                at(version, "/name"),
                bool_at(version, "/served"),
                bool_at(version, "/storage"),
                bool_at(version, "/deprecated"),
                at(version, "/deprecationWarning"),
                own(version, "/subresources"),
                own(version, "/additionalPrinterColumns"),
                own(version, "/selectableFields"),
            )
        })
        .collect();
    format!("[{}]", shown.join(","))
}

/// A schema as Go prints it.
pub fn schema(of: &Value) -> String {
    let mut out = String::from("{");
    for (i, (name, go, zero)) in SCHEMA.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let value = match (of.get(*name), name) {
            (None | Some(Value::Null), _) => match zero {
                Zero::Null => "null".into(),
                Zero::Text => "\"\"".into(),
                Zero::False => "false".into(),
            },
            (Some(inner), &"not") => schema(inner),
            (Some(inner), &"items") => format!("{{\"Schema\":{},\"JSONSchemas\":null}}", schema(inner)),
            (Some(inner), &"additionalProperties") => match inner {
                Value::Bool(allows) => format!("{{\"Allows\":{allows},\"Schema\":null}}"),
                inner => format!("{{\"Allows\":true,\"Schema\":{}}}", schema(inner)),
            },
            (Some(Value::Array(all)), &("allOf" | "anyOf" | "oneOf")) => {
                format!("[{}]", all.iter().map(schema).collect::<Vec<_>>().join(","))
            }
            (Some(Value::Object(all)), &("properties" | "definitions" | "patternProperties")) => {
                let all = all.iter().map(|(k, v)| format!("{}:{}", crate::field::quoted(k), schema(v)));
                format!("{{{}}}", all.collect::<Vec<_>>().join(","))
            }
            (Some(other), _) => other.to_string(),
        };
        // Writing to a string cannot fail.
        let _ = write!(out, "{comma}\"{go}\":{value}");
    }
    out.push('}');
    out
}

/// A rule as Go prints it.
pub fn rule(of: &Value) -> String {
    let text = |name: &str| of.get(name).cloned().unwrap_or_else(|| "".into());
    format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{},\"FieldPath\":{},\"OptionalOldSelf\":{}}}",
        text("rule"),
        text("message"),
        text("messageExpression"),
        at(of, "/reason"),
        text("fieldPath"),
        at(of, "/optionalOldSelf"),
    )
}
