//! What a definition as a whole must be: names, versions, conversion, approval.
//!
//! Paths are those of the version-independent form that the real server judges: what all versions have
//! in common (always so with one version) is said of `spec.validation` and its like.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{internal, version};
use crate::{
    custom::{conditions::is_true, uri::parse_request},
    field::{Errors, Path},
    outbound::trust,
    registry::access::{at, bool_at, get, has, list_at, opt_str, str_at, strs_at},
    validation::{
        names::{dns1035_label, dns1123_subdomain},
        webhook,
    },
};

const SPEC: Path<'static> = Path::new("spec");
const IMMUTABLE: &str = "field is immutable";

/// Where groups of the Kubernetes community say that they were approved.
const APPROVAL: &str = "api-approved.kubernetes.io";

/// Judges a new definition.
pub fn create(definition: &Value) -> Errors {
    let mut errors = Errors::default();
    let required =
        format!("{}.{}", str_at(definition, "/spec/names/plural"), str_at(definition, "/spec/group"));
    let name = str_at(definition, "/metadata/name");
    if name != required {
        let path = Path::new("metadata");
        errors.invalid_str(&path.child("name"), name, "must be spec.names.plural+\".\"+spec.group");
    }
    spec(definition, None, &mut errors);
    status(definition, &mut errors);
    stored_versions(definition, &mut errors);
    approval(definition, None, &mut errors);
    preserved_fields(definition, &mut errors);
    errors
}

/// Judges a changed definition. Schemas that stay as they were are not judged again.
pub fn update(definition: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    spec(definition, Some(old), &mut errors);
    let established = is_true(old, "Established");
    for (pointer, always) in
        [("/scope", false), ("/names/kind", false), ("/group", true), ("/names/plural", true)]
    {
        let pointer = format!("/spec{pointer}");
        let (new, old) = (str_at(definition, &pointer), str_at(old, &pointer));
        if (always || established) && new != old {
            let path = pointer[1..].replace('/', ".");
            errors.invalid_str(&Path::new(&path), new, IMMUTABLE);
        }
    }
    status(definition, &mut errors);
    stored_versions(definition, &mut errors);
    approval(definition, Some(old), &mut errors);
    if !bool_at(old, "/spec/preserveUnknownFields") {
        preserved_fields(definition, &mut errors);
    }
    errors
}

/// Judges a changed status.
pub fn status(definition: &Value, errors: &mut Errors) {
    names(at(definition, "/status/acceptedNames"), &Path::new("status").child("acceptedNames"), errors);
}

fn spec(definition: &Value, old: Option<&Value>, errors: &mut Errors) {
    group(str_at(definition, "/spec/group"), errors);
    one_of(str_at(definition, "/spec/scope"), &["Cluster", "Namespaced"], &SPEC.child("scope"), errors);
    let versions = list_at(definition, "/spec/versions");
    let path = SPEC.child("versions");
    for (i, version) in versions.iter().enumerate() {
        if !has(version, "/schema/openAPIV3Schema") {
            errors.required(&path.index(i).child("schema").child("openAPIV3Schema"), "");
        }
    }
    for (i, version) in versions.iter().enumerate() {
        let name = str_at(version, "/name");
        label(name, &path.index(i).child("name"), errors);
        version::each(versions, i, old, &path.index(i), errors);
    }
    let repeats = |i: usize| versions[..i].iter().any(|v| v.get("name") == versions[i].get("name"));
    if (0..versions.len()).any(repeats) {
        let shown = internal::versions(versions);
        internal::invalid(errors, &path, &shown, "must contain unique version names");
    }
    if versions.iter().filter(|v| bool_at(v, "/storage")).count() != 1 {
        let shown = internal::versions(versions);
        internal::invalid(errors, &path, &shown, "must have exactly one version marked as storage version");
    }
    if let Some(first) = versions.first() {
        label(str_at(first, "/name"), &SPEC.child("version"), errors);
    }
    let path = SPEC.child("names");
    for field in ["plural", "singular", "kind", "listKind"] {
        if str_at(definition, &format!("/spec/names/{field}")).is_empty() {
            errors.required(&path.child(field), "");
        }
    }
    names(at(definition, "/spec/names"), &path, errors);
    version::common(versions, old, errors);
    if has(definition, "/spec/conversion") {
        conversion(definition, old, errors);
    }
}

