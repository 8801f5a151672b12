//! What selectors need to know of a stored object, extracted once when it is written.
//!
//! Layout: the number of labels (u16), then for each its key and value, then the values of the kind's
//! selectable fields in their order; every text is preceded by its length (u16, little endian). Longer
//! texts are cut: selectors compare labels (63 bytes) and short fields only.

use bytes::Bytes;
use serde_json::Value;

use crate::metadata;

/// Encodes labels and field values.
pub fn encode(object: &Value, fields: &[String]) -> Bytes {
    let labels = metadata::get(object, "labels").and_then(Value::as_object);
    let mut out = Vec::with_capacity(64);
    let count = labels.map_or(0, serde_json::Map::len).min(usize::from(u16::MAX));
    out.extend_from_slice(&(count as u16).to_le_bytes());
    for (key, value) in labels.into_iter().flatten().take(count) {
        push(&mut out, key);
        push(&mut out, value.as_str().unwrap_or_default());
    }
    for field in fields {
        push(&mut out, field);
    }
    out.into()
}

fn push(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.extend_from_slice(&(end as u16).to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..end]);
}

/// A reader of an encoded index.
#[derive(Clone, Copy, Debug)]
pub struct Index<'a>(&'a [u8]);

impl<'a> Index<'a> {
    /// Reads what [`encode`] wrote.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The value of a label.
    pub fn label(self, key: &str) -> Option<&'a str> {
        let (count, mut rest) = self.count();
        for _ in 0..count {
            let (found, after) = text(rest)?;
            let (value, after) = text(after)?;
            if found == key {
                return Some(value);
            }
            rest = after;
        }
        None
    }

    /// The value of the field at this position of the kind's selectable fields.
    pub fn field(self, position: usize) -> Option<&'a str> {
        let (count, mut rest) = self.count();
        for _ in 0..usize::from(count) * 2 + position {
            rest = text(rest)?.1;
        }
        text(rest).map(|(value, _)| value)
    }

    fn count(self) -> (u16, &'a [u8]) {
        match self.0 {
            [low, high, rest @ ..] => (u16::from_le_bytes([*low, *high]), rest),
            _ => (0, &[]),
        }
    }
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let [low, high, rest @ ..] = bytes else { return None };
    let length = usize::from(u16::from_le_bytes([*low, *high]));
    let (value, rest) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(value).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_and_fields_are_found_again() {
        let object = json!({"metadata": {"labels": {"a": "1", "b": ""}}});
        let bytes = encode(&object, &["node-1".into(), String::new()]);
        let index = Index::new(&bytes);
        assert_eq!(index.label("a"), Some("1"));
        assert_eq!(index.label("b"), Some(""));
        assert_eq!(index.label("c"), None);
        assert_eq!(index.field(0), Some("node-1"));
        assert_eq!(index.field(1), Some(""));
        assert_eq!(index.field(2), None);
    }
}
