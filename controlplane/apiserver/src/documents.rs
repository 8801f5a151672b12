//! Reading the documents that clients send: decode, check that it is the right kind, prune, default.

use http::HeaderMap;
use serde_json::Value;

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

/// Decodes an object that the server made itself, by a patch or by apply. `problems` are those found on
/// the way to it; `refuse` makes the error of what is wrong with it.
pub fn decode_made(
    call: &mut Call,
    object: Value,
    validation: FieldValidation,
    problems: Vec<String>,
    refuse: &dyn Fn(&str) -> ApiError,
) -> Result<Value, ApiError> {
    let definition = call.definition.clone();
    let expected = Expected::of(&definition)?;
    finish(&definition, decode_made_as(call, object, &expected, validation, problems, refuse)?)
}

/// Decodes a document of another kind, as subresources have it, that the server made itself.
pub fn decode_made_as(
    call: &mut Call,
    object: Value,
    expected: &Expected<'_>,
    validation: FieldValidation,
    mut problems: Vec<String>,
    refuse: &dyn Fn(&str) -> ApiError,
) -> Result<Value, ApiError> {
    if let Some(why) = other_kind(&object, expected) {
        return Err(refuse(&why));
    }
    let (object, unknown) = decode_with_reset(object, expected.ty).map_err(|e| refuse(&e.to_string()))?;
    problems.extend(unknown);
    match validation {
        FieldValidation::Strict if !problems.is_empty() => {
            return Err(refuse(&format!("strict decoding error: {}", problems.join(", "))));
        }
        FieldValidation::Warn => call.warnings.extend(problems),
        FieldValidation::Strict | FieldValidation::Ignore => {}
    }
    Ok(object)
}

/// Why a document cannot be read as the expected kind, if it says that it is of another one.
fn other_kind(document: &Value, expected: &Expected<'_>) -> Option<String> {
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version == expected.api_version && kind == expected.kind {
        return None;
    }
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    if !versions::is_known(group, version, kind) {
        return Some(not_registered(api_version, kind));
    }
    // What it says that it is must be readable before it can turn out to be something else.
    let other = Resource::find_kind(group, version, kind).map(Definition::Builtin);
    let unreadable = other.and_then(|other| decode::decode(document.clone(), other.ty().ok()?).err());
    let internal = internal_group(&expected.group);
    Some(unreadable.map_or_else(
        || format!("converting ({version}.{kind}) to ({internal}.{}): unknown conversion", expected.kind),
        |error| error.to_string(),
    ))
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
    let (mut document, mut problems) = match encoding {
        Encoding::Json | Encoding::PrettyJson => json::parse(body, Some(ty))
            .map_err(|e| unrecognized(&format!("couldn't get version/kind; json parse error: {e}")))?,
        Encoding::Yaml => codec::yaml::read(body).map_err(|e| unrecognized(&e))?,
        Encoding::Protobuf => (codec::from_protobuf(body, ty).map_err(|e| unrecognized(&e))?, Vec::new()),
    };
    check_head(&document).map_err(|why| unrecognized(&why))?;
    if document.is_null() {
        document = Value::Object(serde_json::Map::new());
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

/// Warns of, or refuses, unknown and duplicate fields.
fn report(
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

/// Reads DeleteOptions, of whatever group they say that they are.
pub fn delete_options(headers: &HeaderMap, body: &[u8]) -> Result<Value, ApiError> {
    let ty = Type::builtin("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
        .ok_or_else(|| ApiError::internal("no schema of DeleteOptions"))?;
    let document = match negotiation::content_type(headers, false)? {
        Encoding::Yaml => codec::yaml::read(body).map_err(ApiError::bad_request)?.0,
        Encoding::Protobuf => codec::from_protobuf(body, ty).map_err(ApiError::bad_request)?,
        Encoding::Json | Encoding::PrettyJson => {
            let unreadable = |e| format!("couldn't get version/kind; json parse error: {e}");
            json::parse(body, Some(ty)).map_err(|e| ApiError::bad_request(unreadable(e)))?.0
        }
    };
    check_head(&document).map_err(ApiError::bad_request)?;
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    match (text("apiVersion"), text("kind")) {
        (_, "" | "DeleteOptions") => {
            Ok(decode::decode(document, ty).map_err(|e| ApiError::bad_request(e.to_string()))?.0)
        }
        ("", kind) => Err(ApiError::bad_request(not_registered("meta.k8s.io/v1", kind))),
        (version, kind) => Err(ApiError::bad_request(not_registered(version, kind))),
    }
}

/// What Go has against a document in which it cannot find what type it has.
fn check_head(document: &Value) -> Result<(), String> {
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

    #[test]
    fn options_of_a_deletion_are_decoded_like_any_other_document() {
        let read = |text: &str| delete_options(&HeaderMap::new(), text.as_bytes()).map_err(|e| e.message);
        for good in ["{}", "null", r#"{"kind":"DeleteOptions","apiVersion":"apps/v1","x":1}"#] {
            assert!(read(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            (
                r#"{"gracePeriodSeconds":"x"}"#,
                "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
            ),
            (
                r#"{"kind":1}"#,
                "couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field \
                 .kind of type string",
            ),
            (
                r#"{"kind":"Pod"}"#,
                "no kind \"Pod\" is registered for version \"meta.k8s.io/v1\" in scheme \"vkube\"",
            ),
        ] {
            assert_eq!(read(bad).unwrap_err(), why);
        }
    }
}
