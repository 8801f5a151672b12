//! Reading the documents that clients send: decode, check that it is the right kind, prune, default.

mod deletion;
mod expected;

use http::HeaderMap;
use serde_json::Value;

use self::expected::{check_head, check_type};
pub use self::{deletion::delete_options, expected::Expected};
use crate::{
    codec,
    field::{Errors, Path},
    handlers::call::Call,
    negotiation::{self, Encoding},
    options::FieldValidation,
    registry::{Resource, versions},
    resource::Definition,
    schema::{decode, defaults, json, types::Type},
    status::{ApiError, GroupResource},
};

/// Reads an object of the call's resource (or of its subresource's kind, where that is the object itself).
pub fn read(
    call: &mut Call,
    headers: &HeaderMap,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Value, ApiError> {
    let definition = call.definition.clone();
    let object = read_as(call, headers, body, validation, &Expected::of(&definition)?)?;
    let object = finish(&definition, object)?;
    crate::audit::request_object(&object);
    Ok(object)
}

/// Reads a document of another kind, as subresources have it.
pub fn read_as(
    call: &mut Call,
    headers: &HeaderMap,
    body: &[u8],
    validation: FieldValidation,
    expected: &Expected<'_>,
) -> Result<Value, ApiError> {
    let encoding = negotiation::content_type(headers, expected.custom)?;
    let (object, problems) = decode_as(encoding, body, expected)?;
    report(call, expected, problems, validation)?;
    Ok(object)
}

/// Defaults a decoded object.
pub fn finish(definition: &Definition, mut object: Value) -> Result<Value, ApiError> {
    crate::metadata::metadata_mut(&mut object);
    defaults::apply_defaults(&mut object, definition.ty()?);
    definition.rules().default(&mut object);
    Ok(object)
}

/// How Go has what the server made of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// As text, which says itself of what type it is.
    Text,
    /// As a map, of which the type is known.
    Map,
}

/// Decodes an object that the server made itself, by a patch or by apply. `problems` are those found on
/// the way to it; `refuse` makes the error of what is wrong with it.
pub fn decode_made(
    call: &mut Call,
    object: Value,
    made: Made,
    validation: FieldValidation,
    problems: Vec<String>,
    refuse: &dyn Fn(&str) -> ApiError,
) -> Result<Value, ApiError> {
    let definition = call.definition.clone();
    let expected = Expected::of(&definition)?;
    let said = if made == Made::Text { said(&object, &expected, refuse)? } else { Said::Expected };
    let written = match said {
        Said::Version(resource) => Definition::Builtin(resource),
        _ => definition.clone(),
    };
    let form = Expected { ty: written.ty()?, ..expected };
    let object = decode_said(call, object, made, &form, &said, validation, problems, refuse)?;
    Ok(written.convert(finish(&written, object)?, &definition))
}

/// Decodes a document of another kind, as subresources have it, that the server made itself.
pub fn decode_made_as(
    call: &mut Call,
    object: Value,
    made: Made,
    expected: &Expected<'_>,
    validation: FieldValidation,
    problems: Vec<String>,
    refuse: &dyn Fn(&str) -> ApiError,
) -> Result<Value, ApiError> {
    let said = if made == Made::Text { said(&object, expected, refuse)? } else { Said::Expected };
    decode_said(call, object, made, expected, &said, validation, problems, refuse)
}

#[expect(clippy::too_many_arguments, reason = "the two above share all of it")]
fn decode_said(
    call: &mut Call,
    object: Value,
    made: Made,
    expected: &Expected<'_>,
    said: &Said,
    validation: FieldValidation,
    mut problems: Vec<String>,
    refuse: &dyn Fn(&str) -> ApiError,
) -> Result<Value, ApiError> {
    let decoded = match said {
        Said::Internal => Ok(nameless(object)),
        _ => decode_with_reset(object, expected.ty, made),
    };
    let (mut object, unknown) = decoded.map_err(|e| refuse(&e.to_string()))?;
    problems.extend(unknown);
    match validation {
        FieldValidation::Strict if !problems.is_empty() => {
            return Err(refuse(&format!("strict decoding error: {}", problems.join(", "))));
        }
        FieldValidation::Warn => call.warnings.extend(problems),
        FieldValidation::Strict | FieldValidation::Ignore => {}
    }
    if !expected.custom {
        let version = match said {
            Said::Version(resource) => resource.api_version(),
            _ => expected.api_version.clone(),
        };
        crate::metadata::set_top(&mut object, "apiVersion", Some(version.into()));
        crate::metadata::set_top(&mut object, "kind", Some(expected.kind.as_str().into()));
    }
    Ok(object)
}

