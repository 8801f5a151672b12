//! The scale subresource: one shape for everything that has replicas.

use http::StatusCode;
use serde_json::{Value, json};

use super::{call::Call, call::read_body, patch, write};
use crate::{
    body::{Request, Response},
    documents::{self, Expected},
    field::{Errors, Path},
    metadata, negotiation,
    options::WriteOptions,
    resource::Definition,
    respond,
    schema::types::Type,
    status::{ApiError, GroupResource},
    stored,
};

const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";

/// Answers the scale.
pub async fn get(call: &Call) -> Result<Response, ApiError> {
    let entry = call.server.store().get(&call.key(), None).await?.ok_or_else(|| call.not_found())?;
    answer(call, &stored::decode(&entry)?)
}

/// Replaces the scale: sets the replicas.
pub async fn update(call: &mut Call, request: &mut Request) -> Result<Response, ApiError> {
    let options = WriteOptions::read(&call.query, &call.user_agent, "UpdateOptions", false)?;
    let encoding = negotiation::content_type(request.headers(), false)?;
    let body = read_body(request).await?;
    let expected = Expected {
        api_version: "autoscaling/v1".into(),
        kind: "Scale".into(),
        group: "autoscaling".into(),
        custom: false,
    };
    let (scale, _) = documents::read_as(encoding, &body, &expected, scale_type()?)?;
    let write_options = write::Options { dry_run: options.dry_run, manager: options.manager };
    let written = write::update(call, &write_options, |call, live| {
        let live = live.ok_or_else(|| call.not_found())?;
        scaled(call, live, &scale)
    });
    let object = written.await?.object;
    answer(call, &object)
}

/// Patches the scale.
pub async fn patch(call: &mut Call, request: &mut Request) -> Result<Response, ApiError> {
    let form = patch::form(request, &call.definition)?;
    let options =
        WriteOptions::read(&call.query, &call.user_agent, "PatchOptions", form == patch::Form::Apply)?;
    let body = read_body(request).await?;
    let write_options = write::Options { dry_run: options.dry_run, manager: options.manager };
    let written = write::update(call, &write_options, |call, live| {
        let live = live.ok_or_else(|| call.not_found())?;
        let mut scale = scale_of(&call.definition, live);
        match form {
            patch::Form::Apply => {
                let config = crate::codec::from_yaml(&body).map_err(ApiError::bad_request)?;
                crate::patch::merge_patch::apply(&mut scale, config)?;
            }
            patch::Form::Json | patch::Form::Merge | patch::Form::Strategic => {
                patch::patched(&mut scale, form, &body, &call.definition)?;
            }
        }
        let (scale, _) = crate::schema::decode::decode(scale, scale_type()?)
            .map_err(|e| ApiError::bad_request(e.to_string()))?;
        scaled(call, live, &scale)
    });
    let object = written.await?.object;
    answer(call, &object)
}

fn scale_type() -> Result<Type<'static>, ApiError> {
    Type::builtin(SCALE).ok_or_else(|| ApiError::internal("no schema of Scale"))
}

fn answer(call: &Call, object: &Value) -> Result<Response, ApiError> {
    let scale = scale_of(&call.definition, object);
    let mut response = respond::document(StatusCode::OK, &scale, call.accepted.encoding, Some(scale_type()?));
    respond::warn(&mut response, &call.warnings);
    Ok(response)
}

/// Where a resource keeps its replicas, as JSON pointers: in the spec, in the status, and the selector.
fn pointers(definition: &Definition) -> (String, String, Option<String>) {
    match definition {
        Definition::Builtin(_) => {
            ("/spec/replicas".into(), "/status/replicas".into(), Some("/spec/selector".into()))
        }
        Definition::Custom(custom) => custom.scale.clone().map_or_else(
            || ("/spec/replicas".into(), "/status/replicas".into(), None),
            |s| (s.spec_replicas, s.status_replicas, s.selector),
        ),
    }
}

fn scale_of(definition: &Definition, object: &Value) -> Value {
    let (spec, status, selector) = pointers(definition);
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {},
        "spec": {},
        "status": {"replicas": number(&status)},
    });
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        metadata::restore(&mut scale, field, object);
    }
    if number(&spec) != 0 {
        scale["spec"]["replicas"] = number(&spec).into();
    }
    let selector = selector.and_then(|pointer| object.pointer(&pointer)).map(selector_text);
    if let Some(text) = selector.filter(|t| !t.is_empty()) {
        scale["status"]["selector"] = text.into();
    }
    scale
}

/// A selector in its text form; replication controllers have plain labels.
fn selector_text(selector: &Value) -> String {
    match selector {
        Value::String(text) => text.clone(),
        Value::Object(map) if !map.contains_key("matchLabels") && !map.contains_key("matchExpressions") => {
            let terms: Vec<String> =
                map.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
            terms.join(",")
        }
        other => crate::table::selector_text(other),
    }
}

fn scaled(call: &Call, live: &Value, scale: &Value) -> Result<Value, ApiError> {
    let name = metadata::name(scale);
    if name != call.info.name && !name.is_empty() {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.info.name
        )));
    }
    let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
    let mut errors = Errors::default();
    if replicas < 0 {
        errors.invalid(
            &Path::new("spec").child("replicas"),
            &replicas.into(),
            "must be greater than or equal to 0",
        );
    }
    if !errors.is_empty() {
        let kind = GroupResource { group: "autoscaling", resource: "Scale" };
        return Err(ApiError::invalid(kind, &call.info.name, &errors));
    }
    let mut object = live.clone();
    let version = metadata::text(scale, "resourceVersion");
    if !version.is_empty() && version != metadata::text(live, "resourceVersion") {
        return Err(ApiError::modified(call.definition.group_resource(), &call.info.name));
    }
    let (pointer, ..) = pointers(&call.definition);
    set_pointer(&mut object, &pointer, replicas.into());
    metadata::remove(&mut object, "resourceVersion");
    Ok(object)
}

fn set_pointer(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for part in pointer.split('/').filter(|p| !p.is_empty()) {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[part];
    }
    *at = value;
}
