//! Volumes of storage systems that Kubernetes knew by itself before CSI; of pods and persistent volumes.

use serde_json::Value;

use super::{validate_descending_path, validate_no_backsteps};
use crate::field::{Errors, Path};
use crate::registry::access::{at, entries, get, has, int_at, list_at, opt_int, opt_str, str_at};
use crate::validation::fields::{dns_label, is_true, one_of, required};
use crate::validation::{formats, names};

/// Sources that only demand texts.
const REQUIRED: &[(&str, &[&str])] = &[
    ("glusterfs", &["endpoints", "path"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("cinder", &["volumeID"]),
];

/// A source by its field; with the name of the persistent volume that has it, if it is one's.
pub fn validate_legacy(
    errors: &mut Errors,
    path: &Path<'_>,
    field: &str,
    source: &Value,
    persistent: Option<&str>,
) {
    for name in REQUIRED.iter().filter(|(known, _)| *known == field).flat_map(|(_, names)| *names) {
        required(errors, path, source, name);
    }
    match field {
        "gitRepo" => {
            required(errors, path, source, "repository");
            validate_descending_path(errors, &path.child("directory"), str_at(source, "/directory"));
        }
        "gcePersistentDisk" => validate_disk(errors, path, source, "pdName"),
        "awsElasticBlockStore" => validate_disk(errors, path, source, "volumeID"),
        "nfs" => validate_nfs(errors, path, source),
        "iscsi" => validate_iscsi(errors, path, source, persistent),
        "flocker" => validate_flocker(errors, path, source),
        "rbd" | "cephfs" => {
            if list_at(source, "/monitors").is_empty() {
                errors.required(&path.child("monitors"), "");
            }
            if field == "rbd" {
                required(errors, path, source, "image");
            }
        }
        "cinder" => validate_secret(errors, path, source, persistent.is_some()),
        "glusterfs" if persistent.is_some() => validate_endpoints_namespace(errors, path, source),
        "azureFile" if persistent.is_some() && opt_str(source, "/secretNamespace") == Some("") => {
            errors.required(&path.child("secretNamespace"), "");
        }
        "quobyte" => validate_quobyte(errors, path, source),
        "fc" => validate_fc(errors, path, source),
        "flexVolume" => validate_flex(errors, path, source),
        "azureDisk" => validate_azure_disk(errors, path, source),
        "storageos" => {
            if required(errors, path, source, "volumeName") {
                dns_label(errors, &path.child("volumeName"), str_at(source, "/volumeName"));
            }
            let namespace = str_at(source, "/volumeNamespace");
            if !namespace.is_empty() {
                dns_label(errors, &path.child("volumeNamespace"), namespace);
            }
            validate_secret(errors, path, source, persistent.is_some());
        }
        "local" if required(errors, path, source, "path") => {
            validate_no_backsteps(errors, &path.child("path"), str_at(source, "/path"));
        }
        _ => {}
    }
}

/// `secretRef`; persistent volumes, which are in no namespace, say where it is.
fn validate_secret(errors: &mut Errors, path: &Path<'_>, source: &Value, persistent: bool) {
    let Some(secret) = get(source, "/secretRef") else { return };
    let path = path.child("secretRef");
    required(errors, &path, secret, "name");
    if persistent {
        required(errors, &path, secret, "namespace");
    }
}

fn validate_endpoints_namespace(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    let Some(namespace) = opt_str(source, "/endpointsNamespace") else { return };
    let path = path.child("endpointsNamespace");
    if namespace.is_empty() {
        let why = "if the endpointnamespace is set, it must be a valid namespace name";
        errors.invalid_str(&path, namespace, why);
    } else {
        dns_label(errors, &path, namespace);
    }
}

fn validate_disk(errors: &mut Errors, path: &Path<'_>, source: &Value, name: &str) {
    required(errors, path, source, name);
    let partition = int_at(source, "/partition");
    if !(0..=255).contains(&partition) {
        errors.invalid(&path.child("partition"), &partition.into(), &formats::range(1, 255));
    }
}

fn validate_nfs(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    required(errors, path, source, "server");
    required(errors, path, source, "path");
    let directory = str_at(source, "/path");
    if !directory.starts_with('/') {
        errors.invalid_str(&path.child("path"), directory, "must be an absolute path");
    }
}

fn validate_iscsi(errors: &mut Errors, path: &Path<'_>, source: &Value, persistent: Option<&str>) {
    required(errors, path, source, "targetPortal");
    let portal = str_at(source, "/targetPortal");
    if let Some(name) = persistent
        && is_interface_too_long(name, source)
    {
        errors.invalid_str(&path.child("targetportal"), portal, TOO_LONG);
    }
    if required(errors, path, source, "iqn") {
        validate_iscsi_name(errors, &path.child("iqn"), str_at(source, "/iqn"), persistent.is_some());
    }
    validate_lun(errors, path, source);
    let authenticated = is_true(source, "/chapAuthDiscovery") || is_true(source, "/chapAuthSession");
    if authenticated && !has(source, "/secretRef") {
        errors.required(&path.child("secretRef"), "");
    }
    if persistent.is_some() {
        validate_secret(errors, path, source, false);
    }
    if let Some(initiator) = opt_str(source, "/initiatorName") {
        validate_iscsi_name(errors, &path.child("initiatorname"), initiator, persistent.is_some());
    }
}

fn validate_lun(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    if let Some(lun) = opt_int(source, "/lun").filter(|lun| !(0..=255).contains(lun)) {
        errors.invalid(&path.child("lun"), &lun.into(), &formats::range(0, 255));
    }
}

fn validate_iscsi_name(errors: &mut Errors, path: &Path<'_>, name: &str, persistent: bool) {
    let alphanumeric =
        |text: &str, length| text.len() == length && text.bytes().all(|c| c.is_ascii_alphanumeric());
    let valid = match name.get(..3) {
        Some("iqn") => is_iqn(name),
        Some("eui") => alphanumeric(name.get(4..).unwrap_or_default(), 16),
        Some("naa") => alphanumeric(name.get(4..).unwrap_or_default(), 32),
        _ if persistent => false,
        _ => {
            return errors.invalid_str(path, name, "must be valid format starting with iqn, eui, or naa");
        }
    };
    if !valid {
        errors.invalid_str(path, name, "must be valid format");
    }
}

/// `iqn.2005-03.org.example:disk`
fn is_iqn(name: &str) -> bool {
    let Some((authority, target)) = name.strip_prefix("iqn.").and_then(|rest| rest.split_once(':')) else {
        return false;
    };
    let (date, domain) = authority.split_once('.').unwrap_or_default();
    let date: Vec<u8> = date.bytes().map(|c| if c.is_ascii_digit() { b'0' } else { c }).collect();
    date == b"0000-00"
        && !domain.is_empty()
        && domain.bytes().all(|c| c.is_ascii_alphanumeric() || b"-.".contains(&c))
        && !target.is_empty()
        && !target.chars().any(|c| ",;*&$|".contains(c) || c.is_whitespace())
}

const TOO_LONG: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";

/// With an initiator, the volume's name becomes part of the interface's, which is short.
fn is_interface_too_long(volume: &str, source: &Value) -> bool {
    const MAX: usize = 64;
    has(source, "/initiatorName") && volume.len() + 1 + str_at(source, "/targetPortal").len() > MAX
}

/// A volume of a pod whose interface would have too long a name.
pub fn validate_iscsi_name_length(errors: &mut Errors, path: &Path<'_>, volume: &Value) {
    let name = str_at(volume, "/name");
    if is_interface_too_long(name, at(volume, "/iscsi")) {
        errors.invalid_str(&path.child("name"), name, TOO_LONG);
    }
}

fn validate_flocker(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    let (name, uuid) = (str_at(source, "/datasetName"), str_at(source, "/datasetUUID"));
    if name.is_empty() && uuid.is_empty() {
        errors.required(path, "one of datasetName and datasetUUID is required");
    }
    if !name.is_empty() && !uuid.is_empty() {
        let why = "datasetName and datasetUUID can not be specified simultaneously";
        errors.invalid_str(path, "resource", why);
    }
    if name.contains('/') {
        errors.invalid_str(&path.child("datasetName"), name, "must not contain '/'");
    }
}

fn validate_quobyte(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    const TENANT_MAX: usize = 64;
    let registry = str_at(source, "/registry");
    if registry.is_empty() {
        errors.required(&path.child("registry"), PAIRS);
    } else if str_at(source, "/tenant").len() > TENANT_MAX {
        let why = "must be a UUID and may not exceed a length of 64 characters";
        errors.required(&path.child("tenant"), why);
    } else {
        for _ in registry.split(',').filter(|pair| !pair.contains(':')) {
            errors.invalid_str(&path.child("registry"), registry, PAIRS);
        }
    }
    required(errors, path, source, "volume");
}

fn validate_fc(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    let targets = list_at(source, "/targetWWNs");
    let worldwide = list_at(source, "/wwids");
    let targets_path = path.child("targetWWNs");
    if targets.is_empty() && worldwide.is_empty() {
        errors.required(&targets_path, "must specify either targetWWNs or wwids, but not both");
    }
    if !targets.is_empty() && !worldwide.is_empty() {
        errors.invalid(
            &targets_path,
            &targets.into(),
            "targetWWNs and wwids can not be specified simultaneously",
        );
    }
    if !targets.is_empty() {
        if has(source, "/lun") {
            validate_lun(errors, path, source);
        } else {
            errors.required(&path.child("lun"), "lun is required if targetWWNs is specified");
        }
    }
}

fn validate_flex(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    required(errors, path, source, "driver");
    for (key, _) in entries(source, "/options") {
        let namespace = key.split_once('/').map_or(key.as_str(), |(namespace, _)| namespace).to_lowercase();
        let reserved = ["kubernetes.io", "k8s.io"]
            .iter()
            .any(|domain| namespace == *domain || namespace.ends_with(&format!(".{domain}")));
        if reserved {
            errors.invalid_str(
                &path.child("options").key(key),
                key,
                "kubernetes.io and k8s.io namespaces are reserved",
            );
        }
    }
}

fn validate_azure_disk(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    const MANAGED: &str =
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    required(errors, path, source, "diskName");
    required(errors, path, source, "diskURI");
    one_of(errors, path, source, "cachingMode", &["None", "ReadOnly", "ReadWrite"]);
    one_of(errors, path, source, "kind", &["Dedicated", "Managed", "Shared"]);
    let (uri, managed) = (str_at(source, "/diskURI"), str_at(source, "/kind") == "Managed");
    let (prefix, form) = if managed { ("/subscriptions/", MANAGED) } else { ("https://", BLOB) };
    if !uri.starts_with(prefix) {
        errors.not_supported(&path.child("diskURI"), &uri.into(), &[form]);
    }
}

/// A name of a CSI driver.
pub fn validate_csi_driver_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    const MAX: usize = 63;
    if name.is_empty() {
        return errors.required(path, "");
    }
    if name.len() > MAX {
        errors.too_long(path, MAX);
    }
    for why in names::dns1123_subdomain(&name.to_lowercase()) {
        errors.invalid_str(path, name, &why);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(field: &str, source: Value, persistent: Option<&str>) -> Vec<String> {
        let mut errors = Errors::default();
        validate_legacy(&mut errors, &Path::new(field), field, &source, persistent);
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn persistent_volumes_say_in_which_namespace_their_secret_is() {
        let cinder = json!({"volumeID": "v", "secretRef": {"name": "s"}});
        assert!(wrong("cinder", cinder.clone(), None).is_empty());
        assert_eq!(wrong("cinder", cinder, Some("v")), ["cinder.secretRef.namespace: Required value"]);
    }

    #[test]
    fn a_target_of_a_persistent_volume_is_told_only_that_it_has_no_valid_form() {
        let iscsi = json!({"targetPortal": "h", "iqn": "x"});
        let told = r#"iscsi.iqn: Invalid value: "x": must be valid format"#;
        assert_eq!(wrong("iscsi", iscsi.clone(), Some("v")), [told]);
        assert_eq!(wrong("iscsi", iscsi, None), [format!("{told} starting with iqn, eui, or naa")]);
    }
}
