//! Words that are no names.

/// What looks like a name and is a word of the language.
const LITERALS: [&str; 4] = ["true", "false", "null", "in"];

/// What the language keeps for itself.
pub(super) const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether CEL cannot use a word as a name
/// (<https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax>).
pub fn is_reserved(word: &str) -> bool {
    LITERALS.contains(&word) || RESERVED.contains(&word)
}
