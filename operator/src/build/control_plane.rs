//! The control plane: its volume and its StatefulSet.

use std::collections::BTreeMap;

use k8s_openapi::DeepMerge;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, KeyToPath,
    ObjectFieldSelector, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource,
    PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements, SeccompProfile, SecretVolumeSource,
    SecurityContext, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ObjectMeta;
use serde_json::json;
use vkube_crds::{Access, Networking, Quantity, Sync, Workloads, WritePermissions, labels};

use super::database::connect;
use super::identity::metadata;
use super::quota::amounts;
use super::tuning::{self, probe};
use crate::names::{CONTROL_PLANE, Identity, PKI_HASH};
use crate::settings::{Network, Settings};

/// Port of the virtual API server in its pod.
pub const API_PORT: i32 = 8443;
/// Port of the cluster's DNS in the control plane's pod; one that needs no privilege.
pub const DNS_PORT: i32 = 1053;

const DATA: &str = "/data";
const PKI: &str = "/var/run/vkube/pki";
/// The user of the image; also the group of its volumes.
const NON_ROOT: i64 = 65532;
/// How the C library of our processes manages memory ("Memory Allocation Tunables" in glibc's manual): it would keep what was
/// freed in many heaps and in a cache a thread, which a process that mostly waits does not need.
pub const MALLOC: &str =
    "glibc.malloc.arena_max=1:glibc.malloc.tcache_count=0:glibc.malloc.trim_threshold=65536";

