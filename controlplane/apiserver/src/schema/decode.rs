//! Documents as Go's types would hold them.
//!
//! Decoding a built-in type and showing it again is what Go's round trip does: unknown fields and empty
//! optional values go, `null` means absent, quantities and times become canonical, fields that Go always
//! shows appear. A wrong type is an error in Go's words. Custom types are pruned only: their values are
//! judged by the schema's validation.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Number, Value};

mod go_names;
pub mod hollow;
mod restore;

use self::go_names::{element_type, found_number, go_name, last_segment};
use super::{
    quantity::{Quantity, QuantityError},
    table::AnyForm,
    time::{self, TimeError},
    types::{Field, Form, List, Node, Object, Scalar, Shape, Type},
};
use crate::patch::printed::json_name;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const SCHEMA_PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// Go accepts any trailing bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Why a document is not of a type, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A value of the wrong type in a field.
    #[error("json: cannot unmarshal {found} into Go struct field {field} of type {expected}")]
    Field {
        /// What is there.
        found: String,
        /// Go's struct and the path, for example `DeploymentSpec.spec.replicas`.
        field: String,
        /// Go's type.
        expected: String,
    },
    /// A value of the wrong type where Go knows no field.
    #[error("json: cannot unmarshal {found} into Go value of type {expected}")]
    Value {
        /// What is there.
        found: String,
        /// Go's type.
        expected: String,
    },
    /// A quantity that is none.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// A time that is none.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// Bytes that are not base64.
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    /// A value of the wrong type in a document that Go has as a map.
    #[error("{0}")]
    Restore(String),
}

/// Decodes a document. Also returns the unknown fields that it had, as `unknown field "spec.x"`.
pub fn decode(value: Value, ty: Type<'_>) -> Result<(Value, Vec<String>), DecodeError> {
    decode_with(Decoder::default(), value, ty)
}

/// The same for a document that Go has as a map already, as after a strategic merge patch or apply. Then it
/// takes whole numbers for integers whatever they look like, does not mind their size, and looks at the
/// fields in the order of its structs.
pub fn restore(value: Value, ty: Type<'_>) -> Result<(Value, Vec<String>), DecodeError> {
    let of_map = matches!(ty, Type::Builtin(_));
    let (value, mut unknown) = decode_with(Decoder { of_map, ..Decoder::default() }, value, ty)?;
    unknown.sort();
    Ok((value, unknown))
}

fn decode_with(
    mut decoder: Decoder,
    value: Value,
    ty: Type<'_>,
) -> Result<(Value, Vec<String>), DecodeError> {
    let value = match ty {
        Type::Builtin(_) => decoder.value(value, ty, "")?,
        Type::Custom(node) => {
            let mut value = value;
            decoder.prune(&mut value, node, true)?;
            decoder.unknown.sort();
            value
        }
    };
    Ok((value, decoder.unknown))
}

/// What a field of a built-in type that JSON always shows has as its empty value; for a message, the
/// object that Go's zero value is shown as.
pub fn zero(ty: Type<'_>) -> Value {
    match ty.shape() {
        Shape::Object(object) => {
            let mut zero = Map::new();
            add_always(&mut zero, object);
            Value::Object(zero)
        }
        Shape::Scalar(scalar) => match scalar {
            Scalar::String => "".into(),
            Scalar::Boolean => false.into(),
            Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString | Scalar::Double => 0.into(),
            Scalar::Quantity => "0".into(),
            Scalar::Duration => "0s".into(),
            Scalar::Bytes | Scalar::Time | Scalar::MicroTime => Value::Null,
        },
        Shape::Map(_) | Shape::List(_) | Shape::Any => Value::Null,
    }
}

fn add_always(object: &mut Map<String, Value>, described: Object<'_>) {
    for field in described.fields().filter(|f| f.always()) {
        if !object.contains_key(field.name()) {
            let value = if field.pointer() { Value::Null } else { zero(field.ty()) };
            object.insert(field.name().to_owned(), value);
        }
    }
}

