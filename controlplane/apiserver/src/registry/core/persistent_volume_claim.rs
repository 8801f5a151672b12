//! Persistent volume claims.

mod validate;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::persistent_volume::{BETA_CLASS, class, phase};
use super::pod_spec::round_up_quantities;
use crate::field::{Errors, Path};
use crate::registry::access::{at, get, has, make_map, remove, set, set_default, str_at};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, access_modes, age, column, name, shown_or, wide};
use crate::validation::labels;

pub use validate::{validate_amount, validate_spec};

/// The rules of persistent volume claims.
pub struct PersistentVolumeClaim;

impl Kind for PersistentVolumeClaim {
    fn default(&self, claim: &mut Value) {
        default_claim(claim);
    }

    fn prepare_create(&self, claim: &mut Value, _writer: &Writer<'_>) {
        set(claim, "/status", json!({"phase": "Pending"}));
        normalize_data_sources(claim, &Value::Null);
    }

    fn prepare_update(&self, claim: &mut Value, old: &Value, _writer: &Writer<'_>) {
        normalize_data_sources(claim, old);
    }

    fn prepare_status_update(&self, claim: &mut Value, _old: &Value) {
        set_default(claim, "/status/phase", "Pending");
        round_up_quantities(claim, "/status/capacity");
        round_up_quantities(claim, "/status/allocatedResources");
    }

    fn warnings(&self, claim: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if at(claim, "/metadata/annotations").get(BETA_CLASS).is_some() {
            warnings.push(format!(
                "metadata.annotations[{BETA_CLASS}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
            ));
        }
        for list in ["requests", "limits"] {
            let path = Path::new("spec.resources");
            let amounts = at(claim, &format!("/spec/resources/{list}"));
            super::pod_spec::fractional_warning(&mut warnings, &path.child(list), amounts, "storage");
        }
        warnings
    }

    fn validate(&self, claim: &Value) -> Errors {
        validate::validate_create(claim)
    }

    fn validate_update(&self, claim: &Value, old: &Value) -> Errors {
        validate::validate_update(claim, old)
    }

    fn validate_status_update(&self, claim: &Value, _old: &Value) -> Errors {
        validate::validate_status_update(claim)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, claim: &Value, now: Timestamp) -> Vec<Value> {
        let volume = str_at(claim, "/spec/volumeName");
        let (capacity, modes) = if volume.is_empty() {
            ("".into(), String::new())
        } else {
            (shown_or(claim, "/status/capacity/storage", "0"), access_modes(claim, "/status/accessModes"))
        };
        vec![
            name(claim),
            phase(claim),
            volume.into(),
            capacity,
            modes.into(),
            class(claim).into(),
            shown_or(claim, "/spec/volumeAttributesClassName", "<unset>"),
            age(claim, now),
            shown_or(claim, "/spec/volumeMode", "<unset>"),
        ]
    }
}

/// Defaults of claims, alone and in templates.
pub fn default_claim(claim: &mut Value) {
    set_default(claim, "/spec/volumeMode", "Filesystem");
    make_map(claim, "/spec/resources");
    for path in [
        "/spec/resources/limits",
        "/spec/resources/requests",
        "/status/capacity",
        "/status/allocatedResources",
    ] {
        round_up_quantities(claim, path);
    }
    set_default(claim, "/status/phase", "Pending");
}

/// The template of a claim in an ephemeral volume.
pub fn validate_template(errors: &mut Errors, path: &Path<'_>, template: &Value) {
    labels::template_metadata(errors, &path.child("metadata"), at(template, "/metadata"));
    validate_spec(errors, &path.child("spec"), at(template, "/spec"));
}

/// `dataSource` and `dataSourceRef` say the same where both can. Sources that nobody can use are not kept,
/// unless they were there before (KEP-1495), nor are those of other namespaces
/// (`CrossNamespaceVolumeDataSource` is off).
fn normalize_data_sources(claim: &mut Value, old: &Value) {
    const SOURCE: &str = "/spec/dataSource";
    const REFERENCE: &str = "/spec/dataSourceRef";
    if !has(old, REFERENCE) && !str_at(claim, "/spec/dataSourceRef/namespace").is_empty() {
        remove(claim, REFERENCE);
    }
    let usable = matches!(
        (str_at(claim, "/spec/dataSource/apiGroup"), str_at(claim, "/spec/dataSource/kind")),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    );
    if !has(old, SOURCE) && !usable {
        remove(claim, SOURCE);
    }
    match (get(claim, SOURCE).cloned(), get(claim, REFERENCE)) {
        (Some(source), None) => set(claim, REFERENCE, source),
        (None, Some(reference)) if str_at(reference, "/namespace").is_empty() => {
            let same = json!({
                "apiGroup": at(reference, "/apiGroup"),
                "kind": at(reference, "/kind"),
                "name": at(reference, "/name"),
            });
            set(claim, SOURCE, same);
        }
        _ => {}
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Status", "string", "phase represents the current phase of PersistentVolumeClaim."),
    column(
        "Volume",
        "string",
        "volumeName is the binding reference to the PersistentVolume backing this claim.",
    ),
    column("Capacity", "string", "capacity represents the actual resources of the underlying volume."),
    column(
        "Access Modes",
        "string",
        "accessModes contains the actual access modes the volume backing the PVC has. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#access-modes-1",
    ),
    column("StorageClass", "string", "StorageClass of the pvc"),
    column("VolumeAttributesClass", "string", "VolumeAttributesClass of the pvc"),
    AGE,
    wide(
        "VolumeMode",
        "string",
        "volumeMode defines what type of volume is required by the claim. Value of Filesystem is implied when not included in claim spec.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(spec: Value, old: Value) -> Value {
        let mut claim = json!({"spec": spec});
        normalize_data_sources(&mut claim, &json!({"spec": old}));
        claim["spec"].clone()
    }

    #[test]
    fn a_source_that_nobody_can_use_gives_way_to_the_reference() {
        let (unusable, usable) = (
            json!({"apiGroup": null, "kind": "Other", "name": "a"}),
            json!({"apiGroup": null, "kind": "PersistentVolumeClaim", "name": "b"}),
        );
        assert_eq!(normalized(json!({"dataSource": unusable}), json!({})), json!({}));
        let both = json!({"dataSource": usable, "dataSourceRef": usable});
        assert_eq!(normalized(json!({"dataSource": unusable, "dataSourceRef": usable}), json!({})), both);
        assert_eq!(normalized(json!({"dataSource": usable}), json!({})), both);
        assert_eq!(normalized(json!({"dataSourceRef": usable}), both.clone()), both);
    }

    #[test]
    fn a_reference_to_another_namespace_is_not_kept() {
        let elsewhere =
            json!({"apiGroup": null, "kind": "PersistentVolumeClaim", "name": "b", "namespace": "n"});
        assert_eq!(normalized(json!({"dataSourceRef": elsewhere}), json!({})), json!({}));
    }
}
