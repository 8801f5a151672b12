//! JSON text: read as Go's decoder reads it (the same errors, invalid UTF-8 replaced, duplicate and unknown
//! fields noted in the order of the text), written as Go's encoder writes it (fields in the order of the
//! Go struct, HTML characters escaped).

mod write;

use std::fmt;

use serde_json::{Map, Number, Value};

pub use self::write::{settle_numbers, write, write_string};
use super::types::{Scalar, Shape, Type};

/// Deeper documents are refused; what is stored must be readable inside a list or an event.
const MAX_DEPTH: usize = 120;

/// Text that is no JSON, in the words of Go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text ends too early.
    #[error("unexpected end of JSON input")]
    End,
    /// A character where it cannot be.
    #[error("invalid character {} {context}", Quoted(*.character))]
    Character {
        /// The character.
        character: u8,
        /// Where it is.
        context: &'static str,
    },
    /// A number that is larger than any.
    #[error("json: cannot unmarshal number {0} into Go value of type float64")]
    Number(String),
    /// Nested too deeply.
    #[error("exceeded max depth")]
    Depth,
}

const IN_TRUE: [&str; 3] =
    ["in literal true (expecting 'r')", "in literal true (expecting 'u')", "in literal true (expecting 'e')"];
const IN_FALSE: [&str; 4] = [
    "in literal false (expecting 'a')",
    "in literal false (expecting 'l')",
    "in literal false (expecting 's')",
    "in literal false (expecting 'e')",
];
const IN_NULL: [&str; 3] =
    ["in literal null (expecting 'u')", "in literal null (expecting 'l')", "in literal null (expecting 'l')"];

struct Quoted(u8);

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'\'' => f.write_str(r"'\''"),
            b'"' => f.write_str("'\"'"),
            b'\\' => f.write_str(r"'\\'"),
            b'\n' => f.write_str(r"'\n'"),
            b'\r' => f.write_str(r"'\r'"),
            b'\t' => f.write_str(r"'\t'"),
            b'\x07' => f.write_str(r"'\a'"),
            b'\x08' => f.write_str(r"'\b'"),
            b'\x0b' => f.write_str(r"'\v'"),
            b'\x0c' => f.write_str(r"'\f'"),
            byte if byte < b' ' || byte == 0x7f => write!(f, "'\\x{byte:02x}'"),
            // What Latin-1 has there cannot be seen.
            byte @ (0x80..=0xa0 | 0xad) => write!(f, "'\\u{byte:04x}'"),
            byte => write!(f, "'{}'", char::from(byte)),
        }
    }
}

/// Reads a document. Fields that occur twice, and fields that a built-in `ty` does not know, are noted as
/// `duplicate field "data.a"` and `unknown field "spec.x"`; the last of duplicates wins, as in Go.
pub fn parse(text: &[u8], ty: Option<Type<'_>>) -> Result<(Value, Vec<String>), JsonError> {
    let mut reader = Reader { text, at: 0, path: String::new(), notes: Vec::new() };
    let known = match ty {
        Some(ty @ Type::Builtin(_)) => Known::Type(ty),
        _ => Known::Free,
    };
    let value = reader.value(known, 0)?;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.unexpected("after top-level value"));
    }
    Ok((value, reader.notes))
}

/// What is known of the value being read.
#[derive(Clone, Copy)]
enum Known<'a> {
    /// Its type.
    Type(Type<'a>),
    /// Nothing: duplicates are noted.
    Free,
    /// It is below an unknown field or kept as text by Go: nothing is noted.
    Opaque,
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    path: String,
    notes: Vec<String>,
}