#[derive(Default)]
struct Decoder {
    /// The path with indices, for unknown fields.
    path: String,
    /// The path of field names only, as Go's errors show it.
    fields: Vec<String>,
    /// The innermost Go struct.
    owner: &'static str,
    unknown: Vec<String>,
    /// Go has the document as a map, not as text.
    of_map: bool,
}

impl Decoder {
    /// Decodes a value; `null` becomes the zero value.
    fn value(&mut self, value: Value, ty: Type<'_>, go_type: &str) -> Result<Value, DecodeError> {
        if value.is_null() {
            return Ok(zero(ty));
        }
        match ty.shape() {
            Shape::Object(object) => match value {
                Value::Object(map) => self.object(map, object, ty),
                other if self.of_map => Err(restore::not_a("struct from:", &other)),
                other => Err(self.mismatch(&other, &go_name(ty, go_type))),
            },
            Shape::Map(map) => match value {
                Value::Object(object) => {
                    let element = element_type(go_type);
                    let mut decoded = Map::new();
                    for (key, value) in object {
                        let length = self.enter(&key);
                        decoded.insert(key, self.value(value, map.values(), element)?);
                        self.path.truncate(length);
                    }
                    Ok(Value::Object(decoded))
                }
                other if self.of_map => Err(restore::not_a("map from", &other)),
                other => Err(self.mismatch(&other, &go_name(ty, go_type))),
            },
            Shape::List(list) => match value {
                Value::Array(items) => self.list(items, list, go_type),
                other if self.of_map => Err(restore::not_a("slice from", &other)),
                other => Err(self.mismatch(&other, &go_name(ty, go_type))),
            },
            Shape::Scalar(scalar) if self.of_map => {
                let value = restore::scalar(value, scalar, || go_name(ty, go_type))?;
                self.scalar(value, scalar, "").map_err(restore::wrapped)
            }
            Shape::Scalar(scalar) => self.scalar(value, scalar, &go_name(ty, go_type)),
            Shape::Any => self.any(value, ty.any_form()),
        }
    }

    fn object(
        &mut self,
        map: Map<String, Value>,
        object: Object<'_>,
        ty: Type<'_>,
    ) -> Result<Value, DecodeError> {
        let owner = std::mem::replace(&mut self.owner, last_segment(ty.name().unwrap_or_default()));
        // Stored objects lose the difference between empty and `null` that lists keep.
        let is_list = self.owner.ends_with("List");
        let mut decoded = Map::new();
        let mut members: Vec<_> = map.into_iter().collect();
        if self.of_map {
            members.sort_by_key(|(key, _)| object.field(key).map_or(u8::MAX, Field::order));
        }
        for (key, value) in members {
            let length = self.enter(&key);
            match object.field(&key) {
                None => self.unknown.push(format!("unknown field \"{}\"", self.path)),
                Some(_) if value.is_null() => {}
                Some(field) => {
                    self.fields.push(key);
                    let value = self.value(value, field.ty(), field.go_type().unwrap_or_default())?;
                    let key = self.fields.pop().unwrap_or_default();
                    let kept = field.pointer() || is_list || self.tells_empty(field, &value);
                    if kept || !is_empty(&value, field.ty()) {
                        decoded.insert(key, value);
                    }
                }
            }
            self.path.truncate(length);
        }
        add_always(&mut decoded, object);
        self.owner = owner;
        Ok(Value::Object(decoded))
    }

    /// Whether an empty list or map differs from none: where JSON always shows it, `[]` is not `null` until it is
    /// stored, and the policies of an autoscaler's behaviour are not defaulted where there are expressly none.
    fn tells_empty(&self, field: Field<'_>, value: &Value) -> bool {
        match value {
            Value::Array(_) => {
                field.always() || (self.owner, field.name()) == ("HPAScalingRules", "policies")
            }
            Value::Object(_) => field.always(),
            _ => false,
        }
    }