/// The store's volume. `size` and `class` are those in force: a claim that exists keeps its class and never shrinks.
pub fn volume_claim(identity: &Identity, size: &Quantity, class: Option<&str>) -> PersistentVolumeClaim {
    let storage = BTreeMap::from([("storage".to_owned(), size.clone())]);
    PersistentVolumeClaim {
        metadata: metadata(identity, &identity.host_namespace, &identity.volume_claim()),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: class.map(ToOwned::to_owned),
            resources: Some(VolumeResourceRequirements {
                requests: Some(amounts(&storage)),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

/// The volume of the pod that has the data.
pub const DATA_VOLUME: &str = "data";

/// Where the control plane has its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// In the pod, with which it goes.
    Pod,
    /// In the volume.
    Volume,
    /// In a database, with the hash of how to get in.
    Database(String),
}

/// What the control plane is started anew by when it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hashes {
    /// Its certificates.
    pub pki: String,
    /// The files that it is given, if there are any.
    pub files: Option<String>,
}

/// The control plane itself.
pub fn stateful_set(identity: &Identity, settings: &Settings, data: &Data, hashes: &Hashes) -> StatefulSet {
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels(identity)),
            annotations: Some(BTreeMap::from([(PKI_HASH.to_owned(), hashes.pki.clone())])),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(identity, settings, *data == Data::Volume)),
    };
    if let (Data::Database(hash), Some(database)) = (data, &settings.database)
        && let (Some(metadata), Some(pod)) = (&mut template.metadata, &mut template.spec)
    {
        connect(identity, database, hash, metadata, pod);
    }
    if let (Some(hash), Some(metadata), Some(pod)) =
        (&hashes.files, &mut template.metadata, &mut template.spec)
    {
        tuning::mount(identity, hash, metadata, pod);
    }
    if let Some(asked) = &settings.pod_template {
        template.merge_from(asked.clone());
    }
    StatefulSet {
        metadata: metadata(identity, &identity.host_namespace, &identity.name),
        spec: Some(StatefulSetSpec {
            replicas: Some(settings.replicas),
            service_name: Some(identity.name.clone()),
            pod_management_policy: Some("Parallel".into()),
            revision_history_limit: Some(2),
            selector: LabelSelector {
                match_labels: Some(identity.control_plane_selector()),
                ..LabelSelector::default()
            },
            template,
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn pod_labels(identity: &Identity) -> BTreeMap<String, String> {
    let mut pod_labels = identity.labels();
    pod_labels.insert(labels::COMPONENT.into(), CONTROL_PLANE.into());
    pod_labels.insert("app.kubernetes.io/component".into(), CONTROL_PLANE.into());
    pod_labels
}

fn pod(identity: &Identity, settings: &Settings, persistent: bool) -> PodSpec {
    PodSpec {
        service_account_name: Some(identity.account()),
        automount_service_account_token: Some(true),
        enable_service_links: Some(false),
        priority_class_name: Some(settings.priority_class.clone()),
        termination_grace_period_seconds: Some(15),
        node_selector: Some(settings.node_selector.clone()).filter(|map| !map.is_empty()),
        tolerations: Some(settings.tolerations.clone()).filter(|list| !list.is_empty()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NON_ROOT),
            run_as_group: Some(NON_ROOT),
            fs_group: Some(NON_ROOT),
            fs_group_change_policy: Some("OnRootMismatch".into()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(identity, settings)],
        volumes: Some(vec![data_volume(identity, persistent), pki_volume(identity)]),
        ..PodSpec::default()
    }
}

fn container(identity: &Identity, settings: &Settings) -> Container {
    let arguments = [
        ("--name", identity.name.as_str()),
        ("--host-namespace", &identity.host_namespace),
        ("--data-dir", DATA),
        ("--listen", &format!("0.0.0.0:{API_PORT}")),
        ("--pki-dir", PKI),
        ("--service-name", &identity.name),
        ("--cluster-domain", &settings.cluster_domain),
        ("--uid", &identity.uid),
    ];
    Container {
        name: CONTROL_PLANE.into(),
        image: Some(settings.image.clone()),
        image_pull_policy: settings.image_pull_policy.map(|policy| policy.as_str().into()),
        args: Some(
            std::iter::once("controlplane")
                .chain(arguments.iter().flat_map(|(flag, value)| [*flag, *value]))
                .map(ToOwned::to_owned)
                .chain(workload_arguments(&settings.workloads))
                .chain(sync_argument(&settings.sync))
                .chain(dns_arguments(&settings.networking))
                .chain(settings.isolation.network.as_ref().map(network_argument))
                .chain(settings.depends_on_use().then(|| "--report-activity".to_owned()))
                .chain(settings.access.iter().filter_map(access_argument))
                .chain(block_argument(settings.write_permissions))
                .chain(tuning::arguments(&settings.tuning))
                .collect(),
        ),
        env: Some(vec![
            EnvVar {
                name: "POD_IP".into(),
                value_from: Some(EnvVarSource {
                    field_ref: Some(ObjectFieldSelector {
                        field_path: "status.podIP".into(),
                        ..ObjectFieldSelector::default()
                    }),
                    ..EnvVarSource::default()
                }),
                ..EnvVar::default()
            },
            EnvVar { name: "GLIBC_TUNABLES".into(), value: Some(MALLOC.into()), ..EnvVar::default() },
        ]),
        ports: Some(vec![
            port("https", "TCP", API_PORT),
            port("dns", "UDP", DNS_PORT),
            port("dns-tcp", "TCP", DNS_PORT),
        ]),
        resources: Some(ResourceRequirements {
            requests: Some(amounts(&settings.requests)),
            limits: Some(amounts(&settings.limits)),
            ..ResourceRequirements::default()
        }),
        // The start is watched closely and the running process rarely: each probe costs a TLS handshake.
        startup_probe: Some(probe("/readyz", settings.tuning.probes.startup, 1, 120)),
        readiness_probe: Some(probe("/readyz", settings.tuning.probes.readiness, 10, 3)),
        liveness_probe: Some(probe("/livez", settings.tuning.probes.liveness, 20, 3)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![
            VolumeMount { name: DATA_VOLUME.into(), mount_path: DATA.into(), ..VolumeMount::default() },
            VolumeMount {
                name: "pki".into(),
                mount_path: PKI.into(),
                read_only: Some(true),
                ..VolumeMount::default()
            },
        ]),
        ..Container::default()
    }
}

/// What the control plane is told of its pods; nothing where nothing is chosen.
fn workload_arguments(workloads: &Workloads) -> Vec<String> {
    let selectors =
        workloads.node_selector.iter().map(|(key, value)| format!("--workload-node-selector={key}={value}"));
    let tolerations = workloads
        .tolerations
        .iter()
        .filter_map(|toleration| serde_json::to_string(toleration).ok())
        .map(|json| format!("--workload-toleration={json}"));
    let priority =
        workloads.priority_class_name.iter().map(|name| format!("--workload-priority-class={name}"));
    let runtime = workloads.runtime_class_name.iter().map(|name| format!("--workload-runtime-class={name}"));
    let images = workloads.images.iter().map(|(from, to)| format!("--workload-image={from}={to}"));
    selectors.chain(tolerations).chain(priority).chain(runtime).chain(images).collect()
}

/// What the control plane is told of what it shares with the host; nothing where nothing is chosen.
fn sync_argument(sync: &Sync) -> Option<String> {
    let json = (*sync != Sync::default()).then(|| serde_json::to_string(sync))?;
    json.ok().map(|json| format!("--sync={json}"))
}

/// What the control plane is told of who may do what in it.
fn access_argument(access: &Access) -> Option<String> {
    serde_json::to_string(access).ok().map(|json| format!("--access={json}"))
}

/// What the control plane is told of writes that it refuses; nothing where it refuses none.
fn block_argument(permissions: WritePermissions) -> Option<String> {
    let WritePermissions { block_create, block_update, block_delete } = permissions;
    let verbs = [("create", block_create), ("update", block_update), ("delete", block_delete)];
    let blocked = verbs.into_iter().filter(|(_, block)| *block == Some(true)).map(|(verb, _)| verb);
    let blocked: Vec<_> = blocked.collect();
    (!blocked.is_empty()).then(|| format!("--block-writes={}", blocked.join(",")))
}

/// What the control plane is told of names; nothing where nothing is chosen.
fn dns_arguments(networking: &Networking) -> Vec<String> {
    let names = networking.resolve_dns.iter().map(|(name, target)| format!("--resolve-dns={name}={target}"));
    let stubs = networking.forward_dns.iter();
    let stubs = stubs.map(|(domain, resolvers)| format!("--forward-dns={domain}={}", resolvers.join(",")));
    names.chain(stubs).collect()
}

/// How far network policies of tenants may go.
fn network_argument(network: &Network) -> String {
    let egress = network.egress.iter().map(|block| json!({"cidr": block.cidr, "except": block.except}));
    let ingress = network.ingress.iter().map(|cidr| json!({"cidr": cidr}));
    let bounds = json!({
        "egress": egress.collect::<Vec<_>>(),
        "ingress": ingress.collect::<Vec<_>>(),
        "namespaces": network.namespaces,
    });
    format!("--network-bounds={bounds}")
}

fn data_volume(identity: &Identity, persistent: bool) -> Volume {
    let claim = || PersistentVolumeClaimVolumeSource { claim_name: identity.volume_claim(), read_only: None };
    Volume {
        name: DATA_VOLUME.into(),
        persistent_volume_claim: persistent.then(claim),
        empty_dir: (!persistent).then(EmptyDirVolumeSource::default),
        ..Volume::default()
    }
}

fn pki_volume(identity: &Identity) -> Volume {
    Volume {
        name: "pki".into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(identity.pki_secret()),
            default_mode: Some(0o440),
            items: Some(
                ["ca.crt", "ca.key", "tls.crt", "tls.key"]
                    .map(|file| KeyToPath { key: file.into(), path: file.into(), mode: None })
                    .to_vec(),
            ),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn port(name: &str, protocol: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        protocol: Some(protocol.into()),
        container_port: number,
        ..ContainerPort::default()
    }
}
