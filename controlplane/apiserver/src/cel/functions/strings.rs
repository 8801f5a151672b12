//! Texts: CEL's own functions, its string extension, and regular expressions.

pub mod format;

use super::super::{Error, value::Value};
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
        ("find", [Value::Text(regex)]) => pattern::compile(regex).map_err(illegal).map(|regex| {
            let found = regex.find(text).map(|found| found.as_str()).unwrap_or_default();
            Value::text(found.to_owned())
        }),
        ("findAll", [Value::Text(regex)]) => find_all(text, regex, -1),
        ("findAll", [Value::Text(regex), Value::Int(limit)]) => find_all(text, regex, *limit),
        ("charAt", [Value::Int(index)]) => match bytes(text, *index) {
            Some(at) => made(text[at..].chars().next().map(String::from).unwrap_or_default()),
            None => Err(out_of_range(*index)),
        },
        ("indexOf", [Value::Text(part)]) => index_of(text, part, 0),
        ("indexOf", [Value::Text(part), Value::Int(from)]) => index_of(text, part, *from),
        ("lastIndexOf", [Value::Text(part)]) if part.is_empty() => Ok(characters(text, text.len())),
        ("lastIndexOf", [Value::Text(part)]) => {
            Ok(text.rfind(&**part).map_or(Value::Int(-1), |at| characters(text, at)))
        }
        ("lastIndexOf", [Value::Text(part), Value::Int(upto)]) => last_index_of(text, part, *upto),
        ("lowerAscii", []) => made(text.to_ascii_lowercase()),
        ("upperAscii", []) => made(text.to_ascii_uppercase()),
        ("trim", []) => made(text.trim().to_owned()),
        ("strings.quote", []) => made(quoted(text)),
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
        ("format", [list]) => {
            list.items().map_or(Err(Error::NoSuchOverload), |items| format::format(text, &items))
        }
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
        other => Err(Error::other(format!("join: invalid input: {}", other.to_text()))),
    });
    Ok(Value::text(texts.collect::<Result<Vec<_>, _>>()?.join(separator)))
}

/// A text in quotation marks, with the escapes of CEL.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' | '"' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn illegal(why: String) -> Error {
    Error::other(format!("Illegal regex: {why}"))
}

fn out_of_range(index: i64) -> Error {
    Error::other(format!("index out of range: {index}"))
}

fn find_all<'a>(text: &str, regex: &str, limit: i64) -> Result<Value<'a>, Error> {
    let regex = pattern::compile(regex).map_err(illegal)?;
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

/// Nothing is found beyond the end; an empty text is wherever one looks for it.
fn index_of<'a>(text: &str, part: &str, from: i64) -> Result<Value<'a>, Error> {
    if part.is_empty() {
        return Ok(Value::Int(from));
    }
    if from < 0 {
        return Err(out_of_range(from));
    }
    let Some(start) = bytes(text, from) else { return Ok(Value::Int(-1)) };
    Ok(text[start..].find(part).map_or(Value::Int(-1), |at| characters(text, start + at)))
}

/// The last that begins at a place or before it.
fn last_index_of<'a>(text: &str, part: &str, upto: i64) -> Result<Value<'a>, Error> {
    if part.is_empty() {
        return Ok(Value::Int(upto));
    }
    if upto < 0 {
        return Err(out_of_range(upto));
    }
    let Some(begin) = bytes(text, upto).filter(|begin| *begin < text.len()) else {
        return Ok(Value::Int(-1));
    };
    let mut end = (begin + part.len()).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let found = text[..end].rfind(part);
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
    if let Some(to) = to.filter(|to| from > *to) {
        return Err(Error::other(format!("invalid substring range. start: {from}, end: {to}")));
    }
    let start = bytes(text, from).ok_or_else(|| out_of_range(from))?;
    let end = match to {
        Some(to) => bytes(text, to).ok_or_else(|| out_of_range(to))?,
        None => text.len(),
    };
    Ok(Value::text(text[start..end].to_owned()))
}
