//! Expressions that are kept as text until they are first needed.

use std::sync::OnceLock;

use super::{Program, SyntaxError};

/// An expression, parsed when it is first needed.
#[derive(Debug)]
pub struct Lazy {
    text: Box<str>,
    program: OnceLock<Result<Program, SyntaxError>>,
}

impl Lazy {
    /// An expression of this text.
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), program: OnceLock::new() }
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says, or why it says nothing.
    pub fn program(&self) -> Result<&Program, &SyntaxError> {
        self.program.get_or_init(|| Program::parse(&self.text)).as_ref()
    }
}
