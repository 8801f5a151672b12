//! A document as the JSON that Go's libraries make of it.

use std::{collections::HashMap, iter::Peekable};

use base64::{Engine, engine::general_purpose::STANDARD};
use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::{Map, Number, Value};

use super::{
    errors, json, numbers,
    resolve::{Scalar, resolve},
};

/// Reads the first document of a text. The second value lists the keys that stand twice in a mapping, of
/// which the last counts.
pub fn read(bytes: &[u8]) -> Result<(Value, Vec<String>), String> {
    if let Some(value) = json::read(bytes) {
        return Ok((value, Vec::new()));
    }
    read_yaml(bytes)
}

/// Reads the first document of a text that need not be JSON.
pub fn read_yaml(bytes: &[u8]) -> Result<(Value, Vec<String>), String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "yaml: invalid leading UTF-8 octet".to_owned())?;
    let mut options = Options::default();
    options.emit_unresolved_aliases = true;
    let parser = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader {
        text,
        events: Iterator::peekable(parser),
        anchors: HashMap::new(),
        problems: Vec::new(),
        decoded: 0,
        aliased: 0,
    };
    loop {
        match reader.next()? {
            None | Some((Event::StreamEnd, _)) => return Ok((Value::Null, Vec::new())),
            Some((event, span)) if event.is_node() => {
                let (value, _) = reader.node(event, &span)?;
                return Ok((value, reader.problems));
            }
            Some(_) => {}
        }
    }
}

struct Reader<'t, I: Iterator<Item = Result<(Event<'t>, Span), ScanError>>> {
    text: &'t str,
    events: Peekable<I>,
    /// What the anchors name, and of how many nodes it consists.
    anchors: HashMap<usize, (Value, usize)>,
    problems: Vec<String>,
    decoded: usize,
    aliased: usize,
}

impl<'t, I: Iterator<Item = Result<(Event<'t>, Span), ScanError>>> Reader<'t, I> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, String> {
        self.events.next().transpose().map_err(|error| errors::describe(&error, self.text))
    }

    /// The next event of a collection.
    fn inner(&mut self) -> Result<(Event<'t>, Span), String> {
        self.next()?.ok_or_else(|| "yaml: did not find expected node content".to_owned())
    }

    /// A node that begins with this event, and its size.
    fn node(&mut self, event: Event<'t>, span: &Span) -> Result<(Value, usize), String> {
        self.decoded += 1;
        let (value, size, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = json(&text, meaning(&text, style, tag.as_deref())?, tag.as_deref())?;
                (value, 1, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let (mut items, mut size) = (Vec::new(), 1);
                loop {
                    let (event, span) = self.inner()?;
                    match event {
                        Event::SequenceEnd => break,
                        event if event.is_node() => {
                            let (item, nodes) = self.node(event, &span)?;
                            items.push(item);
                            size += nodes;
                        }
                        _ => {}
                    }
                }
                (Value::Array(items), size, anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                let (map, size) = self.mapping()?;
                (Value::Object(map), size, anchor)
            }
            Event::Alias(id) => return self.alias(id),
            Event::UnresolvedAlias(name) => return Err(format!("yaml: unknown anchor '{name}' referenced")),
            _ => return Err(format!("yaml: line {}: did not find expected node content", span.start.line())),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), size));
        }
        Ok((value, size))
    }

    fn mapping(&mut self) -> Result<(Map<String, Value>, usize), String> {
        let (mut map, mut size, mut seen) = (Map::new(), 1, Vec::new());
        loop {
            let (event, span) = self.inner()?;
            let key = match event {
                Event::MappingEnd => return Ok((map, size)),
                Event::Scalar(text, style, anchor, tag) => {
                    let meaning = meaning(&text, style, tag.as_deref())?;
                    if anchor > 0 {
                        let value = json(&text, meaning.clone(), tag.as_deref())?;
                        self.anchors.insert(anchor, (value, 1));
                    }
                    key(&text, meaning)?
                }
                event if event.is_node() => match self.node(event, &span)?.0 {
                    Value::String(text) => Some(text),
                    other => return Err(format!("unsupported map key: {other}")),
                },
                _ => continue,
            };
            let (event, span) = self.inner()?;
            let line = span.start.line();
            let (value, nodes) = self.node(event, &span)?;
            size += nodes + 1;
            let Some(key) = key else {
                merge(&mut map, value)?;
                continue;
            };
            if seen.contains(&key) {
                self.problems.push(format!("line {line}: key {key:?} already set in map"));
            } else {
                seen.push(key.clone());
            }
            map.insert(key, value);
        }
    }

    /// A copy of what an anchor names, unless the document is a bomb made of such copies.
    fn alias(&mut self, id: usize) -> Result<(Value, usize), String> {
        let Some((value, size)) = self.anchors.get(&id).cloned() else {
            return Err("yaml: anchor value contains itself".into());
        };
        self.decoded += size;
        self.aliased += size;
        #[expect(clippy::cast_precision_loss, reason = "the shares need no precision")]
        let share = self.aliased as f64 / self.decoded as f64;
        // How much may come from aliases falls from 99 % to 10 % between 400 000 and 4 000 000 nodes.
        #[expect(clippy::cast_precision_loss, reason = "the shares need no precision")]
        let allowed = 0.99 - 0.89 * ((self.decoded as f64 - 400_000.0) / 3_600_000.0).clamp(0.0, 1.0);
        if self.aliased > 100 && self.decoded > 1000 && share > allowed {
            return Err("yaml: document contains excessive aliasing".into());
        }
        Ok((value, size))
    }
}

