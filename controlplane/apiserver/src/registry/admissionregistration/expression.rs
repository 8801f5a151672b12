//! Expressions in webhooks and policies.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cel::{self, Declared, Issues, Program, Scope, Type};
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
    pub variables: Option<&'s [(&'s str, Type)]>,
    /// Whether they make patches.
    pub patches: bool,
    /// What is known of `object`, `oldObject` and `params` beyond that they may be there.
    pub objects: Option<Objects<'s>>,
}

/// The types of what an expression judges.
#[derive(Clone, Copy, Debug)]
pub struct Objects<'s> {
    /// Their fields.
    pub declared: &'s Declared<'s>,
    /// The type of `object` and `oldObject`.
    pub object: &'s Type,
    /// The type of `params`.
    pub parameters: &'s Type,
}

/// Compiles an expression and says what is wrong with it, also if its value is of none of these types.
/// Its type is the answer; what is wrong may be anything.
pub fn validate(
    errors: &mut Errors,
    path: &Path<'_>,
    text: &str,
    environment: Environment<'_>,
    wanted: &[Type],
) -> Type {
    match compile(text, environment) {
        Err(why) => errors.invalid_str(path, text, &format!("compilation failed: {why}")),
        Ok(found) if wanted.is_empty() || wanted.contains(&found) => return found,
        Ok(found) => {
            let why = match wanted {
                [only] => format!("must evaluate to {only} but got {found}"),
                several => {
                    let several: Vec<String> = several.iter().map(ToString::to_string).collect();
                    format!("must evaluate to one of [{}] but got {found}", several.join(" "))
                }
            };
            errors.invalid_str(path, text, &why);
        }
    }
    Type::Dyn
}

/// The type of an expression.
pub fn compile(text: &str, environment: Environment<'_>) -> Result<Type, Issues> {
    let program = Program::parse(text)?;
    let named = |name: &str| Type::Named(name.to_owned());
    let (object, parameters) = match environment.objects {
        Some(objects) => (objects.object.clone(), objects.parameters.clone()),
        None => (Type::Dyn, Type::Dyn),
    };
    let mut variables = vec![
        ("object", object.clone()),
        ("oldObject", object),
        ("request", named("kubernetes.AdmissionRequest")),
        ("namespaceObject", named("kubernetes.Namespace")),
    ];
    variables.extend(environment.parameters.then_some(("params", parameters)));
    let authorizer = ("authorizer", named("kubernetes.authorization.Authorizer"));
    variables.extend(environment.authorizer.then_some(authorizer));
    let scope = Scope {
        variables: &variables,
        composed: environment.variables,
        patches: environment.patches,
        declared: environment.objects.map(|objects| objects.declared),
        measured: None,
    };
    program.check(text, &scope)
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
                validate(errors, &path.child("expression"), text, environment, &[Type::BOOL]);
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
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !cel::is_reserved(name)
}
