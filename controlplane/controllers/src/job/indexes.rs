//! Sets of completion indexes, written like `0-2,5`.

use std::collections::BTreeSet;

/// Completion indexes.
pub(super) type Indexes = BTreeSet<i32>;

/// Reads a set; indexes from `limit` on, and what cannot be read, are left out.
pub(super) fn parse(text: &str, limit: i32) -> Indexes {
    text.split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.trim().parse::<i32>().ok()?..=last.trim().parse::<i32>().ok()?.min(limit - 1))
        })
        .flatten()
        .collect()
}

/// Writes a set: runs of three and more as a range, a pair as two.
pub(super) fn format(indexes: &Indexes) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = indexes.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while rest.peek() == Some(&(last + 1)) {
            last += 1;
            rest.next();
        }
        parts.push(match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_as_short_as_kubernetes_writes_them() {
        for (text, indexes) in [
            ("", &[][..]),
            ("3", &[3]),
            ("1,2", &[1, 2]),
            ("0-2,5,7,8", &[0, 1, 2, 5, 7, 8]),
            ("1,3-6", &[1, 3, 4, 5, 6]),
        ] {
            let set: Indexes = indexes.iter().copied().collect();
            assert_eq!(format(&set), text);
            assert_eq!(parse(text, 10), set);
        }
    }

    #[test]
    fn indexes_beyond_the_completions_are_ignored() {
        assert_eq!(parse("0-100,7", 3), Indexes::from([0, 1, 2]));
    }
}