/// What a document that the server made says that it is, as far as it can be read as the expected kind.
enum Said {
    /// That kind, or another version of it that has the same form.
    Expected,
    /// Another version of it.
    Version(&'static Resource),
    /// No version at all: Go then reads it into its internal type, which has hardly a field of that name.
    Internal,
}

fn said(
    document: &Value,
    expected: &Expected<'_>,
    refuse: &dyn Fn(&str) -> ApiError,
) -> Result<Said, ApiError> {
    check_head(document).map_err(|why| refuse(&why))?;
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version.matches('/').count() > 1 {
        return Err(refuse(&format!("unexpected GroupVersion string: {api_version}")));
    }
    if expected.custom {
        if kind.is_empty() {
            let mut body = Vec::new();
            json::write(document, None, &mut body);
            let body = String::from_utf8_lossy(&body);
            return Err(refuse(&format!("Object 'Kind' is missing in '{body}'")));
        }
        check_custom_update(document, expected)?;
        return Ok(Said::Expected);
    }
    let kind = if kind.is_empty() { &expected.kind } else { kind };
    if api_version == expected.api_version && kind == expected.kind {
        return Ok(Said::Expected);
    }
    if api_version.is_empty() {
        if kind == expected.kind {
            return Ok(Said::Internal);
        }
        return Err(refuse(&format!(
            "no kind {kind:?} is registered for the internal version of group {:?} in scheme \"vkube\"",
            expected.group
        )));
    }
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    if kind == expected.kind && versions::is_another_version(group, version, kind, &expected.group) {
        return Ok(Resource::find_kind(group, version, kind).map_or(Said::Expected, Said::Version));
    }
    if !versions::is_known(group, version, kind) {
        return Err(refuse(&not_registered(api_version, kind)));
    }
    // What it says that it is must be readable before it can turn out to be something else.
    let other = Resource::find_kind(group, version, kind).map(Definition::Builtin);
    let unreadable = other.and_then(|other| decode::decode(document.clone(), other.ty().ok()?).err());
    let internal = internal_group(&expected.group);
    Err(refuse(&unreadable.map_or_else(
        || format!("converting ({version}.{kind}) to ({internal}.{}): unknown conversion", expected.kind),
        |error| error.to_string(),
    )))
}

/// What Go's internal type takes of a document: nothing that has a name of its own. The rest is unknown to it.
fn nameless(document: Value) -> (Value, Vec<String>) {
    let fields = match document {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    };
    let unknown = fields.keys().filter(|name| !matches!(name.as_str(), "apiVersion" | "kind"));
    let unknown = unknown.map(|name| format!("unknown field \"{name}\"")).collect();
    (Value::Object(serde_json::Map::new()), unknown)
}

/// What is wrong with a custom object that says that it is something else.
fn check_custom_update(document: &Value, expected: &Expected<'_>) -> Result<(), ApiError> {
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version.is_empty() {
        return Err(ApiError::internal(
            "Object 'apiVersion' is missing in 'unstructured object has no version'",
        ));
    }
    let mut errors = Errors::default();
    for (field, given, wanted) in
        [("kind", kind, &expected.kind), ("apiVersion", api_version, &expected.api_version)]
    {
        if given != wanted {
            errors.invalid_str(&Path::new(field), given, &format!("must be {wanted}"));
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    Err(ApiError::invalid(GroupResource { group, resource: kind }, crate::metadata::name(document), &errors))
}

fn not_registered(api_version: &str, kind: &str) -> String {
    format!("no kind {kind:?} is registered for version {api_version:?} in scheme \"vkube\"")
}

fn internal_group(group: &str) -> &str {
    match group {
        // Events are the same in both groups.
        "" | "events.k8s.io" => "core",
        group => group.split('.').next().unwrap_or_default(),
    }
}

/// Decodes a document in which an empty list of managed fields survives, since it resets them.
fn decode_with_reset(
    document: Value,
    ty: Type<'_>,
    made: Made,
) -> Result<(Value, Vec<String>), decode::DecodeError> {
    let entries = crate::metadata::get(&document, "managedFields").and_then(Value::as_array);
    let resets = entries.is_some_and(Vec::is_empty);
    let (mut object, problems) = match made {
        Made::Text => decode::decode(document, ty)?,
        Made::Map => decode::restore(document, ty)?,
    };
    if resets {
        crate::metadata::set(&mut object, "managedFields", Vec::<Value>::new());
    }
    Ok((object, problems))
}

/// Decodes a document; the second value lists unknown and duplicate fields.
fn decode_as(
    encoding: Encoding,
    body: &[u8],
    expected: &Expected<'_>,
) -> Result<(Value, Vec<String>), ApiError> {
    let ty = expected.ty;
    let unrecognized = |why: &str| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {why} ({})",
            expected.kind,
            excerpt(body)
        ))
    };
    let undecodable = |why: &str| {
        let version = expected.api_version.rsplit('/').next().unwrap_or_default();
        ApiError::bad_request(format!(
            "{} in version {version:?} cannot be handled as a {}: {why}",
            expected.kind, expected.kind
        ))
    };
    let (mut document, mut problems) = match encoding {
        Encoding::Json | Encoding::PrettyJson => json::parse(body, Some(ty)).map_err(|e| match e {
            json::JsonError::Number(_) => undecodable(&e.to_string()),
            _ => unrecognized(&format!("couldn't get version/kind; json parse error: {e}")),
        })?,
        Encoding::Yaml => codec::yaml::read(body).map_err(|e| unrecognized(&e))?,
        Encoding::Protobuf => (codec::from_protobuf(body, ty).map_err(|e| unrecognized(&e))?, Vec::new()),
    };
    check_head(&document).map_err(|why| unrecognized(&why))?;
    if document.is_null() {
        document = Value::Object(serde_json::Map::new());
    }
    check_type(&mut document, expected, &unrecognized)?;
    let (object, unknown) =
        decode_with_reset(document, ty, Made::Text).map_err(|e| undecodable(&e.to_string()))?;
    if encoding == Encoding::Yaml || matches!(ty, Type::Custom(_)) {
        problems.extend(unknown);
    }
    crate::audit::request_object(&object);
    Ok((object, problems))
}

