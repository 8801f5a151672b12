//! Why an expression has no value.

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
    /// An error with this message.
    pub fn other(message: impl std::fmt::Display) -> Self {
        Self::Other(message.to_string())
    }
}
