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
        ("unwrap" | "unwrapOpt" | "optional.unwrap", [list]) => {
            let items = list.items()?.into_iter();
            Ok(Value::list(
                items
                    .filter_map(|item| match item {
                        Value::Optional(value) => value.map(|value| (*value).clone()),
                        other => Some(other),
                    })
                    .collect(),
            ))
        }
        _ => return None,
    })
}
