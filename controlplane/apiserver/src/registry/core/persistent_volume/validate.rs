//! Everything wrong with persistent volumes, new or changed.

use serde_json::{Map, Value};

use crate::field::{Errors, Path};
use crate::registry::access::{
    at, count_at, get, has, list_at, list_mut, map_at, opt_str, remove, set, str_at, strs_at,
};
use crate::registry::core::persistent_volume_claim::validate_amount;
use crate::registry::core::pod_spec::{
    judged_as, node_term_warnings, validate_csi_driver_name, validate_host_path, validate_legacy,
    validate_node_selector,
};
use crate::registry::internal::{self, Internal};
use crate::schema::quantity::Quantity;
use crate::validation::diff;
use crate::validation::fields::{self, NOT_POSITIVE, dns_label, dns_subdomain, one_of, required};

const SPEC: Path<'static> = Path::new("spec");

/// The sources, in the order in which they are checked.
const SOURCES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// Access modes of volumes and claims.
pub fn validate_access_modes(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    let modes: Vec<&str> = strs_at(spec, "/accessModes").collect();
    for mode in modes.iter().filter(|mode| !MODES.contains(mode)) {
        errors.not_supported(path, &(*mode).into(), MODES);
    }
    let exclusive = modes.contains(&"ReadWriteOncePod");
    if exclusive && modes.iter().any(|mode| *mode != "ReadWriteOncePod" && MODES.contains(mode)) {
        errors.forbidden(path, "may not use ReadWriteOncePod with other access modes");
    }
}

const NOT_INLINE: &str = "may not be specified in the context of inline volumes";

/// A new volume.
pub fn validate_create(volume: &Value) -> Errors {
    let mut errors = Errors::default();
    validate_spec(&mut errors, &SPEC, at(volume, "/spec"), str_at(volume, "/metadata/name"), false);
    errors
}

/// A volume that is described inside of another object.
pub fn validate_inline(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    validate_spec(errors, path, spec, "", true);
}

fn validate_spec(errors: &mut Errors, path: &Path<'_>, spec: &Value, name: &str, inline: bool) {
    let capacity = path.child("capacity");
    if inline {
        if has(spec, "/claimRef") {
            errors.forbidden(&path.child("claimRef"), NOT_INLINE);
        }
        if count_at(spec, "/capacity") > 0 {
            errors.forbidden(&capacity, NOT_INLINE);
        }
        if !has(spec, "/csi") {
            errors.required(&path.child("csi"), "has to be specified in the context of inline volumes");
        }
    }
    let modes = path.child("accessModes");
    if list_at(spec, "/accessModes").is_empty() {
        errors.required(&modes, "");
    }
    validate_access_modes(errors, &modes, spec);
    if !inline {
        validate_capacity(errors, &capacity, map_at(spec, "/capacity"));
    }
    let policy = str_at(spec, "/persistentVolumeReclaimPolicy");
    let policy_path = path.child("persistentVolumeReclaimPolicy");
    if !inline {
        let policies = &["Delete", "Recycle", "Retain"];
        one_of(errors, path, spec, "persistentVolumeReclaimPolicy", policies);
    } else if !matches!(policy, "" | "Retain") {
        errors.forbidden(&policy_path, "may only be Retain in the context of inline volumes");
    }
    if let Some(affinity) = get(spec, "/nodeAffinity") {
        let path = path.child("nodeAffinity");
        match get(affinity, "/required") {
            _ if inline => errors.forbidden(&path, NOT_INLINE),
            Some(selector) => validate_node_selector(errors, &path.child("required"), selector),
            None => errors.required(&path.child("required"), "must specify required node constraints"),
        }
    }
    validate_source(errors, path, spec, name);
    let root = str_at(spec, "/hostPath/path");
    if !root.is_empty() && root.trim_matches('/').is_empty() && policy == "Recycle" {
        errors.forbidden(&policy_path, "may not be 'recycle' for a hostPath mount of '/'");
    }
    validate_classes(errors, path, spec, inline);
}

