//! Managed fields of the objects that calls write.

use serde_json::Value;

use crate::{
    documents,
    handlers::call::Call,
    managed_fields::{self, Request, Reset},
    options::FieldValidation,
    resource::Definition,
    status::ApiError,
};

/// What a writer of this (sub)resource cannot own.
fn reset(definition: &Definition, subresource: &str) -> Reset<'static> {
    match (definition, subresource) {
        (Definition::Custom(_), "status") => Reset::AllBut(&["status"]),
        (_, "status") if definition.is("apps", "deployments") => Reset::Fields(&["spec", "metadata.labels"]),
        (_, "status") if definition.is("", "pods") => {
            Reset::Fields(&["spec", "metadata.deletionTimestamp", "metadata.ownerReferences"])
        }
        (_, "status") => Reset::Fields(&["spec"]),
        (_, "") if definition.has_status() => Reset::Fields(&["status"]),
        _ => Reset::NONE,
    }
}

/// Records in `object` which fields its writer now owns. Both objects are of the request's version.
pub fn on_update(
    call: &Call,
    live: Option<&Value>,
    object: &mut Value,
    manager: &str,
) -> Result<(), ApiError> {
    let api_version = call.definition.api_version();
    let reset = reset(&call.definition, &call.info.subresource);
    managed_fields::on_update(live, object, &request(call, manager, &api_version, &reset)?);
    Ok(())
}

fn request<'a>(
    call: &'a Call,
    manager: &'a str,
    api_version: &'a str,
    reset: &'a Reset<'a>,
) -> Result<Request<'a>, ApiError> {
    Ok(Request {
        manager,
        api_version,
        kind: call.definition.kind(),
        subresource: &call.info.subresource,
        ty: call.definition.ty()?,
        now: call.now,
        reset,
        convert: None,
    })
}

/// Server-side apply of `config` to the live object: the merged object, decoded and defaulted.
pub fn apply(
    call: &mut Call,
    live: Option<&Value>,
    config: &Value,
    manager: &str,
    force: bool,
    validation: FieldValidation,
) -> Result<Value, ApiError> {
    let merged = {
        let api_version = call.definition.api_version();
        let reset = reset(&call.definition, &call.info.subresource);
        managed_fields::apply(live, config, force, &request(call, manager, &api_version, &reset)?)?
    };
    documents::decode_made(call, merged, validation)
}
