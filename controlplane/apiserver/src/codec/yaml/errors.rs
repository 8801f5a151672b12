//! Syntax errors in the words of Go's `yaml.v2`.

use granit_parser::{ErrorKind, ScanError};

/// What is wrong with a document, with the prefix and the line that the real server names.
pub fn describe(error: &ScanError, text: &str) -> String {
    let (message, of_scanner) = words(error.kind(), text);
    // The parser counts lines from 0 and the scanner from 1; neither names the first.
    let line = match error.kind() {
        ErrorKind::UnclosedFlowCollection { .. } => text.lines().count(),
        ErrorKind::UnclosedQuotedScalar => text.matches('\n').count(),
        _ => error.marker().line().saturating_sub(1),
    };
    match line {
        0 => format!("yaml: {message}"),
        line => format!("yaml: line {}: {message}", line + usize::from(of_scanner)),
    }
}

/// The message, and whether it is the scanner's rather than the parser's.
fn words(kind: &ErrorKind, text: &str) -> (String, bool) {
    const CANNOT_START: &str = "found character that cannot start any token";
    let parser = |message: &str| (message.to_owned(), false);
    let scanner = |message: &str| (message.to_owned(), true);
    match kind {
        ErrorKind::UnclosedFlowCollection { open } => match (text.trim_end().chars().last(), open) {
            (Some('[' | '{' | ',' | ':'), _) => parser("did not find expected node content"),
            (_, '[') => parser("did not find expected ',' or ']'"),
            _ => parser("did not find expected ',' or '}'"),
        },
        ErrorKind::ExpectedFlowSequenceSeparator
        | ErrorKind::MismatchedFlowCollectionEnd { open: '[', .. } => {
            parser("did not find expected ',' or ']'")
        }
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::MismatchedFlowCollectionEnd { .. } => {
            parser("did not find expected ',' or '}'")
        }
        ErrorKind::ExpectedNodeContent | ErrorKind::MisplacedFlowCollectionEnd => {
            parser("did not find expected node content")
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::InvalidIndentation
        | ErrorKind::InvalidTrailingSingleQuotedScalar
        | ErrorKind::InvalidTrailingDoubleQuotedScalar => parser("did not find expected key"),
        ErrorKind::ExpectedBlockSequenceEntry => parser("did not find expected '-' indicator"),
        ErrorKind::ExpectedDocumentStart => parser("did not find expected <document start>"),
        ErrorKind::UndeclaredTagHandle => parser("found undefined tag handle"),
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            scanner("mapping values are not allowed in this context")
        }
        ErrorKind::MappingKeyNotAllowed => scanner("mapping keys are not allowed in this context"),
        ErrorKind::BlockSequenceEntryNotAllowed => {
            scanner("block sequence entries are not allowed in this context")
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => scanner("could not find expected ':'"),
        ErrorKind::UnexpectedCharacter { .. }
        | ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar => scanner(CANNOT_START),
        ErrorKind::UnclosedQuotedScalar => scanner("found unexpected end of stream"),
        ErrorKind::DocumentIndicatorInQuotedScalar => scanner("found unexpected document indicator"),
        ErrorKind::UnknownQuotedScalarEscape => scanner("found unknown escape character"),
        ErrorKind::InvalidQuotedScalarHexEscape => scanner("did not find expected hexdecimal number"),
        other => scanner(&other.to_string()),
    }
}
