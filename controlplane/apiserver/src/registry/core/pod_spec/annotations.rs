//! Annotations that mean something to pods.

use serde_json::Value;

use super::scheduling::validate_tolerations;
use super::volumes::validate_descending_path;
use crate::field::{Errors, Path, quoted};
use crate::registry::access::{at, entries, get, opt_str, str_at};
use crate::registry::core::annotated;

/// The annotation of pods that mirror a node's static pods.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// The key of a pod's seccomp profile, from before there was a field.
pub const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
/// Before the container's name, the key of its seccomp profile.
pub const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const LOCALHOST: &str = "localhost/";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const TOLERATION: annotated::Struct = annotated::Struct {
    name: "Toleration",
    fields: &[
        ("Key", "key", "string"),
        ("Operator", "operator", "core.TolerationOperator"),
        ("Value", "value", "string"),
        ("Effect", "effect", "core.TaintEffect"),
        ("TolerationSeconds", "tolerationSeconds", "int64"),
    ],
};
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Before the container's name, the key of its AppArmor profile.
pub const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
/// Why nobody should set it any more.
pub const APP_ARMOR_DEPRECATED: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";

/// The annotations of a pod or template.
pub fn validate(errors: &mut Errors, path: &Path<'_>, metadata: &Value, spec: &Value) {
    let given = |key: &str| at(metadata, "/annotations").get(key).and_then(Value::as_str);
    if let Some(value) = given(MIRROR)
        && str_at(spec, "/nodeName").is_empty()
    {
        let why = "must set spec.nodeName if mirror pod annotation is set";
        errors.invalid_str(&path.key(MIRROR), value, why);
    }
    if let Some(text) = given(TOLERATIONS).filter(|text| !text.is_empty()) {
        match annotated::list(text, &TOLERATION) {
            Ok(tolerations) => validate_tolerations(errors, &path.child(TOLERATIONS), &tolerations),
            Err(why) => errors.invalid_str(path, TOLERATIONS, &why),
        }
    }
    if let Some(value) = given(DELETION_COST).filter(|value| !is_integer(value)) {
        errors.invalid_str(&path.key(DELETION_COST), value, "must be a 32bit integer");
    }
    if let Some(profile) = given(SECCOMP_POD) {
        validate_seccomp(errors, &path.child(SECCOMP_POD), profile);
    }
    let all = || entries(metadata, "/annotations");
    for (key, value) in all().filter(|(key, _)| key.starts_with(SECCOMP_CONTAINER)) {
        validate_seccomp(errors, &path.child(key), value.as_str().unwrap_or_default());
    }
    for (key, value) in all() {
        let (Some(container), Some(value)) = (key.strip_prefix(APP_ARMOR), value.as_str()) else { continue };
        if !has_container(spec, container) {
            errors.invalid_str(&path.key(key), container, "container not found");
        }
        if !matches!(value, "" | "runtime/default" | "unconfined") && !value.starts_with("localhost/") {
            let why = format!("invalid AppArmor profile name: {}", quoted(value));
            errors.invalid_str(&path.key(key), value, &why);
        }
    }
}

fn validate_seccomp(errors: &mut Errors, path: &Path<'_>, profile: &str) {
    match profile {
        "runtime/default" | "docker/default" | "unconfined" => {}
        _ => match profile.strip_prefix(LOCALHOST) {
            Some(file) => validate_descending_path(errors, path, file),
            None => errors.invalid_str(path, profile, "must be a valid seccomp profile"),
        },
    }
}

/// Go's decimal integers without signs or zeros that say nothing.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let padded = digits.len() > 1 && digits.starts_with('0') || digits.starts_with('+');
    !padded && text.parse::<i32>().is_ok()
}

fn has_container(spec: &Value, name: &str) -> bool {
    let mut found = false;
    super::visit_containers(&Path::ROOT, spec, &mut |_, container| {
        found |= str_at(container, "/name") == name;
    });
    found
}

/// Profiles of annotations must be those of the fields.
pub fn validate_profiles(errors: &mut Errors, path: &Path<'_>, metadata: &Value, spec: &Value) {
    validate_seccomp_kept(errors, path, metadata, SECCOMP_POD, spec);
    super::visit_containers(path, spec, &mut |path, container| {
        let key = format!("{SECCOMP_CONTAINER}{}", str_at(container, "/name"));
        validate_seccomp_kept(errors, path, metadata, &key, container);
    });
    validate_app_armor_kept(errors, path, metadata, spec);
}

