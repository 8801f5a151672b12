//! Rules in CEL: `x-kubernetes-validations`
//! (<https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules>).
//!
//! `self` is the value of the schema that has the rule. A rule that mentions `oldSelf` is about a change
//! and is asked only where the old value can be told; one with `optionalOldSelf` always. Rules that are
//! broken by values that did not change are not held against the writer, who is warned of them.

use serde_json::Value as Json;

use super::{
    checks::{Additional, Checks, validate::correlated_item},
    field_path,
};
use crate::{
    cel::{Budget, Error, Lazy, Program, Value, Variables, json},
    field::{Errors, Path, Reason},
    registry::access::{bool_at, opt_str, str_at},
};

/// How much the rules of one object may do together.
const BUDGET: u64 = 10_000_000;

/// How much one rule may do.
const BUDGET_OF_RULE: u64 = 1_000_000;

/// The longest message that an expression may make.
const MAX_MESSAGE: usize = 5 * 1024;

/// A rule.
#[derive(Debug)]
pub struct Rule {
    rule: Lazy,
    message: Option<Box<str>>,
    message_expression: Option<Lazy>,
    reason: Option<Box<str>>,
    /// The field that the error is about, below the rule's own.
    field_path: Option<Box<str>>,
    optional_old_self: bool,
}

impl Rule {
    /// Reads a rule of a schema.
    pub fn read(rule: &Json) -> Self {
        let text = |pointer| opt_str(rule, pointer).filter(|t| !t.is_empty());
        Self {
            rule: Lazy::new(str_at(rule, "/rule").trim()),
            message: text("/message").map(|m| m.trim().into()),
            message_expression: text("/messageExpression").map(|t| Lazy::new(t.trim())),
            reason: text("/reason").map(Into::into),
            field_path: text("/fieldPath").map(Into::into),
            optional_old_self: bool_at(rule, "/optionalOldSelf"),
        }
    }

    /// What to call it.
    fn shown(&self) -> &str {
        self.message.as_deref().unwrap_or_else(|| self.rule.text())
    }
}

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

/// Evaluates all rules that concern an object, or its change. A whole object has no path.
pub fn validate(
    checks: &Checks,
    object: &Json,
    old: Option<&Json>,
    path: Option<&Path<'_>>,
    errors: &mut Errors,
) {
    let mut rules = Rules { budget: BUDGET, told: Told::Held, errors };
    rules.value(checks, object, Old { value: old, unchanged: false }, path);
}

/// What is broken by values that did not change.
pub fn ratcheted(checks: &Checks, object: &Json, old: &Json) -> Errors {
    let mut errors = Errors::default();
    if checks.has_rules() {
        let mut rules = Rules { budget: BUDGET, told: Told::Ratcheted, errors: &mut errors };
        rules.value(checks, object, Old { value: Some(old), unchanged: false }, None);
    }
    errors
}

/// What is told of the rules that are broken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// What is held against the writer.
    Held,
    /// What is not.
    Ratcheted,
}

/// What is known of the old value.
#[derive(Clone, Copy)]
struct Old<'v> {
    value: Option<&'v Json>,
    /// Whether this or something around it is as it was.
    unchanged: bool,
}

struct Rules<'e> {
    budget: u64,
    told: Told,
    errors: &'e mut Errors,
}

