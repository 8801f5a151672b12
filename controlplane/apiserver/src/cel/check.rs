//! What can be known of an expression before it is evaluated: whether its names exist.

use super::{
    functions,
    parse::SyntaxError,
    syntax::{Expression, Kind},
};

/// The variable whose fields are expressions themselves.
pub const VARIABLES: &str = "variables";

/// What expressions in some place may speak of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'s> {
    /// The variables.
    pub variables: &'s [&'s str],
    /// The fields of `variables`; absent where there is no such variable.
    pub composed: Option<&'s [&'s str]>,
    /// Whether it may make patches: objects of the types `Object…` and `JSONPatch`.
    pub patches: bool,
}

/// The first name that nobody knows, if there is one.
pub fn check(expression: &Expression, text: &str, scope: &Scope<'_>) -> Result<(), SyntaxError> {
    let mut variables = scope.variables.to_vec();
    variables.extend(scope.composed.map(|_| VARIABLES));
    Checker { text, scope, variables }.check(expression)
}

struct Checker<'t> {
    text: &'t str,
    scope: &'t Scope<'t>,
    variables: Vec<&'t str>,
}

impl<'t> Checker<'t> {
    fn check(&mut self, expression: &'t Expression) -> Result<(), SyntaxError> {
        match &expression.kind {
            Kind::Literal(_) => Ok(()),
            Kind::Variable(name) => {
                let known = self.variables.contains(&&**name) || functions::TYPES.contains(&&**name);
                if known { Ok(()) } else { Err(self.undeclared(expression.at, name)) }
            }
            Kind::Call { function, arguments, .. } => {
                if !functions::is_known(function) {
                    return Err(self.undeclared(expression.at, function));
                }
                arguments.iter().try_for_each(|argument| self.check(argument))
            }
            Kind::Select { operand, field, .. } | Kind::Has { operand, field } => {
                self.check(operand)?;
                let composed = matches!(&operand.kind, Kind::Variable(name) if &**name == VARIABLES);
                match self.scope.composed.filter(|_| composed) {
                    Some(known) if !known.contains(&&**field) => {
                        Err(SyntaxError::new(self.text, expression.at, format!("undefined field '{field}'")))
                    }
                    _ => Ok(()),
                }
            }
            Kind::Index { operand, index, .. } => {
                self.check(operand)?;
                self.check(index)
            }
            Kind::List(items) => items.iter().try_for_each(|item| self.check(&item.value)),
            Kind::Map(entries) => entries.iter().try_for_each(|(key, item)| {
                self.check(key)?;
                self.check(&item.value)
            }),
            Kind::Make { name, fields } => {
                if !self.scope.patches || !is_patch_type(name) {
                    return Err(self.undeclared(expression.at, name));
                }
                fields.iter().try_for_each(|(_, item)| self.check(&item.value))
            }
            Kind::Not(inner) | Kind::Negate(inner) => self.check(inner),
            Kind::And(parts) | Kind::Or(parts) => parts.iter().try_for_each(|part| self.check(part)),
            Kind::Choice(parts) => parts.iter().try_for_each(|part| self.check(part)),
            Kind::Binary(_, parts) => parts.iter().try_for_each(|part| self.check(part)),
            Kind::Bind { name, parts } | Kind::OptionalMap { name, parts, .. } => {
                let [value, body] = &**parts;
                self.check(value)?;
                self.within(&[name], body)
            }
            Kind::Comprehension(of) => {
                self.check(&of.range)?;
                let names: Vec<&str> =
                    [Some(&of.name), of.second.as_ref()].into_iter().flatten().map(|n| &**n).collect();
                if let Some(filter) = &of.filter {
                    self.within(&names, filter)?;
                }
                self.within(&names, &of.body)
            }
        }
    }

    fn within(&mut self, names: &[&'t str], body: &'t Expression) -> Result<(), SyntaxError> {
        self.variables.extend(names);
        let result = self.check(body);
        self.variables.truncate(self.variables.len() - names.len());
        result
    }

    fn undeclared(&self, at: usize, name: &str) -> SyntaxError {
        SyntaxError::new(self.text, at, format!("undeclared reference to '{name}' (in container '')"))
    }
}

/// The types of which a mutation makes its patch.
fn is_patch_type(name: &str) -> bool {
    name == "JSONPatch" || name == "Object" || name.starts_with("Object.")
}
