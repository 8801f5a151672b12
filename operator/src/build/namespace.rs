//! The host namespace.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ObjectMeta;
use vkube_crds::{annotations, labels};

use crate::names::Identity;
use crate::settings::Settings;

/// The host namespace, with the Pod Security Standard in force. `policy` is the name of the policy that shapes it.
pub fn namespace(identity: &Identity, settings: &Settings, policy: Option<&str>) -> Namespace {
    let mut labels_of = settings.namespace_labels.clone();
    labels_of.extend(identity.labels());
    if settings.mapped.is_some() {
        labels_of.insert(labels::HOST_NAMESPACE.into(), identity.host_namespace.clone());
    }
    labels_of.extend(policy.map(|policy| (labels::POLICY.to_owned(), label_value(policy))));
    let standard = settings.isolation.pod_security.as_str();
    for mode in ["enforce", "warn"] {
        labels_of.insert(format!("pod-security.kubernetes.io/{mode}"), standard.into());
    }
    Namespace {
        metadata: ObjectMeta {
            name: Some(identity.host_namespace.clone()),
            labels: Some(labels_of),
            annotations: Some(settings.namespace_annotations.clone()).filter(|map| !map.is_empty()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }
}

/// The host namespace that a virtual one has for itself: bounded like the cluster's own, whose it says it is.
pub fn mapped_namespace(
    identity: &Identity,
    settings: &Settings,
    policy: Option<&str>,
    host: &str,
    namespace: &str,
) -> Namespace {
    let mut built = self::namespace(identity, settings, policy);
    built.metadata.name = Some(host.to_owned());
    let labels_of = built.metadata.labels.get_or_insert_default();
    for (key, value) in settings.mapped.iter().flat_map(|mapped| &mapped.labels) {
        labels_of.entry(key.clone()).or_insert_with(|| value.clone());
    }
    built.metadata.annotations.get_or_insert_default().extend([
        (annotations::OBJECT_KIND.to_owned(), "Namespace".to_owned()),
        (annotations::OBJECT_NAME.to_owned(), namespace.to_owned()),
    ]);
    built
}

/// A policy's name may be longer than a label's value; then its hash stands for it.
fn label_value(name: &str) -> String {
    if name.len() <= 63 { name.to_owned() } else { crate::names::short_hash(name.as_bytes()) }
}
