//! The rules of `metadata`, the same for every kind
//! (`k8s.io/apimachinery/pkg/api/validation/objectmeta.go` is where the messages are defined).

use serde_json::Value;

use super::names;
use crate::{
    field::{Errors, Path, Reason},
    metadata,
    registry::kind::NameRule,
    resource::Definition,
};

const META: Path<'static> = Path::new("metadata");
const ANNOTATIONS_LIMIT: usize = 256 * 1024;
const STANDARD_FINALIZERS: &[&str] = &["kubernetes", "orphan", "foregroundDeletion"];
const IMMUTABLE: &str = "field is immutable";

/// Everything wrong with a new object's metadata.
pub fn create(object: &Value, definition: &Definition) -> Errors {
    let mut errors = Errors::default();
    names_of(object, definition, &mut errors);
    common(object, definition, &mut errors);
    errors
}

/// Everything wrong with changed metadata.
pub fn update(object: &Value, old: &Value, definition: &Definition) -> Errors {
    let mut errors = Errors::default();
    common(object, definition, &mut errors);
    new_finalizers(object, old, &mut errors);
    for field in ["name", "namespace", "uid"] {
        let (new, was) = (metadata::text(object, field), metadata::text(old, field));
        if new != was {
            errors.invalid_str(&META.child(field), new, IMMUTABLE);
        }
    }
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        let (new, was) = (metadata::get(object, field), metadata::get(old, field));
        if new != was {
            errors.invalid(&META.child(field), new.unwrap_or(&Value::Null), IMMUTABLE);
        }
    }
    errors
}

fn rule(rule: NameRule, text: &str) -> Vec<String> {
    match rule {
        NameRule::Subdomain => names::dns1123_subdomain(text),
        NameRule::Label => names::dns1123_label(text),
        NameRule::PathSegment => names::path_segment(text),
    }
}

fn names_of(object: &Value, definition: &Definition, errors: &mut Errors) {
    let name_rule = definition.rules().name_rule();
    let (name, prefix) = (metadata::name(object), metadata::text(object, "generateName"));
    if !prefix.is_empty() {
        // A prefix may end in a dash; what follows makes it valid.
        let masked = prefix.strip_suffix('-').map_or_else(|| prefix.to_owned(), |p| format!("{p}a"));
        for why in rule(name_rule, &masked) {
            errors.invalid_str(&META.child("generateName"), prefix, &why);
        }
    }
    if name.is_empty() {
        errors.required(&META.child("name"), "name or generateName is required");
    } else {
        for why in rule(name_rule, name) {
            errors.invalid_str(&META.child("name"), name, &why);
        }
    }
    if definition.namespaced() {
        let namespace = metadata::namespace(object);
        for why in names::dns1123_label(namespace) {
            errors.invalid_str(&META.child("namespace"), namespace, &why);
        }
    }
}

fn common(object: &Value, definition: &Definition, errors: &mut Errors) {
    let generation = metadata::generation(object);
    if generation < 0 {
        let why = "must be greater than or equal to 0";
        errors.invalid(&META.child("generation"), &generation.into(), why);
    }
    labels(metadata::get(object, "labels"), &META.child("labels"), errors);
    annotations(object, errors);
    owners(object, errors);
    finalizers(object, errors);
    if wants_known_finalizers(definition) {
        for (at, finalizer) in metadata::finalizers(object).into_iter().enumerate() {
            if is_unknown(finalizer) {
                errors.invalid_str(
                    &META.child("finalizers").index(at),
                    finalizer,
                    "name is neither a standard finalizer name nor is it fully qualified",
                );
            }
        }
    }
}

/// Custom objects, and the kinds of which the real server checks no more than the metadata of any object, take any
/// finalizer.
fn wants_known_finalizers(definition: &Definition) -> bool {
    const ANY: &[&str] = &[
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "coordination.k8s.io",
        "policy",
    ];
    !matches!(definition, Definition::Custom(_)) && !ANY.contains(&definition.group())
}

fn is_unknown(finalizer: &str) -> bool {
    !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer)
}