fn validate_seccomp_kept(errors: &mut Errors, path: &Path<'_>, metadata: &Value, key: &str, owner: &Value) {
    let Some(annotation) = at(metadata, "/annotations").get(key).and_then(Value::as_str) else { return };
    let Some(profile) = get(owner, "/securityContext/seccompProfile") else { return };
    let context = path.child("securityContext");
    let path = context.child("seccompProfile");
    let file = annotation.strip_prefix(LOCALHOST);
    let same_type = match str_at(profile, "/type") {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => matches!(annotation, "runtime/default" | "docker/default"),
        "Localhost" if file.is_some() => {
            if opt_str(profile, "/localhostProfile") != file {
                let why = "seccomp profile in annotation and field must match";
                errors.forbidden(&path.child("localhostProfile"), why);
            }
            true
        }
        "Localhost" => false,
        _ => true,
    };
    if !same_type {
        errors.forbidden(&path.child("type"), "seccomp type in annotation and field must match");
    }
}

fn validate_app_armor_kept(errors: &mut Errors, path: &Path<'_>, metadata: &Value, spec: &Value) {
    if str_at(spec, "/os/name") == "windows" {
        return;
    }
    let of_pod = get(spec, "/securityContext/appArmorProfile");
    super::visit_containers(path, spec, &mut |path, container| {
        let Some(profile) = get(container, "/securityContext/appArmorProfile").or(of_pod) else { return };
        let key = format!("{APP_ARMOR}{}", str_at(container, "/name"));
        let Some(annotation) = at(metadata, "/annotations").get(&key).and_then(Value::as_str) else { return };
        let context = path.child("securityContext");
        let path = context.child("appArmorProfile");
        let same_type = match str_at(profile, "/type") {
            "Unconfined" => annotation == "unconfined",
            "RuntimeDefault" => annotation == "runtime/default",
            "Localhost" => annotation.starts_with("localhost/"),
            _ => true,
        };
        if !same_type {
            errors.forbidden(&path.child("type"), "apparmor type in annotation and field must match");
        } else if let Some(file) = annotation.strip_prefix("localhost/")
            && opt_str(profile, "/localhostProfile") != Some(file)
        {
            errors.forbidden(
                &path.child("localhostProfile"),
                "apparmor profile in annotation and field must match",
            );
        }
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn annotations_of_old_clients_are_read() {
        let annotations = json!({
            MIRROR: "x",
            TOLERATIONS: r#"[{"operator": "Lt", "key": "a"}]"#,
            DELETION_COST: "+1",
            SECCOMP_POD: "localhost/../a",
            "container.seccomp.security.alpha.kubernetes.io/c": "docker",
        });
        let mut errors = Errors::default();
        let path = Path::new("metadata.annotations");
        validate(&mut errors, &path, &json!({"annotations": annotations}), &json!({}));
        let told: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"x\": must set spec.nodeName if mirror pod annotation is set",
                "metadata.annotations.scheduler.alpha.kubernetes.io/tolerations[0].operator: Unsupported value: \"Lt\": supported values: \"Equal\", \"Exists\", \"Lt\", \"Gt\"",
                "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+1\": must be a 32bit integer",
                "metadata.annotations.seccomp.security.alpha.kubernetes.io/pod: Invalid value: \"../a\": must not contain '..'",
                "metadata.annotations.container.seccomp.security.alpha.kubernetes.io/c: Invalid value: \"docker\": must be a valid seccomp profile",
            ]
        );
    }

    #[test]
    fn seccomp_profiles_of_annotations_are_those_of_the_fields() {
        let metadata = json!({"annotations": {SECCOMP_POD: "runtime/default"}});
        let told = |profile: Value| {
            let mut errors = Errors::default();
            let spec = json!({"securityContext": {"seccompProfile": profile}});
            validate_profiles(&mut errors, &Path::new("spec"), &metadata, &spec);
            errors.0.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(json!({"type": "RuntimeDefault"})), [""; 0]);
        assert_eq!(
            told(json!({"type": "Unconfined"})),
            [
                "spec.securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and field must match"
            ]
        );
    }
}
