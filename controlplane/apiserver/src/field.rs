//! Field errors: what is wrong with which field, in the words of Kubernetes
//! (`k8s.io/apimachinery/pkg/util/validation/field`).

use std::fmt::{self, Write};

use serde_json::Value;

/// The path to a field, such as `spec.containers[0].name`; cheap to extend on the stack.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Self>,
    segment: Segment<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Segment<'a> {
    Root,
    Name(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// The empty path.
    pub const ROOT: Path<'static> = Path { parent: None, segment: Segment::Root };

    /// A path of one field name (which may hold dots already, such as `spec.template`).
    pub const fn new(name: &'a str) -> Self {
        Self { parent: None, segment: Segment::Name(name) }
    }

    /// `self.name`
    pub const fn child(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), segment: Segment::Name(name) }
    }

    /// `self[index]`
    pub const fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), segment: Segment::Index(index) }
    }

    /// `self[key]`
    pub const fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), segment: Segment::Key(key) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.segment {
            Segment::Root => Ok(()),
            Segment::Name(name) => {
                if self.parent.is_some_and(|p| !matches!(p.segment, Segment::Root)) {
                    f.write_char('.')?;
                }
                f.write_str(name)
            }
            Segment::Index(index) => write!(f, "[{index}]"),
            Segment::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// Why a field is wrong; the `reason` of a `StatusCause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `FieldValueRequired`
    Required,
    /// `FieldValueInvalid`
    Invalid,
    /// `FieldValueNotSupported`
    NotSupported,
    /// `FieldValueDuplicate`
    Duplicate,
    /// `FieldValueNotFound`
    NotFound,
    /// `FieldValueForbidden`
    Forbidden,
    /// `FieldValueTooLong`
    TooLong,
    /// `FieldValueTooMany`
    TooMany,
    /// `InternalError`
    Internal,
    /// `FieldValueTypeInvalid`
    TypeInvalid,
}

impl Reason {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Internal => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }
}

/// One thing wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where.
    pub field: String,
    /// Of what sort.
    pub reason: Reason,
    /// The message without the field, for example `Required value: must be set`.
    pub detail: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.detail)
    }
}

/// Everything wrong with an object, in the order found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors(pub Vec<FieldError>);

impl Errors {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A required value is absent.
    pub fn required(&mut self, path: &Path<'_>, detail: &str) {
        self.push(path, Reason::Required, with_detail("Required value".into(), detail));
    }

    /// A value is wrong; `value` is shown.
    pub fn invalid(&mut self, path: &Path<'_>, value: &Value, detail: &str) {
        self.push(path, Reason::Invalid, with_detail(format!("Invalid value: {}", shown(value)), detail));
    }

    /// A string value is wrong.
    pub fn invalid_str(&mut self, path: &Path<'_>, value: &str, detail: &str) {
        self.push(path, Reason::Invalid, with_detail(format!("Invalid value: {}", quoted(value)), detail));
    }

    /// A value is none of the supported ones, which are shown in the order given.
    pub fn not_supported(&mut self, path: &Path<'_>, value: &Value, supported: &[&str]) {
        // Go has types of its own for such values, which therefore print as JSON.
        let mut detail = format!("Unsupported value: {}", for_html(&value.to_string()));
        if !supported.is_empty() {
            let list: Vec<String> = supported.iter().map(|s| quoted(s)).collect();
            let _ = write!(detail, ": supported values: {}", list.join(", "));
        }
        self.push(path, Reason::NotSupported, detail);
    }

    /// A value occurs twice.
    pub fn duplicate(&mut self, path: &Path<'_>, value: &Value) {
        self.push(path, Reason::Duplicate, format!("Duplicate value: {}", shown(value)));
    }

    /// A value refers to nothing.
    pub fn not_found(&mut self, path: &Path<'_>, value: &Value) {
        self.push(path, Reason::NotFound, format!("Not found: {}", shown(value)));
    }

    /// A field must not be set (so).
    pub fn forbidden(&mut self, path: &Path<'_>, detail: &str) {
        self.push(path, Reason::Forbidden, with_detail("Forbidden".into(), detail));
    }

    /// A value is too long.
    pub fn too_long(&mut self, path: &Path<'_>, max: usize) {
        let unit = if max == 1 { "byte" } else { "bytes" };
        self.push(path, Reason::TooLong, format!("Too long: may not be more than {max} {unit}"));
    }

    /// A list has too many items.
    pub fn too_many(&mut self, path: &Path<'_>, actual: usize, max: usize) {
        let unit = if max == 1 { "item" } else { "items" };
        self.push(path, Reason::TooMany, format!("Too many: {actual}: must have at most {max} {unit}"));
    }

    /// A value is of the wrong type.
    pub fn type_invalid(&mut self, path: &Path<'_>, value: &Value, detail: &str) {
        self.push(path, Reason::TypeInvalid, with_detail(format!("Invalid value: {}", shown(value)), detail));
    }

    /// Adds an error whose detail is complete.
    pub fn push(&mut self, path: &Path<'_>, reason: Reason, detail: String) {
        self.0.push(FieldError { field: path.to_string(), reason, detail });
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

fn with_detail(mut text: String, detail: &str) -> String {
    if !detail.is_empty() {
        text.push_str(": ");
        text.push_str(detail);
    }
    text
}

/// A number as Go prints it (`%v`): in the shortest form, with an exponent below 1e-4 and from a million on.
pub fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let magnitude = number.abs();
    if magnitude == 0.0 || (1e-4..1e6).contains(&magnitude) {
        return number.to_string();
    }
    let text = format!("{number:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// A string as Go's `%q` shows it.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            // Writing to a string cannot fail.
            '\0'..='\x7f' => drop(write!(out, "\\x{:02x}", u32::from(c))),
            _ if is_printable(c) => out.push(c),
            '\u{80}'..='\u{ffff}' => drop(write!(out, "\\u{:04x}", u32::from(c))),
            _ => drop(write!(out, "\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// Whether Go prints a character beyond ASCII as it is. Rust escapes the same ones, but for marks at the
/// beginning of a text.
fn is_printable(c: char) -> bool {
    let mut bytes = [0; 5];
    bytes[0] = b'a';
    let length = c.encode_utf8(&mut bytes[1..]).len();
    std::str::from_utf8(&bytes[..=length]).is_ok_and(|text| !text.escape_debug().any(|c| c == '\\'))
}

/// A value as the field errors show it: strings quoted, scalars plain, structures as JSON that is fit for HTML.
pub fn shown(value: &Value) -> String {
    if let Value::String(text) = value {
        return quoted(text);
    }
    let text = value.to_string();
    if value.is_object() || value.is_array() { for_html(&text) } else { text }
}

/// JSON as Go writes it, which is fit for HTML.
pub fn for_html(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_go_quotes_them() {
        assert_eq!(quoted("a\"b\\c\n\u{7}\u{1}\u{7f}"), r#""a\"b\\c\n\a\x01\x7f""#);
        assert_eq!(
            quoted("é<ß>\u{301}\u{200b}\u{e000}\u{10ffff}"),
            "\"é<ß>\u{301}\\u200b\\ue000\\U0010ffff\""
        );
    }

    #[test]
    fn values_of_enumerations_print_as_json_that_is_fit_for_html() {
        let mut errors = Errors::default();
        errors.not_supported(&Path::new("type"), &"<a>".into(), &["<b>"]);
        assert_eq!(
            errors.0[0].to_string(),
            "type: Unsupported value: \"\\u003ca\\u003e\": supported values: \"<b>\""
        );
    }
}