impl Rules<'_> {
    /// The rules of a value and of all in it; `None` when the budget is spent.
    fn value(&mut self, checks: &Checks, value: &Json, old: Old<'_>, path: Option<&Path<'_>>) -> Option<()> {
        if value.is_null() {
            return Some(());
        }
        let old = Old {
            unchanged: old.unchanged || old.value == Some(value),
            value: old.value.filter(|old| !old.is_null()),
        };
        for rule in &checks.rules {
            self.rule(rule, checks, value, old, path)?;
        }
        let root = path.unwrap_or(&Path::ROOT);
        match value {
            Json::Object(map) => {
                for (key, value) in map {
                    let old = Old { value: old.value.and_then(|old| old.get(key)), ..old };
                    if let Some(schema) = checks.property(key) {
                        self.value(schema, value, old, Some(&root.child(key)))?;
                    } else if let Some(schema) = checks.child(key) {
                        self.value(schema, value, old, Some(&root.key(key)))?;
                    }
                }
            }
            Json::Array(items) => {
                let Some(schema) = &checks.items else { return Some(()) };
                for (i, item) in items.iter().enumerate() {
                    let old = Old { value: correlated_item(&checks.list, item, old.value), ..old };
                    self.value(schema, item, old, Some(&root.index(i)))?;
                }
            }
            _ => {}
        }
        Some(())
    }

    fn rule(
        &mut self,
        rule: &Rule,
        checks: &Checks,
        value: &Json,
        old: Old<'_>,
        path: Option<&Path<'_>>,
    ) -> Option<()> {
        let nowhere = Path::new("<nil>");
        let here = path.unwrap_or(&nowhere);
        let kind = checks.types.first().copied().unwrap_or_default();
        let program = match rule.rule.program() {
            Ok(program) => program,
            Err(why) => {
                self.errors.invalid_str(
                    here,
                    kind,
                    &format!("rule compile error: compilation failed: {why}"),
                );
                return Some(());
            }
        };
        let transition = program.mentions("oldSelf");
        if transition && old.value.is_none() && !rule.optional_old_self {
            return Some(());
        }
        let ratchets = !transition && old.unchanged;
        if self.told == Told::Ratcheted && !ratchets {
            return Some(());
        }
        let mut variables = Variables::default();
        variables.set("self", json::value(value, Some(checks)));
        let before = old.value.map(|old| json::value(old, Some(checks)));
        if rule.optional_old_self {
            variables.set("oldSelf", before.into());
        } else if let Some(before) = before {
            variables.set("oldSelf", before);
        }
        let shown = rule.shown();
        let result = self.evaluate(program, &variables);
        if result.is_none() && self.told == Told::Held {
            let why = "validation failed due to running out of cost budget, no further validation rules will be run";
            self.errors.invalid_str(here, kind, why);
        }
        match result? {
            Ok(Value::Bool(true)) => return Some(()),
            Ok(_) => {}
            Err(_) if self.told == Told::Ratcheted => return Some(()),
            Err(error @ Error::TooExpensive) => {
                let why = format!(
                    "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}"
                );
                self.errors.invalid_str(here, kind, &why);
                return None;
            }
            Err(error @ (Error::NoSuchOverload | Error::Mismatch(_))) => {
                let why = format!(
                    "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {shown}"
                );
                self.errors.invalid_str(here, kind, &why);
                return Some(());
            }
            Err(error) => {
                self.errors.invalid_str(here, kind, &format!("{error} evaluating rule: {shown}"));
                return Some(());
            }
        }
        if ratchets != (self.told == Told::Ratcheted) {
            return Some(());
        }
        let message = rule.message_expression.as_ref().and_then(|text| self.message(text, &variables));
        let message = message.unwrap_or_else(|| match &rule.message {
            Some(message) => message.to_string(),
            None => format!("failed rule: {shown}"),
        });
        let below = rule.field_path.as_deref().and_then(|below| normalized(below, checks));
        let parent = path.unwrap_or(&Path::ROOT);
        let field = below.as_deref().map(|below| parent.child(below));
        self.broken(rule, value, field.as_ref().unwrap_or(here), &message);
        Some(())
    }

    fn broken(&mut self, rule: &Rule, value: &Json, path: &Path<'_>, message: &str) {
        match rule.reason.as_deref() {
            Some("FieldValueForbidden") => self.errors.forbidden(path, message),
            Some("FieldValueRequired") => self.errors.required(path, message),
            Some("FieldValueDuplicate") => self.errors.duplicate(path, value),
            // Structures are not shown: they are large, and the message says what is wrong with them.
            _ if value.is_object() || value.is_array() => {
                self.errors.push(path, Reason::Invalid, format!("Invalid value: {message}"));
            }
            _ => self.errors.invalid(path, value, message),
        }
    }

    /// The value of an expression; `None` when it has taken more than there was for all together.
    fn evaluate<'a>(
        &mut self,
        program: &'a Program,
        variables: &Variables<'a>,
    ) -> Option<Result<Value<'a>, Error>> {
        let mut budget = Budget::new(BUDGET_OF_RULE);
        let result = program.evaluate(variables, &mut budget);
        self.budget = self.budget.checked_sub(budget.spent())?;
        Some(result)
    }

    fn message<'a>(&mut self, expression: &'a Lazy, variables: &Variables<'a>) -> Option<String> {
        let Ok(Value::Text(text)) = self.evaluate(expression.program().ok()?, variables)? else {
            return None;
        };
        let text = text.trim();
        let fits = !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n');
        fits.then(|| text.to_owned())
    }
}

/// A path below a value as errors show it: names of fields and, in brackets, keys of maps.
fn normalized(path: &str, checks: &Checks) -> Option<String> {
    let (mut out, mut schema) = (String::new(), checks);
    field_path::walk(path, true, |name| {
        let property = schema.property(name);
        match (property, &schema.additional) {
            (Some(property), _) => {
                out.push_str(if out.is_empty() { "" } else { "." });
                out.push_str(name);
                schema = property;
            }
            (None, Additional::Of(values)) => {
                out.extend(["[", name, "]"]);
                schema = values;
            }
            (None, _) => return Err(field_path::Error::NoField),
        }
        Ok(())
    })
    .ok()?;
    Some(out)
}
