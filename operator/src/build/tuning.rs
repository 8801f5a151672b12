//! What the control plane is told by files and flags of the user's, and how it is probed.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    HTTPGetAction, PodSpec, Probe, Secret, SecretVolumeSource, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use vkube_crds::Probe as Times;

use super::identity::metadata;
use super::object::Key;
use crate::names::{FILES_HASH, Identity};
use crate::settings::tuning::{AUDIT_POLICY, AUTHENTICATION, Tuning};

/// The volume of the files.
pub const VOLUME: &str = "files";
const DIRECTORY: &str = "/var/run/vkube/files";

/// The files, for the control plane.
pub fn files_secret(identity: &Identity, files: BTreeMap<String, ByteString>) -> Secret {
    Secret {
        metadata: metadata(identity, &identity.host_namespace, &identity.files_secret()),
        type_: Some("Opaque".into()),
        data: Some(files),
        ..Secret::default()
    }
}

/// The Secret that [`files_secret`] builds.
pub fn files_key(identity: &Identity) -> Key {
    Key::new::<Secret>(Some(&identity.host_namespace), &identity.files_secret())
}

/// The flags that the settings ask for.
pub(super) fn arguments(tuning: &Tuning) -> Vec<String> {
    let plugins = |flag: &str, names: &[String]| {
        (!names.is_empty()).then(|| format!("--{flag}-admission-plugins={}", names.join(",")))
    };
    let enabled = plugins("enable", &tuning.admission.enable);
    let disabled = plugins("disable", &tuning.admission.disable);
    let files = tuning.files().flat_map(|(file, _)| match file {
        AUDIT_POLICY => vec![format!("--audit-policy-file={DIRECTORY}/{file}"), log(tuning)],
        AUTHENTICATION => vec![format!("--authentication-config={DIRECTORY}/{file}")],
        _ => Vec::new(),
    });
    let extra = tuning.extra_args.iter().cloned();
    enabled.into_iter().chain(disabled).chain(files).filter(|flag| !flag.is_empty()).chain(extra).collect()
}

/// Where what is told of requests goes: to the log of the pod, unless the user says otherwise.
fn log(tuning: &Tuning) -> String {
    let chosen = tuning.extra_args.iter().any(|argument| {
        argument.starts_with("--audit-log-path=") || argument.starts_with("--audit-webhook-config-file=")
    });
    if chosen { String::new() } else { "--audit-log-path=-".into() }
}

/// Gives the control plane its files.
pub(super) fn mount(identity: &Identity, hash: &str, metadata: &mut ObjectMeta, pod: &mut PodSpec) {
    metadata.annotations.get_or_insert_default().insert(FILES_HASH.into(), hash.into());
    pod.volumes.get_or_insert_default().push(Volume {
        name: VOLUME.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(identity.files_secret()),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    });
    for container in &mut pod.containers {
        container.volume_mounts.get_or_insert_default().push(VolumeMount {
            name: VOLUME.into(),
            mount_path: DIRECTORY.into(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
    }
}

/// A probe of `path`, at the times asked for or else these: every `period` seconds, `failures` times.
pub(super) fn probe(path: &str, asked: Option<Times>, period: i32, failures: i32) -> Probe {
    let asked = asked.unwrap_or_default();
    let period = asked.period_seconds.unwrap_or(period);
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String("https".into()),
            scheme: Some("HTTPS".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(asked.timeout_seconds.unwrap_or(if period > 1 { 5 } else { 1 })),
        failure_threshold: Some(asked.failure_threshold.unwrap_or(failures)),
        ..Probe::default()
    }
}
