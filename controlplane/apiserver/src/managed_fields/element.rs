//! Path elements: one step from a value to a part of it.

use std::{cmp::Ordering, fmt};

use serde_json::{Map, Number, Value};

use crate::patch::printed;

/// One step of a path. Ordered as Kubernetes writes them: fields, keyed items, set items, indices.
#[derive(Clone, Debug)]
pub enum Element {
    /// A field of an object (`f:`).
    Field(String),
    /// The item of a list with these key fields, sorted by name (`k:`).
    Key(Vec<(String, Value)>),
    /// The item of a set with this value (`v:`).
    Value(Value),
    /// The item at this index (`i:`).
    Index(i64),
}

/// A path element's text that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not of the form `x:...`.
    #[error("missing colon: {0}")]
    Form(String),
    /// The content is not what the prefix promises.
    #[error("parsing key as path element: {0}")]
    Content(String),
}

impl Element {
    /// Reads `f:name`, `k:{..}`, `v:..` or `i:0`; `None` for a prefix of a future version.
    pub fn parse(text: &str) -> Result<Option<Self>, Malformed> {
        let Some((prefix, content)) = text.split_at_checked(2).filter(|(prefix, _)| prefix.ends_with(':'))
        else {
            return Err(Malformed::Form(text.into()));
        };
        let malformed = |_| Malformed::Content(text.into());
        Ok(Some(match prefix {
            "f:" => Self::Field(content.into()),
            "v:" => Self::Value(serde_json::from_str(content).map_err(malformed)?),
            "k:" => {
                let keys: Map<String, Value> = serde_json::from_str(content).map_err(malformed)?;
                Self::Key(sorted(keys.into_iter().collect()))
            }
            "i:" => Self::Index(content.parse().map_err(|_| Malformed::Content(text.into()))?),
            _ => return Ok(None),
        }))
    }

    /// A keyed item.
    pub fn key(keys: Vec<(String, Value)>) -> Self {
        Self::Key(sorted(keys))
    }

    /// The text that [`Self::parse`] reads.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Field(name) => {
                out.push_str("f:");
                out.push_str(name);
            }
            Self::Key(keys) => {
                out.push_str("k:{");
                for (position, (name, value)) in keys.iter().enumerate() {
                    if position > 0 {
                        out.push(',');
                    }
                    out.push_str(&json(&Value::String(name.clone())));
                    out.push(':');
                    out.push_str(&json(value));
                }
                out.push('}');
            }
            Self::Value(value) => {
                out.push_str("v:");
                out.push_str(&json(value));
            }
            Self::Index(index) => {
                out.push_str("i:");
                out.push_str(&index.to_string());
            }
        }
        out
    }
}

fn sorted(mut keys: Vec<(String, Value)>) -> Vec<(String, Value)> {
    keys.sort_by(|(a, _), (b, _)| a.cmp(b));
    keys
}

/// JSON in which the characters that matter in HTML are escaped, as Go writes it.
fn json(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 5);
    for c in text.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

/// As in conflicts: `.field`, `[name="a"]`, `[="a"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                f.write_str("[")?;
                for (position, (name, value)) in keys.iter().enumerate() {
                    let comma = if position > 0 { "," } else { "" };
                    write!(f, "{comma}{name}={}", shown(value))?;
                }
                f.write_str("]")
            }
            Self::Value(value) => write!(f, "[={}]", shown(value)),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => printed::quoted(text),
        Value::Null => "null".into(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(",")),
        other => printed::plain(other),
    }
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => compare_fields(
                a.iter().map(|(name, value)| (name, value)),
                b.iter().map(|(name, value)| (name, value)),
            ),
            (Self::Value(a), Self::Value(b)) => compare(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl Element {
    const fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Element {}

/// A total order of values: numbers (by value), strings, booleans, lists, objects, null.
pub fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let unequal = a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|order| order.is_ne());
            unequal.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => compare_fields(a.iter(), b.iter()),
        _ => value_rank(a).cmp(&value_rank(b)),
    }
}

const fn value_rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

fn compare_numbers(a: &Number, b: &Number) -> Ordering {
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        return a.cmp(&b);
    }
    a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
}

fn compare_fields<'v>(
    mut a: impl Iterator<Item = (&'v String, &'v Value)>,
    mut b: impl Iterator<Item = (&'v String, &'v Value)>,
) -> Ordering {
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some((a_name, a_value)), Some((b_name, b_value))) => {
                let order = a_name.cmp(b_name).then_with(|| compare(a_value, b_value));
                if order.is_ne() {
                    return order;
                }
            }
        }
    }
}

/// Whether two values are the same, numbers by value.
pub fn equal(a: &Value, b: &Value) -> bool {
    a == b || compare(a, b).is_eq()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(text: &str) -> Element {
        Element::parse(text).unwrap().unwrap()
    }

    #[test]
    fn texts_survive_a_round_trip() {
        for text in ["f:a/b:c", "f:", r#"k:{"port":80,"protocol":"TCP"}"#, r#"v:"x""#, "v:1", "i:3"] {
            assert_eq!(parsed(text).to_text(), text);
        }
        assert_eq!(parsed(r#"k:{"b":1,"a":"x"}"#).to_text(), r#"k:{"a":"x","b":1}"#);
        assert_eq!(Element::Value(json!("a<b&c")).to_text(), r#"v:"a\u003cb\u0026c""#);
    }

    #[test]
    fn what_a_future_version_may_mean_is_skipped_and_nonsense_refused() {
        assert_eq!(Element::parse("x:y"), Ok(None));
        assert!(Element::parse("nope").is_err());
        assert!(Element::parse("v:{").is_err());
        assert!(Element::parse("i:one").is_err());
        assert!(Element::parse("").is_err());
    }

    #[test]
    fn elements_are_shown_as_in_conflicts() {
        let path: String = [
            Element::Field("spec".into()),
            Element::key(vec![("protocol".into(), json!("TCP")), ("port".into(), json!(443))]),
            Element::Value(json!("x")),
            Element::Index(2),
        ]
        .iter()
        .map(ToString::to_string)
        .collect();
        assert_eq!(path, r#".spec[port=443,protocol="TCP"][="x"][2]"#);
    }

    #[test]
    fn numbers_are_ordered_by_value() {
        assert!(parsed(r#"k:{"port":80}"#) < parsed(r#"k:{"port":443}"#));
        assert_eq!(Element::Value(json!(1)), Element::Value(json!(1.0)));
        assert!(parsed("f:z") < parsed(r#"k:{"a":1}"#));
        assert!(parsed("v:9") < parsed(r#"v:"1""#));
    }
}
