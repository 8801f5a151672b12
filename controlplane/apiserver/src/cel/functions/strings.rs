//! Texts: CEL's own functions, its string extension, and regular expressions.

use super::{
    super::{Error, json, value::Value},
    conversions, times,
};
use crate::custom::pattern;

/// The functions of this library.
pub fn call<'a>(function: &str, arguments: &[Value<'a>]) -> Option<Result<Value<'a>, Error>> {
    if let ("join", [list, rest @ ..]) = (function, arguments) {
        return list.items().map(|items| join(&items, rest));
    }
    let [Value::Text(text), rest @ ..] = arguments else { return None };
    let text: &str = text;
    let bool = |b| Ok(Value::Bool(b));
    let made = |text: String| Ok(Value::text(text));
    Some(match (function, rest) {
        ("contains", [Value::Text(part)]) => bool(text.contains(&**part)),
        ("startsWith", [Value::Text(part)]) => bool(text.starts_with(&**part)),
        ("endsWith", [Value::Text(part)]) => bool(text.ends_with(&**part)),
        ("matches", [Value::Text(regex)]) => {
            pattern::compile(regex).map(|regex| Value::Bool(regex.is_match(text))).map_err(Error::Other)
        }
        ("find", [Value::Text(regex)]) => pattern::compile(regex).map_err(Error::Other).map(|regex| {
            let found = regex.find(text).map(|found| found.as_str()).unwrap_or_default();
            Value::text(found.to_owned())
        }),
        ("findAll", [Value::Text(regex)]) => find_all(text, regex, -1),
        ("findAll", [Value::Text(regex), Value::Int(limit)]) => find_all(text, regex, *limit),
        ("charAt", [Value::Int(index)]) => {
            let place = usize::try_from(*index).ok();
            match place.and_then(|place| text.chars().nth(place)) {
                Some(c) => made(c.into()),
                None if place == Some(text.chars().count()) => made(String::new()),
                None => Err(Error::OutOfBounds(*index)),
            }
        }
        ("indexOf", [Value::Text(part)]) => index_of(text, part, 0),
        ("indexOf", [Value::Text(part), Value::Int(from)]) => index_of(text, part, *from),
        ("lastIndexOf", [Value::Text(part)]) => last_index_of(text, part, None),
        ("lastIndexOf", [Value::Text(part), Value::Int(upto)]) => last_index_of(text, part, Some(*upto)),
        ("lowerAscii", []) => made(text.to_ascii_lowercase()),
        ("upperAscii", []) => made(text.to_ascii_uppercase()),
        ("trim", []) => made(text.trim().to_owned()),
        ("reverse", []) => made(text.chars().rev().collect()),
        ("strings.quote", []) => made(crate::field::quoted(text)),
        ("jsonpatch.escapeKey", []) => made(text.replace('~', "~0").replace('/', "~1")),
        ("replace", [Value::Text(old), Value::Text(new)]) => made(text.replace(&**old, new)),
        ("replace", [Value::Text(old), Value::Text(new), Value::Int(limit)]) => match usize::try_from(*limit)
        {
            Ok(limit) => made(text.replacen(&**old, new, limit)),
            Err(_) => made(text.replace(&**old, new)),
        },
        ("split", [Value::Text(separator)]) => Ok(split(text, separator, -1)),
        ("split", [Value::Text(separator), Value::Int(limit)]) => Ok(split(text, separator, *limit)),
        ("substring", [Value::Int(from)]) => substring(text, *from, None),
        ("substring", [Value::Int(from), Value::Int(to)]) => substring(text, *from, Some(*to)),
        ("format", [list]) => list.items().map_or(Err(Error::NoSuchOverload), |items| format(text, &items)),
        _ => return None,
    })
}

fn join<'a>(items: &[Value<'a>], rest: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let separator = match rest {
        [] => "",
        [Value::Text(separator)] => separator,
        _ => return Err(Error::NoSuchOverload),
    };
    let texts = items.iter().map(|item| match item {
        Value::Text(text) => Ok(&**text),
        _ => Err(Error::NoSuchOverload),
    });
    Ok(Value::text(texts.collect::<Result<Vec<_>, _>>()?.join(separator)))
}

fn find_all<'a>(text: &str, regex: &str, limit: i64) -> Result<Value<'a>, Error> {
    let regex = pattern::compile(regex).map_err(Error::Other)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let found = regex.find_iter(text).take(limit).map(|found| Value::text(found.as_str().to_owned()));
    Ok(Value::list(found.collect()))
}

/// The place in characters of a place in bytes.
fn characters<'a>(text: &str, bytes: usize) -> Value<'a> {
    Value::Int(i64::try_from(text[..bytes].chars().count()).unwrap_or(i64::MAX))
}

fn bytes(text: &str, characters: i64) -> Option<usize> {
    let characters = usize::try_from(characters).ok()?;
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    ends.into_iter().nth(characters)
}

fn index_of<'a>(text: &str, part: &str, from: i64) -> Result<Value<'a>, Error> {
    let start = bytes(text, from).ok_or(Error::OutOfBounds(from))?;
    Ok(text[start..].find(part).map_or(Value::Int(-1), |at| characters(text, start + at)))
}

