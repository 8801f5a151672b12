//! Changes to an object before it is written to the other side.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::path::Path;
use super::references::Reference;

/// What an expression may look at.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The object on the side that it comes from.
    pub source: &'a Value,
    /// The object about to be written, as far as it is done.
    pub object: &'a Value,
    /// What stands at the patch's path; `null` if nothing does.
    pub value: &'a Value,
}

/// The outcome of an expression, or why it has none.
pub type Evaluated = Result<Value, String>;

/// An expression that is ready to be evaluated. The language is the API server's (CEL), which this crate does not
/// know: whoever makes the rules brings the compiler.
#[derive(Clone)]
pub struct Expression(Arc<dyn Fn(Inputs<'_>) -> Evaluated + Send + Sync>);

impl Expression {
    /// An expression that `evaluate` evaluates.
    pub fn new(evaluate: impl Fn(Inputs<'_>) -> Evaluated + Send + Sync + 'static) -> Self {
        Self(Arc::new(evaluate))
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expression")
    }
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    /// Sets each place to what an expression yields; `null` removes it.
    Set { path: Path, text: String, expression: Expression },
    /// Says that each place names another object, whose name is translated.
    Refer(Reference),
}

/// Why a patch cannot be applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("patch {text:?}: {why}")]
pub(crate) struct PatchError {
    text: String,
    why: String,
}

impl Patch {
    /// The reference that the patch declares, if it does.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Refer(reference) => Some(reference),
            Self::Set { .. } => None,
        }
    }
}

/// Applies the expressions among `patches`, in their order, to `object`.
pub(crate) fn apply(patches: &[Patch], source: &Value, object: &mut Value) -> Result<(), PatchError> {
    for patch in patches {
        let Patch::Set { path, text, expression } = patch else { continue };
        let before = object.clone();
        path.change(object, &mut |value| {
            let inputs = Inputs { source, object: &before, value };
            *value = (expression.0)(inputs).map_err(|why| PatchError { text: text.clone(), why })?;
            Ok(())
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(path: &str, evaluate: impl Fn(Inputs<'_>) -> Evaluated + Send + Sync + 'static) -> Patch {
        let expression = Expression::new(evaluate);
        Patch::Set { path: Path::parse(path).unwrap(), text: path.to_owned(), expression }
    }

    #[test]
    fn a_later_patch_sees_what_an_earlier_one_did() {
        let patches = [
            set("spec.a", |inputs| Ok(json!(format!("{}!", inputs.value.as_str().unwrap())))),
            set("spec.b", |inputs| Ok(inputs.object["spec"]["a"].clone())),
            set("spec.c", |inputs| Ok(inputs.source["spec"]["a"].clone())),
        ];
        let source = json!({ "spec": { "a": "x" } });
        let mut object = source.clone();
        apply(&patches, &source, &mut object).unwrap();
        assert_eq!(object, json!({ "spec": { "a": "x!", "b": "x!", "c": "x" } }));
    }

    #[test]
    fn null_removes_the_field() {
        let mut object = json!({ "spec": { "a": "x", "b": 1 } });
        apply(&[set("spec.a", |_| Ok(Value::Null))], &json!({}), &mut object).unwrap();
        assert_eq!(object, json!({ "spec": { "b": 1 } }));
    }

    #[test]
    fn a_failing_expression_names_itself() {
        let error =
            apply(&[set("spec.a", |_| Err("no such key".into()))], &json!({}), &mut json!({"spec": {}}));
        assert_eq!(error.unwrap_err().to_string(), r#"patch "spec.a": no such key"#);
    }
}
