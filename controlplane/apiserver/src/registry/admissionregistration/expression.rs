//! Expressions in webhooks and policies.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cel::{Program, SyntaxError};
use crate::field::{Errors, Path};
use crate::registry::access::{list_at, str_at};
use crate::validation::fields::qualified_name;

const MAX_CONDITIONS: usize = 64;

/// What expressions may speak of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment {
    /// `params`
    pub parameters: bool,
    /// `authorizer`
    pub authorizer: bool,
    /// `variables`
    pub variables: bool,
}

/// Compiles an expression; says what is wrong with it, also if its value is of none of these types.
pub fn validate(
    errors: &mut Errors,
    path: &Path<'_>,
    text: &str,
    environment: Environment,
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

fn compile(text: &str, environment: Environment) -> Result<Program, SyntaxError> {
    let program = Program::parse(text)?;
    let mut known = vec!["object", "oldObject", "request", "namespaceObject"];
    for (is_known, name) in [
        (environment.parameters, "params"),
        (environment.authorizer, "authorizer"),
        (environment.variables, "variables"),
    ] {
        if is_known {
            known.push(name);
        }
    }
    program.unknown(text, &known)?;
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
                let environment = Environment { parameters, authorizer: true, variables: false };
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
