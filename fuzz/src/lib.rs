//! What reads clients' input, tried with any bytes: by libFuzzer (`fuzz/run`), and for a short while by a test.
//!
//! The targets share values of the types of the API, made of the fuzzer's bytes.

pub mod targets;
pub mod world;

use arbitrary::{Result, Unstructured};
use serde_json::{Map, Value, json};
use vkube_apiserver::{
    registry::{RESOURCES, Resource},
    schema::types::{Scalar, Shape, Type},
};

/// How deep made values nest.
const DEPTH: usize = 6;

/// Texts that some field takes for something: names, amounts, times, expressions, selectors, paths.
const TEXTS: &[&str] = &[
    "",
    "a",
    "a-b",
    "default",
    "a.example.com",
    "A_b",
    "*",
    "0",
    "-1",
    "1",
    "100m",
    "1Gi",
    "1e3",
    "50%",
    "150%",
    "10.0.0.1",
    "::1",
    "10.0.0.0/8",
    "fd00::/64",
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00.000001Z",
    "1h5m",
    "ClusterIP",
    "Always",
    "TCP",
    "true",
    "v1",
    "apps/v1",
    "Pod",
    "Exists",
    "In",
    "self.a > 0",
    "{.spec.a}",
    "/var/run",
    "../x",
    "registry/x:1",
    "*/5 * * * *",
    "Europe/Berlin",
    "é",
    "a=b,c!=d",
    "kubernetes.io/x",
    "YWI=",
];

/// One of the resources that the server has.
pub fn resource(u: &mut Unstructured<'_>) -> Result<&'static Resource> {
    let index = u.choose_index(RESOURCES.len())?;
    Ok(&RESOURCES[index])
}

/// The type of one of them.
pub fn ty(u: &mut Unstructured<'_>) -> Result<Type<'static>> {
    let index = u.choose_index(RESOURCES.len())?;
    Type::builtin(RESOURCES[index].type_name).ok_or(arbitrary::Error::IncorrectFormat)
}

/// Any value.
pub fn any(u: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    let kinds = if depth == 0 { 4 } else { 6 };
    Ok(match u.int_in_range(0..=kinds - 1)? {
        0 => Value::Null,
        1 => u.arbitrary::<bool>()?.into(),
        2 => integer(u)?,
        3 => text(u)?.into(),
        4 => {
            let count = u.int_in_range(0..=3)?;
            (0..count).map(|_| any(u, depth - 1)).collect::<Result<Vec<_>>>()?.into()
        }
        _ => {
            let count = u.int_in_range(0..=3)?;
            let fields = (0..count).map(|_| Ok((text(u)?, any(u, depth - 1)?)));
            fields.collect::<Result<Map<_, _>>>()?.into()
        }
    })
}

fn integer(u: &mut Unstructured<'_>) -> Result<Value> {
    const EDGES: &[i64] = &[0, 1, -1, 443, 65536, i32::MAX as i64, i32::MIN as i64, i64::MAX, i64::MIN];
    Ok(if u.ratio(1, 4)? { u.arbitrary::<i64>()?.into() } else { (*u.choose(EDGES)?).into() })
}

/// A text that may mean something.
pub fn text(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(if u.ratio(1, 5)? { u.arbitrary::<String>()? } else { (*u.choose(TEXTS)?).to_owned() })
}

/// A value of a type, now and then a wrong one.
pub fn value(u: &mut Unstructured<'_>, ty: Type<'_>) -> Result<Value> {
    typed(u, ty, DEPTH)
}

fn typed(u: &mut Unstructured<'_>, ty: Type<'_>, depth: usize) -> Result<Value> {
    if u.is_empty() || depth == 0 {
        return Ok(Value::Null);
    }
    if u.ratio(1, 60)? {
        return any(u, 2);
    }
    Ok(match ty.shape() {
        Shape::Object(object) => {
            let fields: Vec<_> = object.fields().collect();
            let mut map = Map::new();
            if fields.is_empty() {
                return Ok(map.into());
            }
            for _ in 0..u.int_in_range(0..=5)? {
                let field = u.choose(&fields)?;
                let named =
                    field.values().map(Iterator::collect::<Vec<_>>).filter(|values| !values.is_empty());
                let value = match named {
                    Some(values) if u.ratio(4, 5)? => (*u.choose(&values)?).into(),
                    _ => typed(u, field.ty(), depth - 1)?,
                };
                map.insert(field.name().to_owned(), value);
            }
            map.into()
        }
        Shape::Map(map) => {
            let count = u.int_in_range(0..=2)?;
            let fields = (0..count).map(|_| Ok((text(u)?, typed(u, map.values(), depth - 1)?)));
            fields.collect::<Result<Map<_, _>>>()?.into()
        }
        Shape::List(list) => {
            let count = u.int_in_range(0..=3)?;
            (0..count).map(|_| typed(u, list.items(), depth - 1)).collect::<Result<Vec<_>>>()?.into()
        }
        Shape::Any => any(u, depth.min(3))?,
        Shape::Scalar(Scalar::Boolean) => u.arbitrary::<bool>()?.into(),
        Shape::Scalar(Scalar::Int32 | Scalar::Int64) => integer(u)?,
        Shape::Scalar(Scalar::Double) => json!(u.arbitrary::<f64>()?),
        Shape::Scalar(Scalar::Quantity | Scalar::IntOrString) if u.arbitrary()? => integer(u)?,
        Shape::Scalar(_) => text(u)?.into(),
    })
}

/// Takes out what is null: the server reads it as absent.
pub fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => {
            items.retain(|value| !value.is_null());
            items.iter_mut().for_each(without_nulls);
        }
        _ => {}
    }
}
