//! Managed fields of the objects that calls write.

use serde_json::Value;

use crate::{
    custom::webhook,
    documents::{self, Made},
    handlers::call::Call,
    managed_fields::{self, Request, Reset},
    options::FieldValidation,
    resource::Definition,
    schema::decode,
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
    let others = other_versions(call, &[live, Some(object)]);
    let alien = |other: &Definition| {
        [live, Some(&*object)].into_iter().flatten().any(|object| !is_readable_as(object, other))
    };
    if others.iter().any(|other| !webhook::is_asked(other) && alien(other)) {
        // Who owns what cannot be told in the versions of the others, so nobody owns anything.
        crate::metadata::remove(object, "managedFields");
        return Ok(());
    }
    with_request(call, manager, &others, |request| managed_fields::on_update(live, object, request))
}

/// Whether an object of a custom resource has only fields that another version has too.
fn is_readable_as(object: &Value, other: &Definition) -> bool {
    let (Definition::Custom(_), Ok(ty)) = (other, other.ty()) else { return true };
    let mut object = object.clone();
    crate::metadata::set_top(&mut object, "metadata", None);
    decode::decode(object, ty).is_ok_and(|(_, unknown)| unknown.is_empty())
}

/// The resource in the other versions that entries of these objects name.
fn other_versions(call: &Call, objects: &[Option<&Value>]) -> Vec<Definition> {
    let own = call.definition.api_version();
    let mut names: Vec<&str> = objects
        .iter()
        .flatten()
        .filter_map(|object| crate::metadata::get(object, "managedFields")?.as_array())
        .flatten()
        .filter_map(|entry| entry.get("apiVersion")?.as_str())
        .filter(|name| *name != own)
        .collect();
    names.sort_unstable();
    names.dedup();
    let stored = |definition: &Definition| {
        let stored = definition.stored();
        (stored.api_version(), stored.plural().to_owned())
    };
    let find = |name: &str| {
        let (group, version) = name.split_once('/').unwrap_or(("", name));
        call.server.catalog.find(group, version, call.definition.plural())
    };
    names.into_iter().filter_map(find).filter(|other| stored(other) == stored(&call.definition)).collect()
}

fn with_request<T>(
    call: &Call,
    manager: &str,
    others: &[Definition],
    write: impl FnOnce(&Request<'_>) -> T,
) -> Result<T, ApiError> {
    let api_version = call.definition.api_version();
    let version = |name: &str| {
        if name == api_version {
            Some(&call.definition)
        } else {
            others.iter().find(|o| o.api_version() == name)
        }
    };
    let convert = |object: &Value, to: &str| {
        let from = version(object.get("apiVersion")?.as_str()?)?;
        let to = version(to)?;
        Some((call.conversions.convert(object, from, to)?, to.ty().ok()?))
    };
    let reset = reset(&call.definition, &call.info.subresource);
    Ok(write(&Request {
        manager,
        api_version: &api_version,
        kind: call.definition.kind(),
        subresource: &call.info.subresource,
        ty: call.definition.ty()?,
        now: call.now,
        reset: &reset,
        convert: Some(&convert),
    }))
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
    let others = other_versions(call, &[live]);
    let merged =
        with_request(call, manager, &others, |request| managed_fields::apply(live, config, force, request))??;
    let definition = call.definition.clone();
    documents::decode_made(call, merged, Made::Map, validation, Vec::new(), &|why| {
        managed_fields::unconvertible(config, &definition.api_version(), definition.kind(), why).into()
    })
}

/// Records the server itself as the owner of what it makes.
pub fn of_server(definition: &Definition, object: &mut Value, manager: &str) -> Result<(), ApiError> {
    let api_version = definition.api_version();
    let reset = reset(definition, "");
    managed_fields::on_update(
        None,
        object,
        &Request {
            manager,
            api_version: &api_version,
            kind: definition.kind(),
            subresource: "",
            ty: definition.ty()?,
            now: jiff::Timestamp::now(),
            reset: &reset,
            convert: None,
        },
    );
    Ok(())
}
