//! Conversions between types.

use super::{
    super::{Error, value::Value},
    times,
};
use crate::{custom::checks::formats::go_duration, field, schema::time};

/// The functions of this library.
pub fn call<'a>(function: &str, arguments: &[Value<'a>]) -> Option<Result<Value<'a>, Error>> {
    let [value] = arguments else { return None };
    Some(match function {
        "size" => match value.size() {
            Some(size) => Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX))),
            None => Err(Error::NoSuchOverload),
        },
        "type" => Ok(Value::Type(value.type_name())),
        "dyn" => Ok(value.clone()),
        "int" => int(value),
        "uint" => uint(value),
        "double" => double(value),
        "bool" => bool(value),
        "string" => string(value),
        "bytes" => match value {
            Value::Bytes(_) => Ok(value.clone()),
            Value::Text(text) => Ok(Value::Bytes(text.as_bytes().into())),
            _ => Err(Error::NoSuchOverload),
        },
        "duration" => duration(value),
        "timestamp" => timestamp(value),
        _ => return None,
    })
}

fn int<'a>(value: &Value<'a>) -> Result<Value<'a>, Error> {
    match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Uint(n) => i64::try_from(*n).map(Value::Int).map_err(|_| Error::Overflow),
        Value::Double(n) if n.is_finite() && n.abs() < 9.223_372_036_854_775e18 => Ok(Value::Int(*n as i64)),
        Value::Double(_) => Err(Error::Overflow),
        Value::Timestamp(time) => Ok(Value::Int(time::since_epoch(*time).0)),
        Value::Duration(nanoseconds) => Ok(Value::Int(*nanoseconds)),
        Value::Text(text) => text.parse().map(Value::Int).map_err(|_| conversion("int")),
        _ => Err(Error::NoSuchOverload),
    }
}

fn uint<'a>(value: &Value<'a>) -> Result<Value<'a>, Error> {
    match value {
        Value::Uint(_) => Ok(value.clone()),
        Value::Int(n) => {
            u64::try_from(*n).map(Value::Uint).map_err(|_| Error::other("unsigned integer overflow"))
        }
        Value::Double(n) if *n >= 0.0 && *n < 1.844_674_407_370_955e19 => Ok(Value::Uint(*n as u64)),
        Value::Double(_) => Err(Error::other("unsigned integer overflow")),
        Value::Text(text) if text.starts_with('+') => Err(conversion("uint")),
        Value::Text(text) => text.parse().map(Value::Uint).map_err(|_| conversion("uint")),
        _ => Err(Error::NoSuchOverload),
    }
}

fn double<'a>(value: &Value<'a>) -> Result<Value<'a>, Error> {
    match value {
        Value::Text(text) => text.parse().map(Value::Double).map_err(|_| conversion("double")),
        other => other.double().map(Value::Double).ok_or(Error::NoSuchOverload),
    }
}

fn bool<'a>(value: &Value<'a>) -> Result<Value<'a>, Error> {
    match value {
        Value::Bool(_) => Ok(value.clone()),
        Value::Text(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(conversion("bool")),
        },
        _ => Err(Error::NoSuchOverload),
    }
}

fn string<'a>(value: &Value<'a>) -> Result<Value<'a>, Error> {
    Ok(Value::text(match value {
        Value::Text(_) => return Ok(value.clone()),
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) => value.to_text(),
        Value::Double(n) => field::float(*n),
        Value::Bytes(bytes) => String::from_utf8(bytes.to_vec())
            .map_err(|_| Error::other("invalid UTF-8 in bytes, cannot convert to string"))?,
        Value::Duration(nanoseconds) => times::shown(*nanoseconds),
        Value::Timestamp(time) => times::instant(*time),
        Value::Ip(address) => address.to_string(),
        Value::Cidr(cidr) => format!("{}/{}", cidr.address, cidr.network.prefix_len()),
        Value::Type(name) => (*name).to_owned(),
        _ => return Err(Error::NoSuchOverload),
    }))
}

fn duration<'a>(value: &Value<'a>) -> Result<Value<'a>, Error> {
    match value {
        Value::Duration(_) => Ok(value.clone()),
        Value::Text(text) => {
            go_duration(text).map(Value::Duration).ok_or_else(|| conversion("google.protobuf.Duration"))
        }
        Value::Int(nanoseconds) => Ok(Value::Duration(*nanoseconds)),
        _ => Err(Error::NoSuchOverload),
    }
}

fn timestamp<'a>(value: &Value<'a>) -> Result<Value<'a>, Error> {
    match value {
        Value::Timestamp(_) => Ok(value.clone()),
        Value::Int(seconds) => times::within(time::at(*seconds, 0)),
        Value::Text(text) => match time::read(text) {
            None => Err(conversion("google.protobuf.Timestamp")),
            some => times::within(some),
        },
        _ => Err(Error::NoSuchOverload),
    }
}

/// A text that is none of a type.
fn conversion(to: &str) -> Error {
    Error::other(format!("type conversion error from 'string' to '{to}'"))
}
