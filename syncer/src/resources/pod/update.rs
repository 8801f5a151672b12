//! Which later changes of a virtual pod reach its host pod.
//!
//! A pod is created once and then almost immutable, so a host pod is never applied as a whole: what may change is
//! patched. Whether the tenant changed it is told by digests kept on the host pod (the merge base), not by
//! comparing with the host's values, which host admission may have altered for good reasons.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};

use super::translate::MANAGED_KEYS;
use crate::labels::APPLIED;
use crate::names::digest;

/// Host annotation: digest of the container resources last applied.
const RESOURCES: &str = "vkube.dev/resources";

/// The patches that bring a host pod up to date, in the order to send them.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Changes {
    /// For the `resize` subresource.
    pub resize: Option<Value>,
    /// For the `ephemeralcontainers` subresource.
    pub ephemeral: Option<Value>,
    /// For the pod itself; carries the digests, so it comes last.
    pub patch: Option<Value>,
}

/// Adds the digests of the mutable parts of a virtual pod to the metadata of its host pod.
pub(crate) fn stamp(pod: &Pod, metadata: &mut ObjectMeta) {
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(APPLIED.into(), mutable_digest(pod));
    annotations.insert(RESOURCES.into(), resources_digest(pod));
}

/// What has to change on the `live` host pod of `pod`. `metadata` is the stamped metadata it should have and
/// `ephemeral` the translated ephemeral containers.
pub(crate) fn changes(
    pod: &Pod,
    metadata: &ObjectMeta,
    ephemeral: &[EphemeralContainer],
    enforced: &[Toleration],
    live: &Pod,
) -> Changes {
    let was = |key: &str| live.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
    let now = |key: &str| metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));

    let mut patch = Map::new();
    if let Some(metadata) = metadata_patch(metadata, &live.metadata) {
        patch.insert("metadata".into(), metadata);
    }
    if was(APPLIED) != now(APPLIED) {
        patch.insert("spec".into(), spec_patch(pod, enforced, live));
    }

    Changes {
        resize: (was(RESOURCES) != now(RESOURCES)).then(|| resize_patch(pod)),
        ephemeral: ephemeral_patch(ephemeral, live),
        patch: (!patch.is_empty()).then_some(Value::Object(patch)),
    }
}

fn metadata_patch(desired: &ObjectMeta, live: &ObjectMeta) -> Option<Value> {
    let managed = managed_keys(live);
    let labels = map_patch(desired.labels.as_ref(), live.labels.as_ref(), &managed.labels);
    let annotations =
        map_patch(desired.annotations.as_ref(), live.annotations.as_ref(), &managed.annotations);
    let mut patch = Map::new();
    if !labels.is_empty() {
        patch.insert("labels".into(), Value::Object(labels));
    }
    if !annotations.is_empty() {
        patch.insert("annotations".into(), Value::Object(annotations));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// Sets what differs and removes what was ours and is no longer wanted; what the host added stays.
fn map_patch(
    desired: Option<&BTreeMap<String, String>>,
    live: Option<&BTreeMap<String, String>>,
    managed: &BTreeSet<String>,
) -> Map<String, Value> {
    let value = |map: Option<&BTreeMap<String, String>>, key: &str| map.and_then(|map| map.get(key)).cloned();
    let mut patch = Map::new();
    for (key, wanted) in desired.into_iter().flatten() {
        if value(live, key).as_ref() != Some(wanted) {
            patch.insert(key.clone(), json!(wanted));
        }
    }
    for key in managed {
        if value(desired, key).is_none() && value(live, key).is_some() {
            patch.insert(key.clone(), Value::Null);
        }
    }
    patch
}

#[derive(Default, serde::Deserialize)]
struct ManagedKeys {
    #[serde(default)]
    labels: BTreeSet<String>,
    #[serde(default)]
    annotations: BTreeSet<String>,
}

fn managed_keys(live: &ObjectMeta) -> ManagedKeys {
    let text = live.annotations.as_ref().and_then(|annotations| annotations.get(MANAGED_KEYS));
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn spec_patch(pod: &Pod, enforced: &[Toleration], live: &Pod) -> Value {
    let (Some(spec), Some(live)) = (&pod.spec, &live.spec) else { return json!({}) };
    let mut patch = Map::new();
    patch.insert("containers".into(), images(&spec.containers));
    if let Some(containers) = &spec.init_containers {
        patch.insert("initContainers".into(), images(containers));
    }
    if let Some(seconds) = spec.active_deadline_seconds {
        patch.insert("activeDeadlineSeconds".into(), json!(seconds));
    }

    // Tolerations may only be added, and those the host added stay.
    let mut tolerations = live.tolerations.clone().unwrap_or_default();
    for toleration in spec.tolerations.iter().flatten().chain(enforced) {
        if !tolerations.contains(toleration) {
            tolerations.push(toleration.clone());
        }
    }
    patch.insert("tolerations".into(), json!(tolerations));

    let kept: BTreeSet<&str> =
        spec.scheduling_gates.iter().flatten().map(|gate| gate.name.as_str()).collect();
    let opened: Vec<Value> = live
        .scheduling_gates
        .iter()
        .flatten()
        .filter(|gate| !kept.contains(gate.name.as_str()))
        .map(|gate| json!({ "$patch": "delete", "name": gate.name }))
        .collect();
    if !opened.is_empty() {
        patch.insert("schedulingGates".into(), json!(opened));
    }
    Value::Object(patch)
}

fn images(containers: &[Container]) -> Value {
    containers.iter().map(|container| json!({ "name": container.name, "image": container.image })).collect()
}

fn resize_patch(pod: &Pod) -> Value {
    let resources = |containers: &[Container]| -> Value {
        containers.iter().map(|c| json!({ "name": c.name, "resources": c.resources })).collect()
    };
    let spec = pod.spec.as_ref();
    let mut patch = json!({ "containers": resources(spec.map_or(&[], |spec| &spec.containers)) });
    let restartable: Vec<Container> = spec
        .and_then(|spec| spec.init_containers.as_ref())
        .into_iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"))
        .cloned()
        .collect();
    if !restartable.is_empty() {
        patch["initContainers"] = resources(&restartable);
    }
    if let Some(whole) = spec.and_then(|spec| spec.resources.as_ref()) {
        patch["resources"] = json!(whole);
    }
    json!({ "spec": patch })
}

fn ephemeral_patch(desired: &[EphemeralContainer], live: &Pod) -> Option<Value> {
    let there = |name: &str| {
        let containers = live.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
        containers.into_iter().any(|container| container.name == name)
    };
    let missing: Vec<&EphemeralContainer> =
        desired.iter().filter(|container| !there(&container.name)).collect();
    (!missing.is_empty()).then(|| json!({ "spec": { "ephemeralContainers": missing } }))
}

fn mutable_digest(pod: &Pod) -> String {
    let images = |containers: &[Container]| images(containers);
    let parts = pod.spec.as_ref().map(|spec| {
        json!([
            images(&spec.containers),
            images(spec.init_containers.as_deref().unwrap_or_default()),
            spec.active_deadline_seconds,
            spec.tolerations,
            spec.scheduling_gates,
        ])
    });
    digest(&[&parts.unwrap_or_default().to_string()], 12)
}

fn resources_digest(pod: &Pod) -> String {
    digest(&[&resize_patch(pod).to_string()], 12)
}
