//! Rules in CEL: `x-kubernetes-validations`.

use serde_json::Value;

use super::checks::{Additional, Checks};
use crate::{
    field::Errors,
    registry::access::{bool_at, opt_str, str_at},
};

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// The expression that must be true.
    pub rule: Box<str>,
    /// What to say if it is not.
    pub message: Option<Box<str>>,
    /// An expression that makes the message.
    pub message_expression: Option<Box<str>>,
    /// The reason of the error.
    pub reason: Option<Box<str>>,
    /// The field that the error is about, below the rule's own.
    pub field_path: Option<Box<str>>,
    /// Whether the rule is also for values that have no old one.
    pub optional_old_self: bool,
}

impl Rule {
    /// Reads a rule of a schema.
    pub fn read(rule: &Value) -> Self {
        let text = |pointer| opt_str(rule, pointer).filter(|t| !t.is_empty()).map(Into::into);
        Self {
            rule: str_at(rule, "/rule").into(),
            message: text("/message"),
            message_expression: text("/messageExpression"),
            reason: text("/reason"),
            field_path: text("/fieldPath"),
            optional_old_self: bool_at(rule, "/optionalOldSelf"),
        }
    }
}

/// Evaluates all rules that concern an object, or its change.
pub fn validate(_checks: &Checks, _object: &Value, _old: Option<&Value>, _errors: &mut Errors) {}

impl Checks {
    /// Whether there is any rule in it.
    pub fn has_rules(&self) -> bool {
        let below = |schema: &Self| schema.has_rules();
        !self.rules.is_empty()
            || self.properties.iter().any(|(_, schema)| below(schema))
            || self.items.as_deref().is_some_and(below)
            || matches!(&self.additional, Additional::Of(schema) if below(schema))
    }
}
