//! Expressions in webhooks and policies.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cel::{Program, Scope, SyntaxError};
use crate::field::{Errors, Path};
use crate::registry::access::{list_at, str_at};
use crate::validation::fields::qualified_name;

const MAX_CONDITIONS: usize = 64;

/// What expressions may speak of, besides the request and its objects.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment<'s> {
    /// `params`
    pub parameters: bool,
    /// `authorizer`
    pub authorizer: bool,
    /// The fields of `variables`, where there is such a variable.
    pub variables: Option<&'s [&'s str]>,
    /// Whether they make patches.
    pub patches: bool,
}

/// Compiles an expression; says what is wrong with it, also if its value is of none of these types.
pub fn validate(
    errors: &mut Errors,
    path: &Path<'_>,
    text: &str,
    environment: Environment<'_>,
    types: &[&'static str],
) {
    const DYNAMIC: &[(&str, &str)] = &[("object", "dyn"), ("oldObject", "dyn"), ("params", "dyn")];
    match compile(text, environment) {
        Err(why) => errors.invalid_str(path, text, &format!("compilation failed: {why}")),
        Ok(program) => {
            let kind = program.outcome(DYNAMIC).unwrap_or_default();
            match types {
                [] => {}
                _ if kind.is_empty() || types.contains(&kind) => {}
                [only] => {
                    errors.invalid_str(path, text, &format!("must evaluate to {only} but got {kind}"));
                }
                several => {
                    let why = format!("must evaluate to one of [{}]", several.join(" "));
                    errors.invalid_str(path, text, &why);
                }
            }
        }
    }
}

/// Compiles an expression.
pub fn compile(text: &str, environment: Environment<'_>) -> Result<Program, SyntaxError> {
    let program = Program::parse(text)?;
    let mut variables = vec!["object", "oldObject", "request", "namespaceObject"];
    variables.extend(environment.parameters.then_some("params"));
    variables.extend(environment.authorizer.then_some("authorizer"));
    let scope =
        Scope { variables: &variables, composed: environment.variables, patches: environment.patches };
    program.unknown(text, &scope)?;
    Ok(program)
}

/// `matchConditions`
pub fn validate_conditions(errors: &mut Errors, path: &Path<'_>, owner: &Value, parameters: bool) {
    let conditions = list_at(owner, "/matchConditions");
    if conditions.len() > MAX_CONDITIONS {
        errors.too_many(path, conditions.len(), MAX_CONDITIONS);
    }
    let mut seen = BTreeSet::new();
    for (index, condition) in conditions.iter().enumerate() {
        let path = path.index(index);
        match str_at(condition, "/expression").trim() {
            "" => errors.required(&path.child("expression"), ""),
            text => {
                let environment = Environment { parameters, authorizer: true, ..Environment::default() };
                validate(errors, &path.child("expression"), text, environment, &["bool"]);
            }
        }
        match str_at(condition, "/name") {
            "" => errors.required(&path.child("name"), ""),
            name => {
                qualified_name(errors, &path.child("name"), name);
                if !seen.insert(name) {
                    errors.duplicate(&path.child("name"), &name.into());
                }
            }
        }
    }
}

/// Whether a name can be one of CEL.
pub fn is_identifier(name: &str) -> bool {
    const RESERVED: &[&str] = &[
        "true",
        "false",
        "null",
        "in",
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
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !RESERVED.contains(&name)
}
