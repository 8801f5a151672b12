//! Storage classes.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::{at, bool_at, set_default, str_at};
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, shown_or};

/// The rules of storage classes.
pub struct StorageClass;

impl Kind for StorageClass {
    fn default(&self, class: &mut Value) {
        set_default(class, "/reclaimPolicy", "Delete");
        set_default(class, "/volumeBindingMode", "Immediate");
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, class: &Value, now: Timestamp) -> Vec<Value> {
        let mut name = str_at(class, "/metadata/name").to_owned();
        if is_default(class) {
            name.push_str(" (default)");
        }
        vec![
            name.into(),
            str_at(class, "/provisioner").into(),
            shown_or(class, "/reclaimPolicy", "Delete"),
            shown_or(class, "/volumeBindingMode", "Immediate"),
            bool_at(class, "/allowVolumeExpansion").into(),
            age(class, now),
        ]
    }
}

/// Whether claims without a class get this one.
pub fn is_default(class: &Value) -> bool {
    let annotations = at(class, "/metadata/annotations");
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
        .iter()
        .any(|key| annotations.get(key).is_some_and(|value| value == "true"))
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Provisioner", "string", "provisioner indicates the type of the provisioner."),
    column(
        "ReclaimPolicy",
        "string",
        "reclaimPolicy controls the reclaimPolicy for dynamically provisioned PersistentVolumes of this storage class. Defaults to Delete.",
    ),
    column(
        "VolumeBindingMode",
        "string",
        "volumeBindingMode indicates how PersistentVolumeClaims should be provisioned and bound.  When unset, VolumeBindingImmediate is used. This field is only honored by servers that enable the VolumeScheduling feature.",
    ),
    column(
        "AllowVolumeExpansion",
        "string",
        "allowVolumeExpansion shows whether the storage class allow volume expand.",
    ),
    AGE,
];
