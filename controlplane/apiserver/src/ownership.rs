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
    if matches!(definition, Definition::Custom(_)) && subresource == "status" {
        return Reset::AllBut(&["status"]);
    }
    match (definition.group(), definition.plural(), subresource) {
        ("apps", "deployments", "status") => Reset::Fields(&["spec", "metadata.labels"]),
        ("", "pods", "status") => {
            Reset::Fields(&["spec", "metadata.deletionTimestamp", "metadata.ownerReferences"])
        }
        ("", "pods", "resize") => Reset::AllBut(&[
            "spec.containers.*.resources",
            "spec.containers.*.resizePolicy",
            "spec.initContainers.*.resources",
            "spec.initContainers.*.resizePolicy",
        ]),
        ("certificates.k8s.io", "certificatesigningrequests", "") => Reset::Fields(&["spec", "status"]),
        ("certificates.k8s.io", "certificatesigningrequests", "status") => {
            Reset::Fields(&["spec", "status.conditions"])
        }
        ("certificates.k8s.io", "certificatesigningrequests", "approval") => {
            Reset::Fields(&["spec", "status.certificate"])
        }
        ("", "namespaces", "finalize") => Reset::Fields(&["status"]),
        (
            "admissionregistration.k8s.io" | "apiextensions.k8s.io" | "resource.k8s.io" | "storage.k8s.io",
            _,
            "status",
        ) => Reset::Fields(&["metadata", "spec"]),
        (_, _, "status") => Reset::Fields(&["spec"]),
        (_, _, "") if definition.has_status() => Reset::Fields(&["status"]),
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
    let definition = call.definition.clone();
    documents::decode_made(call, merged, validation, Vec::new(), &|why| {
        let (kind, version) = (definition.kind(), definition.version());
        ApiError::unknown(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
    })
}
