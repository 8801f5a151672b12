//! A virtual pod as the host gets it. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Container, EphemeralContainer, Pod, PodSpec, SecretProjection, Service, Volume,
};
use k8s_openapi::api::core::v1::{KeyToPath, VolumeProjection};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::json;

use super::{downward, environment, naming, references, scheduling, tokens};
use crate::labels::Translator;
use crate::network::{TENANT_EGRESS, TENANT_INGRESS};
use crate::resources::network_policy::isolates;
use crate::rules::Direction;

/// Host annotation: the keys of labels and annotations that come from the virtual pod, so that one removed there
/// can be told from one the host added.
pub(crate) const MANAGED_KEYS: &str = "vkube.dev/managed-keys";
/// Host annotation: the kind of the virtual pod's controller.
pub(crate) const CONTROLLER_KIND: &str = "vkube.dev/controller-kind";

const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
const DAEMON_SET_POD: &str = "cluster-autoscaler.kubernetes.io/daemonset-pod";

/// Where pods reach the virtual API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiEndpoint {
    /// The cluster IP of its host Service.
    pub address: String,
    /// All of its cluster IPs.
    pub addresses: Vec<String>,
}

/// What a pod's translation depends on besides the pod.
pub(crate) struct Surroundings {
    pub api: ApiEndpoint,
    pub dns: IpAddr,
    /// The services of the pod's namespace.
    pub services: Vec<Arc<Service>>,
    /// The labels of all virtual namespaces.
    pub namespaces: HashMap<String, BTreeMap<String, String>>,
    /// The network policies of the pod's namespace, if they are synchronised.
    pub policies: Vec<Arc<NetworkPolicy>>,
}

/// The host pod to create for a virtual pod.
pub(crate) fn to_host(translator: &Translator, surroundings: &Surroundings, pod: &Pod) -> Pod {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let empty = BTreeMap::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&empty);
    let mut spec = pod.spec.clone().unwrap_or_default();

    // Tokens first: their projections become references to a Secret that already has its host name.
    references::rename(translator, namespace, &mut spec);
    claim_ephemeral_volumes(translator, pod, &mut spec);
    tokens::project(translator, pod, &mut spec);
    downward::redirect(translator, &mut spec);
    scheduling::apply(translator, surroundings, namespace, labels, &mut spec);
    naming::apply(pod, surroundings, &translator.config.cluster_domain, &mut spec);

    let variables = variables(surroundings, pod);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        environment::prepend(&mut container.env, &variables);
        translate_image(translator, &mut container.image);
    }
    spec.enable_service_links = Some(false);
    spec.ephemeral_containers = None;
    spec.service_account_name = Some(account(translator, namespace, &spec));
    spec.service_account = None;
    spec.automount_service_account_token = Some(false);

    Pod { metadata: metadata(translator, surroundings, pod), spec: Some(spec), status: None }
}

/// The ephemeral containers of a virtual pod as the host gets them.
pub(crate) fn ephemeral_containers(
    translator: &Translator,
    surroundings: &Surroundings,
    pod: &Pod,
) -> Vec<EphemeralContainer> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let variables = variables(surroundings, pod);
    let containers = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    containers
        .map(|container| {
            let mut carrier = Container {
                env: container.env.clone(),
                env_from: container.env_from.clone(),
                ..Container::default()
            };
            references::rename_container(translator, namespace, &mut carrier);
            downward::redirect_environment(translator, carrier.env.as_mut());
            environment::prepend(&mut carrier.env, &variables);
            let mut image = container.image.clone();
            translate_image(translator, &mut image);
            EphemeralContainer { env: carrier.env, env_from: carrier.env_from, image, ..container.clone() }
        })
        .collect()
}

/// Metadata of the host pod; of its parts only labels and annotations ever change.
pub(crate) fn metadata(
    translator: &Translator,
    surroundings: &Surroundings,
    pod: &Pod,
) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
    let mut metadata = translator.metadata("Pod", &pod.metadata);
    let labels = metadata.labels.get_or_insert_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    for (key, value) in surroundings.namespaces.get(namespace).into_iter().flatten() {
        labels.insert(Translator::namespace_label_key(key), value.clone());
    }

    let (ingress, egress) = isolates(&surroundings.policies, pod.metadata.labels.as_ref());
    for (label, _) in [(TENANT_INGRESS, ingress), (TENANT_EGRESS, egress)].iter().filter(|(_, is)| *is) {
        labels.insert((*label).into(), "true".into());
    }

    let annotations = metadata.annotations.get_or_insert_default();
    annotations.extend(downward::annotations(pod));
    let owners = pod.metadata.owner_references.iter().flatten();
    if let Some(controller) = owners.clone().find(|owner| owner.controller == Some(true)) {
        annotations.insert(CONTROLLER_KIND.into(), controller.kind.clone());
        annotations.entry(SAFE_TO_EVICT.into()).or_insert_with(|| "true".into());
        if controller.kind == "DaemonSet" {
            annotations.entry(DAEMON_SET_POD.into()).or_insert_with(|| "true".into());
        }
    }

    let keys = json!({
        "annotations": annotations.keys().collect::<Vec<_>>(),
        "labels": labels.keys().collect::<Vec<_>>(),
    });
    annotations.insert(MANAGED_KEYS.into(), keys.to_string());
    metadata
}

fn variables(surroundings: &Surroundings, pod: &Pod) -> BTreeMap<String, String> {
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let services = surroundings.services.iter().filter(|_| links);
    environment::service_variables(&surroundings.api, services)
}

/// The account that a pod has on the host; no token of it is ever mounted.
fn account(translator: &Translator, namespace: &str, spec: &PodSpec) -> String {
    let config = &translator.config;
    if config.rules.has(Direction::ToHost, "serviceaccounts") {
        let name = spec.service_account_name.as_deref().unwrap_or("default");
        return translator.names.host(namespace, name);
    }
    config.workload_service_account.clone().unwrap_or_else(|| "default".into())
}

fn translate_image(translator: &Translator, image: &mut Option<String>) {
    if let Some(other) = image.as_deref().and_then(|image| translator.config.images.translate(image)) {
        *image = Some(other);
    }
}

/// A generic ephemeral volume is the claim that the virtual controller made for it.
fn claim_ephemeral_volumes(translator: &Translator, pod: &Pod, spec: &mut PodSpec) {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    for volume in spec.volumes.iter_mut().flatten().filter(|volume| volume.ephemeral.is_some()) {
        let claim = translator.names.host(namespace, &format!("{name}-{}", volume.name));
        *volume = Volume {
            name: std::mem::take(&mut volume.name),
            persistent_volume_claim: Some(k8s_openapi::api::core::v1::PersistentVolumeClaimVolumeSource {
                claim_name: claim,
                read_only: None,
            }),
            ..Volume::default()
        };
    }
}

/// The projection that shows one token of a pod's token Secret at `path`.
pub(super) fn token_projection(secret: &str, key: String, path: String) -> VolumeProjection {
    VolumeProjection {
        secret: Some(SecretProjection {
            name: secret.to_owned(),
            items: Some(vec![KeyToPath { key, path, mode: None }]),
            optional: None,
        }),
        ..VolumeProjection::default()
    }
}