fn validate_classes(errors: &mut Errors, path: &Path<'_>, spec: &Value, inline: bool) {
    if let Some(class) = opt_str(spec, "/storageClassName").filter(|class| !class.is_empty()) {
        let path = path.child("storageClassName");
        if inline {
            errors.forbidden(&path, NOT_INLINE);
        } else {
            dns_subdomain(errors, &path, class);
        }
    }
    if !inline {
        one_of(errors, path, spec, "volumeMode", &["Block", "Filesystem"]);
    } else if !matches!(str_at(spec, "/volumeMode"), "" | "Filesystem") {
        let why = "may not specify volumeMode other than Filesystem in the context of inline volumes";
        errors.forbidden(&path.child("volumeMode"), why);
    }
    if let Some(class) = opt_str(spec, "/volumeAttributesClassName") {
        let class_path = path.child("volumeAttributesClassName");
        if class.is_empty() {
            errors.required(&class_path, "an empty string is disallowed");
        } else {
            dns_subdomain(errors, &class_path, class);
        }
        if !has(spec, "/csi") {
            errors.required(&path.child("csi"), "has to be specified when using volumeAttributesClassName");
        }
    }
}

fn validate_capacity(errors: &mut Errors, path: &Path<'_>, capacity: Option<&Map<String, Value>>) {
    let shown = capacity.map_or(Value::Null, |capacity| capacity.clone().into());
    let empty = Map::new();
    let capacity = capacity.unwrap_or(&empty);
    if capacity.is_empty() {
        errors.required(path, "");
    }
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        errors.not_supported(path, &shown, &["storage"]);
    }
    for (resource, amount) in capacity {
        validate_amount(errors, &path.key(resource), amount);
        if Quantity::from_value(amount).is_ok_and(|amount| amount.signum() <= 0) {
            errors.invalid(&path.key(resource), amount, NOT_POSITIVE);
        }
    }
}

fn validate_source(errors: &mut Errors, parent: &Path<'_>, spec: &Value, name: &str) {
    let mut found = false;
    for field in SOURCES {
        let Some(source) = get(spec, &format!("/{field}")) else { continue };
        // The real server does not mind a second source if it is this one.
        if found && *field != "flexVolume" {
            let shown = if *field == "cephfs" { "cephFS" } else { field };
            errors.forbidden(&parent.child(shown), "may not specify more than 1 volume type");
            continue;
        }
        found = true;
        let path = parent.child(judged_as(field));
        match *field {
            "hostPath" => validate_host_path(errors, &path, source),
            "csi" => validate_csi(errors, &path, source),
            _ => validate_legacy(errors, &path, field, source, Some(name)),
        }
        if *field == "local" && !has(spec, "/nodeAffinity") {
            errors.required(&parent.child("nodeAffinity"), "Local volume requires node affinity");
        }
    }
    if !found {
        errors.required(parent, "must specify a volume type");
    }
}

fn validate_csi(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    validate_csi_driver_name(errors, &path.child("driver"), str_at(source, "/driver"));
    required(errors, path, source, "volumeHandle");
    for reference in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ] {
        let Some(secret) = get(source, &format!("/{reference}")) else { continue };
        let path = path.child(reference);
        if required(errors, &path, secret, "name") {
            dns_subdomain(errors, &path.child("name"), str_at(secret, "/name"));
        }
        if required(errors, &path, secret, "namespace") {
            dns_label(errors, &path.child("namespace"), str_at(secret, "/namespace"));
        }
    }
}

/// A changed volume: its source stays.
pub fn validate_update(volume: &Value, old: &Value) -> Errors {
    let mut errors = validate_create(volume);
    // The real server checks volumes twice when they change.
    errors.extend(errors.clone());
    let sources = |volume: &Value| -> Value {
        let of = |field: &&str| Some(((*field).to_owned(), get(volume, &format!("/spec/{field}"))?.clone()));
        Value::Object(SOURCES.iter().filter_map(of).collect())
    };
    let (mut new, was) = (sources(volume), sources(old));
    if has(&was, "/csi") && !has(&was, "/csi/controllerExpandSecretRef") {
        remove(&mut new, "/csi/controllerExpandSecretRef");
    }
    if new != was {
        let why = format!(
            "spec.persistentvolumesource is immutable after creation\n{}",
            diff::unified(
                &Internal::new("PersistentVolumeSource", &was),
                &Internal::new("PersistentVolumeSource", &new)
            )
        );
        errors.forbidden(&SPEC.child("persistentvolumesource"), &why);
    }
    let mode = "/spec/volumeMode";
    fields::immutable(&mut errors, &Path::new("volumeMode"), at(volume, mode), at(old, mode));
    let affinity = "/spec/nodeAffinity";
    if has(old, affinity) && at(volume, affinity) != at(&relabelled(old, volume), affinity) {
        let why = "field is immutable, except for updating from beta label to GA";
        let path = Path::new("nodeAffinity");
        internal::invalid(&mut errors, &path, "VolumeNodeAffinity", at(volume, affinity), why);
    }
    let class = "/spec/volumeAttributesClassName";
    if has(old, class) && !has(volume, class) {
        let why = "update from non-nil value to nil is forbidden";
        errors.forbidden(&SPEC.child("volumeAttributesClassName"), why);
    }
    errors
}