/// What is questionable about the finalizers of a custom object that it has not had before.
pub fn finalizer_warnings(object: &Value, old: Option<&Value>) -> Vec<String> {
    let had = old.map(metadata::finalizers).unwrap_or_default();
    let mut added: Vec<&str> =
        metadata::finalizers(object).into_iter().filter(|f| !had.contains(f)).collect();
    added.sort_unstable();
    added.dedup();
    let mut warnings = Vec::new();
    for finalizer in added {
        for why in names::qualified_name(finalizer) {
            warnings.push(format!("metadata.finalizers: {finalizer:?}: {why}"));
        }
        if is_unknown(finalizer) {
            warnings.push(format!(
                "metadata.finalizers: {finalizer:?}: prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers"
            ));
        }
    }
    warnings
}

/// Everything wrong with labels.
pub fn labels(labels: Option<&Value>, path: &Path<'_>, errors: &mut Errors) {
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        for why in names::qualified_name(key) {
            errors.invalid_str(path, key, &why.replace("a qualified name", "a valid label key"));
        }
        let value = value.as_str().unwrap_or_default();
        for why in names::label_value(value) {
            errors.invalid_str(path, value, &why);
        }
    }
}

fn annotations(object: &Value, errors: &mut Errors) {
    let path = META.child("annotations");
    let mut size = 0;
    for (key, value) in metadata::get(object, "annotations").and_then(Value::as_object).into_iter().flatten()
    {
        for why in names::qualified_name(&key.to_lowercase()) {
            errors.invalid_str(&path, key, &why.replace("a qualified name", "a valid annotation key"));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_LIMIT {
        errors.too_long(&path, ANNOTATIONS_LIMIT);
    }
}

fn owners(object: &Value, errors: &mut Errors) {
    let path = META.child("ownerReferences");
    let Some(owners) = metadata::get(object, "ownerReferences").and_then(Value::as_array) else { return };
    let mut controller: Option<&Value> = None;
    for owner in owners {
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        let api_version = text("apiVersion");
        if api_version.is_empty() || api_version.matches('/').count() > 1 || api_version.ends_with('/') {
            errors.invalid_str(&path.child("apiVersion"), api_version, "version must not be empty");
        }
        for field in ["kind", "name", "uid"] {
            if text(field).is_empty() {
                errors.invalid_str(&path.child(field), "", "must not be empty");
            }
        }
        if api_version == "v1" && text("kind") == "Event" {
            errors.invalid(&path, owner, "/v1, Kind=Event is disallowed from being an owner");
        }
        if owner.get("controller").and_then(Value::as_bool) == Some(true) {
            if let Some(first) = controller {
                let name = first.get("name").and_then(Value::as_str).unwrap_or_default();
                let kind = first.get("kind").and_then(Value::as_str).unwrap_or_default();
                let (other, other_kind) = (text("name"), text("kind"));
                let shown: Vec<String> = owners.iter().map(shown_owner).collect();
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {kind}/{name} and {other_kind}/{other}"
                );
                let detail = format!("Invalid value: [{}]: {why}", shown.join(","));
                errors.push(&path, Reason::Invalid, detail);
            } else {
                controller = Some(owner);
            }
        }
    }
}

/// An owner reference with its fields in Go's order.
fn shown_owner(owner: &Value) -> String {
    let fields = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let shown: Vec<String> =
        fields.into_iter().filter_map(|field| Some(format!("\"{field}\":{}", owner.get(field)?))).collect();
    format!("{{{}}}", shown.join(","))
}

fn finalizers(object: &Value, errors: &mut Errors) {
    let path = META.child("finalizers");
    let finalizers = metadata::finalizers(object);
    let (mut orphan, mut foreground) = (false, false);
    for finalizer in &finalizers {
        for why in names::qualified_name(finalizer) {
            errors.invalid_str(&path, finalizer, &why);
        }
        orphan |= *finalizer == "orphan";
        foreground |= *finalizer == "foregroundDeletion";
    }
    if orphan && foreground {
        errors.invalid(
            &path,
            &Value::from(finalizers.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>()),
            "finalizer orphan and foregroundDeletion cannot be both set",
        );
    }
}

fn new_finalizers(object: &Value, old: &Value, errors: &mut Errors) {
    if !metadata::is_terminating(old) {
        return;
    }
    let had = metadata::finalizers(old);
    let added: Vec<String> = metadata::finalizers(object)
        .into_iter()
        .filter(|f| !had.contains(f))
        .map(crate::field::quoted)
        .collect();
    if !added.is_empty() {
        errors.forbidden(
            &META.child("finalizers"),
            &format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            ),
        );
    }
}
