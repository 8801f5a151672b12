//! Protobuf to JSON documents.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::{
    ProtobufError,
    wire::{Reader, Wire, WireError},
};
use crate::schema::{
    table::AnyForm,
    time,
    types::{Object, Scalar, Shape, Type},
};

pub const SCHEMA_PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// As deep as JSON may be.
const MAX_DEPTH: usize = 120;

/// Reads a message's fields into a JSON object.
pub fn object(bytes: &[u8], ty: Type<'_>, into: &mut Map<String, Value>) -> Result<(), ProtobufError> {
    match ty.shape() {
        Shape::Object(described) => fields(bytes, described, into, 0),
        _ => Err(ProtobufError::Type),
    }
}

fn fields(
    bytes: &[u8],
    described: Object<'_>,
    into: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ProtobufError> {
    if depth > MAX_DEPTH {
        return Err(WireError::Depth.into());
    }
    let mut reader = Reader::new(bytes);
    while let Some((tag, wire)) = reader.field()? {
        if let Some(field) = described.fields().find(|f| f.tag() == tag) {
            value(wire, field.ty(), into.entry(field.name()).or_insert(Value::Null), depth)?;
        } else if let Some((_, embedded)) = described.embedded_messages().find(|(t, _)| *t == tag)
            && let Shape::Object(embedded) = embedded.shape()
        {
            fields(wire.bytes()?, embedded, into, depth + 1)?;
        }
    }
    Ok(())
}

/// Reads a field's value; repeated fields add to what is there.
fn value(wire: Wire<'_>, ty: Type<'_>, into: &mut Value, depth: usize) -> Result<(), ProtobufError> {
    match ty.shape() {
        Shape::Object(described) => {
            let mut map = match into.take() {
                Value::Object(map) => map,
                _ => Map::new(),
            };
            fields(wire.bytes()?, described, &mut map, depth + 1)?;
            *into = Value::Object(map);
        }
        Shape::Map(map) => {
            let (mut key, mut entry) = (String::new(), Value::Null);
            let mut reader = Reader::new(wire.bytes()?);
            while let Some((tag, wire)) = reader.field()? {
                match tag {
                    1 => key = wire.text()?,
                    2 => value(wire, map.values(), &mut entry, depth + 1)?,
                    _ => {}
                }
            }
            if !into.is_object() {
                *into = Value::Object(Map::new());
            }
            if let Value::Object(object) = into {
                object.insert(key, entry);
            }
        }
        Shape::List(list) if list.wrapped() => {
            let mut items = Vec::new();
            let mut reader = Reader::new(wire.bytes()?);
            while let Some((_, wire)) = reader.field()? {
                items.push(item(wire, list.items(), depth)?);
            }
            *into = Value::Array(items);
        }
        Shape::List(list) => {
            if !into.is_array() {
                *into = Value::Array(Vec::new());
            }
            let Value::Array(items) = into else { return Ok(()) };
            let numbers = matches!(
                list.items().shape(),
                Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Boolean)
            );
            match wire {
                // Numbers may come packed.
                Wire::Bytes(bytes) if numbers => {
                    let mut reader = Reader::new(bytes);
                    while !reader.is_done() {
                        let number = Wire::Number(reader.varint()?);
                        items.push(item(number, list.items(), depth)?);
                    }
                }
                wire => items.push(item(wire, list.items(), depth)?),
            }
        }
        Shape::Scalar(kind) => *into = scalar(wire, kind)?,
        Shape::Any => *into = any(wire.bytes()?, ty.any_form(), depth)?,
    }
    Ok(())
}

fn item(wire: Wire<'_>, ty: Type<'_>, depth: usize) -> Result<Value, ProtobufError> {
    let mut item = Value::Null;
    value(wire, ty, &mut item, depth + 1)?;
    Ok(item)
}

fn scalar(wire: Wire<'_>, scalar: Scalar) -> Result<Value, ProtobufError> {
    Ok(match scalar {
        Scalar::String => wire.text()?.into(),
        Scalar::Bytes => STANDARD.encode(wire.bytes()?).into(),
        Scalar::Boolean => (wire.number()? != 0).into(),
        Scalar::Int32 => (wire.number()? as i32).into(),
        Scalar::Int64 => wire.number()?.into(),
        Scalar::Double => wire.double()?.into(),
        Scalar::Quantity => match members(wire)?.text {
            text if text.is_empty() => "0".into(),
            text => text.into(),
        },
        Scalar::IntOrString => {
            let members = members(wire)?;
            if members.first == 1 { members.text.into() } else { (members.second as i32).into() }
        }
        Scalar::Time | Scalar::MicroTime => {
            let bytes = wire.bytes()?;
            if bytes.is_empty() {
                return Ok(Value::Null);
            }
            let members = members(wire)?;
            let form = if scalar == Scalar::Time { time::seconds } else { time::micros };
            let time = time::at(members.first, members.second as i32);
            time.map_or(Value::Null, |time| form(time).into())
        }
        Scalar::Duration => format!("{:#}", jiff::SignedDuration::from_nanos(members(wire)?.first)).into(),
    })
}

/// The members of the small messages that scalars are: two numbers and a text, by the place of their tags.
#[derive(Default)]
struct Members {
    first: i64,
    second: i64,
    text: String,
}

fn members(wire: Wire<'_>) -> Result<Members, WireError> {
    let mut members = Members::default();
    let mut reader = Reader::new(wire.bytes()?);
    while let Some((tag, wire)) = reader.field()? {
        match (tag, wire) {
            (1, Wire::Number(number)) => members.first = number as i64,
            (2, Wire::Number(number)) => members.second = number as i64,
            (1 | 3, Wire::Bytes(_)) => members.text = wire.text()?,
            _ => {}
        }
    }
    Ok(members)
}

/// Values that Go keeps as JSON text, and the unions of JSON schemas.
fn any(bytes: &[u8], form: AnyForm, depth: usize) -> Result<Value, ProtobufError> {
    let schema = Type::builtin(SCHEMA_PROPS).ok_or(ProtobufError::Type)?;
    let mut reader = Reader::new(bytes);
    let mut result = Value::Null;
    while let Some((tag, wire)) = reader.field()? {
        match (form, tag) {
            (AnyForm::Raw, 1) => {
                let text = wire.bytes()?;
                result = if text.is_empty() { Value::Null } else { serde_json::from_slice(text)? };
            }
            (AnyForm::SchemaOrBool, 1) if !result.is_object() => result = (wire.number()? != 0).into(),
            (AnyForm::SchemaOrBool, 2) | (AnyForm::SchemaOrArray | AnyForm::SchemaOrStrings, 1) => {
                result = item(wire, schema, depth)?;
            }
            (AnyForm::SchemaOrArray | AnyForm::SchemaOrStrings, 2) => {
                if !result.is_array() {
                    result = Value::Array(Vec::new());
                }
                if let Value::Array(items) = &mut result {
                    items.push(if form == AnyForm::SchemaOrArray {
                        item(wire, schema, depth)?
                    } else {
                        wire.text()?.into()
                    });
                }
            }
            _ => {}
        }
    }
    Ok(result)
}