/// Warns of, or refuses, unknown and duplicate fields.
pub fn report(
    call: &mut Call,
    expected: &Expected<'_>,
    problems: Vec<String>,
    validation: FieldValidation,
) -> Result<(), ApiError> {
    match validation {
        FieldValidation::Strict if !problems.is_empty() => {
            let version = expected.api_version.rsplit('/').next().unwrap_or_default();
            Err(ApiError::bad_request(format!(
                "{} in version {version:?} cannot be handled as a {}: strict decoding error: {}",
                expected.kind,
                expected.kind,
                problems.join(", ")
            )))
        }
        FieldValidation::Warn => {
            call.warnings.extend(problems);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The start of a body, as the errors show it: text as it is, anything else in hexadecimal.
fn excerpt(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    if body.is_empty() {
        return "<empty>".into();
    }
    let cut = &body[..body.len().min(SHOWN)];
    let more = if body.len() > SHOWN { " ..." } else { "" };
    if body.first() == Some(&b'{')
        && let Ok(text) = std::str::from_utf8(cut)
    {
        return format!("{text}{more}");
    }
    let hex: String = cut.iter().map(|b| format!("{b:02x}")).collect();
    format!("{hex}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_another_version_is_refused_for_its_version_and_another_type_for_its_type() {
        let hpa =
            Definition::Builtin(Resource::find_kind("autoscaling", "v2", "HorizontalPodAutoscaler").unwrap());
        for (api_version, kind, why) in [
            (
                "autoscaling/v1",
                "HorizontalPodAutoscaler",
                "the API version in the data (autoscaling/v1) does not match the expected API version \
                 (autoscaling/v2)",
            ),
            (
                "",
                "Pod",
                "Pod in version \"v2\" cannot be handled as a HorizontalPodAutoscaler: no kind \"Pod\" is registered \
                 for version \"autoscaling/v2\" in scheme \"vkube\"",
            ),
            (
                "extensions/v1beta1",
                "DeploymentList",
                "DeploymentList in version \"v1beta1\" cannot be handled as a HorizontalPodAutoscaler: converting \
                 (v1beta1.DeploymentList) to (autoscaling.HorizontalPodAutoscaler): unknown conversion",
            ),
        ] {
            let body = serde_json::json!({"apiVersion": api_version, "kind": kind}).to_string();
            let error = decode_as(Encoding::Json, body.as_bytes(), &Expected::of(&hpa).unwrap()).unwrap_err();
            assert_eq!(error.message, why);
        }
    }
}