/// The old volume, with those labels of its affinity that the new one calls by their later names.
fn relabelled(old: &Value, new: &Value) -> Value {
    const RENAMED: &[(&str, &str)] = &[
        ("beta.kubernetes.io/os", "kubernetes.io/os"),
        ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
        ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
        ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
        ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ];
    const TERMS: &str = "/spec/nodeAffinity/required/nodeSelectorTerms";
    let mut old = old.clone();
    for (term, new) in list_mut(&mut old, TERMS).zip(list_at(new, TERMS)) {
        for (expression, new) in list_mut(term, "/matchExpressions").zip(list_at(new, "/matchExpressions")) {
            let (key, now) = (str_at(expression, "/key"), str_at(new, "/key"));
            if RENAMED.contains(&(key, now)) {
                set(expression, "/key", now);
            }
        }
    }
    old
}

/// What is questionable about a volume.
pub fn warnings(volume: &Value) -> Vec<String> {
    const GONE: &[(&str, &str)] = &[
        ("cephfs", "cephfs: deprecated in v1.28, non-functional in v1.31+"),
        ("photonPersistentDisk", "photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+"),
        ("scaleIO", "scaleIO: deprecated in v1.16, non-functional in v1.22+"),
        ("storageos", "storageOS: deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "glusterfs: deprecated in v1.25, non-functional in v1.26+"),
        ("rbd", "rbd: deprecated in v1.28, non-functional in v1.31+"),
    ];
    let mut warnings = Vec::new();
    if at(volume, "/metadata/annotations").get(super::BETA_CLASS).is_some() {
        warnings.push(format!(
            "metadata.annotations[{}]: deprecated since v1.8; use \"storageClassName\" attribute instead",
            super::BETA_CLASS
        ));
    }
    if str_at(volume, "/spec/persistentVolumeReclaimPolicy") == "Recycle" {
        warnings.push(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".into(),
        );
    }
    let affinity = SPEC.child("nodeAffinity");
    let required = affinity.child("required");
    let path = required.child("nodeSelectorTerms");
    for (at, term) in list_at(volume, "/spec/nodeAffinity/required/nodeSelectorTerms").iter().enumerate() {
        node_term_warnings(&mut warnings, &path.index(at), term, false);
    }
    for (_, why) in GONE.iter().filter(|(source, _)| has(volume, &format!("/spec/{source}"))) {
        warnings.push(format!("spec.{why}"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bound_to(key: &str) -> Value {
        let expression = json!({"key": key, "operator": "In", "values": ["z"]});
        let affinity = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}});
        json!({"spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/x"},
            "nodeAffinity": affinity,
        }})
    }

    #[test]
    fn the_place_of_a_volume_stays_but_for_the_name_of_its_label() {
        let old = bound_to("failure-domain.beta.kubernetes.io/zone");
        assert!(validate_update(&bound_to("topology.kubernetes.io/zone"), &old).is_empty());
        let errors = validate_update(&bound_to("kubernetes.io/hostname"), &old);
        let told: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                r#"nodeAffinity: Invalid value: {"Required":{"NodeSelectorTerms":[{"MatchExpressions":[{"Key":"kubernetes.io/hostname","Operator":"In","Values":["z"]}],"MatchFields":null}]}}: field is immutable, except for updating from beta label to GA"#
            ]
        );
    }
}
