//! Everything wrong with claims, new or changed.

use serde_json::Value;

use crate::field::{Errors, Path, Reason};
use crate::registry::access::{at, entries, get, has, list_at, opt_str, remove, restore, str_at, strs_at};
use crate::registry::core::persistent_volume::{BETA_CLASS, validate_access_modes};
use crate::registry::internal::Internal;
use crate::schema::quantity::Quantity;
use crate::validation::fields::{
    self, NOT_POSITIVE, dns_label, dns_subdomain, non_negative_quantity, one_of, required,
};
use crate::validation::{diff, labels, names};

const SPEC: Path<'static> = Path::new("spec");
const SIZE: &str = "/spec/resources/requests/storage";

/// A claim's spec.
pub fn validate_spec(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    if list_at(spec, "/accessModes").is_empty() {
        errors.required(&path.child("accessModes"), "at least 1 access mode is required");
    }
    labels::selector(errors, &path.child("selector"), at(spec, "/selector"));
    validate_access_modes(errors, &path.child("accessModes"), spec);
    let resources = path.child("resources");
    let size_path = resources.key("storage");
    match get(spec, "/resources/requests/storage") {
        None => errors.required(&size_path, ""),
        Some(size) if Quantity::from_value(size).is_ok_and(|size| size.signum() <= 0) => {
            errors.invalid(&size_path, size, NOT_POSITIVE);
        }
        Some(size) => non_negative_quantity(errors, &size_path, size),
    }
    validate_class(errors, path, spec, "storageClassName");
    one_of(errors, path, spec, "volumeMode", &["Block", "Filesystem"]);
    validate_sources(errors, path, spec);
    validate_class(errors, path, spec, "volumeAttributesClassName");
}

fn validate_class(errors: &mut Errors, path: &Path<'_>, spec: &Value, field: &str) {
    if let Some(class) = opt_str(spec, &format!("/{field}")).filter(|class| !class.is_empty()) {
        dns_subdomain(errors, &path.child(field), class);
    }
}

fn validate_sources(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    for field in ["dataSource", "dataSourceRef"] {
        let Some(source) = get(spec, &format!("/{field}")) else { continue };
        let path = path.child(field);
        required(errors, &path, source, "name");
        required(errors, &path, source, "kind");
        let (group, kind) = (str_at(source, "/apiGroup"), str_at(source, "/kind"));
        if group.is_empty() && kind != "PersistentVolumeClaim" {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.invalid_str(&path, kind, why);
        }
        if !group.is_empty() {
            dns_subdomain(errors, &path.child("apiGroup"), group);
        }
        if field == "dataSourceRef" && !str_at(source, "/namespace").is_empty() {
            dns_label(errors, &path.child("namespace"), str_at(source, "/namespace"));
        }
    }
    let (Some(source), Some(reference)) = (get(spec, "/dataSource"), get(spec, "/dataSourceRef")) else {
        return;
    };
    let same = ["/apiGroup", "/kind", "/name"].iter().all(|field| at(source, field) == at(reference, field));
    let why = if !str_at(reference, "/namespace").is_empty() {
        "may not be specified when dataSourceRef.namespace is specified"
    } else if same {
        return;
    } else {
        "must match dataSourceRef"
    };
    let detail = format!("Invalid value: \"{}\": {why}", path.child("dataSource"));
    errors.push(path, Reason::Invalid, detail);
}

/// A new claim.
pub fn validate_create(claim: &Value) -> Errors {
    let mut errors = Errors::default();
    validate_spec(&mut errors, &SPEC, at(claim, "/spec"));
    errors
}

/// A changed claim: only its size and attributes can change.
pub fn validate_update(claim: &Value, old: &Value) -> Errors {
    let mut errors = validate_create(claim);
    validate_spec_kept(&mut errors, claim, old);

    let (new_size, old_size) = (size(claim, SIZE), size(old, SIZE));
    if new_size < old_size && new_size <= size(old, "/status/capacity/storage") {
        let resources = SPEC.child("resources");
        let requests = resources.child("requests");
        errors.forbidden(&requests.child("storage"), "field can not be less than status.capacity");
    }
    fields::immutable(
        &mut errors,
        &Path::new("volumeMode"),
        at(claim, "/spec/volumeMode"),
        at(old, "/spec/volumeMode"),
    );
    let class = opt_str(claim, "/spec/volumeAttributesClassName");
    if class != opt_str(old, "/spec/volumeAttributesClassName")
        && has(old, "/status/currentVolumeAttributesClassName")
        && class.unwrap_or_default().is_empty()
    {
        let to = if class.is_none() { "nil" } else { "empty string" };
        errors.forbidden(
            &SPEC.child("volumeAttributesClassName"),
            &format!("update to {to} is forbidden when status.currentVolumeAttributesClassName is not nil"),
        );
    }
    errors
}

fn size(claim: &Value, path: &str) -> Quantity {
    Quantity::from_value(at(claim, path)).unwrap_or(Quantity::ZERO)
}