    fn list(&mut self, items: Vec<Value>, list: List<'_>, go_type: &str) -> Result<Value, DecodeError> {
        use std::fmt::Write;

        let element = element_type(go_type);
        let mut decoded = Vec::with_capacity(items.len());
        for (i, item) in items.into_iter().enumerate() {
            let length = self.path.len();
            // Writing to a string cannot fail.
            let _ = write!(self.path, "[{i}]");
            decoded.push(self.value(item, list.items(), element)?);
            self.path.truncate(length);
        }
        Ok(Value::Array(decoded))
    }

    fn scalar(&mut self, value: Value, scalar: Scalar, go_type: &str) -> Result<Value, DecodeError> {
        match (scalar, &value) {
            (Scalar::String | Scalar::IntOrString | Scalar::Duration, Value::String(_))
            | (Scalar::Boolean, Value::Bool(_)) => Ok(value),
            (Scalar::Double, Value::Number(n)) => Ok(double(n)),
            (Scalar::Int32 | Scalar::IntOrString, Value::Number(n))
                if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) =>
            {
                Ok(value)
            }
            (Scalar::Int64, Value::Number(n)) if n.is_i64() => Ok(value),
            (Scalar::Bytes, Value::String(text)) => bytes(text).map(Value::String),
            (Scalar::Quantity, _) => Ok(Quantity::from_value(&value)?.to_string().into()),
            (Scalar::Time, Value::String(text)) => Ok(time::normalize(text)?),
            (Scalar::MicroTime, Value::String(text)) => Ok(time::normalize_micro(text)?),
            // These have decoders of their own in Go, which know no field.
            (Scalar::IntOrString, _) => {
                Err(DecodeError::Value { found: found_number(&value), expected: "int32".into() })
            }
            (Scalar::Time | Scalar::MicroTime | Scalar::Duration, _) => {
                Err(DecodeError::Value { found: json_name(&value).into(), expected: "string".into() })
            }
            (Scalar::Int32 | Scalar::Int64, Value::Number(_)) => {
                Err(self.mismatch_of(found_number(&value), go_type))
            }
            _ => Err(self.mismatch(&value, go_type)),
        }
    }

    /// Values that Go keeps as text, and the unions of JSON schemas.
    fn any(&mut self, value: Value, form: AnyForm) -> Result<Value, DecodeError> {
        let schema = Type::builtin(SCHEMA_PROPS);
        match (form, value, schema) {
            (AnyForm::Raw, value, _) => Ok(value),
            (AnyForm::SchemaOrArray, Value::Array(items), Some(schema)) => {
                let items = items.into_iter().map(|item| self.quietly(item, schema));
                Ok(Value::Array(items.collect::<Result<_, _>>()?))
            }
            (_, value @ Value::Object(_), Some(schema)) => self.quietly(value, schema),
            (_, value, _) => Ok(value),
        }
    }

    /// Decodes without noting unknown fields.
    fn quietly(&mut self, value: Value, ty: Type<'_>) -> Result<Value, DecodeError> {
        let noted = self.unknown.len();
        let value = self.value(value, ty, "");
        self.unknown.truncate(noted);
        value
    }

    /// Removes what a custom schema does not know. `whole` objects keep their type and metadata.
    fn prune(&mut self, value: &mut Value, node: &Node, whole: bool) -> Result<(), DecodeError> {
        use std::fmt::Write;

        match (&node.form, value) {
            (Form::Object { fields, .. }, Value::Object(object)) => {
                let mut unknown = Vec::new();
                for (key, value) in object.iter_mut() {
                    let length = self.enter(key);
                    match fields.get(key) {
                        _ if whole && key == "metadata" => *value = self.metadata(value.take())?,
                        Some(field) => self.prune(value, field, field.embedded)?,
                        None if whole && (key == "apiVersion" || key == "kind") => {}
                        None if node.preserve_unknown => {}
                        None => {
                            self.unknown.push(format!("unknown field \"{}\"", self.path));
                            unknown.push(key.clone());
                        }
                    }
                    self.path.truncate(length);
                }
                for key in &unknown {
                    object.remove(key);
                }
            }
            (Form::Map { values, .. }, Value::Object(object)) => {
                for (key, value) in object.iter_mut() {
                    let length = self.enter(key);
                    self.prune(value, values, values.embedded)?;
                    self.path.truncate(length);
                }
            }
            (Form::List { items, .. }, Value::Array(array)) => {
                for (i, value) in array.iter_mut().enumerate() {
                    let length = self.path.len();
                    // Writing to a string cannot fail.
                    let _ = write!(self.path, "[{i}]");
                    self.prune(value, items, items.embedded)?;
                    self.path.truncate(length);
                }
            }
            (Form::Builtin(index), value) => *value = self.builtin(value.take(), Type::Builtin(*index))?,
            (Form::Any, Value::Object(object)) if whole => {
                if let Some(metadata) = object.get_mut("metadata") {
                    let length = self.enter("metadata");
                    *metadata = self.metadata(metadata.take())?;
                    self.path.truncate(length);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn metadata(&mut self, value: Value) -> Result<Value, DecodeError> {
        match Type::builtin(OBJECT_META) {
            Some(ty) if !value.is_null() => self.builtin(value, ty),
            _ => Ok(value),
        }
    }

    /// A built-in type inside a custom one, which Go decodes by itself.
    fn builtin(&mut self, value: Value, ty: Type<'_>) -> Result<Value, DecodeError> {
        let fields = std::mem::take(&mut self.fields);
        let value = self.value(value, ty, "");
        self.fields = fields;
        value
    }

    fn enter(&mut self, key: &str) -> usize {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        length
    }

    fn mismatch(&self, value: &Value, expected: &str) -> DecodeError {
        self.mismatch_of(json_name(value).into(), expected)
    }

    fn mismatch_of(&self, found: String, expected: &str) -> DecodeError {
        let expected = expected.to_owned();
        if self.fields.is_empty() {
            return DecodeError::Value { found, expected };
        }
        DecodeError::Field { found, field: format!("{}.{}", self.owner, self.fields.join(".")), expected }
    }
}

/// A number with a fraction, which Go shows without one where there is none to show.
fn double(number: &Number) -> Value {
    const EXACT: f64 = (1_u64 << f64::MANTISSA_DIGITS) as f64;
    match number.as_f64() {
        Some(double) if double.fract() == 0.0 && double.abs() < EXACT => (double as i64).into(),
        double => double.into(),
    }
}

/// What Go's `omitempty` leaves out.
fn is_empty(value: &Value, ty: Type<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => {
            !matches!(ty.shape(), Shape::Scalar(Scalar::IntOrString)) && n.as_f64().is_some_and(|n| n == 0.0)
        }
        Value::String(text) => {
            matches!(ty.shape(), Shape::Scalar(Scalar::String | Scalar::Bytes)) && text.is_empty()
        }
        Value::Array(items) => items.is_empty() && matches!(ty.shape(), Shape::List(_)),
        Value::Object(object) => object.is_empty() && matches!(ty.shape(), Shape::Map(_)),
    }
}

/// Canonical base64.
fn bytes(text: &str) -> Result<String, DecodeError> {
    let plain: String;
    let text = if text.contains(['\r', '\n']) {
        plain = text.replace(['\r', '\n'], "");
        &plain
    } else {
        text
    };
    match BASE64.decode(text) {
        Ok(bytes) => Ok(BASE64.encode(bytes)),
        Err(_) => Err(DecodeError::Base64(base64_fault(text.as_bytes()))),
    }
}

/// Where Go sees the fault of text that is not base64.
fn base64_fault(text: &[u8]) -> usize {
    for (i, byte) in text.iter().enumerate() {
        let place = i % 4;
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {}
            b'=' if place == 3 => return i + 1,
            b'=' if place == 2 => {
                return match text.get(i + 1) {
                    Some(b'=') => i + 2,
                    Some(_) => i + 1,
                    None => text.len(),
                };
            }
            _ => return i,
        }
    }
    text.len() - text.len() % 4
}

#[cfg(test)]
mod tests;
