//! What the expressions of mutations make, applied to objects.

use serde_json::{Value, json};

use crate::{
    cel::{self, json::document, value::Made},
    managed_fields::mutation,
    patch::{Error as PatchError, json_patch},
    schema::types::Type,
};

/// Why a mutation does not apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The expression made something else.
    #[error("unsupported return type from ApplyConfiguration expression: {0}")]
    NoObject(&'static str),
    /// Objects in it are of types that their places do not have.
    #[error("type mismatch: {0}")]
    TypeNames(String),
    /// It has no form in JSON.
    #[error("invalid return type: {0}")]
    NoDocument(#[source] cel::Error),
    /// It does not fit the object.
    #[error("error applying patch: {0}")]
    Unfit(#[from] mutation::Error),
    /// The expression made no list of operations.
    #[error("type mismatch: JSONPatchType.expression should evaluate to array")]
    NoList,
    /// There is something else in the list.
    #[error(
        "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch, got element of {0}"
    )]
    NoOperation(&'static str),
    /// An operation's field is of another type.
    #[error("unexpected type {1} for JSONPatchType '{0}' field")]
    OperationField(String, &'static str),
    /// An operation has a field that there is not.
    #[error("unexpected JSONPatchType field: {0}")]
    UnknownField(String),
    /// An operation's value has no form in JSON.
    #[error("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {0}")]
    NoValue(#[source] cel::Error),
    /// The operations do not fit the object.
    #[error("JSONPath: {0}")]
    Operations(#[source] PatchError),
}

/// Merges the configuration that an expression made into an object.
pub fn configuration(live: &Value, made: &cel::Value<'_>, ty: Type<'_>) -> Result<Value, Error> {
    let cel::Value::Made(object) = made else { return Err(Error::NoObject(made.type_name())) };
    check_names(object, "Object")?;
    let mut patch = document(made).map_err(Error::NoDocument)?;
    for field in ["apiVersion", "kind"] {
        patch[field] = live.get(field).cloned().unwrap_or_default();
    }
    Ok(mutation::merge(live, &patch, ty)?)
}

/// Applies the operations that an expression made to an object. A failed test leaves it as it is.
pub fn operations(live: &Value, made: &cel::Value<'_>) -> Result<Value, Error> {
    let items = made.items().ok_or(Error::NoList)?;
    let patch = items.iter().map(operation).collect::<Result<Vec<_>, _>>()?;
    let mut object = live.clone();
    match json_patch::apply(&mut object, &patch.into()) {
        Ok(()) => Ok(object),
        Err(PatchError::Unprocessable(why)) if why.ends_with("test failed") => Ok(live.clone()),
        Err(error) => Err(Error::Operations(error)),
    }
}

fn operation(made: &cel::Value<'_>) -> Result<Value, Error> {
    let cel::Value::Made(Made { name: "JSONPatch", fields }) = made else {
        return Err(Error::NoOperation(made.type_name()));
    };
    let mut operation = json!({});
    for (name, value) in fields.iter() {
        match (*name, value) {
            ("op" | "path" | "from", cel::Value::Text(text)) => operation[*name] = (&**text).into(),
            ("op" | "path" | "from", other) => {
                return Err(Error::OperationField((*name).into(), other.type_name()));
            }
            ("value", value) => {
                if let cel::Value::Made(object) = value {
                    check_names(object, object.name)?;
                }
                operation[*name] = document(value).map_err(Error::NoValue)?;
            }
            (other, _) => return Err(Error::UnknownField(other.into())),
        }
    }
    Ok(operation)
}

/// An object below `Object.spec` is of the type that is named by its place.
fn check_names(object: &Made<'_>, place: &str) -> Result<(), Error> {
    let mut wrong = Vec::new();
    misplaced(&cel::Value::Made(object.clone()), place, &mut wrong);
    if wrong.is_empty() { Ok(()) } else { Err(Error::TypeNames(wrong.join("\n"))) }
}

fn misplaced(value: &cel::Value<'_>, place: &str, wrong: &mut Vec<String>) {
    match value {
        cel::Value::Made(object) => {
            if object.name != place {
                wrong.push(format!(
                    "unexpected type name {:?}, expected {place:?}, which matches field name path from root Object type",
                    object.name
                ));
            }
            for (name, value) in object.fields.iter() {
                misplaced(value, &format!("{place}.{name}"), wrong);
            }
        }
        cel::Value::List(items) => items.iter().for_each(|item| misplaced(item, place, wrong)),
        cel::Value::Map(entries) => entries.iter().for_each(|(_, value)| misplaced(value, place, wrong)),
        _ => {}
    }
}
