//! What a plain scalar means.

use super::numbers;

/// A scalar, resolved.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer beyond [`i64`].
    Uint(u64),
    /// Any other number.
    Float(f64),
    /// A time, which is read as a string but must be quoted to be written as one.
    Time,
    /// A string.
    Text,
    /// `<<`, which merges mappings where it is a key.
    Merge,
}

/// The meaning of a scalar without quotes and tag.
pub fn resolve(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Scalar::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        "<<" => return Scalar::Merge,
        _ => {}
    }
    match text.as_bytes().first() {
        Some(b'.') => numbers::float(text).map_or(Scalar::Text, Scalar::Float),
        Some(b'+' | b'-' | b'0'..=b'9') => {
            if is_time(text) {
                return Scalar::Time;
            }
            let plain = text.replace('_', "");
            numbers::integer(&plain)
                .or_else(|| numbers::float(&plain).map(Scalar::Float))
                .unwrap_or(Scalar::Text)
        }
        _ => Scalar::Text,
    }
}

/// Whether a text must be quoted because without quotes it would mean something else.
pub fn needs_quotes(text: &str) -> bool {
    !matches!(resolve(text), Scalar::Text | Scalar::Merge) || is_sexagesimal(text)
}

/// A date, or a date and time, in one of the forms that YAML 1.1 knows.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let begins = bytes.len() > 4 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-';
    if !begins {
        return false;
    }
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((&text[at..=at], &text[at + 1..]))),
        None => (text, None),
    };
    let small = |part: &str, max: u32| {
        matches!(part.len(), 1 | 2)
            && part.bytes().all(|c| c.is_ascii_digit())
            && part.parse().is_ok_and(|n: u32| n <= max)
    };
    let parts: Vec<&str> = date.split('-').collect();
    let [_, month, day] = parts.as_slice() else { return false };
    if !small(month, 12) || !small(day, 31) || month.parse() == Ok(0) || day.parse() == Ok(0) {
        return false;
    }
    let Some((separator, time)) = time else { return true };
    let zone_at = time.find(['Z', '+', '-']);
    let (clock, zone) = time.split_at(zone_at.unwrap_or(time.len()));
    let zoned = match zone {
        "" => separator == " ",
        "Z" => separator != " ",
        zone => separator != " " && zone.len() == 6 && zone.as_bytes()[3] == b':',
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let [hour, minute, second] = parts.as_slice() else { return false };
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    zoned
        && small(hour, 23)
        && small(minute, 59)
        && small(second, 59)
        && !fraction.is_empty()
        && fraction.bytes().all(|c| c.is_ascii_digit())
}

/// Numbers of base 60, such as `1:30`: nobody reads them any more, but they are still quoted.
fn is_sexagesimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let whole = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else { return false };
    let digit = |c: u8| c.is_ascii_digit() || c == b'_';
    let sixty = |part: &str| match part.as_bytes() {
        [one] => one.is_ascii_digit(),
        [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
        _ => false,
    };
    let (last, fraction) = last.split_once('.').unwrap_or((last, ""));
    whole.as_bytes().first().is_some_and(u8::is_ascii_digit)
        && whole.bytes().all(digit)
        && middle.iter().all(|part| sixty(part))
        && sixty(last)
        && fraction.bytes().all(digit)
}
