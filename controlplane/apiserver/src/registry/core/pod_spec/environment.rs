//! Environment variables and the fields that they refer to.

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, get, has, list_at, opt_str, str_at};
use crate::schema::quantity::Quantity;
use crate::validation::fields::{dns_label, dns_subdomain, qualified_name, required, required_subdomain};
use crate::validation::formats;

/// What variables can tell of their pod.
const POD_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// What files can tell of their pod.
const VOLUME_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
/// All fields that have a name in the downward API.
const CONVERTIBLE: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.host",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// `env`
pub fn validate_env(errors: &mut Errors, path: &Path<'_>, variables: &[Value]) {
    for (index, variable) in variables.iter().enumerate() {
        let path = path.index(index);
        if required(errors, &path, variable, "name") {
            let name = str_at(variable, "/name");
            for why in formats::env_var_name(name) {
                errors.invalid_str(&path.child("name"), name, &why);
            }
        }
        validate_source(errors, &path.child("valueFrom"), variable);
    }
}

fn validate_source(errors: &mut Errors, path: &Path<'_>, variable: &Value) {
    let Some(source) = get(variable, "/valueFrom") else { return };
    let mut sources = 0;
    if let Some(field) = get(source, "/fieldRef") {
        sources += 1;
        validate_field_ref(errors, &path.child("fieldRef"), field, POD_FIELDS);
    }
    if let Some(resource) = get(source, "/resourceFieldRef") {
        sources += 1;
        validate_resource_field_ref(errors, &path.child("resourceFieldRef"), resource, false);
    }
    for reference in ["configMapKeyRef", "secretKeyRef"] {
        if let Some(key) = get(source, &format!("/{reference}")) {
            sources += 1;
            validate_key_ref(errors, &path.child(reference), key);
        }
    }
    if let Some(file) = get(source, "/fileKeyRef") {
        sources += 1;
        validate_file_ref(errors, &path.child("fileKeyRef"), file);
    }
    if sources == 0 {
        errors.invalid_str(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        );
    } else if !str_at(variable, "/value").is_empty() {
        errors.invalid_str(path, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid_str(path, "", "may not have more than one field specified at a time");
    }
}

fn validate_file_ref(errors: &mut Errors, path: &Path<'_>, file: &Value) {
    if required(errors, path, file, "key") {
        let key = str_at(file, "/key");
        for why in formats::env_var_name(key) {
            errors.invalid_str(&path.child("key"), key, &why);
        }
    }
    if required(errors, path, file, "volumeName") {
        dns_label(errors, &path.child("volumeName"), str_at(file, "/volumeName"));
    }
    if required(errors, path, file, "path") {
        super::volumes::validate_no_backsteps(errors, &path.child("path"), str_at(file, "/path"));
    }
}

fn validate_key_ref(errors: &mut Errors, path: &Path<'_>, reference: &Value) {
    dns_subdomain(errors, &path.child("name"), str_at(reference, "/name"));
    if required(errors, path, reference, "key") {
        let key = str_at(reference, "/key");
        for why in formats::config_map_key(key) {
            errors.invalid_str(&path.child("key"), key, &why);
        }
    }
}

fn validate_field_ref(errors: &mut Errors, path: &Path<'_>, field: &Value, supported: &[&str]) {
    if !required(errors, path, field, "apiVersion") || !required(errors, path, field, "fieldPath") {
        return;
    }
    let field_path = str_at(field, "/fieldPath");
    if str_at(field, "/apiVersion") != "v1" {
        let why =
            format!("error converting fieldPath: unsupported pod version: {}", str_at(field, "/apiVersion"));
        return errors.invalid_str(&path.child("fieldPath"), field_path, &why);
    }
    let (name, subscript) = match field_path.strip_suffix("']").and_then(|rest| rest.split_once("['")) {
        Some((name, subscript)) if !name.is_empty() => (name, Some(subscript)),
        _ => (field_path, None),
    };
    let subscriptable = matches!(name, "metadata.annotations" | "metadata.labels");
    let unknown = match subscript {
        Some(_) if subscriptable => None,
        Some(_) => Some("field label does not support subscript"),
        None if CONVERTIBLE.contains(&name) => None,
        None => Some("field label not supported"),
    };
    if let Some(why) = unknown {
        let why = format!("error converting fieldPath: {why}: {field_path}");
        return errors.invalid_str(&path.child("fieldPath"), field_path, &why);
    }
    // Clients of the first days say `spec.host`.
    let name = if name == "spec.host" { "spec.nodeName" } else { name };
    match subscript {
        Some(key) if name == "metadata.annotations" => qualified_name(errors, path, &key.to_lowercase()),
        Some(key) => qualified_name(errors, path, key),
        None if !supported.contains(&name) => {
            errors.not_supported(&path.child("fieldPath"), &name.into(), supported);
        }
        None => {}
    }
}

fn validate_resource_field_ref(errors: &mut Errors, path: &Path<'_>, reference: &Value, in_volume: bool) {
    let resource = str_at(reference, "/resource");
    let huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|prefix| resource.starts_with(prefix));
    if in_volume && str_at(reference, "/containerName").is_empty() {
        errors.required(&path.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !RESOURCES.contains(&resource) && !huge {
        errors.not_supported(&path.child("resource"), &resource.into(), RESOURCES);
    }
    validate_divisor(errors, path, resource, at(reference, "/divisor"));
}

fn validate_divisor(errors: &mut Errors, path: &Path<'_>, resource: &str, divisor: &Value) {
    const BYTES: &[&str] =
        &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    if Quantity::from_value(divisor).is_ok_and(|quantity| quantity.is_zero()) {
        return;
    }
    let (supported, described, of): (&[&str], _, _) =
        match resource.split_once('.').map_or("", |(_, name)| name) {
            "cpu" => (&["1m", "1"], "1m and 1", "cpu"),
            "memory" => (BYTES, "", "memory"),
            "ephemeral-storage" => (BYTES, "", "local ephemeral storage"),
            name if name.starts_with("hugepages-") => (BYTES, "", "hugepages"),
            _ => return,
        };
    if !supported.contains(&divisor.as_str().unwrap_or_default()) {
        let described = if described.is_empty() { supported.join(", ") } else { described.to_owned() };
        let why = format!("only divisor's values {described} are supported with the {of} resource");
        errors.invalid_str(&path.child("divisor"), resource, &why);
    }
}

/// `envFrom`
pub fn validate_env_from(errors: &mut Errors, path: &Path<'_>, sources: &[Value]) {
    for (index, source) in sources.iter().enumerate() {
        let item = path.index(index);
        if let Some(prefix) = opt_str(source, "/prefix").filter(|prefix| !prefix.is_empty()) {
            for why in formats::env_var_name(prefix) {
                errors.invalid_str(&item.child("prefix"), prefix, &why);
            }
        }
        let mut count = 0;
        for reference in ["configMapRef", "secretRef"] {
            if let Some(named) = get(source, &format!("/{reference}")) {
                count += 1;
                required_subdomain(errors, &item.child(reference), named, "name");
            }
        }
        match count {
            0 => errors.invalid_str(path, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid_str(path, "", "may not have more than one field specified at a time"),
        }
    }
}

/// A file of a downward API volume.
pub fn validate_downward_file(errors: &mut Errors, path: &Path<'_>, file: &Value) {
    required(errors, path, file, "path");
    super::volumes::validate_local_path(errors, &path.child("path"), str_at(file, "/path"));
    if let Some(field) = get(file, "/fieldRef") {
        validate_field_ref(errors, &path.child("fieldRef"), field, VOLUME_FIELDS);
        if has(file, "/resourceFieldRef") {
            let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.invalid_str(path, "resource", why);
        }
    } else if let Some(resource) = get(file, "/resourceFieldRef") {
        validate_resource_field_ref(errors, &path.child("resourceFieldRef"), resource, true);
    } else {
        errors.required(path, "one of fieldRef and resourceFieldRef is required");
    }
    super::volumes::validate_mode(errors, path, file, "mode");
}

/// The files of a downward API volume.
pub fn validate_downward_files(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    super::volumes::validate_mode(errors, path, source, "defaultMode");
    for file in list_at(source, "/items") {
        validate_downward_file(errors, path, file);
    }
}