fn group(group: &str, errors: &mut Errors) {
    let path = SPEC.child("group");
    let wrong = dns1123_subdomain(group);
    if group.is_empty() {
        errors.required(&path, "");
    } else if !wrong.is_empty() {
        errors.invalid_str(&path, group, &wrong.join(","));
    } else if !group.contains('.') {
        errors.invalid_str(&path, group, "should be a domain with at least one dot");
    }
}

fn one_of(value: &str, supported: &[&str], path: &Path<'_>, errors: &mut Errors) {
    if value.is_empty() {
        errors.required(path, "");
    } else if !supported.contains(&value) {
        errors.not_supported(path, &value.into(), supported);
    }
}

fn label(text: &str, path: &Path<'_>, errors: &mut Errors) {
    let wrong = dns1035_label(text);
    if !wrong.is_empty() {
        errors.invalid_str(path, text, &wrong.join(","));
    }
}

fn names(names: &Value, path: &Path<'_>, errors: &mut Errors) {
    for field in ["plural", "singular"] {
        let name = str_at(names, &format!("/{field}"));
        if !name.is_empty() {
            label(name, &path.child(field), errors);
        }
    }
    for field in ["kind", "listKind"] {
        let name = str_at(names, &format!("/{field}"));
        let wrong = dns1035_label(&name.to_lowercase());
        if !name.is_empty() && !wrong.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.invalid_str(&path.child(field), name, &why);
        }
    }
    for (i, name) in strs_at(names, "/shortNames").enumerate() {
        label(name, &path.child("shortNames").index(i), errors);
    }
    let (kind, list_kind) = (str_at(names, "/kind"), str_at(names, "/listKind"));
    if !kind.is_empty() && kind == list_kind {
        errors.invalid_str(&path.child("listKind"), list_kind, "kind and listKind may not be the same");
    }
    for (i, name) in strs_at(names, "/categories").enumerate() {
        label(name, &path.child("categories").index(i), errors);
    }
}

fn stored_versions(definition: &Value, errors: &mut Errors) {
    let path = Path::new("status");
    let path = path.child("storedVersions");
    let stored = list_at(definition, "/status/storedVersions");
    if stored.is_empty() {
        return errors.invalid(&path, &Value::Null, "must have at least one stored version");
    }
    let versions = list_at(definition, "/spec/versions");
    for version in versions.iter().filter(|v| bool_at(v, "/storage")) {
        let name = str_at(version, "/name");
        if !stored.iter().any(|s| s == name) {
            let why = format!("must have the storage version {name}");
            errors.invalid(&path, &Value::from(stored), &why);
        }
    }
    for (i, name) in stored.iter().filter_map(Value::as_str).enumerate() {
        if !versions.iter().any(|v| str_at(v, "/name") == name) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.invalid_str(&path.index(i), name, &why);
        }
    }
}

