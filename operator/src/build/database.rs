//! What a control plane needs whose store is a database outside: how to get in, and that some of its replicas stay.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    Container, PodSpec, Secret, SecretVolumeSource, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;

use super::identity::metadata;
use super::object::Key;
use crate::names::{CLAIMED_SCHEMA, Identity, SCHEMA, STORE_HASH, sha256_hex};
use crate::settings::{Database, Settings};

/// What the Secret of a database may say, as files for the control plane.
pub const DATABASE_KEYS: [&str; 5] = ["uri", "password", "ca.crt", "tls.crt", "tls.key"];

const VOLUME: &str = "store";
const DIRECTORY: &str = "/var/run/vkube/store";

/// How to get into the database, for the control plane. Its annotation remembers the schema, and what becomes of it
/// with the cluster.
pub fn database_secret(
    identity: &Identity,
    database: &Database,
    said: BTreeMap<String, ByteString>,
) -> Secret {
    let mut data: BTreeMap<_, _> =
        said.into_iter().filter(|(key, _)| DATABASE_KEYS.contains(&key.as_str())).collect();
    if let Some(endpoint) = &database.endpoint {
        data.insert("uri".into(), ByteString(endpoint.clone().into_bytes()));
    }
    let remembered = if database.is_ours { SCHEMA } else { CLAIMED_SCHEMA };
    Secret {
        metadata: ObjectMeta {
            annotations: Some(BTreeMap::from([(remembered.to_owned(), database.schema.clone())])),
            ..metadata(identity, &identity.host_namespace, &identity.store_secret())
        },
        type_: Some("Opaque".into()),
        data: Some(data),
        ..Secret::default()
    }
}

/// A hash of what such a Secret says, by which the control plane is started anew when that changes.
pub fn secret_hash(secret: &Secret) -> String {
    let mut all = Vec::new();
    for (key, value) in secret.data.iter().flatten() {
        all.extend_from_slice(key.as_bytes());
        all.push(0);
        all.extend_from_slice(&(value.0.len() as u64).to_le_bytes());
        all.extend_from_slice(&value.0);
    }
    sha256_hex(&all)
}

/// Lets the control plane use the database, and spreads its replicas over nodes.
pub(super) fn connect(
    identity: &Identity,
    database: &Database,
    hash: &str,
    metadata: &mut ObjectMeta,
    pod: &mut PodSpec,
) {
    metadata.annotations.get_or_insert_default().insert(STORE_HASH.into(), hash.into());
    pod.volumes.get_or_insert_default().push(Volume {
        name: VOLUME.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(identity.store_secret()),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    });
    pod.topology_spread_constraints = Some(vec![TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".into(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(selector(identity)),
        ..TopologySpreadConstraint::default()
    }]);
    for Container { args, volume_mounts, .. } in &mut pod.containers {
        args.get_or_insert_default().extend([
            format!("--store-dir={DIRECTORY}"),
            format!("--store-schema={}", database.schema),
            format!("--store-owner={}", identity.uid),
            "--leader-elect".into(),
        ]);
        volume_mounts.get_or_insert_default().push(VolumeMount {
            name: VOLUME.into(),
            mount_path: DIRECTORY.into(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
    }
}

fn selector(identity: &Identity) -> LabelSelector {
    LabelSelector { match_labels: Some(identity.control_plane_selector()), ..LabelSelector::default() }
}

/// Keeps drains from taking all replicas at once; nothing where there is one, which would hold up every drain.
pub(super) fn disruption_budget(identity: &Identity, settings: &Settings) -> Option<PodDisruptionBudget> {
    (settings.replicas > 1).then(|| PodDisruptionBudget {
        metadata: metadata(identity, &identity.host_namespace, &identity.account()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(identity)),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}

/// The key of that.
pub(super) fn disruption_budget_key(identity: &Identity) -> Key {
    Key::new::<PodDisruptionBudget>(Some(&identity.host_namespace), &identity.account())
}
