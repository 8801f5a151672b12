//! Optional values.

use super::super::{Error, value::Value};

/// The functions of this library; `or` and `orValue` are the evaluator's, since they may not need both sides.
pub fn call<'a>(function: &str, arguments: &[Value<'a>]) -> Option<Result<Value<'a>, Error>> {
    Some(match (function, arguments) {
        ("optional.none", []) => Ok(Value::Optional(None)),
        ("optional.of", [value]) => Ok(Value::some(value.clone())),
        ("optional.ofNonZeroValue", [value]) => {
            Ok(if value.is_zero() { Value::Optional(None) } else { Value::some(value.clone()) })
        }
        ("hasValue", [Value::Optional(value)]) => Ok(Value::Bool(value.is_some())),
        ("value", [Value::Optional(value)]) => match value {
            Some(value) => Ok((**value).clone()),
            None => Err(Error::other("optional.none() dereference")),
        },
        ("unwrapOpt" | "optional.unwrap", [list]) => {
            let mut values = Vec::new();
            for item in list.items()? {
                let Value::Optional(value) = item else {
                    return Some(Err(Error::other(format!("value {} is not optional", item.to_text()))));
                };
                values.extend(value.map(|value| (*value).clone()));
            }
            Ok(Value::list(values))
        }
        _ => return None,
    })
}
