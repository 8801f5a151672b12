//! PATCH of an object or of a part of it, in the four forms that Kubernetes has
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>).

use bytes::Bytes;
use http::header;
use serde_json::Value;

use super::{call::Call, call::read_body, write};
use crate::{
    body::{Request, Response},
    codec, documents,
    field::{Errors, Path},
    metadata,
    options::WriteOptions,
    ownership,
    patch::{self, json_patch, merge_patch, strategic},
    resource::Definition,
    schema::{json, types::Type},
    status::{ApiError, GroupResource},
};

/// The forms of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// RFC 6902
    Json,
    /// RFC 7386
    Merge,
    /// By the schema's merge keys.
    Strategic,
    /// Server-side apply.
    Apply,
}

/// The form that the content type names.
pub fn form(request: &Request, definition: &Definition) -> Result<Form, ApiError> {
    let header =
        request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match header.split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => Ok(Form::Json),
        "application/merge-patch+json" => Ok(Form::Merge),
        "application/strategic-merge-patch+json" if matches!(definition, Definition::Builtin(_)) => {
            Ok(Form::Strategic)
        }
        "application/apply-patch+yaml" => Ok(Form::Apply),
        _ if matches!(definition, Definition::Custom(_)) => Err(ApiError::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        )),
        _ => {
            let mut error = ApiError::unsupported_media_type("415: Unsupported Media Type");
            error.details = Some(Box::default());
            Err(error)
        }
    }
}

/// Patches an object.
pub async fn patch(call: &mut Call, request: &mut Request) -> Result<Response, ApiError> {
    let form = form(request, &call.definition)?;
    let options = WriteOptions::read(&call.query, &call.user_agent, "PatchOptions", form == Form::Apply)?;
    let body = read_body(request).await?;
    crate::audit::request_patch(&body);
    if form == Form::Apply {
        return apply(call, &body, &options).await?.respond(call);
    }
    let validation = options.field_validation;
    let mut first = true;
    let write_options = write::Options { dry_run: options.dry_run, manager: options.manager };
    let written = write::update(call, &write_options, |call, live| {
        let live = live.ok_or_else(|| call.not_found())?;
        let mut object = live.clone();
        let definition = call.definition.clone();
        let ty = definition.ty()?;
        let duplicates = patched(&mut object, form, &body, ty)?;
        let validation = validation.of_try(&mut first);
        let object = documents::decode_made(call, object, validation, duplicates, &|why| {
            refused(live, form, &body, ty, why).unwrap_or_else(|error| error)
        })?;
        write::check_name(call, &object)?;
        Ok(object)
    });
    written.await?.respond(call)
}

/// Applies a patch to a document; the answer lists the patch's duplicate fields.
pub fn patched(object: &mut Value, form: Form, body: &Bytes, ty: Type<'_>) -> Result<Vec<String>, ApiError> {
    let (patch, mut duplicates) = json::parse(body, None).map_err(|e| {
        let stage = if matches!(form, Form::Json | Form::Merge) { "error decoding patch: " } else { "" };
        ApiError::bad_request(format!("{stage}{e}"))
    })?;
    if form == Form::Json {
        for duplicate in &mut duplicates {
            duplicate.insert_str(0, "json patch ");
        }
    }
    match form {
        Form::Json => json_patch::apply(object, &patch)?,
        Form::Merge => merge_patch::apply(object, patch)?,
        Form::Strategic | Form::Apply => strategic::apply(object, patch, ty)?,
    }
    Ok(duplicates)
}

/// The error that what a patch makes of the object is wrong. It quotes the patched document, or the patch
/// itself where it is strategic.
pub fn refused(
    live: &Value,
    form: Form,
    body: &Bytes,
    ty: Type<'_>,
    why: &str,
) -> Result<ApiError, ApiError> {
    let shown = if form == Form::Strategic {
        json::parse(body, None).map(|(patch, _)| patch::printed::plain(&patch)).unwrap_or_default()
    } else {
        let (mut object, mut text) = (live.clone(), Vec::new());
        json::write(live, Some(ty), &mut text);
        patched(&mut object, form, body, ty)?;
        patch::rendered(&String::from_utf8_lossy(&text), &object)
    };
    let mut errors = Errors::default();
    errors.invalid_str(&Path::new("patch"), &shown, why);
    Ok(ApiError::invalid(GroupResource { group: "", resource: "" }, "", &errors))
}

/// Reads the configuration to apply.
pub fn config(body: &[u8]) -> Result<Value, ApiError> {
    let undecodable = |why: &str| ApiError::bad_request(format!("error decoding YAML: {why}"));
    let (config, _) =
        codec::yaml::read(body).map_err(|e| undecodable(&format!("error converting YAML to JSON: {e}")))?;
    if config.is_object() || config.is_null() {
        return Ok(config);
    }
    Err(undecodable(&format!(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
        patch::printed::json_name(&config)
    )))
}

async fn apply(call: &mut Call, body: &[u8], options: &WriteOptions) -> Result<write::Written, ApiError> {
    let config = config(body)?;
    let force = options.force.unwrap_or(false);
    let mut first = true;
    let write_options = write::Options { dry_run: options.dry_run, manager: String::new() };
    write::update(call, &write_options, |call, live| {
        if live.is_none() && !call.info.subresource.is_empty() {
            return Err(call.not_found());
        }
        let validation = options.field_validation.of_try(&mut first);
        let mut object = ownership::apply(call, live, &config, &options.manager, force, validation)?;
        if live.is_none() {
            let uid = metadata::text(&object, "uid");
            if !uid.is_empty() {
                let why = format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                );
                return Err(ApiError::conflict(call.definition.group_resource(), &call.info.name, &why));
            }
            // A version to match makes no sense for what does not exist yet.
            metadata::remove(&mut object, "resourceVersion");
        }
        write::check_name(call, &object)?;
        Ok(object)
    })
    .await
}
