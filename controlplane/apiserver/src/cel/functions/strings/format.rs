//! `'%s has %d'.format([a, b])`, in English as `cel-go` writes it.

use super::super::{
    super::{Error, value::Value},
    times,
};
use crate::field;

/// What stands in a format for an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clause {
    /// `%s`
    Text,
    /// `%d`
    Decimal,
    /// `%.2f`, with the digits after the point
    Fixed(usize),
    /// `%20e`, with the least width, which `cel-go` takes from what says how many digits there are
    Scientific(usize),
    /// `%b`
    Binary,
    /// `%x`, or `%X` in large letters
    Hex(bool),
    /// `%o`
    Octal,
}

/// How many digits there are after the point unless the clause says it.
const PRECISION: usize = 6;
/// More digits than anybody reads; numbers have no more than a thousand.
const MAX_PRECISION: usize = 1_100;

/// Fills in a format that has so many arguments; `fill` shows the argument at a place.
pub fn fill<E: From<String>>(
    format: &str,
    count: usize,
    mut fill: impl FnMut(Clause, usize) -> Result<String, E>,
) -> Result<(String, usize), E> {
    let (mut out, mut rest, mut next) = (String::new(), format, 0);
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('%') {
            out.push('%');
            rest = tail;
            continue;
        }
        if next >= count {
            return Err(format!("index {next} out of range").into());
        }
        if rest.is_empty() {
            return Err("unexpected end of string".to_owned().into());
        }
        let (clause, tail) =
            clause(rest).map_err(|why| format!("could not parse formatting clause: {why}"))?;
        out.push_str(&fill(clause, next)?);
        rest = tail;
        next += 1;
    }
    out.push_str(rest);
    Ok((out, next))
}

fn clause(text: &str) -> Result<(Clause, &str), String> {
    let (mut precision, mut rest) = (PRECISION, text);
    if let Some(tail) = text.strip_prefix('.') {
        let end = tail.find(|c: char| !c.is_ascii_digit());
        let end = end.ok_or("error while parsing precision: could not find end of precision specifier")?;
        let digits = &tail[..end];
        let wrong = |why: &str| {
            format!(
                "error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing {digits:?}: {why}"
            )
        };
        precision = match digits.parse::<u32>() {
            Ok(precision) => usize::try_from(precision).unwrap_or(MAX_PRECISION).min(MAX_PRECISION),
            Err(_) if digits.is_empty() => return Err(wrong("invalid syntax")),
            Err(_) => return Err(wrong("value out of range")),
        };
        rest = &tail[end..];
    }
    let verb = rest.chars().next().unwrap_or_default();
    let clause = match verb {
        's' => Clause::Text,
        'd' => Clause::Decimal,
        'f' => Clause::Fixed(precision),
        'e' => Clause::Scientific(precision),
        'b' => Clause::Binary,
        'x' | 'X' => Clause::Hex(verb == 'X'),
        'o' => Clause::Octal,
        // It is read a byte at a time.
        _ => {
            let byte = rest.bytes().next().map(char::from).unwrap_or_default();
            return Err(format!("unrecognized formatting clause \"{byte}\""));
        }
    };
    Ok((clause, &rest[1..]))
}

impl Clause {
    /// Why it is not for values of a type.
    pub fn refusal(self, ty: &str) -> String {
        let what = match self {
            Self::Text => {
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
            }
            Self::Decimal => "decimal clause can only be used on integers",
            Self::Fixed(_) => "fixed-point clause can only be used on doubles",
            Self::Scientific(_) => "scientific clause can only be used on doubles",
            Self::Binary => "only integers and bools can be formatted as binary",
            Self::Hex(_) => "only integers, byte buffers, and strings can be formatted as hex",
            Self::Octal => "octal clause can only be used on integers",
        };
        format!("error during formatting: {what}, was given {ty}")
    }

    fn show(self, value: &Value<'_>) -> Result<String, String> {
        let refused = || self.refusal(value.type_name());
        Ok(match (self, value) {
            (Self::Text, value) => {
                text(value, false).map_err(|why| format!("error during formatting: {why}"))?
            }
            (Self::Decimal, Value::Int(n)) => n.to_string(),
            (Self::Decimal, Value::Uint(n)) => n.to_string(),
            (Self::Fixed(precision), value) => fixed(float(value).ok_or_else(refused)?, precision),
            (Self::Scientific(precision), value) => scientific(float(value).ok_or_else(refused)?, precision),
            (Self::Binary, Value::Bool(b)) => u8::from(*b).to_string(),
            (Self::Binary, Value::Int(n)) => format!("{}{:b}", minus(*n), n.unsigned_abs()),
            (Self::Binary, Value::Uint(n)) => format!("{n:b}"),
            (Self::Octal, Value::Int(n)) => format!("{}{:o}", minus(*n), n.unsigned_abs()),
            (Self::Octal, Value::Uint(n)) => format!("{n:o}"),
            (Self::Hex(large), value) => {
                let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
                let text = match value {
                    Value::Int(n) => format!("{}{:x}", minus(*n), n.unsigned_abs()),
                    Value::Uint(n) => format!("{n:x}"),
                    Value::Text(text) => hex(text.as_bytes()),
                    Value::Bytes(bytes) => hex(bytes),
                    _ => return Err(refused()),
                };
                if large { text.to_uppercase() } else { text }
            }
            _ => return Err(refused()),
        })
    }
}

