//! What makes a pod of a stateful set the one it is: its name, its place, its claims.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

use crate::history::REVISION_LABEL;
use crate::ownership::controller_reference;
use crate::pods::from_template;

const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// The ordinal of a pod that is named as the set's pods are.
pub(super) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let (parent, ordinal) = pod.metadata.name.as_deref()?.rsplit_once('-')?;
    let canonical = ordinal == "0" || !ordinal.starts_with(['0', '+']);
    if Some(parent) == set.metadata.name.as_deref() && canonical { ordinal.parse().ok() } else { None }
}

/// The revision that the pod was made from.
pub(super) fn revision(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(REVISION_LABEL).map(String::as_str)
}

fn pod_name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", set.metadata.name.as_deref().unwrap_or_default())
}

fn claim_name(set: &StatefulSet, template: &str, ordinal: i32) -> String {
    format!("{template}-{}", pod_name(set, ordinal))
}

fn claim_templates(set: &StatefulSet) -> impl Iterator<Item = &PersistentVolumeClaim> {
    set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten())
}

/// The pod of `ordinal`, as `template` wants it.
pub(super) fn pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> Pod {
    let mut pod = from_template(template, set.metadata.namespace.as_ref(), controller_reference(set));
    let name = pod_name(set, ordinal);
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(name.clone());
    pod.metadata.labels.get_or_insert_default().insert(REVISION_LABEL.to_owned(), revision.to_owned());
    label(set, &mut pod);

    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name);
    spec.subdomain =
        set.spec.as_ref().and_then(|spec| spec.service_name.clone()).filter(|name| !name.is_empty());
    let claimed: Vec<Volume> = claim_templates(set)
        .filter_map(|template| template.metadata.name.as_deref())
        .map(|template| Volume {
            name: template.to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(set, template, ordinal),
                read_only: None,
            }),
            ..Volume::default()
        })
        .collect();
    if !claimed.is_empty() {
        let volumes = spec.volumes.get_or_insert_default();
        volumes.retain(|volume| !claimed.iter().any(|claim| claim.name == volume.name));
        volumes.extend(claimed);
    }
    pod
}

/// Gives the pod the labels that its name implies.
pub(super) fn label(set: &StatefulSet, pod: &mut Pod) {
    let Some(ordinal) = ordinal(set, pod) else { return };
    let name = pod.metadata.name.clone().unwrap_or_default();
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME_LABEL.to_owned(), name);
    labels.insert(POD_INDEX_LABEL.to_owned(), ordinal.to_string());
}

/// Whether the pod has the labels that its name implies.
pub(super) fn is_labelled(set: &StatefulSet, pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    let value = |key: &str| labels.and_then(|labels| labels.get(key)).cloned();
    value(POD_NAME_LABEL) == pod.metadata.name
        && value(POD_INDEX_LABEL) == ordinal(set, pod).map(|ordinal| ordinal.to_string())
}

/// The claims of the pod of `ordinal`.
pub(super) fn claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let selector = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
    claim_templates(set)
        .map(|template| {
            let mut labels = template.metadata.labels.clone().unwrap_or_default();
            labels.extend(selector.clone());
            let owner = (when_deleted(set) == "Delete").then(|| vec![controller_reference(set)]);
            PersistentVolumeClaim {
                metadata: ObjectMeta {
                    name: template.metadata.name.as_deref().map(|name| claim_name(set, name, ordinal)),
                    namespace: set.metadata.namespace.clone(),
                    labels: Some(labels),
                    annotations: template.metadata.annotations.clone(),
                    owner_references: owner,
                    ..ObjectMeta::default()
                },
                spec: template.spec.clone(),
                status: None,
            }
        })
        .collect()
}

fn when_deleted(set: &StatefulSet) -> &str {
    let policy = set.spec.as_ref().and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
    policy.and_then(|policy| policy.when_deleted.as_deref()).unwrap_or("Retain")
}

fn when_scaled(set: &StatefulSet) -> &str {
    let policy = set.spec.as_ref().and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
    policy.and_then(|policy| policy.when_scaled.as_deref()).unwrap_or("Retain")
}

/// The claim with the owner that makes it live as long as the retention policy says.
///
/// A claim to be deleted with the set is owned by the set; one to be deleted because its pod is scaled away is owned
/// by that pod; one to be retained by neither.
pub(super) fn with_owner(
    set: &StatefulSet,
    pod: &Pod,
    condemned: bool,
    claim: &PersistentVolumeClaim,
) -> PersistentVolumeClaim {
    let owner: Option<OwnerReference> = if condemned && when_scaled(set) == "Delete" {
        Some(controller_reference(pod))
    } else if when_deleted(set) == "Delete" {
        Some(controller_reference(set))
    } else {
        None
    };
    let ours = |reference: &OwnerReference| {
        let is = |kind: &str, name: &Option<String>| {
            reference.kind == kind && Some(&reference.name) == name.as_ref()
        };
        is(&StatefulSet::kind(&()), &set.metadata.name) || is(&Pod::kind(&()), &pod.metadata.name)
    };
    let mut updated = claim.clone();
    let current = claim.metadata.owner_references.clone().unwrap_or_default();
    let have: Vec<_> =
        current.iter().filter(|reference| ours(reference)).map(|reference| &reference.uid).collect();
    if have != owner.iter().map(|reference| &reference.uid).collect::<Vec<_>>() {
        let mut references: Vec<_> = current.into_iter().filter(|reference| !ours(reference)).collect();
        references.extend(owner);
        updated.metadata.owner_references = (!references.is_empty()).then_some(references);
    }
    updated
}
