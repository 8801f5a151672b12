//! What differs between two documents, for people.

use serde_json::Value;

/// Lines around a difference.
const CONTEXT: usize = 3;

/// The lines that differ, as `diff -u` shows them.
pub fn unified(old: &Value, new: &Value) -> String {
    let (old, new) = (lines(old), lines(new));
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let end =
        old.iter().skip(start).rev().zip(new.iter().skip(start).rev()).take_while(|(a, b)| a == b).count();
    let from = start.saturating_sub(CONTEXT);
    let (old_end, new_end) = (old.len() - end, new.len() - end);
    let (old_until, new_until) = ((old_end + CONTEXT).min(old.len()), (new_end + CONTEXT).min(new.len()));

    let mut text = format!("@@ -{},{} +{},{} @@\n", from + 1, old_until - from, from + 1, new_until - from);
    let mut show = |mark: char, lines: &[String]| {
        for line in lines {
            text.push(mark);
            text.push_str(line);
            text.push('\n');
        }
    };
    show(' ', old.get(from..start).unwrap_or_default());
    show('-', old.get(start..old_end).unwrap_or_default());
    show('+', new.get(start..new_end).unwrap_or_default());
    show(' ', old.get(old_end..old_until).unwrap_or_default());
    text
}

fn lines(value: &Value) -> Vec<String> {
    serde_json::to_string_pretty(value).unwrap_or_default().lines().map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shows_what_changed_and_what_is_around() {
        let diff = unified(&json!({"a": 1, "b": 2}), &json!({"a": 1, "b": 3}));
        assert_eq!(diff, "@@ -1,4 +1,4 @@\n {\n   \"a\": 1,\n-  \"b\": 2\n+  \"b\": 3\n }\n");
    }
}
