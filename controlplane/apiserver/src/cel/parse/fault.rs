//! What is wrong with the text of an expression.

/// Why a text is no expression: cel-go's words, with the line and a mark below the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyntaxError(Box<Fault>);

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ERROR: <input>:{line}:{column}: {why}\n | {source_line}\n | {}^{}", ".".repeat(column - 1), shown(more))]
struct Fault {
    line: usize,
    column: usize,
    why: String,
    source_line: String,
    /// What else is wrong, further on.
    more: Vec<SyntaxError>,
}

fn shown(more: &[SyntaxError]) -> String {
    more.iter().map(|error| format!("\n{error}")).collect()
}

impl SyntaxError {
    /// An error at an offset of a text.
    pub fn new(text: &str, at: usize, why: impl Into<String>) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self(Box::new(Fault {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            why: why.into(),
            source_line: text[line_start..].lines().next().unwrap_or_default().to_owned(),
            more: Vec::new(),
        }))
    }

    /// All that is wrong, in the order of the text; nothing if nothing is.
    pub(super) fn all(mut errors: Vec<Self>) -> Option<Self> {
        errors.sort_by_key(|error| (error.0.line, error.0.column));
        let mut errors = errors.into_iter();
        let mut first = errors.next()?;
        first.0.more = errors.collect();
        Some(first)
    }
}