fn minus(number: i64) -> &'static str {
    if number < 0 { "-" } else { "" }
}

/// A number, or the name of one that cannot be written.
fn float(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(n) => Some(*n),
        Value::Text(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn endless(number: f64) -> Option<String> {
    match number {
        n if n.is_nan() => Some("NaN".into()),
        n if n.is_infinite() => Some(if n > 0.0 { "∞".into() } else { "-∞".into() }),
        _ => None,
    }
}

/// `1,234.50`
fn fixed(number: f64, precision: usize) -> String {
    if let Some(endless) = endless(number) {
        return endless;
    }
    let text = format!("{number:.precision$}");
    let (sign, text) = text.strip_prefix('-').map_or(("", &*text), |text| ("-", text));
    let (whole, fraction) = text.find('.').map_or((text, ""), |point| text.split_at(point));
    let mut out = sign.to_owned();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

/// `1.500000 × 10⁰³`
fn scientific(number: f64, width: usize) -> String {
    if let Some(endless) = endless(number) {
        return format!("{endless:>width$}");
    }
    let text = format!("{number:.PRECISION$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(("", exponent), |digits| ("⁻", digits));
    let raised = |digit: char| match digit {
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        '9' => '⁹',
        _ => '⁰',
    };
    let exponent: String = format!("{digits:0>2}").chars().map(raised).collect();
    let text = format!("{mantissa}\u{202f}×\u{202f}10{sign}{exponent}");
    format!("{text:>width$}")
}

/// Fills in a format.
pub fn format<'a>(format: &str, arguments: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let filled = fill(format, arguments.len(), |clause, place| clause.show(&arguments[place]));
    filled.map(|(text, _)| Value::text(text)).map_err(Error::Other)
}

/// A value as `%s` shows it; what is inside of lists and maps is written as expressions write it.
fn text(value: &Value<'_>, inside: bool) -> Result<String, String> {
    let quoted = |prefix: &str, text: &str| format!("{prefix}{}", field::quoted(text));
    Ok(match value {
        Value::Text(text) if inside => quoted("", text),
        Value::Null => "null".into(),
        Value::Double(n) if !inside => field::float(*n),
        Value::Double(n) if n.is_finite() => format!("{n:.6}"),
        Value::Double(n) => quoted("", &field::float(*n)),
        Value::Bytes(bytes) if inside => quoted("b", &String::from_utf8_lossy(bytes)),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Duration(nanoseconds) if inside => format!("duration(\"{}\")", times::shown(*nanoseconds)),
        Value::Duration(nanoseconds) => times::shown(*nanoseconds),
        Value::Timestamp(time) if inside => format!("timestamp(\"{}\")", times::instant(*time)),
        Value::Timestamp(time) => times::instant(*time),
        Value::Type(name) => (*name).into(),
        Value::Text(_) | Value::Int(_) | Value::Uint(_) | Value::Bool(_) => value.to_text(),
        other => {
            if let Some(items) = other.items() {
                let items: Result<Vec<String>, _> = items.iter().map(|item| text(item, true)).collect();
                return Ok(format!("[{}]", items?.join(", ")));
            }
            let ty = other.type_name();
            let Some(entries) = other.entries() else {
                return Err(if inside {
                    format!("no formatting function for {ty}")
                } else {
                    Clause::Text.refusal(ty).trim_start_matches("error during formatting: ").to_owned()
                });
            };
            let mut pairs = Vec::with_capacity(entries.len());
            for (key, value) in &entries {
                if !matches!(key, Value::Text(_) | Value::Bool(_) | Value::Int(_) | Value::Uint(_)) {
                    return Err(format!("no formatting function for map key of type {}", key.type_name()));
                }
                pairs.push((text(key, true)?, text(value, true)?));
            }
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            let pairs: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
            format!("{{{}}}", pairs.join(", "))
        }
    })
}
