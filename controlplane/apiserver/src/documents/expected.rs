//! What kind of document a request must carry, and what is said of one of another kind.

use serde_json::Value;

use super::{internal_group, not_registered};
use crate::{
    field::{Errors, Path},
    registry::versions,
    resource::Definition,
    schema::types::Type,
    status::{ApiError, GroupResource},
};

/// What kind of document a request must carry.
pub struct Expected<'a> {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its `kind`.
    pub kind: String,
    /// Its group.
    pub group: String,
    /// Whether the type must be there, as custom resources demand.
    pub custom: bool,
    /// The type of its schema.
    pub ty: Type<'a>,
}

impl<'a> Expected<'a> {
    /// A document of this definition.
    pub fn of(definition: &'a Definition) -> Result<Self, ApiError> {
        Ok(Self {
            api_version: definition.api_version(),
            kind: definition.kind().to_owned(),
            group: definition.group().to_owned(),
            custom: matches!(definition, Definition::Custom(_)),
            ty: definition.ty()?,
        })
    }

    /// A document of a kind that has no resource of its own, with the package of its schema.
    pub fn part(api_version: &str, kind: &str, package: &str) -> Result<Self, ApiError> {
        let ty = Type::builtin(&format!("{package}.{kind}"));
        Ok(Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            group: api_version.split_once('/').map_or("", |(group, _)| group).to_owned(),
            custom: false,
            ty: ty.ok_or_else(|| ApiError::internal(format!("no schema of {kind}")))?,
        })
    }
}

/// Checks the type that a document says it has, and gives it the one expected where it says nothing.
pub(super) fn check_type(
    document: &mut Value,
    expected: &Expected<'_>,
    unrecognized: &dyn Fn(&str) -> ApiError,
) -> Result<(), ApiError> {
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version.matches('/').count() > 1 {
        return Err(unrecognized(&format!("unexpected GroupVersion string: {api_version}")));
    }
    if expected.custom {
        return check_custom_type(document, expected, unrecognized);
    }
    let wrong = (!api_version.is_empty() && api_version != expected.api_version)
        || (!kind.is_empty() && kind != expected.kind);
    if wrong && !expected.custom {
        // What the document does not say is as the path has it.
        let api_version = if api_version.is_empty() { expected.api_version.clone() } else { api_version };
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
        let kind = if kind.is_empty() { &expected.kind } else { &kind };
        if *kind == expected.kind && versions::is_another_version(group, version, kind, &expected.group) {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({api_version}) does not match the expected API version ({})",
                expected.api_version
            )));
        }
        let why = if versions::is_known(group, version, kind) {
            let internal = internal_group(&expected.group);
            format!("converting ({version}.{kind}) to ({internal}.{}): unknown conversion", expected.kind)
        } else {
            not_registered(&api_version, kind)
        };
        return Err(ApiError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {}: {why}",
            expected.kind
        )));
    }
    crate::metadata::set_top(document, "apiVersion", Some(expected.api_version.as_str().into()));
    crate::metadata::set_top(document, "kind", Some(expected.kind.as_str().into()));
    Ok(())
}

fn check_custom_type(
    document: &Value,
    expected: &Expected<'_>,
    unrecognized: &dyn Fn(&str) -> ApiError,
) -> Result<(), ApiError> {
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if kind.is_empty() {
        return Err(unrecognized(&format!("Object 'Kind' is missing in '{document}'")));
    }
    if api_version != expected.api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            expected.api_version
        )));
    }
    if kind != expected.kind {
        let mut errors = Errors::default();
        errors.invalid_str(&Path::new("kind"), kind, &format!("must be {}", expected.kind));
        let resource = GroupResource { group: &expected.group, resource: kind };
        return Err(ApiError::invalid(resource, crate::metadata::name(document), &errors));
    }
    Ok(())
}

/// What Go has against a document in which it cannot find what type it has.
pub(super) fn check_head(document: &Value) -> Result<(), String> {
    let given = match document {
        Value::Null => return Ok(()),
        Value::Object(fields) => ["apiVersion", "kind"].into_iter().find_map(|field| {
            let given = fields.get(field).filter(|given| !given.is_null() && !given.is_string())?;
            Some((given, format!("Go struct field .{field} of type string")))
        }),
        other => Some((
            other,
            "Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \
             \"json:\\\"kind,omitempty\\\"\" }"
                .to_owned(),
        )),
    };
    given.map_or(Ok(()), |(given, into)| {
        let given = crate::patch::printed::json_name(given);
        Err(format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {given} into {into}"
        ))
    })
}