/// What a scalar means, by its quotes and its tag.
fn meaning(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Scalar, String> {
    let resolved = || resolve(text);
    let Some(tag) = tag.and_then(Tag::core_suffix) else {
        return Ok(if style == ScalarStyle::Plain { resolved() } else { Scalar::Text });
    };
    let wrong = || format!("yaml: cannot decode !!str `{text}` as a !!{tag}");
    match (tag, resolved()) {
        ("str", _) => Ok(Scalar::Text),
        ("float", Scalar::Int(number)) => text.parse().map(Scalar::Float).or(Ok(Scalar::Int(number))),
        ("null", Scalar::Null) => Ok(Scalar::Null),
        ("bool", bool @ Scalar::Bool(_)) => Ok(bool),
        ("int", number @ (Scalar::Int(_) | Scalar::Uint(_))) => Ok(number),
        ("float", number @ Scalar::Float(_)) => Ok(number),
        ("null" | "bool" | "int" | "float", _) => Err(wrong()),
        _ => Ok(Scalar::Text),
    }
}

fn json(text: &str, meaning: Scalar, tag: Option<&Tag>) -> Result<Value, String> {
    let binary = tag.is_some_and(|tag| tag.parts() == ("tag:yaml.org,2002:", "binary"));
    if binary {
        let packed: String = text.split_whitespace().collect();
        let bytes = STANDARD
            .decode(packed)
            .map_err(|_| "yaml: !!binary value contains invalid base64 data".to_owned())?;
        return Ok(String::from_utf8_lossy(&bytes).into());
    }
    Ok(match meaning {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => value.into(),
        Scalar::Int(number) => number.into(),
        Scalar::Uint(number) => number.into(),
        Scalar::Float(number) => float(number)?,
        Scalar::Time | Scalar::Text | Scalar::Merge => text.into(),
    })
}

/// Go writes a whole number without a point, so that it is an integer from there on.
fn float(number: f64) -> Result<Value, String> {
    let unsupported = || format!("json: unsupported value: {}", numbers::go_name(number));
    if number.fract() == 0.0 && number.abs() < 9e15 {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within the range of exact integers")]
        return Ok((number as i64).into());
    }
    Number::from_f64(number).map(Value::Number).ok_or_else(unsupported)
}

/// A key as text; nothing for the key that merges mappings.
fn key(text: &str, meaning: Scalar) -> Result<Option<String>, String> {
    Ok(Some(match meaning {
        Scalar::Merge => return Ok(None),
        Scalar::Null => return Err("unsupported map key of type: %!s(<nil>), key: <nil>".into()),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Int(number) => number.to_string(),
        Scalar::Uint(number) => number.to_string(),
        Scalar::Float(number) => numbers::shortest(number),
        Scalar::Time | Scalar::Text => text.to_owned(),
    }))
}

fn merge(map: &mut Map<String, Value>, value: Value) -> Result<(), String> {
    match value {
        Value::Object(other) => map.extend(other),
        // The first of several has precedence.
        Value::Array(others) => {
            for other in others.into_iter().rev() {
                let Value::Object(other) = other else { return Err(no_merge()) };
                map.extend(other);
            }
        }
        _ => return Err(no_merge()),
    }
    Ok(())
}

fn no_merge() -> String {
    "yaml: map merge requires map or sequence of maps as the value".into()
}
