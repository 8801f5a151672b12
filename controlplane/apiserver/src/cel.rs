//! The Common Expression Language (<https://cel.dev>) with the functions that Kubernetes adds to it.
//!
//! ```text
//! text ──parse──► Program ──evaluate(variables)──► Value
//! ```
//!
//! Values borrow from the JSON documents that they come from: an expression about a large object costs
//! what it looks at. Evaluation is bounded: an expression that does too much is cancelled.

pub mod budget;
pub mod check;
pub mod cost;
pub mod declared;
pub mod error;
pub mod evaluate;
pub mod functions;
pub mod json;
pub mod lazy;
pub mod measured;
pub mod parse;
pub mod signatures;
pub mod syntax;
pub mod token;
pub mod types;
pub mod value;

pub use self::{
    budget::Budget,
    check::{Issues, Scope},
    declared::Declared,
    error::Error,
    evaluate::Variables,
    lazy::Lazy,
    measured::Measured,
    parse::{SyntaxError, is_reserved},
    types::Type,
    value::Value,
};

/// A parsed expression.
#[derive(Debug)]
pub struct Program {
    expression: syntax::Expression,
}

impl Program {
    /// Parses an expression.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse::parse(text, false).map(|expression| Self { expression })
    }

    /// Parses an expression that may bind variables, with `cel.bind`.
    pub fn parse_with_bindings(text: &str) -> Result<Self, SyntaxError> {
        parse::parse(text, true).map(|expression| Self { expression })
    }

    /// Its value, given those of its variables.
    pub fn evaluate<'a>(
        &'a self,
        variables: &Variables<'a>,
        budget: &mut Budget,
    ) -> Result<Value<'a>, Error> {
        evaluate::Evaluator::new(variables, budget).value(&self.expression)
    }

    /// Whether it names a variable.
    pub fn mentions(&self, name: &str) -> bool {
        let mut found = false;
        self.expression.visit(&mut |expression| {
            found |= matches!(&expression.kind, syntax::Kind::Variable(n) if &**n == name);
        });
        found
    }

    /// Whether it looks at a field of a variable: `variable.field`, `variable.?field`.
    pub fn selects(&self, variable: &str, field: &str) -> bool {
        let mut found = false;
        self.expression.visit(&mut |expression| {
            let (syntax::Kind::Select { operand, field: selected, .. }
            | syntax::Kind::Has { operand, field: selected }) = &expression.kind
            else {
                return;
            };
            let of = matches!(&operand.kind, syntax::Kind::Variable(name) if &**name == variable);
            found |= of && &**selected == field;
        });
        found
    }

    /// The type of its value, given what it may speak of; or what is wrong with it.
    pub fn check(&self, text: &str, scope: &Scope<'_>) -> Result<Type, Issues> {
        check::check(&self.expression, text, scope).map(|known| known.ty)
    }

    /// The type of its value and what it costs at most, or what is wrong with it.
    pub fn weigh(&self, text: &str, scope: &Scope<'_>) -> Result<(Type, u64), Issues> {
        check::check(&self.expression, text, scope).map(|known| (known.ty, known.cost))
    }
}

#[cfg(test)]
mod tests;
