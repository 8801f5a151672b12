//! Storage classes.

use jiff::Timestamp;
use serde_json::Value;

use super::validate::{validate_parameters, validate_provisioner};
use crate::field::{Errors, Path};
use crate::registry::access::{at, bool_at, list_at, set_default, str_at};
use crate::registry::core::pod_spec::deprecated_label;
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, shown_or};
use crate::validation::fields::{immutable_field, one_of, required_one_of};
use crate::validation::labels;

/// The rules of storage classes.
pub struct StorageClass;

impl Kind for StorageClass {
    fn default(&self, class: &mut Value) {
        set_default(class, "/reclaimPolicy", "Delete");
        set_default(class, "/volumeBindingMode", "Immediate");
    }

    fn warnings(&self, class: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        let path = Path::new("allowedTopologies");
        for (index, topology) in list_at(class, "/allowedTopologies").iter().enumerate() {
            let path = path.index(index);
            let path = path.child("matchLabelExpressions");
            for (index, expression) in list_at(topology, "/matchLabelExpressions").iter().enumerate() {
                if let Some(why) = deprecated_label(str_at(expression, "/key")) {
                    warnings.push(format!("{}: {why}", path.index(index)));
                }
            }
        }
        warnings
    }

    fn validate(&self, class: &Value) -> Errors {
        let mut errors = Errors::default();
        validate_provisioner(&mut errors, class, "provisioner");
        validate_parameters(&mut errors, class, false);
        one_of(&mut errors, &Path::ROOT, class, "reclaimPolicy", &["Delete", "Retain"]);
        let modes = &["Immediate", "WaitForFirstConsumer"];
        required_one_of(&mut errors, &Path::ROOT, class, "volumeBindingMode", modes);
        validate_topologies(&mut errors, list_at(class, "/allowedTopologies"));
        errors
    }

    fn validate_update(&self, class: &Value, old: &Value) -> Errors {
        let mut errors = self.validate(class);
        for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
            immutable_field(&mut errors, &Path::ROOT, class, old, field);
        }
        errors
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

fn validate_topologies(errors: &mut Errors, terms: &[Value]) {
    let list = Path::new("allowedTopologies");
    for (index, term) in terms.iter().enumerate() {
        let path = list.index(index);
        let expressions_path = path.child("matchLabelExpressions");
        let expressions = list_at(term, "/matchLabelExpressions");
        for (index, expression) in expressions.iter().enumerate() {
            let path = expressions_path.index(index);
            let (values, values_path) = (list_at(expression, "/values"), path.child("values"));
            if values.is_empty() {
                errors.required(&values_path, "");
            }
            for (index, value) in
                values.iter().enumerate().filter(|(at, value)| values[..*at].contains(value))
            {
                errors.duplicate(&values_path.index(index), value);
            }
            let key = str_at(expression, "/key");
            labels::label_name(errors, &path.child("key"), key);
            if expressions[..index].iter().any(|other| str_at(other, "/key") == key) {
                errors.duplicate(&path.child("key"), &key.into());
            }
        }
        if terms[..index]
            .iter()
            .any(|other| at(other, "/matchLabelExpressions") == at(term, "/matchLabelExpressions"))
        {
            errors.duplicate(&expressions_path, &"".into());
        }
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
