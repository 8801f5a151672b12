//! Annotations that mean something to pods.

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, entries, get, opt_str, str_at};

/// The annotation of pods that mirror a node's static pods.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Before the container's name, the key of its AppArmor profile.
pub const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
/// Why nobody should set it any more.
pub const APP_ARMOR_DEPRECATED: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";

/// The annotations of a pod or template.
pub fn validate(errors: &mut Errors, path: &Path<'_>, metadata: &Value, spec: &Value) {
    for (key, value) in entries(metadata, "/annotations") {
        let value = value.as_str().unwrap_or_default();
        if key == MIRROR && str_at(spec, "/nodeName").is_empty() {
            errors.invalid_str(
                &path.key(key),
                value,
                "must set spec.nodeName if mirror pod annotation is set",
            );
        }
        if key == DELETION_COST && !is_integer(value) {
            errors.invalid_str(&path.key(key), value, "must be a 32bit integer");
        }
        if let Some(container) = key.strip_prefix(APP_ARMOR) {
            if !has_container(spec, container) {
                errors.invalid_str(&path.key(key), container, "container not found");
            }
            if !matches!(value, "" | "runtime/default" | "unconfined") && !value.starts_with("localhost/") {
                errors.invalid_str(
                    &path.key(key),
                    value,
                    &format!("invalid AppArmor profile name: \"{value}\""),
                );
            }
        }
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

/// AppArmor profiles of annotations must be those of the fields.
pub fn validate_profiles(errors: &mut Errors, path: &Path<'_>, metadata: &Value, spec: &Value) {
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