fn last_index_of<'a>(text: &str, part: &str, upto: Option<i64>) -> Result<Value<'a>, Error> {
    let end = match upto {
        // A match may start there, so it may end later.
        Some(upto) => (bytes(text, upto).ok_or(Error::OutOfBounds(upto))? + part.len()).min(text.len()),
        None => text.len(),
    };
    let found = text.get(..end).and_then(|head| head.rfind(part));
    Ok(found.map_or(Value::Int(-1), |at| characters(text, at)))
}

fn split<'a>(text: &str, separator: &str, limit: i64) -> Value<'a> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let parts: Vec<Value<'a>> = if separator.is_empty() {
        let mut chars: Vec<String> = text.chars().map(String::from).collect();
        if limit > 0 && chars.len() > limit {
            let rest: String = chars.drain(limit - 1..).collect();
            chars.push(rest);
        }
        chars.into_iter().take(limit).map(Value::text).collect()
    } else if limit == 0 {
        Vec::new()
    } else {
        text.splitn(limit, separator).map(|part| Value::text(part.to_owned())).collect()
    };
    Value::list(parts)
}

fn substring<'a>(text: &str, from: i64, to: Option<i64>) -> Result<Value<'a>, Error> {
    let start = bytes(text, from).ok_or(Error::OutOfBounds(from))?;
    let end = match to {
        Some(to) => bytes(text, to).ok_or(Error::OutOfBounds(to))?,
        None => text.len(),
    };
    let part = text.get(start..end).ok_or_else(|| {
        Error::other(format!("invalid substring range. start: {from}, end: {}", to.unwrap_or_default()))
    })?;
    Ok(Value::text(part.to_owned()))
}

/// `'%s has %d'.format([a, b])`
fn format<'a>(text: &str, arguments: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('%') {
            out.push('%');
            rest = tail;
            continue;
        }
        let verb_at = rest.find(|c: char| c.is_ascii_alphabetic());
        let verb_at = verb_at.ok_or_else(|| Error::other("unexpected end of string"))?;
        let precision = rest[..verb_at].strip_prefix('.').map(str::parse).transpose();
        let precision = precision.map_err(|_| Error::other("error while parsing precision"))?;
        let value = arguments.next().ok_or_else(|| Error::other("index out of range"))?;
        let verb = &rest[verb_at..=verb_at];
        out.push_str(&formatted(verb, precision, value)?);
        rest = &rest[verb_at + 1..];
    }
    out.push_str(rest);
    Ok(Value::text(out))
}

fn formatted(verb: &str, precision: Option<usize>, value: &Value<'_>) -> Result<String, Error> {
    let precision = precision.unwrap_or(6);
    Ok(match (verb, value) {
        ("s", value) => shown(value, false),
        ("d", Value::Int(n)) => n.to_string(),
        ("d", Value::Uint(n)) => n.to_string(),
        ("f", value) if value.double().is_some() => {
            format!("{:.precision$}", value.double().unwrap_or_default())
        }
        ("e", value) if value.double().is_some() => {
            let text = format!("{:.precision$e}", value.double().unwrap_or_default());
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        ("b", Value::Bool(b)) => u8::from(*b).to_string(),
        ("b", Value::Int(n)) if *n < 0 => format!("-{:b}", n.unsigned_abs()),
        ("b", Value::Int(n)) => format!("{n:b}"),
        ("b", Value::Uint(n)) => format!("{n:b}"),
        ("o", Value::Int(n)) if *n < 0 => format!("-{:o}", n.unsigned_abs()),
        ("o", Value::Int(n)) => format!("{n:o}"),
        ("o", Value::Uint(n)) => format!("{n:o}"),
        ("x" | "X", value) => {
            let text = match value {
                Value::Int(n) if *n < 0 => format!("-{:x}", n.unsigned_abs()),
                Value::Int(n) => format!("{n:x}"),
                Value::Uint(n) => format!("{n:x}"),
                Value::Text(text) => text.bytes().map(|b| format!("{b:02x}")).collect(),
                Value::Bytes(bytes) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
                _ => return Err(Error::NoSuchOverload),
            };
            if verb == "X" { text.to_uppercase() } else { text }
        }
        _ => {
            return Err(Error::other(format!(
                "could not parse formatting clause: unrecognized formatting clause \"{verb}\""
            )));
        }
    })
}

/// A value as `%s` shows it; texts inside of lists and maps are quoted.
fn shown(value: &Value<'_>, inside: bool) -> String {
    match value {
        Value::Text(text) if inside => crate::field::quoted(text),
        Value::Null => "null".into(),
        Value::Double(n) => json::double(*n),
        Value::Bytes(bytes) if inside => format!("b\"{}\"", conversions::base64(bytes)),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Duration(nanoseconds) => times::shown(*nanoseconds),
        Value::Timestamp(time) => time.to_string(),
        Value::Type(name) => (*name).into(),
        other => {
            if let Some(items) = other.items() {
                let items: Vec<String> = items.iter().map(|item| shown(item, true)).collect();
                return format!("[{}]", items.join(", "));
            }
            if let Some(entries) = other.entries() {
                let mut entries: Vec<String> =
                    entries.iter().map(|(k, v)| format!("{}: {}", shown(k, true), shown(v, true))).collect();
                entries.sort();
                return format!("{{{}}}", entries.join(", "));
            }
            other.to_text()
        }
    }
}
