//! Namespaces.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::field::{Errors, Path};
use crate::registry::access::{has, make_map, restore, set, set_default, str_at, strs_at};
use crate::registry::kind::{Column, Kind, NameRule, Writer};
use crate::table::{AGE, NAME, age, column, name};
use crate::validation::fields::qualified_name;

/// The rules of namespaces.
pub struct Namespace;

impl Kind for Namespace {
    fn default(&self, namespace: &mut Value) {
        label_with_name(namespace);
        set_default(namespace, "/status/phase", "Active");
    }

    fn prepare_create(&self, namespace: &mut Value, _writer: &Writer<'_>) {
        label_with_name(namespace);
        set(namespace, "/status", json!({"phase": "Active"}));
        let finalizers = make_map(namespace, "/spec").entry("finalizers").or_insert_with(|| json!([]));
        if let Some(list) = finalizers.as_array_mut()
            && !list.iter().any(|finalizer| finalizer == "kubernetes")
        {
            list.push("kubernetes".into());
        }
    }

    fn prepare_update(&self, namespace: &mut Value, old: &Value, _writer: &Writer<'_>) {
        label_with_name(namespace);
        restore(namespace, old, "/spec/finalizers");
        restore(namespace, old, "/status");
    }

    fn prepare_status_update(&self, namespace: &mut Value, old: &Value) {
        let phase = if has(old, "/metadata/deletionTimestamp") { "Terminating" } else { "Active" };
        set_default(namespace, "/status/phase", phase);
    }

    fn validate(&self, namespace: &Value) -> Errors {
        let mut errors = Errors::default();
        let spec = Path::new("spec");
        for finalizer in strs_at(namespace, "/spec/finalizers") {
            validate_finalizer(&mut errors, &spec.child("finalizers"), finalizer);
        }
        errors
    }

    fn validate_update(&self, _namespace: &Value, _old: &Value) -> Errors {
        Errors::default()
    }

    fn validate_status_update(&self, namespace: &Value, _old: &Value) -> Errors {
        let mut errors = Errors::default();
        let status = Path::new("status");
        let phase = str_at(namespace, "/status/phase");
        let (required, when) = if has(namespace, "/metadata/deletionTimestamp") {
            ("Terminating", "is not empty")
        } else {
            ("Active", "is empty")
        };
        if phase != required {
            errors.invalid_str(
                &status.child("Phase"),
                phase,
                &format!("may only be '{required}' if `deletionTimestamp` {when}"),
            );
        }
        errors
    }

    fn validate_part_update(&self, namespace: &Value, _old: &Value, _part: &str) -> Errors {
        let mut errors = Errors::default();
        let spec = Path::new("spec");
        let path = spec.child("finalizers");
        for (index, finalizer) in strs_at(namespace, "/spec/finalizers").enumerate() {
            validate_finalizer(&mut errors, &path.index(index), finalizer);
        }
        errors
    }

    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, namespace: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(namespace), str_at(namespace, "/status/phase").into(), age(namespace, now)]
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["status.phase", "name"]
    }

    fn field_values(&self, namespace: &Value) -> Vec<String> {
        vec![str_at(namespace, "/status/phase").to_owned(), str_at(namespace, "/metadata/name").to_owned()]
    }
}

/// A finalizer of a namespace.
fn validate_finalizer(errors: &mut Errors, path: &Path<'_>, finalizer: &str) {
    qualified_name(errors, path, finalizer);
    if !finalizer.contains('/') && !matches!(finalizer, "kubernetes" | "orphan" | "foregroundDeletion") {
        errors.invalid_str(
            path,
            finalizer,
            "name is neither a standard finalizer name nor is it fully qualified",
        );
    }
}

/// Every namespace carries its name as a label, so that selectors can name it.
fn label_with_name(namespace: &mut Value) {
    let name = str_at(namespace, "/metadata/name").to_owned();
    if !name.is_empty() {
        make_map(namespace, "/metadata/labels").insert("kubernetes.io/metadata.name".into(), name.into());
    }
}

const COLUMNS: &[Column] = &[NAME, column("Status", "string", "The status of the namespace"), AGE];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finalizes_leaves_only_known_or_qualified_finalizers() {
        let namespace = json!({"spec": {"finalizers": ["kubernetes", "orphan", "example.com/a", "other"]}});
        let errors = Namespace.validate_part_update(&namespace, &namespace, "finalize");
        let told: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "spec.finalizers[3]: Invalid value: \"other\": name is neither a standard finalizer name nor is it fully qualified"
            ]
        );
    }
}
