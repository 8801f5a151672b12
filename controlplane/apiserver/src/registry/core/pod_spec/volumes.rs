//! Volumes of pods.

mod legacy;
mod projected;

use std::collections::BTreeSet;

use serde_json::Value;

use super::Subject;
use super::environment::validate_downward_files;
use crate::field::{Errors, Path};
use crate::registry::access::{at, get, has, list_at, opt_int, str_at};
use crate::registry::core::persistent_volume_claim::validate_template;
use crate::schema::quantity::Quantity;
use crate::validation::fields::{dns_label, dns_subdomain, required};
use crate::validation::names;
pub use legacy::{validate_csi_driver_name, validate_legacy};

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const MORE_THAN_ONE: &str = "may not specify more than 1 volume type";

/// The sources in the order in which they are checked, with the name that errors about a second one have.
const SOURCES: &[(&str, &str)] = &[
    ("emptyDir", "emptyDir"),
    ("hostPath", "hostPath"),
    ("gitRepo", "gitRepo"),
    ("gcePersistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore"),
    ("secret", "secret"),
    ("nfs", "nfs"),
    ("iscsi", "iscsi"),
    ("glusterfs", "glusterfs"),
    ("flocker", "flocker"),
    ("persistentVolumeClaim", "persistentVolumeClaim"),
    ("rbd", "rbd"),
    ("cinder", "cinder"),
    ("cephfs", "cephFS"),
    ("quobyte", "quobyte"),
    ("downwardAPI", "downwarAPI"),
    ("fc", "fc"),
    ("flexVolume", "flexVolume"),
    ("configMap", "configMap"),
    ("azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk"),
    ("storageos", "storageos"),
    ("projected", "projected"),
    ("scaleIO", "scaleIO"),
    ("csi", "csi"),
    ("ephemeral", "ephemeral"),
    ("image", "image"),
];

/// `volumes`; returns those without fault, which containers may mount.
pub fn validate_volumes<'a>(errors: &mut Errors, path: &Path<'_>, subject: &Subject<'a>) -> Vec<&'a Value> {
    let volumes = list_at(subject.spec, "/volumes");
    let pod = str_at(subject.metadata, "/name");
    let created: BTreeSet<String> = volumes
        .iter()
        .filter(|volume| has(volume, "/ephemeral") && !pod.is_empty())
        .map(|volume| format!("{pod}-{}", str_at(volume, "/name")))
        .collect();
    let mut names = BTreeSet::new();
    let mut valid = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        let name = str_at(volume, "/name");
        let mut own = Errors::default();
        validate_source(&mut own, &path, volume, subject);
        if required(&mut own, &path, volume, "name") {
            dns_label(&mut own, &path.child("name"), name);
        }
        if names.contains(name) {
            own.duplicate(&path.child("name"), &name.into());
        }
        if own.is_empty() {
            names.insert(name);
            valid.push(volume);
        }
        errors.extend(own);
        let claim = str_at(volume, "/persistentVolumeClaim/claimName");
        if created.contains(claim) {
            errors.invalid_str(
                &path.child("persistentVolumeClaim").child("claimName"),
                claim,
                "must not reference a PVC that gets created for an ephemeral volume",
            );
        }
    }
    valid
}

/// What the real server calls a source in the path of what is wrong about it.
pub fn judged_as(field: &str) -> &str {
    if field == "gcePersistentDisk" { "persistentDisk" } else { field }
}

fn validate_source(errors: &mut Errors, path: &Path<'_>, volume: &Value, subject: &Subject<'_>) {
    let mut found = false;
    for (field, shown) in SOURCES {
        let Some(source) = get(volume, &format!("/{field}")) else { continue };
        if found {
            errors.forbidden(&path.child(shown), MORE_THAN_ONE);
            if *field == "iscsi" {
                legacy::validate_iscsi_name_length(errors, path, volume);
            }
            continue;
        }
        found = true;
        let source_path = path.child(judged_as(field));
        match *field {
            "emptyDir" => validate_empty_dir(errors, &source_path, source),
            "hostPath" => validate_host_path(errors, &source_path, source),
            "secret" => {
                required(errors, &source_path, source, "secretName");
                validate_mode(errors, &source_path, source, "defaultMode");
                validate_items(errors, &source_path, source);
            }
            "configMap" => {
                required(errors, &source_path, source, "name");
                validate_mode(errors, &source_path, source, "defaultMode");
                validate_items(errors, &source_path, source);
            }
            "persistentVolumeClaim" => drop(required(errors, &source_path, source, "claimName")),
            "downwardAPI" => validate_downward_files(errors, &source_path, source),
            "projected" => projected::validate(errors, &source_path, source),
            "csi" => validate_csi(errors, &source_path, source),
            "ephemeral" => validate_ephemeral(errors, path, volume, subject),
            "image" => {
                if subject.is_pod {
                    required(errors, &source_path, source, "reference");
                }
                super::containers::validate_pull_policy(errors, &source_path, source);
            }
            _ => validate_legacy(errors, &source_path, field, source, None),
        }
        if *field == "iscsi" {
            legacy::validate_iscsi_name_length(errors, path, volume);
        }
    }
    if !found {
        errors.required(path, "must specify a volume type");
    }
}

