//! Simple paths to fields of custom resources: `.spec.replicas`, `.labels['a.b/c']`.

/// Why a path leads nowhere, in the words of the real server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It ends where something has to come.
    #[error("unexpected end of JSON path")]
    End,
    /// A name in brackets where none may be.
    #[error("array notation is not allowed")]
    Brackets,
    /// What is in brackets is no text.
    #[error("expected single quoted string but got {0}")]
    Unquoted(String),
    /// A text with an escape that means nothing.
    #[error("invalid string literal: invalid escape char {0}")]
    Escape(String),
    /// A bracket that is not closed.
    #[error("expected ] but got {0}")]
    Open(String),
    /// Something else than a step.
    #[error("expected [ or . but got: {0}")]
    Stray(String),
    /// There is no such field.
    #[error("does not refer to a valid field")]
    NoField,
}

/// Goes along a path; each step gets the name that it makes. `brackets` says whether names may be in brackets.
pub fn walk(
    path: &str,
    brackets: bool,
    mut step: impl FnMut(&str) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut rest = path;
    while let Some(token) = token(&mut rest) {
        match token {
            "." => step(self::token(&mut rest).ok_or(Error::End)?)?,
            "[" if !brackets => return Err(Error::Brackets),
            "[" => {
                let quoted = self::token(&mut rest).ok_or(Error::End)?;
                let text = quoted.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
                step(&unescaped(text.ok_or_else(|| Error::Unquoted(quoted.into()))?)?)?;
                match self::token(&mut rest).ok_or(Error::End)? {
                    "]" => {}
                    other => return Err(Error::Open(other.into())),
                }
            }
            other => return Err(Error::Stray(other.into())),
        }
    }
    Ok(())
}

/// The next dot, bracket, text in quotation marks or name; `None` at the end, which a text that is not closed is, too.
fn token<'p>(rest: &mut &'p str) -> Option<&'p str> {
    let end = if rest.starts_with('\'') {
        let closing = rest.match_indices('\'').skip(1).find(|(at, _)| !rest[..*at].ends_with('\\'));
        closing.map_or(rest.len(), |(at, _)| at + 1)
    } else {
        match rest.find(['.', '[', ']']) {
            Some(0) => 1,
            Some(at) => at,
            None => rest.len(),
        }
    };
    let (token, left) = rest.split_at(end);
    *rest = left;
    (!token.is_empty()).then_some(token)
}

fn unescaped(text: &str) -> Result<String, Error> {
    let (mut out, mut chars) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next() {
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some(c @ ('\'' | '\\')) => c,
            Some(c) => return Err(Error::Escape(format!("\\{c}"))),
            None => '\\',
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(path: &str) -> Result<Vec<String>, String> {
        let mut steps = Vec::new();
        let walked = walk(path, true, |step| {
            steps.push(step.to_owned());
            Ok(())
        });
        walked.map(|()| steps).map_err(|why| why.to_string())
    }

    #[test]
    fn paths_are_made_of_names_and_quoted_names() {
        let of = |names: &[&str]| Ok(names.iter().map(ToString::to_string).collect());
        assert_eq!(steps(".spec.replicas"), of(&["spec", "replicas"]));
        assert_eq!(steps(".a['b.c/d'].e"), of(&["a", "b.c/d", "e"]));
        assert_eq!(steps("['a\\'b\\\\']"), of(&["a'b\\"]));
        assert_eq!(steps(""), of(&[]));
    }

    #[test]
    fn what_is_no_path_says_where() {
        for (path, why) in [
            ("a", "expected [ or . but got: a"),
            (".", "unexpected end of JSON path"),
            ("[", "unexpected end of JSON path"),
            ("[a]", "expected single quoted string but got a"),
            ("['a'", "unexpected end of JSON path"),
            ("['a'.", "expected ] but got ."),
            ("['\\x']", "invalid string literal: invalid escape char \\x"),
            (".a]", "expected [ or . but got: ]"),
        ] {
            assert_eq!(steps(path), Err(why.into()), "{path}");
        }
        assert_eq!(walk(".a['b']", false, |_| Ok(())), Err(Error::Brackets));
    }
}
