//! Regular expressions as Go writes them (RE2), for patterns of schemas and for CEL.
//!
//! Go's `\d`, `\w`, `\s` and `\b` are about ASCII, and it reads some braces and brackets as themselves
//! that Rust reads as syntax; the translation makes up for both.

use regex::{Regex, RegexBuilder};

/// Lazy tables of a regular expression may grow to this.
const TABLES: usize = 64 * 1024;

/// Compiles a pattern; the error is in Go's words.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = translate(pattern);
    RegexBuilder::new(&translated)
        .dfa_size_limit(TABLES)
        .build()
        .map_err(|_| format!("error parsing regexp: {}", fault(pattern)))
}

fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut class = false;
    while let Some(c) = rest.chars().next() {
        let tail = &rest[c.len_utf8()..];
        let mut taken = c.len_utf8();
        match c {
            '\\' => {
                let escaped = tail.chars().next();
                taken += escaped.map_or(0, char::len_utf8);
                match (escaped, class) {
                    (Some('d'), false) => out.push_str("[0-9]"),
                    (Some('d'), true) => out.push_str("0-9"),
                    (Some('D'), false) => out.push_str("[^0-9]"),
                    (Some('w'), false) => out.push_str("[0-9A-Za-z_]"),
                    (Some('w'), true) => out.push_str("0-9A-Za-z_"),
                    (Some('W'), false) => out.push_str("[^0-9A-Za-z_]"),
                    (Some('s'), false) => out.push_str(r"[\t\n\f\r ]"),
                    (Some('s'), true) => out.push_str(r"\t\n\f\r "),
                    (Some('S'), false) => out.push_str(r"[^\t\n\f\r ]"),
                    (Some('b'), false) => out.push_str(r"(?-u:\b)"),
                    (Some('p' | 'P' | 'x'), _) if tail[1..].starts_with('{') => {
                        taken = rest.find('}').map_or(rest.len(), |at| at + 1);
                        out.push_str(&rest[..taken]);
                    }
                    (Some('D'), true) => out.push_str("[^0-9]"),
                    (Some('W'), true) => out.push_str("[^0-9A-Za-z_]"),
                    (Some('S'), true) => out.push_str(r"[^\t\n\f\r ]"),
                    _ => out.push_str(&rest[..taken]),
                }
            }
            '[' if class && !tail.starts_with(':') => out.push_str(r"\["),
            '[' if class => {
                // A named class such as `[:alpha:]` goes as it is.
                taken = rest.find(":]").map_or(1, |at| at + 2);
                out.push_str(&rest[..taken]);
            }
            '[' => {
                class = true;
                out.push('[');
                // A bracket that comes first is one of the class.
                let skip = usize::from(tail.starts_with('^'));
                out.push_str(&tail[..skip]);
                taken += skip;
                if tail[skip..].starts_with(']') {
                    out.push_str(r"\]");
                    taken += 1;
                }
            }
            ']' if class => {
                class = false;
                out.push(']');
            }
            '&' | '~' if class => {
                out.push('\\');
                out.push(c);
            }
            '{' if !class && !is_repetition(tail) => out.push_str(r"\{"),
            '}' if !class && !ends_repetition(&pattern[..pattern.len() - rest.len()]) => {
                out.push_str(r"\}");
            }
            _ => out.push(c),
        }
        rest = &rest[taken..];
    }
    out
}

/// Whether what follows a brace makes it a repetition: `3}`, `3,}` or `3,5}`.
fn is_repetition(tail: &str) -> bool {
    let Some((inside, _)) = tail.split_once('}') else { return false };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    match inside.split_once(',') {
        Some((low, high)) => number(low) && (high.is_empty() || number(high)),
        None => number(inside),
    }
}

fn ends_repetition(head: &str) -> bool {
    head.rfind(['{', '}'])
        .is_some_and(|at| head[at..].starts_with('{') && is_repetition(&format!("{}}}", &head[at + 1..])))
}

/// What Go's parser would object to.
fn fault(pattern: &str) -> String {
    let (mut depth, mut class, mut escaped) = (0_i32, None, false);
    let mut previous = None;
    for (at, c) in pattern.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ']' if class.is_some() => class = None,
            _ if class.is_some() => {}
            '[' => class = Some(at),
            '(' => depth += 1,
            ')' if depth == 0 => return format!("unexpected ): `{pattern}`"),
            ')' => depth -= 1,
            '*' | '+' | '?' if matches!(previous, None | Some('(' | '|')) && c != '?' => {
                return format!("missing argument to repetition operator: `{c}`");
            }
            _ => {}
        }
        previous = Some(c);
    }
    match class {
        _ if escaped => "trailing backslash at end of expression: ``".into(),
        Some(at) => format!("missing closing ]: `{}`", &pattern[at..]),
        None if depth > 0 => format!("missing closing ): `{pattern}`"),
        None => format!("invalid or unsupported Perl syntax: `{pattern}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ascii_and_braces_may_stand_for_themselves() {
        assert!(!compile(r"^\d$").unwrap().is_match("٣"));
        assert!(compile(r"^\w+[\d.]$").unwrap().is_match("a_1."));
        assert!(compile(r"^{x}$").unwrap().is_match("{x}"));
        assert!(compile(r"^a{2,3}$").unwrap().is_match("aa"));
        assert!(compile(r"^[[a&&b]+$").unwrap().is_match("[&a"));
        assert!(compile(r"^[]a]$").unwrap().is_match("]"));
        assert!(compile(r"^[[:alpha:]\-/]+$").unwrap().is_match("a-/"));
        assert!(compile(r"(?i)^[a-f]\p{Lu}?$").unwrap().is_match("F"));
    }

    #[test]
    fn faults_are_told_in_gos_words() {
        assert_eq!(compile("(").unwrap_err(), "error parsing regexp: missing closing ): `(`");
        assert_eq!(compile("a[b").unwrap_err(), "error parsing regexp: missing closing ]: `[b`");
        assert_eq!(
            compile("*").unwrap_err(),
            "error parsing regexp: missing argument to repetition operator: `*`"
        );
    }
}
