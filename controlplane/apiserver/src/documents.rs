//! Reading the documents that clients send: decode, check that it is the right kind, prune, default.

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::{
    codec,
    field::{Errors, Path},
    handlers::call::Call,
    negotiation::{self, Encoding},
    options::FieldValidation,
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
    let custom = matches!(call.definition, Definition::Custom(_));
    let encoding = negotiation::content_type(headers, custom)?;
    let definition = call.definition.clone();
    let expected = Expected {
        api_version: definition.api_version(),
        kind: definition.kind().to_owned(),
        group: definition.group().to_owned(),
        custom,
    };
    let (object, problems) = read_as(encoding, body, &expected, definition.ty()?)?;
    report(call, &expected, problems, validation)?;
    let object = finish(&definition, object)?;
    crate::audit::request_object(&object);
    Ok(object)
}

/// Defaults a decoded object.
pub fn finish(definition: &Definition, mut object: Value) -> Result<Value, ApiError> {
    crate::metadata::metadata_mut(&mut object);
    defaults::apply_defaults(&mut object, definition.ty()?);
    definition.rules().default(&mut object);
    Ok(object)
}

/// Decodes an object that the server made itself, by a patch or by apply. `problems` are those found on
/// the way to it; `refuse` makes the error of what is wrong with it.
pub fn decode_made(
    call: &mut Call,
    object: Value,
    validation: FieldValidation,
    mut problems: Vec<String>,
    refuse: &dyn Fn(&str) -> ApiError,
) -> Result<Value, ApiError> {
    let definition = call.definition.clone();
    if let Some(why) = other_kind(&object, &definition) {
        return Err(refuse(&why));
    }
    let (object, unknown) =
        decode_with_reset(object, definition.ty()?).map_err(|e| refuse(&e.to_string()))?;
    problems.extend(unknown);
    match validation {
        FieldValidation::Strict if !problems.is_empty() => {
            return Err(refuse(&format!("strict decoding error: {}", problems.join(", "))));
        }
        FieldValidation::Warn => call.warnings.extend(problems),
        FieldValidation::Strict | FieldValidation::Ignore => {}
    }
    finish(&definition, object)
}

/// Why a document cannot be read as the definition's kind, if it says that it is of another one.
fn other_kind(document: &Value, definition: &Definition) -> Option<String> {
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version == definition.api_version() && kind == definition.kind() {
        return None;
    }
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let Some(other) = crate::registry::Resource::find_kind(group, version, kind) else {
        return Some(not_registered(api_version, kind));
    };
    // What it says that it is must be readable before it can turn out to be something else.
    let ty = Definition::Builtin(other);
    let unreadable = ty.ty().ok().and_then(|ty| decode::decode(document.clone(), ty).err());
    let internal = internal_group(definition.group());
    Some(unreadable.map_or_else(
        || format!("converting ({version}.{kind}) to ({internal}.{}): unknown conversion", definition.kind()),
        |error| error.to_string(),
    ))
}

fn not_registered(api_version: &str, kind: &str) -> String {
    format!("no kind {kind:?} is registered for version {api_version:?} in scheme \"vkube\"")
}

fn internal_group(group: &str) -> &str {
    if group.is_empty() { "core" } else { group.split('.').next().unwrap_or_default() }
}

/// Decodes a document in which an empty list of managed fields survives, since it resets them.
fn decode_with_reset(document: Value, ty: Type<'_>) -> Result<(Value, Vec<String>), decode::DecodeError> {
    let entries = crate::metadata::get(&document, "managedFields").and_then(Value::as_array);
    let resets = entries.is_some_and(Vec::is_empty);
    let (mut object, problems) = decode::decode(document, ty)?;
    if resets {
        crate::metadata::set(&mut object, "managedFields", Vec::<Value>::new());
    }
    Ok((object, problems))
}

/// What kind of document a request must carry.
pub struct Expected {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its `kind`.
    pub kind: String,
    /// Its group.
    pub group: String,
    /// Whether the type must be there, as custom resources demand.
    pub custom: bool,
}

/// Decodes a document; the second value lists unknown and duplicate fields.
pub fn read_as(
    encoding: Encoding,
    body: &[u8],
    expected: &Expected,
    ty: Type<'_>,
) -> Result<(Value, Vec<String>), ApiError> {
    let unrecognized = |why: &str| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {why} ({})",
            expected.kind,
            excerpt(body)
        ))
    };
    let (mut document, mut problems) = match encoding {
        Encoding::Json | Encoding::PrettyJson => json::parse(body, Some(ty))
            .map_err(|e| unrecognized(&format!("couldn't get version/kind; json parse error: {e}")))?,
        Encoding::Yaml => codec::yaml::read(body).map_err(|e| unrecognized(&e))?,
        Encoding::Protobuf => (codec::from_protobuf(body, ty).map_err(|e| unrecognized(&e))?, Vec::new()),
    };
    match &document {
        Value::Null => document = Value::Object(serde_json::Map::new()),
        Value::Object(_) => {}
        other => {
            return Err(unrecognized(&format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
                crate::patch::printed::json_name(other)
            )));
        }
    }
    check_type(&mut document, expected, &unrecognized)?;
    let (object, unknown) = decode_with_reset(document, ty).map_err(|e| {
        let version = expected.api_version.rsplit('/').next().unwrap_or_default();
        ApiError::bad_request(format!(
            "{} in version {version:?} cannot be handled as a {}: {e}",
            expected.kind, expected.kind
        ))
    })?;
    if encoding == Encoding::Yaml || matches!(ty, Type::Custom(_)) {
        problems.extend(unknown);
    }
    crate::audit::request_object(&object);
    Ok((object, problems))
}

fn check_type(
    document: &mut Value,
    expected: &Expected,
    unrecognized: &dyn Fn(&str) -> ApiError,
) -> Result<(), ApiError> {
    for field in ["apiVersion", "kind"] {
        match document.get(field) {
            None | Some(Value::Null | Value::String(_)) => {}
            Some(other) => {
                return Err(unrecognized(&format!(
                    "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go struct field .{field} of type string",
                    crate::patch::printed::json_name(other)
                )));
            }
        }
    }
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
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
        let kind = if kind.is_empty() { &expected.kind } else { &kind };
        let known = crate::registry::Resource::find_kind(group, version, kind).is_some()
            || matches!((group, kind.as_str()), ("", "List"));
        let why = if known {
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
    expected: &Expected,
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

/// Warns of, or refuses, unknown and duplicate fields.
pub fn report(
    call: &mut Call,
    expected: &Expected,
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

/// Reads DeleteOptions.
pub fn delete_options(headers: &HeaderMap, body: &[u8]) -> Result<Value, ApiError> {
    let document = match negotiation::content_type(headers, false) {
        Ok(Encoding::Yaml) => codec::yaml::read(body).map_err(ApiError::bad_request)?.0,
        Ok(Encoding::Protobuf) => {
            let ty = Type::builtin("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
                .ok_or_else(|| ApiError::internal("no schema of DeleteOptions"))?;
            codec::from_protobuf(body, ty).map_err(ApiError::bad_request)?
        }
        // kubectl and others leave the content type of options out, or send a form's.
        _ => {
            json::parse(body, None)
                .map_err(|e| {
                    ApiError::bad_request(format!("couldn't get version/kind; json parse error: {e}"))
                })?
                .0
        }
    };
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    match (text("apiVersion"), text("kind")) {
        (_, "" | "DeleteOptions") => Ok(document),
        (version, kind) => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            format!("no kind {kind:?} is registered for version {version:?} in scheme \"vkube\""),
        )),
    }
}
