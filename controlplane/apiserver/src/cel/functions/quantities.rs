//! Amounts such as `100m` and `1Gi`.

use std::sync::Arc;

use super::super::{Error, value::Value};
use crate::schema::quantity::{Format, Quantity};

/// The functions of this library.
pub fn call<'a>(function: &str, arguments: &[Value<'a>]) -> Option<Result<Value<'a>, Error>> {
    let made = |quantity: Quantity| Ok(Value::Quantity(Arc::new(quantity)));
    Some(match (function, arguments) {
        ("quantity", [Value::Text(text)]) => match Quantity::parse(text) {
            Ok(quantity) => made(quantity),
            Err(error) => Err(Error::other(error)),
        },
        ("isQuantity", [Value::Text(text)]) => Ok(Value::Bool(Quantity::parse(text).is_ok())),
        ("sign", [Value::Quantity(a)]) => Ok(Value::Int(i64::from(a.signum()))),
        ("isInteger", [Value::Quantity(a)]) => Ok(Value::Bool(whole(a).is_some())),
        ("asInteger", [Value::Quantity(a)]) => {
            whole(a).map(Value::Int).ok_or_else(|| Error::other("cannot convert value to integer"))
        }
        ("asApproximateFloat", [Value::Quantity(a)]) => Ok(Value::Double(a.to_f64())),
        ("add", [Value::Quantity(a), b]) => operand(b).and_then(|b| {
            let mut sum = (**a).clone();
            sum.add(&b);
            made(sum)
        }),
        ("sub", [Value::Quantity(a), b]) => operand(b).and_then(|b| {
            let mut difference = (**a).clone();
            difference.sub(&b);
            made(difference)
        }),
        ("isGreaterThan", [Value::Quantity(a), Value::Quantity(b)]) => Ok(Value::Bool(a > b)),
        ("isLessThan", [Value::Quantity(a), Value::Quantity(b)]) => Ok(Value::Bool(a < b)),
        ("compareTo", [Value::Quantity(a), Value::Quantity(b)]) => Ok(Value::Int(a.cmp(b) as i64)),
        _ => return None,
    })
}

fn whole(quantity: &Quantity) -> Option<i64> {
    let nanos = quantity.nanos();
    (nanos % 1_000_000_000 == 0).then(|| i64::try_from(nanos / 1_000_000_000).ok()).flatten()
}

fn operand(value: &Value<'_>) -> Result<Quantity, Error> {
    match value {
        Value::Quantity(quantity) => Ok((**quantity).clone()),
        Value::Int(n) => Ok(Quantity::new(*n, Format::Decimal)),
        _ => Err(Error::NoSuchOverload),
    }
}
