//! Why an expression has no value.

use super::value::Value;

/// Why an expression has no value, in the words of cel-go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A map or object has no such key.
    #[error("no such key: {0}")]
    NoSuchKey(String),
    /// A list has no such item.
    #[error("index out of bounds: {0}")]
    OutOfBounds(i64),
    /// A function or operator is not for values of these types.
    #[error("no such overload")]
    NoSuchOverload,
    /// So does a function that is named with what it was given, or an operator.
    #[error("no such overload: {0}")]
    Mismatch(String),
    /// A number does not fit.
    #[error("integer overflow")]
    Overflow,
    /// Division by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// Remainder by zero.
    #[error("modulus by zero")]
    ModulusByZero,
    /// A variable is not set.
    #[error("no such attribute(s): {0}")]
    NoSuchVariable(String),
    /// Too much work.
    #[error("operation cancelled: actual cost limit exceeded")]
    TooExpensive,
    /// Anything else that a function objects to.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// A function is not for such arguments.
    pub fn mismatch(function: &str, arguments: &[Value<'_>]) -> Self {
        if matches!(function, "size" | "matches" | "type") {
            return Self::Mismatch(function.into());
        }
        let types: Vec<&str> = arguments.iter().map(Value::type_name).collect();
        Self::Mismatch(format!("{function}({})", types.join(", ")))
    }

    /// An error with this message.
    pub fn other(message: impl std::fmt::Display) -> Self {
        Self::Other(message.to_string())
    }
}
