//! Where containers mount their volumes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Subject;
use super::volumes::{has_backsteps, validate_descending_path};
use crate::field::{Errors, Path};
use crate::registry::access::{bool_at, has, list_at, str_at};
use crate::validation::fields::{is_true, required};

/// `volumeMounts`
pub fn validate_mounts(errors: &mut Errors, path: &Path<'_>, container: &Value, subject: &Subject<'_>) {
    let devices = list_at(container, "/volumeDevices");
    let mut points = BTreeSet::new();
    for (index, mount) in list_at(container, "/volumeMounts").iter().enumerate() {
        let item = path.index(index);
        let (name, point) = (str_at(mount, "/name"), str_at(mount, "/mountPath"));
        required(errors, &item, mount, "name");
        if !subject.has_volume(name) {
            errors.not_found(&item.child("name"), &name.into());
        }
        required(errors, &item, mount, "mountPath");
        if !points.insert(point) {
            errors.invalid_str(&item.child("mountPath"), point, "must be unique");
        }
        if devices.iter().any(|device| str_at(device, "/name") == name) {
            errors.invalid_str(&item.child("name"), name, "must not already exist in volumeDevices");
        }
        if devices.iter().any(|device| str_at(device, "/devicePath") == point) {
            errors.invalid_str(
                &item.child("mountPath"),
                point,
                "must not already exist as a path in volumeDevices",
            );
        }
        let (sub_path, expression) = (str_at(mount, "/subPath"), str_at(mount, "/subPathExpr"));
        if !sub_path.is_empty() {
            validate_descending_path(errors, &path.child("subPath"), sub_path);
        }
        if !expression.is_empty() {
            if !sub_path.is_empty() {
                errors.invalid_str(
                    &item.child("subPathExpr"),
                    expression,
                    "subPathExpr and subPath are mutually exclusive",
                );
            }
            validate_descending_path(errors, &path.child("subPathExpr"), expression);
        }
        validate_propagation(errors, &path.child("mountPropagation"), mount, container);
        validate_recursive(errors, &path.child("recursiveReadOnly"), mount);
    }
}

fn validate_propagation(errors: &mut Errors, path: &Path<'_>, mount: &Value, container: &Value) {
    let propagation = str_at(mount, "/mountPropagation");
    match propagation {
        _ if !has(mount, "/mountPropagation") => {}
        "None" | "HostToContainer" => {}
        "Bidirectional" if is_true(container, "/securityContext/privileged") => {}
        "Bidirectional" => errors
            .forbidden(path, "Bidirectional mount propagation is available only to privileged containers"),
        _ => {
            errors.not_supported(path, &propagation.into(), &["Bidirectional", "HostToContainer", "None"]);
        }
    }
}

fn validate_recursive(errors: &mut Errors, path: &Path<'_>, mount: &Value) {
    let mode = str_at(mount, "/recursiveReadOnly");
    match mode {
        _ if !has(mount, "/recursiveReadOnly") => {}
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !bool_at(mount, "/readOnly") {
                errors.forbidden(path, "may only be specified when readOnly is true");
            }
            if !matches!(str_at(mount, "/mountPropagation"), "" | "None") {
                errors
                    .forbidden(path, "may only be specified when mountPropagation is None or not specified");
            }
        }
        _ => errors.not_supported(path, &mode.into(), &["Disabled", "Enabled", "IfPossible"]),
    }
}

/// `volumeDevices`
pub fn validate_devices(errors: &mut Errors, path: &Path<'_>, container: &Value, subject: &Subject<'_>) {
    let mounts = list_at(container, "/volumeMounts");
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for (index, device) in list_at(container, "/volumeDevices").iter().enumerate() {
        let item = path.index(index);
        let (name, device_path) = (str_at(device, "/name"), str_at(device, "/devicePath"));
        required(errors, &item, device, "name");
        if names.contains(name) {
            errors.invalid_str(&item.child("name"), name, "must be unique");
        }
        match subject.volume(name) {
            Some(volume) if has(volume, "/persistentVolumeClaim") || has(volume, "/ephemeral") => {}
            Some(_) => errors.invalid_str(
                &item.child("name"),
                name,
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            ),
            None => errors.not_found(&item.child("name"), &name.into()),
        }
        required(errors, &item, device, "devicePath");
        if paths.contains(device_path) {
            errors.invalid_str(&item.child("devicePath"), device_path, "must be unique");
        }
        if has_backsteps(device_path) {
            errors.invalid_str(&item.child("devicePath"), device_path, "can not contain backsteps ('..')");
        } else {
            paths.insert(device_path);
        }
        if mounts.iter().any(|mount| str_at(mount, "/name") == name) {
            errors.invalid_str(&item.child("name"), name, "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|mount| str_at(mount, "/mountPath") == device_path) {
            errors.invalid_str(
                &item.child("devicePath"),
                device_path,
                "must not already exist as a path in volumeMounts",
            );
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
}
