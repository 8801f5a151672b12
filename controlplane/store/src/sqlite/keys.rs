//! Ranges of keys as bounds that an index understands.

use rusqlite::types::Value;

/// The keys from `start` (inclusive) to `end` (exclusive), as SQL parameters.
pub(super) struct Keys {
    pub(super) start: String,
    pub(super) end: Value,
}

impl Keys {
    /// The keys with this prefix.
    pub(super) fn with_prefix(prefix: &str) -> Self {
        Self { start: prefix.to_owned(), end: end(prefix) }
    }

    /// Those of them that follow `key`.
    pub(super) fn after(self, key: &str) -> Self {
        // No string lies between a key and the same key with a zero byte.
        let next = format!("{key}\0");
        Self { start: self.start.max(next), end: self.end }
    }
}

/// The smallest value above every string with the prefix. UTF-8 sorts by code point, so that is the prefix
/// with its last character raised by one.
fn end(prefix: &str) -> Value {
    let mut head = prefix.chars();
    while let Some(last) = head.next_back() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            return Value::Text(format!("{}{next}", head.as_str()));
        }
    }
    // SQLite sorts every blob above every text.
    Value::Blob(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_its_last_character_raised() {
        assert_eq!(end("/pods/"), Value::Text("/pods0".to_owned()));
        assert_eq!(end("a\u{d7ff}"), Value::Text("a\u{e000}".to_owned()));
        assert_eq!(end("a\u{10ffff}"), Value::Text("b".to_owned()));
    }

    #[test]
    fn no_prefix_has_no_end() {
        assert_eq!(end(""), Value::Blob(Vec::new()));
        assert_eq!(end("\u{10ffff}"), Value::Blob(Vec::new()));
    }

    #[test]
    fn a_continuation_starts_within_the_prefix() {
        assert_eq!(Keys::with_prefix("b/").after("a").start, "b/");
        assert_eq!(Keys::with_prefix("b/").after("b/1").start, "b/1\0");
    }
}