fn conversion(definition: &Value, old: Option<&Value>, errors: &mut Errors) {
    let path = SPEC.child("conversion");
    let strategy = str_at(definition, "/spec/conversion/strategy");
    one_of(strategy, &["None", "Webhook"], &path.child("strategy"), errors);
    let hook = at(definition, "/spec/conversion/webhook");
    let client = path.child("webhookClientConfig");
    let reviews = path.child("conversionReviewVersions");
    let review_versions = list_at(hook, "/conversionReviewVersions");
    if strategy != "Webhook" {
        let why = "should not be set when strategy is not set to Webhook";
        if has(hook, "/clientConfig") {
            errors.forbidden(&client, why);
        }
        if !review_versions.is_empty() {
            errors.forbidden(&reviews, why);
        }
        return;
    }
    match get(hook, "/clientConfig") {
        None => errors.required(&client, "required when strategy is set to Webhook"),
        Some(config) if has(config, "/url") == has(config, "/service") => {
            errors.required(&client, "exactly one of url or service is required");
        }
        Some(config) => match opt_str(config, "/url") {
            Some(url) => webhook::url(errors, &client.child("url"), url),
            None => webhook::service(errors, &client.child("service"), at(config, "/service")),
        },
    }
    // One that cannot be used keeps a definition from being established, but may not come after that.
    let is_established = |old: &Value| is_true(old, "Established") && unusable_bundle(old).is_none();
    if old.is_some_and(is_established)
        && let Some(why) = unusable_bundle(definition)
    {
        errors.invalid(&client.child("caBundle"), at(hook, "/clientConfig/caBundle"), &why);
    }
    let review_versions: Vec<&str> = review_versions.iter().filter_map(Value::as_str).collect();
    review(&review_versions, &reviews, errors);
}

/// Why the certificates that the webhook is to be known by cannot be used.
pub fn unusable_bundle(definition: &Value) -> Option<String> {
    let bundle = str_at(definition, "/spec/conversion/webhook/clientConfig/caBundle");
    trust::unusable(&STANDARD.decode(bundle).unwrap_or_default())
}

fn review(versions: &[&str], path: &Path<'_>, errors: &mut Errors) {
    if versions.is_empty() {
        return errors.required(path, "");
    }
    for (i, version) in versions.iter().enumerate() {
        if versions[..i].contains(version) {
            errors.invalid_str(&path.index(i), version, "duplicate version");
        } else {
            for why in dns1035_label(version) {
                errors.invalid_str(&path.index(i), version, &why);
            }
        }
    }
    if !versions.iter().any(|v| matches!(*v, "v1" | "v1beta1")) {
        errors.invalid(path, &versions.into(), "must include at least one of v1, v1beta1");
    }
}

/// Whether a group of the Kubernetes community was approved, and the words for it; `None` for others.
pub fn approval_state(definition: &Value) -> Option<(&'static str, String)> {
    let group = str_at(definition, "/spec/group");
    let protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group.strip_suffix(domain).is_some_and(|head| head.is_empty() || head.ends_with('.')));
    if !protected {
        return None;
    }
    let annotation = definition.pointer("/metadata/annotations").and_then(|a| a.get(APPROVAL));
    let annotation = annotation.and_then(Value::as_str).unwrap_or_default();
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    Some(if annotation.is_empty() {
        ("MissingAnnotation", format!("protected groups must have approval annotation \"{APPROVAL}\", {SEE}"))
    } else if parse_request(annotation).is_some_and(|uri| !uri.host.is_empty() && !uri.scheme.is_empty()) {
        ("ApprovedAnnotation", format!("approved in {annotation}"))
    } else if annotation.starts_with("unapproved") {
        ("UnapprovedAnnotation", format!("not approved: {annotation:?}"))
    } else {
        let why = "with either a URL or a reason starting with \"unapproved\"";
        (
            "InvalidAnnotation",
            format!("protected groups must have approval annotation \"{APPROVAL}\" {why}, {SEE}"),
        )
    })
}

fn approval(definition: &Value, old: Option<&Value>, errors: &mut Errors) {
    let Some((state, why)) = approval_state(definition) else { return };
    if old.and_then(approval_state).is_some_and(|(before, _)| before == state) {
        return;
    }
    let path = Path::new("metadata.annotations");
    let path = path.key(APPROVAL);
    match state {
        "MissingAnnotation" => errors.required(&path, &why),
        "InvalidAnnotation" => {
            let given = definition.pointer("/metadata/annotations").and_then(|a| a.get(APPROVAL));
            errors.invalid(&path, given.unwrap_or(&Value::Null), &why);
        }
        _ => {}
    }
}

fn preserved_fields(definition: &Value, errors: &mut Errors) {
    if bool_at(definition, "/spec/preserveUnknownFields") {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.invalid(&SPEC.child("preserveUnknownFields"), &true.into(), why);
    }
}