fn validate_empty_dir(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    if Quantity::from_value(at(source, "/sizeLimit")).is_ok_and(|limit| limit.signum() < 0) {
        errors.forbidden(&path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
    }
}

/// `hostPath`, of pods and persistent volumes.
pub fn validate_host_path(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    const TYPES: &[&str] = &[
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    if !required(errors, path, source, "path") {
        return;
    }
    validate_no_backsteps(errors, &path.child("path"), str_at(source, "/path"));
    let kind = str_at(source, "/type");
    if !TYPES.contains(&kind) {
        errors.not_supported(&path.child("type"), &kind.into(), TYPES);
    }
}

fn validate_csi(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    validate_csi_driver_name(errors, &path.child("driver"), str_at(source, "/driver"));
    if let Some(secret) = get(source, "/nodePublishSecretRef")
        && required(errors, &path.child("nodePublishSecretRef"), secret, "name")
    {
        dns_subdomain(errors, &path.child("name"), str_at(secret, "/name"));
    }
}

fn validate_ephemeral(errors: &mut Errors, path: &Path<'_>, volume: &Value, subject: &Subject<'_>) {
    let source_path = path.child("ephemeral");
    match get(volume, "/ephemeral/volumeClaimTemplate") {
        None => errors.required(&source_path.child("volumeClaimTemplate"), ""),
        Some(template) => validate_template(errors, &source_path.child("volumeClaimTemplate"), template),
    }
    let (pod, name) = (str_at(subject.metadata, "/name"), str_at(volume, "/name"));
    if !pod.is_empty() && !name.is_empty() {
        let claim = format!("{pod}-{name}");
        for why in names::dns1123_subdomain(&claim) {
            errors.invalid_str(&path.child("name"), name, &format!("PVC name \"{claim}\": {why}"));
        }
    }
}

/// `items` of a secret or config map.
fn validate_items(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    for (index, item) in list_at(source, "/items").iter().enumerate() {
        validate_item(errors, &path.child("items").index(index), item);
    }
}

fn validate_item(errors: &mut Errors, path: &Path<'_>, item: &Value) {
    required(errors, path, item, "key");
    required(errors, path, item, "path");
    validate_local_path(errors, &path.child("path"), str_at(item, "/path"));
    validate_mode(errors, path, item, "mode");
}

/// A file mode.
pub fn validate_mode(errors: &mut Errors, path: &Path<'_>, owner: &Value, field: &str) {
    if let Some(mode) = opt_int(owner, &format!("/{field}")).filter(|mode| !(0..=0o777).contains(mode)) {
        errors.invalid(&path.child(field), &mode.into(), MODE);
    }
}

/// Whether a path leads upwards somewhere.
pub fn has_backsteps(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

/// A path that does not lead upwards.
pub fn validate_no_backsteps(errors: &mut Errors, path: &Path<'_>, text: &str) {
    if has_backsteps(text) {
        errors.invalid_str(path, text, "must not contain '..'");
    }
}

/// A relative path that stays below its directory.
pub fn validate_descending_path(errors: &mut Errors, path: &Path<'_>, text: &str) {
    if text.starts_with('/') {
        errors.invalid_str(path, text, "must be a relative path");
    }
    validate_no_backsteps(errors, path, text);
}

/// A relative path whose name does not look like a way upwards.
pub fn validate_local_path(errors: &mut Errors, path: &Path<'_>, text: &str) {
    validate_descending_path(errors, path, text);
    if text.starts_with("..") && !text.starts_with("../") {
        errors.invalid_str(path, text, "must not start with '..'");
    }
}
