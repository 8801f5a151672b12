//! What Go makes of the values of a map where its structs want something else
//! (`runtime.DefaultUnstructuredConverter`).

use serde_json::Value;

use super::DecodeError;
use crate::{patch::printed, schema::types::Scalar};

/// The error of a value that should be a map, a list or a struct.
pub(super) fn not_a(what: &str, value: &Value) -> DecodeError {
    DecodeError::Restore(format!("cannot restore {what} {}", kind(value)))
}

/// A scalar in the form that text would have it in. `go_type` is only asked for in errors.
pub(super) fn scalar(
    value: Value,
    scalar: Scalar,
    go_type: impl FnOnce() -> String,
) -> Result<Value, DecodeError> {
    let number = value.as_number().map(|number| (number.as_i64(), number.as_f64().unwrap_or_default()));
    match (scalar, number) {
        (Scalar::String, None) if value.is_string() => Ok(value),
        (Scalar::Boolean, None) if value.is_boolean() => Ok(value),
        (Scalar::Double, Some(_)) => Ok(value),
        (Scalar::String, Some((Some(_), _))) => Err(inconvertible("int64", &go_type())),
        (Scalar::Int32, Some((Some(whole), _))) => Ok(truncated(whole).into()),
        (Scalar::Int64, Some((Some(whole), _))) => Ok(whole.into()),
        (Scalar::Int32 | Scalar::Int64, Some((None, fraction))) => {
            if fraction.fract() != 0.0 {
                return Err(inconvertible("float64", &go_type()));
            }
            let whole = fraction as i64;
            Ok(if scalar == Scalar::Int32 { truncated(whole) } else { whole }.into())
        }
        (Scalar::String, _) => Err(unrecognized("string")),
        (Scalar::Boolean, _) => Err(unrecognized("bool")),
        (Scalar::Double, _) => Err(unrecognized("float64")),
        (Scalar::Int32, _) => Err(unrecognized("int32")),
        (Scalar::Int64, _) => Err(unrecognized("int64")),
        (Scalar::Bytes, _) if !value.is_string() => Err(not_a("slice from", &value)),
        // The others read themselves from text, in which a whole number has no fraction.
        (_, Some((None, fraction))) if fraction.fract() == 0.0 && fraction.abs() < 1e15 => {
            Ok((fraction as i64).into())
        }
        _ => Ok(value),
    }
}

/// The error of a value that reads itself from text; bytes are read by Go's converter.
pub(super) fn wrapped(error: DecodeError) -> DecodeError {
    match error {
        DecodeError::Base64(_) => DecodeError::Restore(format!("error decoding from json: {error}")),
        other => other,
    }
}

/// As Go converts integers: what does not fit is cut off.
fn truncated(whole: i64) -> i64 {
    i64::from(whole as i32)
}

fn inconvertible(from: &str, to: &str) -> DecodeError {
    DecodeError::Restore(format!("cannot convert {from} to {to}"))
}

fn unrecognized(kind: &str) -> DecodeError {
    DecodeError::Restore(format!("unrecognized type: {kind}"))
}

/// Go's kind of a value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
        other => printed::type_name(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::schema::{decode::restore, types::Type};

    fn restored(name: &str, value: serde_json::Value) -> Result<serde_json::Value, String> {
        restore(value, Type::builtin(name).unwrap())
            .map(|(value, _)| value)
            .map_err(|error| error.to_string())
    }

    const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";

    #[test]
    fn whole_numbers_are_integers_and_are_cut_off() {
        for (given, made) in [(json!(2.0), 2), (json!(3_000_000_000_i64), -1_294_967_296)] {
            let made_of = restored(DEPLOYMENT, json!({"spec": {"replicas": given}})).unwrap();
            assert_eq!(made_of["spec"]["replicas"], made);
        }
        let surge = json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 2.0}}}});
        let made_of = restored(DEPLOYMENT, surge).unwrap();
        assert_eq!(made_of["spec"]["strategy"]["rollingUpdate"]["maxSurge"], 2);
    }

    #[test]
    fn values_of_the_wrong_type_are_told_as_go_tells_them() {
        for (spec, why) in [
            (json!({"replicas": "3"}), "unrecognized type: int32"),
            (json!({"replicas": 2.5}), "cannot convert float64 to int32"),
            (json!({"paused": 1}), "unrecognized type: bool"),
            (json!("x"), "cannot restore struct from: string"),
            (json!({"template": {"spec": {"containers": {}}}}), "cannot restore slice from map"),
            (json!({"template": {"spec": {"nodeSelector": []}}}), "cannot restore map from slice"),
            (json!({"template": {"spec": {"nodeSelector": {"a": 1}}}}), "cannot convert int64 to string"),
            (json!({"template": {"spec": {"nodeName": 1.5}}}), "unrecognized type: string"),
            (
                json!({"template": {"spec": {"containers": [{"ports": [{"protocol": 1}]}]}}}),
                "cannot convert int64 to v1.Protocol",
            ),
            // The first in the struct, not in the document.
            (json!({"minReadySeconds": "x", "replicas": 1.5}), "cannot convert float64 to int32"),
        ] {
            assert_eq!(restored(DEPLOYMENT, json!({"spec": spec})).unwrap_err(), why);
        }
        let data = json!({"data": {"a": "!"}});
        let why = "error decoding from json: illegal base64 data at input byte 0";
        assert_eq!(restored("io.k8s.api.core.v1.Secret", data).unwrap_err(), why);
        let data = json!({"data": {"a": 1}});
        assert_eq!(
            restored("io.k8s.api.core.v1.Secret", data).unwrap_err(),
            "cannot restore slice from int64"
        );
    }
}
