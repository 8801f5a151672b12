//! JSON documents to protobuf.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::wire;
use crate::schema::{
    table::AnyForm,
    time,
    types::{Field, Object, Scalar, Shape, Type},
};

/// Writes a message's fields.
pub fn document(value: &Value, ty: Type<'_>, out: &mut Vec<u8>) {
    let empty = Map::new();
    if let Shape::Object(described) = ty.shape() {
        object(value.as_object().unwrap_or(&empty), described, out);
    }
}

enum Part<'a> {
    Field(Field<'a>),
    /// The same JSON object seen as the Go struct that is embedded in it.
    Embedded(Type<'static>),
}

fn object(value: &Map<String, Value>, described: Object<'_>, out: &mut Vec<u8>) {
    let mut parts: Vec<(u32, Part<'_>)> = described
        .fields()
        .filter(|f| f.tag() > 0)
        .map(|f| (f.tag(), Part::Field(f)))
        .chain(described.embedded_messages().map(|(tag, ty)| (tag, Part::Embedded(ty))))
        .collect();
    parts.sort_by_key(|(tag, _)| *tag);
    for (tag, part) in parts {
        match part {
            Part::Embedded(ty) => wire::message(out, tag, |out| {
                if let Shape::Object(embedded) = ty.shape() {
                    object(value, embedded, out);
                }
            }),
            Part::Field(field) => match value.get(field.name()).filter(|v| !v.is_null()) {
                Some(value) => present(value, field.ty(), tag, out),
                None if field.pointer() => {}
                None => absent(field.ty(), tag, out),
            },
        }
    }
}

/// Writes the zero value of a field that is no pointer.
fn absent(ty: Type<'_>, tag: u32, out: &mut Vec<u8>) {
    match ty.shape() {
        Shape::Object(described) => wire::message(out, tag, |out| object(&Map::new(), described, out)),
        Shape::Any => wire::message(out, tag, |_| {}),
        Shape::Scalar(scalar) => match scalar {
            Scalar::String => wire::bytes(out, tag, b""),
            Scalar::Boolean | Scalar::Int32 | Scalar::Int64 => wire::number(out, tag, 0),
            Scalar::Double => wire::double(out, tag, 0.0),
            Scalar::Bytes => {}
            Scalar::Time | Scalar::MicroTime => wire::message(out, tag, |_| {}),
            Scalar::Quantity => present(&"0".into(), ty, tag, out),
            Scalar::IntOrString | Scalar::Duration => present(&0.into(), ty, tag, out),
        },
        Shape::Map(_) | Shape::List(_) => {}
    }
}

fn present(value: &Value, ty: Type<'_>, tag: u32, out: &mut Vec<u8>) {
    match ty.shape() {
        Shape::Object(described) => {
            let empty = Map::new();
            let value = value.as_object().unwrap_or(&empty);
            wire::message(out, tag, |out| object(value, described, out));
        }
        Shape::Map(map) => {
            for (key, value) in value.as_object().into_iter().flatten() {
                wire::message(out, tag, |out| {
                    wire::bytes(out, 1, key.as_bytes());
                    element(value, map.values(), 2, out);
                });
            }
        }
        Shape::List(list) if list.wrapped() => wire::message(out, tag, |out| {
            value.as_array().into_iter().flatten().for_each(|item| element(item, list.items(), 1, out));
        }),
        Shape::List(list) => {
            value.as_array().into_iter().flatten().for_each(|item| element(item, list.items(), tag, out));
        }
        Shape::Scalar(kind) => scalar(value, kind, tag, out),
        Shape::Any => any(value, ty.any_form(), tag, out),
    }
}

/// An item of a list or map, which is written whatever it is.
fn element(value: &Value, ty: Type<'_>, tag: u32, out: &mut Vec<u8>) {
    if value.is_null() { absent(ty, tag, out) } else { present(value, ty, tag, out) }
}

fn scalar(value: &Value, scalar: Scalar, tag: u32, out: &mut Vec<u8>) {
    let text = || value.as_str().unwrap_or_default();
    match scalar {
        Scalar::String => wire::bytes(out, tag, text().as_bytes()),
        Scalar::Bytes => wire::bytes(out, tag, &STANDARD.decode(text()).unwrap_or_default()),
        Scalar::Boolean => wire::number(out, tag, i64::from(value.as_bool().unwrap_or_default())),
        Scalar::Int32 | Scalar::Int64 => wire::number(out, tag, value.as_i64().unwrap_or_default()),
        Scalar::Double => wire::double(out, tag, value.as_f64().unwrap_or_default()),
        Scalar::Quantity => wire::message(out, tag, |out| wire::bytes(out, 1, text().as_bytes())),
        Scalar::IntOrString => wire::message(out, tag, |out| {
            wire::number(out, 1, i64::from(value.is_string()));
            wire::number(out, 2, value.as_i64().unwrap_or_default());
            wire::bytes(out, 3, text().as_bytes());
        }),
        Scalar::Time | Scalar::MicroTime => wire::message(out, tag, |out| {
            if let Some(time) = time::read(text()) {
                let (seconds, nanos) = time::since_epoch(time);
                wire::number(out, 1, seconds);
                wire::number(out, 2, i64::from(nanos));
            }
        }),
        Scalar::Duration => {
            let nanos = text().parse::<jiff::SignedDuration>().map_or(0, |d| d.as_nanos());
            wire::message(out, tag, |out| wire::number(out, 1, i64::try_from(nanos).unwrap_or(i64::MAX)));
        }
    }
}

/// Values that Go keeps as JSON text, and the unions of JSON schemas.
fn any(value: &Value, form: AnyForm, tag: u32, out: &mut Vec<u8>) {
    let schema = |out: &mut Vec<u8>, tag: u32, value: &Value| {
        if let Some(ty) = Type::builtin(super::read::SCHEMA_PROPS) {
            present(value, ty, tag, out);
        }
    };
    wire::message(out, tag, |out| match (form, value) {
        (AnyForm::Raw, value) => wire::bytes(out, 1, value.to_string().as_bytes()),
        (AnyForm::SchemaOrArray, Value::Array(items)) => items.iter().for_each(|item| schema(out, 2, item)),
        (AnyForm::SchemaOrStrings, Value::Array(items)) => {
            for item in items {
                scalar(item, Scalar::String, 2, out);
            }
        }
        (AnyForm::SchemaOrBool, Value::Bool(allows)) => wire::number(out, 1, i64::from(*allows)),
        (AnyForm::SchemaOrBool, value) => {
            wire::number(out, 1, 1);
            schema(out, 2, value);
        }
        (AnyForm::SchemaOrArray | AnyForm::SchemaOrStrings, value) => schema(out, 1, value),
    });
}
