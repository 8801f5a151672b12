//! Persistent volumes.

mod validate;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod_spec::{default_legacy_volume, round_up_quantities};
use crate::field::Errors;
use crate::registry::access::{at, get_mut, has, restore, set, set_default, str_at};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, access_modes, age, column, name, shown_or, wide};

pub use validate::{validate_access_modes, validate_inline};

/// The annotation that named the class before `storageClassName` was a field.
pub const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// The rules of persistent volumes.
pub struct PersistentVolume;

impl Kind for PersistentVolume {
    fn default(&self, volume: &mut Value) {
        set_default(volume, "/spec/persistentVolumeReclaimPolicy", "Retain");
        set_default(volume, "/spec/volumeMode", "Filesystem");
        set_default(volume, "/status/phase", "Pending");
        if let Some(spec) = get_mut(volume, "/spec") {
            default_spec(spec);
        }
    }

    fn prepare_create(&self, volume: &mut Value, writer: &Writer<'_>) {
        let now = writer.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        set(volume, "/status", json!({"phase": "Pending", "lastPhaseTransitionTime": now}));
    }

    fn prepare_status_update(&self, volume: &mut Value, old: &Value) {
        set_default(volume, "/status/phase", "Pending");
        let time = "/status/lastPhaseTransitionTime";
        if at(volume, "/status/phase") == at(old, "/status/phase") {
            if !has(volume, time) {
                restore(volume, old, time);
            }
        } else if at(volume, time) == at(old, time) {
            set(volume, time, Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        }
    }

    fn warnings(&self, volume: &Value, _old: Option<&Value>) -> Vec<String> {
        validate::warnings(volume)
    }

    fn validate(&self, volume: &Value) -> Errors {
        validate::validate_create(volume)
    }

    fn validate_update(&self, volume: &Value, old: &Value) -> Errors {
        validate::validate_update(volume, old)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, volume: &Value, now: Timestamp) -> Vec<Value> {
        let claim = if has(volume, "/spec/claimRef") {
            let (namespace, name) =
                (str_at(volume, "/spec/claimRef/namespace"), str_at(volume, "/spec/claimRef/name"));
            format!("{namespace}/{name}")
        } else {
            String::new()
        };
        vec![
            name(volume),
            shown_or(volume, "/spec/capacity/storage", "0"),
            access_modes(volume, "/spec/accessModes").into(),
            str_at(volume, "/spec/persistentVolumeReclaimPolicy").into(),
            phase(volume),
            claim.into(),
            class(volume).into(),
            shown_or(volume, "/spec/volumeAttributesClassName", "<unset>"),
            str_at(volume, "/status/reason").into(),
            age(volume, now),
            shown_or(volume, "/spec/volumeMode", "<unset>"),
        ]
    }
}

/// Defaults of a volume, alone and inside of another object.
pub fn default_spec(spec: &mut Value) {
    round_up_quantities(spec, "/capacity");
    default_legacy_volume(spec);
    if has(spec, "/hostPath") {
        set_default(spec, "/hostPath/type", "");
    }
}

/// The phase that kubectl shows of volumes and claims.
pub fn phase(object: &Value) -> Value {
    if has(object, "/metadata/deletionTimestamp") {
        "Terminating".into()
    } else {
        str_at(object, "/status/phase").into()
    }
}

/// The storage class of a volume or claim.
pub fn class(object: &Value) -> &str {
    match at(object, "/metadata/annotations").get(BETA_CLASS).and_then(Value::as_str) {
        Some(class) => class,
        None => str_at(object, "/spec/storageClassName"),
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Capacity",
        "string",
        "capacity is the description of the persistent volume's resources and capacity. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#capacity",
    ),
    column(
        "Access Modes",
        "string",
        "accessModes contains all ways the volume can be mounted. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#access-modes",
    ),
    column(
        "Reclaim Policy",
        "string",
        "persistentVolumeReclaimPolicy defines what happens to a persistent volume when released from its claim. Valid options are Retain (default for manually created PersistentVolumes), Delete (default for dynamically provisioned PersistentVolumes), and Recycle (deprecated). Recycle must be supported by the volume plugin underlying this PersistentVolume. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#reclaiming",
    ),
    column(
        "Status",
        "string",
        "phase indicates if a volume is available, bound to a claim, or released by a claim. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#phase",
    ),
    column(
        "Claim",
        "string",
        "claimRef is part of a bi-directional binding between PersistentVolume and PersistentVolumeClaim. Expected to be non-nil when bound. claim.VolumeName is the authoritative bind between PV and PVC. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#binding",
    ),
    column("StorageClass", "string", "StorageClass of the pv"),
    column("VolumeAttributesClass", "string", "VolumeAttributesClass of the pv"),
    column(
        "Reason",
        "string",
        "reason is a brief CamelCase string that describes any failure and is meant for machine parsing and tidy display in the CLI.",
    ),
    AGE,
    wide(
        "VolumeMode",
        "string",
        "volumeMode defines if a volume is intended to be used with a formatted filesystem or to remain in raw block state. Value of Filesystem is implied when not included in spec.",
    ),
];
