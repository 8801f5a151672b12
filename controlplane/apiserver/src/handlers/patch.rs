//! PATCH of an object or of a part of it, in the four forms that Kubernetes has
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>).

use bytes::Bytes;
use http::header;
use serde_json::Value;

use super::{call::Call, call::read_body, write};
use crate::{
    body::{Request, Response},
    codec, documents, metadata,
    options::{FieldValidation, WriteOptions},
    ownership,
    patch::{json_patch, merge_patch, strategic},
    resource::Definition,
    schema::json,
    status::ApiError,
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
    if form == Form::Apply {
        return apply(call, &body, &options).await?.respond(call);
    }
    let validation = options.field_validation;
    let mut first = true;
    let write_options = write::Options { dry_run: options.dry_run, manager: options.manager };
    let written = write::update(call, &write_options, |call, live| {
        let live = live.ok_or_else(|| call.not_found())?;
        let mut object = live.clone();
        let duplicates = patched(&mut object, form, &body, &call.definition)?;
        // A retry after a concurrent write must not repeat its warnings.
        let validation = if std::mem::take(&mut first) || validation == FieldValidation::Strict {
            validation
        } else {
            FieldValidation::Ignore
        };
        check_patched(call, &object)?;
        if validation == FieldValidation::Warn {
            call.warnings.extend(duplicates);
        } else if validation == FieldValidation::Strict && !duplicates.is_empty() {
            return Err(ApiError::bad_request(format!("strict decoding error: {}", duplicates.join(", "))));
        }
        documents::decode_made(call, object, validation)
    });
    written.await?.respond(call)
}

/// Applies a patch to a document; the answer lists the patch's duplicate fields.
pub fn patched(
    object: &mut Value,
    form: Form,
    body: &Bytes,
    definition: &Definition,
) -> Result<Vec<String>, ApiError> {
    let (patch, duplicates) = json::parse(body, None).map_err(|e| ApiError::bad_request(e.to_string()))?;
    match form {
        Form::Json => json_patch::apply(object, &patch)?,
        Form::Merge => merge_patch::apply(object, patch)?,
        Form::Strategic | Form::Apply => strategic::apply(object, patch, definition.ty()?)?,
    }
    Ok(duplicates)
}

fn check_patched(call: &Call, object: &Value) -> Result<(), ApiError> {
    let name = metadata::name(object);
    if name != call.info.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.info.name
        )));
    }
    Ok(())
}

async fn apply(call: &mut Call, body: &[u8], options: &WriteOptions) -> Result<write::Written, ApiError> {
    let config =
        codec::from_yaml(body).map_err(|e| ApiError::bad_request(format!("error decoding YAML: {e}")))?;
    let force = options.force.unwrap_or(false);
    let mut first = true;
    let write_options = write::Options { dry_run: options.dry_run, manager: String::new() };
    write::update(call, &write_options, |call, live| {
        if live.is_none() && !call.info.subresource.is_empty() {
            return Err(call.not_found());
        }
        let validation =
            if std::mem::take(&mut first) { options.field_validation } else { FieldValidation::Ignore };
        ownership::apply(call, live, &config, &options.manager, force, validation)
    })
    .await
}
