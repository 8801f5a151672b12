//! Go's names of types and values, as errors show them.

use serde_json::Value;

use crate::{
    patch::printed::json_name,
    schema::types::{Scalar, Shape, Type},
};

/// Go's word for a value of the wrong type, where a number was expected but not this one.
pub(super) fn found_number(value: &Value) -> String {
    match value {
        Value::Number(number) => format!("number {number}"),
        other => json_name(other).to_owned(),
    }
}

/// The name of a definition without its package.
pub(super) fn last_segment(name: &'static str) -> &'static str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The type of the elements of a named Go list or map.
pub(super) fn element_type(go_type: &str) -> &str {
    match go_type.split_once(']') {
        Some((container, element)) if container == "[" || container.starts_with("map[") => element,
        _ => "",
    }
}

/// Go's name of a type, such as `[]v1.Container`.
pub(super) fn go_name(ty: Type<'_>, named: &str) -> String {
    if !named.is_empty() {
        return named.to_owned();
    }
    match ty.shape() {
        Shape::Object(_) => {
            let name = ty.name().unwrap_or_default();
            let mut parts = name.rsplit('.');
            let (last, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            format!("{package}.{last}")
        }
        Shape::Map(map) => format!("map[string]{}", go_name(map.values(), "")),
        Shape::List(list) => format!("[]{}", go_name(list.items(), "")),
        Shape::Scalar(scalar) => match scalar {
            Scalar::String => "string",
            Scalar::Bytes => "[]uint8",
            Scalar::Boolean => "bool",
            Scalar::Int32 => "int32",
            Scalar::Int64 => "int64",
            Scalar::Double => "float64",
            Scalar::Quantity => "resource.Quantity",
            Scalar::IntOrString => "intstr.IntOrString",
            Scalar::Time => "v1.Time",
            Scalar::MicroTime => "v1.MicroTime",
            Scalar::Duration => "v1.Duration",
        }
        .into(),
        Shape::Any => "runtime.RawExtension".into(),
    }
}
