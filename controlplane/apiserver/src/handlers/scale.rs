//! The scale subresource: one shape for everything that has replicas.

use http::StatusCode;
use serde_json::{Value, json};

use super::{call::Call, call::read_body, patch, write};
use crate::{
    body::{Request, Response},
    custom::webhook,
    documents::{self, Expected},
    field::{Errors, Path},
    managed_fields::{self, Reset},
    metadata,
    negotiation::{self, Target},
    options::{FieldValidation, WriteOptions},
    registry::kind::{Column, NAME_COLUMN},
    representation,
    resource::Definition,
    respond,
    schema::{decode, types::Type},
    status::{ApiError, GroupResource},
    stored,
    table::{AGE, age, column},
};

const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";

/// Answers the scale.
pub async fn get(call: &Call) -> Result<Response, ApiError> {
    let mut entry = call.server.store().get(&call.key(), None).await?.ok_or_else(|| call.not_found())?;
    webhook::bring_entries(call, std::slice::from_mut(&mut entry)).await?;
    let object = call.definition.stored().convert(stored::decode(&entry)?, &call.definition);
    if let Definition::Custom(_) = &call.definition {
        let (spec, ..) = pointers(&call.definition);
        if object.pointer(&spec).is_none() {
            let path = spec.replace('/', ".");
            return Err(ApiError::internal(format!("the spec replicas field {path:?} does not exist")));
        }
    }
    answer(call, &object)
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
    let (scale, problems) = documents::read_as(encoding, &body, &expected, scale_type()?)?;
    documents::report(call, &expected, problems, options.field_validation)?;
    let write_options = write::Options { dry_run: options.dry_run, manager: String::new() };
    let written = write::update(call, &write_options, |call, live| {
        let live = live.ok_or_else(|| call.not_found())?;
        let owner = writer(call, &options.manager)?;
        let mut scale = scale.clone();
        managed_fields::on_update(Some(&owned_scale(&call.definition, live)), &mut scale, &owner);
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
    crate::audit::request_patch(&body);
    let write_options = write::Options { dry_run: options.dry_run, manager: String::new() };
    // What is wrong with the patch is told once, however often it is tried.
    let mut validation = options.field_validation;
    let written = write::update(call, &write_options, |call, live| {
        let live = live.ok_or_else(|| call.not_found())?;
        let owner = writer(call, &options.manager)?;
        let old = owned_scale(&call.definition, live);
        let decoded = |scale| {
            decode::decode(scale, owner.ty).map_err(|e| ApiError::bad_request(e.to_string())).map(|(s, _)| s)
        };
        let scale = if form == patch::Form::Apply {
            let force = options.force.unwrap_or(false);
            let (config, problems) = patch::config(&body)?;
            let applied = managed_fields::apply(Some(&old), &config, force, &owner)?;
            patch::judge(call, &problems, std::mem::replace(&mut validation, FieldValidation::Ignore))?;
            decoded(applied)?
        } else {
            let mut scale = old.clone();
            patch::patched(&mut scale, form, &body, owner.ty)?;
            let mut scale = decoded(scale)?;
            managed_fields::on_update(Some(&old), &mut scale, &owner);
            scale
        };
        scaled(call, live, &scale)
    });
    let object = written.await?.object;
    answer(call, &object)
}

/// Who writes the scale.
fn writer<'a>(call: &Call, manager: &'a str) -> Result<managed_fields::Request<'a>, ApiError> {
    Ok(managed_fields::Request {
        manager,
        api_version: "autoscaling/v1",
        kind: "Scale",
        subresource: "scale",
        ty: scale_type()?,
        now: call.now,
        reset: &Reset::NONE,
        convert: None,
    })
}

/// The scale with those owners of the object who own its replicas.
fn owned_scale(definition: &Definition, object: &Value) -> Value {
    let mut scale = scale_of(definition, object);
    let (pointer, ..) = pointers(definition);
    if managed_fields::scale::to_scale(object, &mut scale, &dotted(&pointer)).is_err() {
        metadata::remove(&mut scale, "managedFields");
    }
    scale
}

fn dotted(pointer: &str) -> String {
    pointer.trim_matches('/').replace('/', ".")
}

fn scale_type() -> Result<Type<'static>, ApiError> {
    Type::builtin(SCALE).ok_or_else(|| ApiError::internal("no schema of Scale"))
}

fn answer(call: &Call, object: &Value) -> Result<Response, ApiError> {
    let scale = scale_of(&call.definition, object);
    representation::check(call, "*autoscaling.Scale", false)?;
    let (document, ty) = match call.accepted.target {
        Target::Object => (scale, Some(scale_type()?)),
        Target::Table(version) => (table(call, &scale, version), None),
        Target::Metadata(version) | Target::MetadataList(version) => {
            let partial = representation::partial(&call.definition, &scale, version);
            (partial, representation::metadata_type(call, "PartialObjectMetadata"))
        }
    };
    let mut response = respond::document(StatusCode::OK, &document, call.accepted.encoding, ty);
    respond::warn(&mut response, &call.warnings);
    Ok(response)
}

/// The table of a scale, which is not that of its object.
fn table(call: &Call, scale: &Value, version: &str) -> Value {
    let columns = [
        Column { format: "", ..NAME_COLUMN },
        column("Desired", "integer", "replicas is the desired number of instances for the scaled object."),
        column(
            "Available",
            "integer",
            "replicas is the actual number of observed instances of the scaled object.",
        ),
        AGE,
    ];
    let number = |pointer: &str| scale.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let mut row = json!({"cells": [
        metadata::name(scale),
        number("/spec/replicas"),
        number("/status/replicas"),
        age(scale, call.now),
    ]});
    match call.query.get("includeObject") {
        "None" => row["object"] = Value::Null,
        "Object" => row["object"] = scale.clone(),
        _ => row["object"] = representation::partial(&call.definition, scale, version),
    }
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": {"resourceVersion": metadata::text(scale, "resourceVersion")},
        "columnDefinitions": columns.iter().map(Column::to_value).collect::<Vec<_>>(),
        "rows": [row],
    })
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

/// The scale of an object.
pub fn scale_of(definition: &Definition, object: &Value) -> Value {
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
    let replicas = replicas(scale);
    let mut errors = Errors::default();
    // Custom resources are judged as a whole.
    if replicas < 0 && matches!(call.definition, Definition::Builtin(_)) {
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
    set_replicas(&call.definition, &mut object, replicas);
    let (pointer, ..) = pointers(&call.definition);
    let api_version = call.definition.api_version();
    if let Err(error) = managed_fields::scale::to_parent(&mut object, scale, &api_version, &dotted(&pointer))
    {
        tracing::warn!(%error, name = call.info.name, "cannot carry the ownership of replicas over");
    }
    metadata::remove(&mut object, "resourceVersion");
    Ok(object)
}

/// The replicas that a scale wants.
pub fn replicas(scale: &Value) -> i64 {
    scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0)
}

/// Sets the replicas of an object.
pub fn set_replicas(definition: &Definition, object: &mut Value, replicas: i64) {
    let (pointer, ..) = pointers(definition);
    set_pointer(object, &pointer, replicas.into());
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