impl Reader<'_> {
    fn space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The next byte after white space.
    fn peek(&mut self) -> Result<u8, JsonError> {
        self.space();
        self.text.get(self.at).copied().ok_or(JsonError::End)
    }

    fn unexpected(&self, context: &'static str) -> JsonError {
        self.text
            .get(self.at)
            .map_or(JsonError::End, |&character| JsonError::Character { character, context })
    }

    fn value(&mut self, known: Known<'_>, depth: usize) -> Result<Value, JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::Depth);
        }
        match self.peek()? {
            b'{' => self.object(known, depth),
            b'[' => self.array(known, depth),
            b'"' => self.string().map(Value::String),
            b't' => self.word(b"rue", IN_TRUE).map(|()| Value::Bool(true)),
            b'f' => self.word(b"alse", IN_FALSE).map(|()| Value::Bool(false)),
            b'n' => self.word(b"ull", IN_NULL).map(|()| Value::Null),
            b'-' | b'0'..=b'9' => self.number(matches!(known, Known::Type(ty) if is_quantity(ty))),
            _ => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn object(&mut self, known: Known<'_>, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut object = Map::new();
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(Value::Object(object));
        }
        loop {
            if self.peek()? != b'"' {
                return Err(self.unexpected("looking for beginning of object key string"));
            }
            let key = self.string()?;
            if self.peek()? != b':' {
                return Err(self.unexpected("after object key"));
            }
            self.at += 1;
            let length = self.path.len();
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(&key);
            let inner = self.known_field(known, &key);
            let value = self.value(inner, depth + 1)?;
            if object.insert(key, value).is_some() && !matches!(known, Known::Opaque) {
                self.note("duplicate");
            }
            self.path.truncate(length);
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Err(self.unexpected("after object key:value pair")),
            }
        }
        self.at += 1;
        Ok(Value::Object(object))
    }

    /// What is known of a field of an object of which `known` is known.
    fn known_field<'a>(&mut self, known: Known<'a>, key: &str) -> Known<'a> {
        let Known::Type(ty) = known else { return known };
        match ty.shape() {
            Shape::Object(object) => match object.field(key) {
                Some(field) => Known::Type(field.ty()),
                None => {
                    self.note("unknown");
                    Known::Opaque
                }
            },
            Shape::Map(map) => Known::Type(map.values()),
            Shape::List(_) | Shape::Scalar(_) | Shape::Any => Known::Opaque,
        }
    }

    fn note(&mut self, what: &str) {
        self.notes.push(format!("{what} field \"{}\"", self.path));
    }

    fn array(&mut self, known: Known<'_>, depth: usize) -> Result<Value, JsonError> {
        use fmt::Write;

        let inner = match known {
            Known::Type(ty) => match ty.shape() {
                Shape::List(list) => Known::Type(list.items()),
                _ => Known::Opaque,
            },
            other => other,
        };
        self.at += 1;
        let mut items = Vec::new();
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            let length = self.path.len();
            let _ = write!(self.path, "[{}]", items.len());
            items.push(self.value(inner, depth + 1)?);
            self.path.truncate(length);
            match self.peek()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return Err(self.unexpected("after array element")),
            }
        }
        self.at += 1;
        Ok(Value::Array(items))
    }

    /// `contexts` are for the bytes after the first, which has been seen.
    fn word<const N: usize>(&mut self, rest: &[u8; N], contexts: [&'static str; N]) -> Result<(), JsonError> {
        self.at += 1;
        for (expected, context) in rest.iter().zip(contexts) {
            if self.text.get(self.at) != Some(expected) {
                return Err(self.unexpected(context));
            }
            self.at += 1;
        }
        Ok(())
    }

    /// A quantity reads the text itself: `1e3` is not the same to it as `1000`.
    fn number(&mut self, as_text: bool) -> Result<Value, JsonError> {
        let start = self.at;
        let mut whole = true;
        if self.text[self.at] == b'-' {
            self.at += 1;
        }
        match self.text.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.unexpected("in numeric literal")),
        }
        if self.text.get(self.at) == Some(&b'.') {
            whole = false;
            self.at += 1;
            if !matches!(self.text.get(self.at), Some(b'0'..=b'9')) {
                return Err(self.unexpected("after decimal point in numeric literal"));
            }
            self.digits();
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            if matches!(self.text.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !matches!(self.text.get(self.at), Some(b'0'..=b'9')) {
                return Err(self.unexpected("in exponent of numeric literal"));
            }
            self.digits();
        }
        let text = std::str::from_utf8(&self.text[start..self.at]).unwrap_or("0");
        if whole {
            if let Ok(number) = text.parse::<i64>() {
                return Ok(number.into());
            }
            if let Ok(number) = text.parse::<u64>() {
                return Ok(number.into());
            }
        }
        if as_text {
            return Ok(text.into());
        }
        let number = text.parse::<f64>().ok().and_then(Number::from_f64);
        number.map(Value::Number).ok_or_else(|| JsonError::Number(text.to_owned()))
    }

    fn digits(&mut self) {
        while matches!(self.text.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let start = self.at;
            while matches!(self.text.get(self.at), Some(&c) if c != b'"' && c != b'\\' && c >= b' ') {
                self.at += 1;
            }
            bytes.extend_from_slice(&self.text[start..self.at]);
            match self.text.get(self.at) {
                None => return Err(JsonError::End),
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    let escaped = self.escape()?;
                    bytes.extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(_) => return Err(self.unexpected("in string literal")),
            }
        }
        self.at += 1;
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| replace_invalid(error.as_bytes())))
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let byte = *self.text.get(self.at).ok_or(JsonError::End)?;
        let plain = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                let first = self.hex()?;
                return Ok(self.pair(first));
            }
            _ => return Err(self.unexpected("in string escape code")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let byte = *self.text.get(self.at).ok_or(JsonError::End)?;
            let digit = char::from(byte)
                .to_digit(16)
                .ok_or_else(|| self.unexpected("in \\u hexadecimal character escape"))?;
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    /// A character whose first code unit has been read; half a pair becomes the replacement character.
    fn pair(&mut self, first: u32) -> char {
        if let Some(character) = char::from_u32(first) {
            return character;
        }
        let before = self.at;
        if first < 0xdc00 && self.text[self.at..].starts_with(b"\\u") {
            self.at += 2;
            if let Ok(second @ 0xdc00..=0xdfff) = self.hex() {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            }
            self.at = before;
        }
        char::REPLACEMENT_CHARACTER
    }
}

fn is_quantity(ty: Type<'_>) -> bool {
    matches!(ty.shape(), Shape::Scalar(Scalar::Quantity))
}

/// Each invalid byte becomes a replacement character of its own.
fn replace_invalid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

#[cfg(test)]
mod tests;
