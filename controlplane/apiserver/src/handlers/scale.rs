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
    negotiation::Target,
    options::WriteOptions,
    registry::kind::{Column, NAME_COLUMN},
    representation,
    resource::Definition,
    respond,
    status::{ApiError, GroupResource},
    stored,
    table::{AGE, age, column},
};

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
    let body = read_body(request).await?;
    let expected = scale_form()?;
    let validation = options.field_validation;
    let mut scale = documents::read_as(call, request.headers(), &body, validation, &expected)?;
    write::check_namespace(call, &mut scale)?;
    write::check_name(call, &scale)?;
    let write_options = write::Options { dry_run: options.dry_run, manager: String::new() };
    let written = write::update(call, &write_options, |call, live| {
        let live = live.ok_or_else(|| absent(call))?;
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
    let mut first = true;
    let written = write::update(call, &write_options, |call, live| {
        let live = live.ok_or_else(|| absent(call))?;
        let owner = writer(call, &options.manager)?;
        let (old, expected) = (owned_scale(&call.definition, live), scale_form()?);
        let validation = options.field_validation.of_try(&mut first);
        let mut scale = if form == patch::Form::Apply {
            let force = options.force.unwrap_or(false);
            let (config, problems) = patch::config(&body)?;
            let merged = managed_fields::apply(Some(&old), &config, force, &owner)?;
            patch::judge(call, &problems, validation)?;
            documents::decode_made_as(call, merged, form.made(), &expected, validation, Vec::new(), &|why| {
                managed_fields::unconvertible(&config, &expected.api_version, &expected.kind, why).into()
            })?
        } else {
            let mut scale = old.clone();
            let sent = patch::Sent { form, body: &body, validation: options.field_validation };
            let problems = patch::patched(&mut scale, sent, owner.ty)?;
            let mut scale = documents::decode_made_as(
                call,
                scale,
                form.made(),
                &expected,
                validation,
                problems,
                &|why| patch::refused(&old, sent, owner.ty, why).unwrap_or_else(|error| error),
            )?;
            managed_fields::on_update(Some(&old), &mut scale, &owner);
            scale
        };
        write::check_namespace(call, &mut scale)?;
        write::check_name(call, &scale)?;
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
        ty: scale_form()?.ty,
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

fn scale_form() -> Result<Expected<'static>, ApiError> {
    Expected::part("autoscaling/v1", "Scale", "io.k8s.api.autoscaling.v1")
}

/// 404 because what is to be scaled is not there.
fn absent(call: &Call) -> ApiError {
    match &call.definition {
        Definition::Builtin(_) => {
            let GroupResource { group, resource } = call.definition.group_resource();
            let resource = &format!("{resource}/scale");
            ApiError::not_found(GroupResource { group, resource }, &call.info.name)
        }
        Definition::Custom(_) => call.not_found(),
    }
}

fn answer(call: &Call, object: &Value) -> Result<Response, ApiError> {
    let scale = scale_of(&call.definition, object);
    representation::check(call, "*autoscaling.Scale", false)?;
    let (document, ty) = match call.accepted.target {
        Target::Object => (scale, Some(scale_form()?.ty)),
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
    let builtin = matches!(call.definition, Definition::Builtin(_));
    let (uid, found) = (metadata::text(scale, "uid"), metadata::text(live, "uid"));
    if call.info.verb == "patch" && builtin && !uid.is_empty() && uid != found {
        let GroupResource { group, resource } = call.definition.group_resource();
        let resource = &format!("{resource}/scale");
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
        return Err(ApiError::conflict(GroupResource { group, resource }, &call.info.name, &why));
    }
    let mut object = live.clone();
    // An update is for the object that it names.
    if call.info.verb == "update" && !uid.is_empty() {
        metadata::set(&mut object, "uid", uid);
    }
    set_replicas(&call.definition, &mut object, replicas);
    let (pointer, ..) = pointers(&call.definition);
    let api_version = call.definition.api_version();
    if let Err(error) = managed_fields::scale::to_parent(&mut object, scale, &api_version, &dotted(&pointer))
    {
        tracing::warn!(%error, name = call.info.name, "cannot carry the ownership of replicas over");
    }
    match metadata::text(scale, "resourceVersion") {
        // Only what somebody demands is compared.
        version if version.is_empty() || version == metadata::text(live, "resourceVersion") => {
            metadata::remove(&mut object, "resourceVersion");
        }
        version => metadata::set(&mut object, "resourceVersion", version),
    }
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

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::custom::tests::Fixture;

    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

    #[tokio::test]
    async fn a_scale_is_checked_like_any_object_that_is_replaced() {
        let server = Fixture::start().await;
        let spec = json!({
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        });
        server.create(DEPLOYMENTS, &json!({"metadata": {"name": "d"}, "spec": spec})).await;
        let path = format!("{DEPLOYMENTS}/d/scale");
        for (metadata, status, why) in [
            (
                json!({"name": "d", "namespace": "x"}),
                400,
                "the namespace of the provided object does not match",
            ),
            (json!({}), 400, "the name of the object (d based on URL) was undeterminable"),
            (
                json!({"name": "d", "uid": "x"}),
                409,
                "AdditionalErrorMsg: Precondition failed: UID in precondition: x",
            ),
            (
                json!({"name": "d", "resourceVersion": "x"}),
                500,
                "strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
            (json!({"name": "d"}), 200, ""),
        ] {
            let scale = json!({"metadata": metadata, "spec": {"replicas": 2}});
            let (code, body) = server.call(Method::PUT, &path, &scale).await;
            assert_eq!(code, status, "{body}");
            assert!(body["message"].as_str().unwrap_or_default().contains(why), "{body}");
        }
        let scale = json!({"metadata": {"name": "d"}, "spec": {"replicas": 2, "nope": 1}});
        let (code, body) = server.call(Method::PUT, &format!("{path}?fieldValidation=Strict"), &scale).await;
        assert_eq!(code, StatusCode::BAD_REQUEST);
        let why = "Scale in version \"v1\" cannot be handled as a Scale: strict decoding error: unknown field \
                   \"spec.nope\"";
        assert_eq!(body["message"], why);

        let absent = format!("{DEPLOYMENTS}/absent/scale");
        let (code, body) = server.call(Method::PUT, &absent, &json!({"metadata": {"name": "absent"}})).await;
        assert_eq!(code, StatusCode::NOT_FOUND);
        assert_eq!(body["message"], "deployments/scale.apps \"absent\" not found");
        server.0.stop().await;
    }
}
