//! JSON values as Go prints them, since error messages of Kubernetes quote them so.

use std::fmt::Write;

use serde_json::{Number, Value};

use crate::field;

/// The name of the Go type that holds a decoded value (`%T`).
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// What the JSON decoder of Go calls a value.
pub fn json_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A value as `%v` prints it: `map[a:1 b:[x y]]`.
pub fn plain(value: &Value) -> String {
    let mut out = String::new();
    write_plain(value, &mut out);
    out
}

fn write_plain(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => out.push_str(&number(n)),
        Value::String(s) => out.push_str(s),
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(' ');
                }
                write_plain(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut names: Vec<_> = fields.iter().collect();
            names.sort_by_key(|(name, _)| *name);
            out.push_str("map[");
            for (position, (name, value)) in names.into_iter().enumerate() {
                if position > 0 {
                    out.push(' ');
                }
                let _ = write!(out, "{name}:");
                write_plain(value, out);
            }
            out.push(']');
        }
    }
}

/// A value as `%#v` prints it: `map[string]interface {}{"a":1}`.
pub fn syntax(value: &Value) -> String {
    let mut out = String::new();
    write_syntax(value, &mut out);
    out
}

fn write_syntax(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("interface {}(nil)"),
        Value::Bool(_) | Value::Number(_) => write_plain(value, out),
        Value::String(s) => out.push_str(&quoted(s)),
        Value::Array(items) => {
            out.push_str("[]interface {}{");
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push_str(", ");
                }
                write_syntax(item, out);
            }
            out.push('}');
        }
        Value::Object(fields) => {
            let mut names: Vec<_> = fields.iter().collect();
            names.sort_by_key(|(name, _)| *name);
            out.push_str("map[string]interface {}{");
            for (position, (name, value)) in names.into_iter().enumerate() {
                if position > 0 {
                    out.push_str(", ");
                }
                let _ = write!(out, "{}:", quoted(name));
                write_syntax(value, out);
            }
            out.push('}');
        }
    }
}

/// A string as `%q` prints it.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A number, of which Go knows whole ones from others.
pub fn number(n: &Number) -> String {
    n.as_f64().filter(|_| n.is_f64()).map_or_else(|| n.to_string(), field::float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn prints_maps_sorted_and_without_quotes() {
        assert_eq!(
            plain(&json!({"b": [1, "x", null], "a": {"c": true}})),
            "map[a:map[c:true] b:[1 x <nil>]]"
        );
    }

    #[test]
    fn prints_go_syntax() {
        assert_eq!(
            syntax(&json!({"a": [1, "x\n"]})),
            r#"map[string]interface {}{"a":[]interface {}{1, "x\n"}}"#
        );
    }

    #[test]
    fn prints_floats_as_go_does() {
        for (value, text) in [
            (json!(1.5), "1.5"),
            (json!(2.0), "2"),
            (json!(1_234_567.5), "1.2345675e+06"),
            (json!(1.5e-7), "1.5e-07"),
        ] {
            assert_eq!(plain(&value), text);
        }
    }
}
