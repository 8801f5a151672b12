//! Documents as text, as Go's encoder writes them.

use std::io::Write;

use serde_json::{Map, Number, Value};

use crate::schema::types::{Field, Shape, Type};

/// Writes a document: a built-in type's fields in Go's order, everything else sorted.
pub fn write(value: &Value, ty: Option<Type<'_>>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            let inner = match ty.map(Type::shape) {
                Some(Shape::List(list)) => Some(list.items()),
                _ => None,
            };
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, inner, out);
            }
            out.push(b']');
        }
        Value::Object(object) => write_object(object, ty, out),
    }
}

fn write_object(object: &Map<String, Value>, ty: Option<Type<'_>>, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut first = true;
    let mut member = |key: &str, value: &Value, ty: Option<Type<'_>>| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        write_string(key, out);
        out.push(b':');
        write(value, ty, out);
    };
    match ty.filter(|ty| matches!(ty, Type::Builtin(_))).map(Type::shape) {
        Some(Shape::Object(described)) => {
            let mut members: Vec<_> = object
                .iter()
                .map(|(key, value)| {
                    let field = described.field(key);
                    (field.map_or(u8::MAX, Field::order), key, value, field.map(Field::ty))
                })
                .collect();
            members.sort_by_key(|(order, key, ..)| (*order, *key));
            for (_, key, value, ty) in members {
                member(key, value, ty);
            }
        }
        Some(Shape::Map(map)) => {
            for (key, value) in object {
                member(key, value, Some(map.values()));
            }
        }
        _ => object.iter().for_each(|(key, value)| member(key, value, None)),
    }
    out.push(b'}');
}

/// Writes a number as Go does: a whole one has no fraction, and exponents are for the very small and large.
fn write_number(number: &Number, out: &mut Vec<u8>) {
    let fraction = number.as_f64().filter(|_| number.is_f64());
    // Writing to a vector cannot fail.
    let _ = match fraction {
        Some(fraction) if fraction.abs() >= 1e21 => {
            write!(out, "{}", format!("{fraction:e}").replace('e', "e+"))
        }
        Some(fraction) if fraction != 0.0 && fraction.abs() < 1e-6 => write!(out, "{fraction:e}"),
        Some(fraction) => write!(out, "{fraction}"),
        None => write!(out, "{number}"),
    };
}

/// Makes integers of what is written like them, which is what they are when they are read again.
pub fn settle_numbers(value: &mut Value) {
    const EXACT: f64 = (1_u64 << 63) as f64;
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(whole) = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < EXACT) {
                *value = (whole as i64).into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(settle_numbers),
        Value::Object(fields) => fields.values_mut().for_each(settle_numbers),
        _ => {}
    }
}

/// Writes a string as Go does: `<`, `>`, `&` and the line separators are escaped.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    // What needs no escape is copied in one go, up to the first byte of a character that may need one.
    while let Some(at) = rest.bytes().position(|byte| MAY_NEED_ESCAPE[usize::from(byte)]) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let mut characters = rest[at..].chars();
        match characters.next() {
            Some('"') => out.extend_from_slice(b"\\\""),
            Some('\\') => out.extend_from_slice(b"\\\\"),
            Some('\n') => out.extend_from_slice(b"\\n"),
            Some('\r') => out.extend_from_slice(b"\\r"),
            Some('\t') => out.extend_from_slice(b"\\t"),
            Some('\u{8}') => out.extend_from_slice(b"\\b"),
            Some('\u{c}') => out.extend_from_slice(b"\\f"),
            Some(character @ ('\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}')) => {
                // Writing to a vector cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            Some(other) => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            None => {}
        }
        rest = characters.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// The first bytes of characters that are escaped; the last is that of the line separators, among others.
const MAY_NEED_ESCAPE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = matches!(byte as u8, 0..b' ' | b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2);
        byte += 1;
    }
    table
};
