//! What differs between two texts, for people: as Python's `difflib` finds it, which Go's libraries follow.

use std::{collections::HashMap, fmt::Write, ops::Range};

use crate::registry::internal::Internal;

/// Lines around a difference.
const CONTEXT: usize = 3;
/// From so many lines on, lines that are everywhere are no hold for the comparison.
const MANY_LINES: usize = 200;

/// A stretch of both texts: equal, or in which they differ.
#[derive(Clone, Debug)]
struct Stretch {
    equal: bool,
    old: Range<usize>,
    new: Range<usize>,
}

/// The lines that differ, as `diff -u` shows them without its head.
pub fn unified(old: &Internal, new: &Internal) -> String {
    of_lines(&old.lines(), &new.lines())
}

fn of_lines(old: &[String], new: &[String]) -> String {
    let mut text = String::new();
    for group in groups(stretches(old, new)) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let whole = |from: usize, to: usize| {
            let start = if from == to { from } else { from + 1 };
            if to - from == 1 { start.to_string() } else { format!("{start},{}", to - from) }
        };
        let _ = writeln!(
            text,
            "@@ -{} +{} @@",
            whole(first.old.start, last.old.end),
            whole(first.new.start, last.new.end)
        );
        let mut show = |mark: char, lines: &[String]| {
            for line in lines {
                let _ = writeln!(text, "{mark}{line}");
            }
        };
        for stretch in group {
            if stretch.equal {
                show(' ', &old[stretch.old]);
            } else {
                show('-', &old[stretch.old]);
                show('+', &new[stretch.new]);
            }
        }
    }
    text
}

/// Differences with their context; those that are near share a group.
fn groups(stretches: Vec<Stretch>) -> Vec<Vec<Stretch>> {
    let last = stretches.len().saturating_sub(1);
    let (mut groups, mut group) = (Vec::new(), Vec::new());
    for (at, mut stretch) in stretches.into_iter().enumerate() {
        if stretch.equal {
            let length = stretch.old.len();
            if at > 0 && at < last && length > 2 * CONTEXT {
                let end = Stretch {
                    equal: true,
                    old: stretch.old.start..stretch.old.start + CONTEXT,
                    new: stretch.new.start..stretch.new.start + CONTEXT,
                };
                group.push(end);
                groups.push(std::mem::take(&mut group));
            }
            if at == 0 || (at < last && length > 2 * CONTEXT) {
                stretch.old.start = stretch.old.start.max(stretch.old.end.saturating_sub(CONTEXT));
                stretch.new.start = stretch.new.start.max(stretch.new.end.saturating_sub(CONTEXT));
            } else if at == last {
                stretch.old.end = stretch.old.end.min(stretch.old.start + CONTEXT);
                stretch.new.end = stretch.new.end.min(stretch.new.start + CONTEXT);
            }
        }
        group.push(stretch);
    }
    if group.iter().any(|stretch| !stretch.equal) {
        groups.push(group);
    }
    groups
}

fn stretches(old: &[String], new: &[String]) -> Vec<Stretch> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, line) in new.iter().enumerate() {
        places.entry(line).or_default().push(at);
    }
    if new.len() >= MANY_LINES {
        places.retain(|_, at| at.len() <= 1 + new.len() / 100);
    }
    let mut blocks = Vec::new();
    matching(old, new, &places, 0..old.len(), 0..new.len(), &mut blocks);
    blocks.push((old.len(), new.len(), 0));

    let (mut stretches, mut i, mut j): (Vec<Stretch>, _, _) = (Vec::new(), 0, 0);
    for (at_old, at_new, length) in blocks {
        if i < at_old || j < at_new {
            stretches.push(Stretch { equal: false, old: i..at_old, new: j..at_new });
        }
        (i, j) = (at_old + length, at_new + length);
        match stretches.last_mut() {
            _ if length == 0 => {}
            Some(last) if last.equal => (last.old.end, last.new.end) = (i, j),
            _ => stretches.push(Stretch { equal: true, old: at_old..i, new: at_new..j }),
        }
    }
    stretches
}

/// The longest common run of lines, and then those before and behind it.
fn matching(
    old: &[String],
    new: &[String],
    places: &HashMap<&str, Vec<usize>>,
    in_old: Range<usize>,
    in_new: Range<usize>,
    blocks: &mut Vec<(usize, usize, usize)>,
) {
    let (mut i, mut j, mut length) = (in_old.start, in_new.start, 0);
    let mut ending: HashMap<usize, usize> = HashMap::new();
    for at in in_old.clone() {
        let mut next = HashMap::new();
        for &place in places.get(old[at].as_str()).into_iter().flatten().filter(|p| in_new.contains(p)) {
            let run = place.checked_sub(1).and_then(|before| ending.get(&before)).copied().unwrap_or(0) + 1;
            next.insert(place, run);
            if run > length {
                (i, j, length) = (at + 1 - run, place + 1 - run, run);
            }
        }
        ending = next;
    }
    // Lines that are no hold still belong to the run next to them.
    while i > in_old.start && j > in_new.start && old[i - 1] == new[j - 1] {
        (i, j, length) = (i - 1, j - 1, length + 1);
    }
    while i + length < in_old.end && j + length < in_new.end && old[i + length] == new[j + length] {
        length += 1;
    }
    if length == 0 {
        return;
    }
    matching(old, new, places, in_old.start..i, in_new.start..j, blocks);
    blocks.push((i, j, length));
    matching(old, new, places, i + length..in_old.end, j + length..in_new.end, blocks);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(old: &str, new: &str) -> String {
        let lines = |text: &str| text.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>();
        of_lines(&lines(old), &lines(new))
    }

    #[test]
    fn shows_what_changed_and_what_is_around() {
        assert_eq!(diff("a b c d e", "a b x y d e"), "@@ -1,5 +1,6 @@\n a\n b\n-c\n+x\n+y\n d\n e\n");
    }

    #[test]
    fn distant_changes_stand_apart() {
        let shown = diff("a 1 2 3 4 5 6 7 8 b", "x 1 2 3 4 5 6 7 8 y");
        assert_eq!(shown, "@@ -1,4 +1,4 @@\n-a\n+x\n 1\n 2\n 3\n@@ -7,4 +7,4 @@\n 6\n 7\n 8\n-b\n+y\n");
    }

    #[test]
    fn what_is_added_needs_no_counterpart() {
        assert_eq!(diff("a b", "a c b"), "@@ -1,2 +1,3 @@\n a\n+c\n b\n");
    }
}