fn validate_spec_kept(errors: &mut Errors, claim: &Value, old: &Value) {
    let (mut new, mut kept) = (at(claim, "/spec").clone(), at(old, "/spec").clone());
    if str_at(old, "/spec/volumeName").is_empty() {
        restore(&mut kept, &new, "/volumeName");
    }
    let annotation = |object: &Value| at(object, "/metadata/annotations").get(BETA_CLASS).cloned();
    let text = |annotation: &Option<Value>| -> String {
        annotation.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (old_class, new_class) = (annotation(old), annotation(claim));
    let named = get(&new, "/storageClassName").cloned();
    let was_unnamed = !has(&kept, "/storageClassName");
    let moved = was_unnamed
        && old_class.is_some()
        && named == old_class
        && (new_class.is_none() || new_class == old_class);
    if moved {
        remove(&mut new, "/storageClassName");
    } else {
        if text(&old_class) != text(&new_class) {
            let metadata = Path::new("metadata");
            let annotations = metadata.child("annotations");
            errors.invalid_str(&annotations.child(BETA_CLASS), &text(&new_class), fields::IMMUTABLE);
        }
        if named.is_some() && was_unnamed && (old_class.is_none() || named == old_class) {
            remove(&mut new, "/storageClassName");
        }
    }
    if str_at(claim, "/status/phase") == "Bound" {
        restore(&mut new, &kept, "/resources/requests/storage");
        restore(&mut new, &kept, "/volumeAttributesClassName");
    }
    if new != kept {
        let why = format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{}",
            diff::unified(
                &Internal::new("PersistentVolumeClaimSpec", &kept),
                &Internal::new("PersistentVolumeClaimSpec", &new)
            )
        );
        errors.forbidden(&SPEC, &why);
    }
}

/// A changed status.
pub fn validate_status_update(claim: &Value) -> Errors {
    const RESIZING: &[&str] = &[
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
        "NodeResizePending",
    ];
    let mut errors = Errors::default();
    let status = Path::new("status");
    if strs_at(claim, "/spec/accessModes").next().is_none() {
        errors.required(&Path::new("Spec").child("accessModes"), "");
    }
    let capacity = status.child("capacity");
    for (resource, amount) in entries(claim, "/status/capacity") {
        validate_amount(&mut errors, &capacity.key(resource), amount);
    }
    let states = status.child("allocatedResourceStatuses");
    for (resource, state) in entries(claim, "/status/allocatedResourceStatuses") {
        validate_resource(&mut errors, &states, resource);
        if !RESIZING.contains(&state.as_str().unwrap_or_default()) {
            errors.not_supported(&states, &resource.as_str().into(), RESIZING);
        }
    }
    let allocated = status.child("allocatedResources");
    for (resource, amount) in entries(claim, "/status/allocatedResources") {
        if validate_resource(&mut errors, &allocated, resource) {
            validate_amount(&mut errors, &allocated.key(resource), amount);
        }
    }
    errors
}

/// An amount that is not negative; said of it in whole units.
pub fn validate_amount(errors: &mut Errors, path: &Path<'_>, amount: &Value) {
    if let Some(amount) = Quantity::from_value(amount).ok().filter(|amount| amount.signum() < 0) {
        errors.invalid(path, &amount.value().into(), "must be a valid resource quantity");
    }
}

/// A resource that volumes have: storage, or one with a domain of its own.
fn validate_resource(errors: &mut Errors, path: &Path<'_>, resource: &str) -> bool {
    let wrong = names::qualified_name(resource);
    for why in &wrong {
        errors.invalid_str(path, resource, why);
    }
    if !wrong.is_empty() {
        return false;
    }
    let native = !resource.contains('/') || resource.contains("kubernetes.io/");
    if native && resource != "storage" {
        errors.not_supported(path, &resource.into(), &["storage"]);
    }
    !native || resource == "storage"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(errors: &Errors) -> Vec<String> {
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_class_that_an_annotation_names_stays() {
        let claim = |class: &str| json!({"metadata": {"annotations": {BETA_CLASS: class}}, "spec": {}});
        let mut errors = Errors::default();
        validate_spec_kept(&mut errors, &claim("b"), &claim("a"));
        assert_eq!(
            told(&errors),
            [
                r#"metadata.annotations.volume.beta.kubernetes.io/storage-class: Invalid value: "b": field is immutable"#
            ]
        );
    }

    #[test]
    fn a_claim_is_given_storage_or_what_others_name_in_their_domain() {
        let status = |field: &str, resources: Value| {
            told(&validate_status_update(&json!({
                "spec": {"accessModes": ["ReadWriteOnce"]},
                "status": {field: resources},
            })))
        };
        assert_eq!(status("allocatedResources", json!({"storage": "1Gi", "a.b/c": "1"})), [""; 0]);
        assert_eq!(
            status("allocatedResources", json!({"cpu": "1"})),
            [r#"status.allocatedResources: Unsupported value: "cpu": supported values: "storage""#]
        );
        assert_eq!(
            status("capacity", json!({"storage": "-1Ki"})),
            ["status.capacity[storage]: Invalid value: -1024: must be a valid resource quantity"]
        );
    }
}
