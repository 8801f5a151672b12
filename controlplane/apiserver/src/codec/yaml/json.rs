//! JSON, which most clients send where YAML is asked for.

use serde_json::Value;

use crate::schema::json;

/// Longer keys are none in YAML.
const LONGEST_KEY: usize = 1024;

/// Reads a JSON object for which no YAML need be read; nothing where YAML might make something else of the text.
pub fn read(bytes: &[u8]) -> Option<Value> {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n');
    // YAML's escapes are the same, but for those of surrogates.
    let is_escaped = |pair: &[u8]| pair == br"\u";
    if bytes.first() != Some(&b'{') || !bytes.iter().all(is_plain) || bytes.windows(2).any(is_escaped) {
        return None;
    }
    let (value, doubled) = json::parse(bytes, None).ok()?;
    (doubled.is_empty() && is_same(&value)).then_some(value)
}

/// Whether a value is the same in both notations: Go writes other numbers than integers anew.
fn is_same(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_i64() || number.is_u64(),
        Value::Array(items) => items.iter().all(is_same),
        Value::Object(fields) => fields.iter().all(|(key, value)| key.len() < LONGEST_KEY && is_same(value)),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}
