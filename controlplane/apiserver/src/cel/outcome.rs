//! What type the value of an expression is of, as far as it can be told without types of everything.

use super::{
    syntax::{Expression, Kind, Operator},
    value::Value,
};

/// The type, in the words of CEL; `None` if it cannot be told. `known` are the types of variables and of
/// their fields (`object`, `device.driver`); a field of what is `dyn` is `dyn`.
pub fn outcome(expression: &Expression, known: &[(&str, &'static str)]) -> Option<&'static str> {
    let of = |inner: &Expression| outcome(inner, known);
    let find = |name: &str| known.iter().find(|(path, _)| *path == name).map(|(_, kind)| *kind);
    match &expression.kind {
        Kind::Literal(value) => literal(value),
        Kind::Variable(name) => find(name),
        Kind::Select { operand, field, optional: false } => match &operand.kind {
            Kind::Variable(name) => find(&format!("{name}.{field}")).or_else(|| of_dyn(of(operand))),
            _ => of_dyn(of(operand)),
        },
        Kind::Index { operand, optional: false, .. } => of_dyn(of(operand)),
        Kind::Has { .. } | Kind::Not(_) | Kind::And(_) | Kind::Or(_) => Some("bool"),
        Kind::Negate(inner) => of(inner),
        Kind::Choice(parts) => of(&parts[1]).filter(|kind| of(&parts[2]) == Some(*kind)),
        Kind::Binary(operator, parts) => match operator {
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Modulo => {
                of(&parts[0]).filter(|kind| *kind != "dyn" && of(&parts[1]) == Some(*kind))
            }
            _ => Some("bool"),
        },
        Kind::Call { function, .. } => match &**function {
            "size" => Some("int"),
            "string" => Some("string"),
            "startsWith" | "endsWith" | "contains" | "matches" => Some("bool"),
            _ => None,
        },
        Kind::Bind { parts, .. } => of(&parts[1]),
        _ => None,
    }
}

fn of_dyn(operand: Option<&'static str>) -> Option<&'static str> {
    operand.filter(|kind| *kind == "dyn")
}

fn literal(value: &Value<'_>) -> Option<&'static str> {
    Some(match value {
        Value::Null => "null_type",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Uint(_) => "uint",
        Value::Double(_) => "double",
        Value::Text(_) => "string",
        Value::Bytes(_) => "bytes",
        _ => return None,
    })
}
