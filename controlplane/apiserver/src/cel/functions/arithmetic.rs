//! `+ - * / %`

use jiff::{SignedDuration, civil::DateTime};

use super::{
    super::{Error, syntax::Operator, value::Value},
    times,
};

/// Applies an arithmetic operator.
pub fn apply<'a>(operator: Operator, left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, Error> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => integers(operator, *a, *b).map(Value::Int),
        (Value::Uint(a), Value::Uint(b)) => unsigned(operator, *a, *b).map(Value::Uint),
        (Value::Double(a), Value::Double(b)) => doubles(operator, *a, *b).map(Value::Double),
        _ if operator == Operator::Add => add(left, right),
        _ if operator == Operator::Subtract => subtract(left, right),
        _ => Err(Error::NoSuchOverload),
    }
}

fn integers(operator: Operator, a: i64, b: i64) -> Result<i64, Error> {
    match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide if b == 0 => return Err(Error::DivisionByZero),
        Operator::Divide => a.checked_div(b),
        Operator::Modulo if b == 0 => return Err(Error::ModulusByZero),
        Operator::Modulo => a.checked_rem(b),
        _ => return Err(Error::NoSuchOverload),
    }
    .ok_or(Error::Overflow)
}

fn unsigned(operator: Operator, a: u64, b: u64) -> Result<u64, Error> {
    match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide if b == 0 => return Err(Error::DivisionByZero),
        Operator::Divide => a.checked_div(b),
        Operator::Modulo if b == 0 => return Err(Error::ModulusByZero),
        Operator::Modulo => a.checked_rem(b),
        _ => return Err(Error::NoSuchOverload),
    }
    .ok_or_else(|| Error::other("unsigned integer overflow"))
}

fn doubles(operator: Operator, a: f64, b: f64) -> Result<f64, Error> {
    Ok(match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
        _ => return Err(Error::NoSuchOverload),
    })
}

fn add<'a>(left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, Error> {
    match (left, right) {
        (Value::Text(a), Value::Text(b)) => Ok(Value::text(format!("{a}{b}"))),
        (Value::Bytes(a), Value::Bytes(b)) => Ok(Value::Bytes([&**a, &**b].concat().into())),
        (Value::Duration(a), Value::Duration(b)) => {
            a.checked_add(*b).map(Value::Duration).ok_or_else(duration_overflow)
        }
        (Value::Timestamp(time), Value::Duration(by)) | (Value::Duration(by), Value::Timestamp(time)) => {
            moved(*time, *by)
        }
        _ => left.concatenate(right).ok_or(Error::NoSuchOverload),
    }
}

fn subtract<'a>(left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, Error> {
    match (left, right) {
        (Value::Duration(a), Value::Duration(b)) => {
            a.checked_sub(*b).map(Value::Duration).ok_or_else(duration_overflow)
        }
        (Value::Timestamp(time), Value::Duration(by)) => {
            moved(*time, by.checked_neg().ok_or_else(duration_overflow)?)
        }
        (Value::Timestamp(a), Value::Timestamp(b)) => {
            let apart = a.duration_since(*b).as_nanos();
            i64::try_from(apart).map(Value::Duration).map_err(|_| duration_overflow())
        }
        _ => Err(Error::NoSuchOverload),
    }
}

fn moved<'a>(time: DateTime, nanoseconds: i64) -> Result<Value<'a>, Error> {
    times::within(time.checked_add(SignedDuration::from_nanos(nanoseconds)).ok())
}

fn duration_overflow() -> Error {
    Error::other("duration overflow")
}
