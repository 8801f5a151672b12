//! Labels and annotations of host objects, and how to find the virtual object behind one.
//!
//! A host object says in its metadata whose it is, so the mapping can be read back after any restart:
//!
//! ```yaml
//! labels:
//!   vkube.dev/virtual-cluster: demo
//!   vkube.dev/virtual-namespace: shop
//! annotations:
//!   vkube.dev/object-kind: Pod
//!   vkube.dev/object-namespace: shop
//!   vkube.dev/object-name: web-0
//!   vkube.dev/object-uid: 6d1c…
//! ```
//!
//! Tenants' labels pass through, so that host tools (monitoring, CNI) see them. Keys that mean something to the
//! host or to us are renamed, in objects and in selectors alike.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta, OwnerReference,
};
use vkube_crds::labels::HOST_NAMESPACE;

use crate::config::Config;
use crate::names::{self, Names};

/// Host label: the virtual cluster an object belongs to.
pub const VIRTUAL_CLUSTER: &str = "vkube.dev/virtual-cluster";
/// Host label: the virtual namespace an object comes from.
pub const VIRTUAL_NAMESPACE: &str = "vkube.dev/virtual-namespace";
/// Host annotation: the kind of the virtual object.
pub const OBJECT_KIND: &str = "vkube.dev/object-kind";
/// Host annotation: the namespace of the virtual object.
pub const OBJECT_NAMESPACE: &str = "vkube.dev/object-namespace";
/// Host annotation: the name of the virtual object.
pub const OBJECT_NAME: &str = "vkube.dev/object-name";
/// Host annotation: the uid of the virtual object.
pub const OBJECT_UID: &str = "vkube.dev/object-uid";
/// Host label of objects that belong to the virtual cluster itself, and not to its tenant.
pub const MANAGED: &str = "vkube.dev/managed";
/// Virtual label of an object that the host owns.
pub const FROM_HOST: &str = "vkube.dev/from-host";
/// Host label of Services that are exported: by which virtual cluster.
pub const EXPORTED_BY: &str = "vkube.dev/exported-by";
/// Virtual annotation: where on the host an object comes from.
pub const HOST_OBJECT: &str = "vkube.dev/host-object";
/// Annotation: digest of the document last applied; tells a removal in the virtual object from a no-op.
pub const APPLIED: &str = "vkube.dev/applied";

const TENANT_LABEL: &str = "tenant.vkube.dev/";
const NAMESPACE_LABEL: &str = "namespace.vkube.dev/";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Identity of a virtual object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// The key of `namespace/name`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object by its metadata.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Translates metadata and selectors of one virtual cluster. Pure: everything follows from [`Config`].
#[derive(Clone, Debug)]
pub struct Translator {
    /// The settings it works by.
    pub config: Config,
    /// The mapping of names.
    pub names: Names,
}

impl Translator {
    /// A translator for `config`.
    pub fn new(config: Config) -> Self {
        let mapped = config.namespaces.as_ref().map(|mapped| mapped.map.clone()).unwrap_or_default();
        Self { names: Names::new(config.cluster.clone()).with_namespaces(mapped), config }
    }

    /// The namespace on the host that a virtual one has for itself, if it has one.
    pub fn mapped(&self, namespace: &str) -> Option<String> {
        self.config.namespaces.as_ref()?.map.host(namespace)
    }

    /// The namespace on the host of the objects of a virtual one.
    pub fn host_namespace(&self, namespace: &str) -> String {
        self.mapped(namespace).unwrap_or_else(|| self.config.host_namespace.clone())
    }

    /// The virtual namespace that has this one on the host for itself.
    pub fn virtual_namespace(&self, host: &str) -> Option<String> {
        self.config.namespaces.as_ref()?.map.origin(host)
    }

    /// Chooses all host namespaces of the cluster, if it has several.
    pub(crate) fn own_namespaces(&self) -> Option<LabelSelector> {
        self.config.namespaces.as_ref()?;
        let label = (HOST_NAMESPACE.to_owned(), self.config.host_namespace.clone());
        Some(LabelSelector { match_labels: Some([label].into()), ..LabelSelector::default() })
    }

    /// The label selector of everything this virtual cluster owns on the host.
    pub fn host_selector(&self) -> String {
        format!("{VIRTUAL_CLUSTER}={}", self.config.cluster)
    }

    /// Metadata of the host object for a virtual object of `kind`.
    pub fn metadata(&self, kind: &str, object: &ObjectMeta) -> ObjectMeta {
        let key = ObjectKey::of(object);
        let mut labels = self.labels(object.labels.as_ref());
        labels.extend(self.scope(&key.namespace));
        let mut annotations = host_annotations(object.annotations.as_ref());
        annotations.insert(OBJECT_KIND.into(), kind.into());
        annotations.insert(OBJECT_UID.into(), object.uid.clone().unwrap_or_default());
        annotations.insert(OBJECT_NAMESPACE.into(), key.namespace.clone());
        annotations.insert(OBJECT_NAME.into(), key.name.clone());

        let is_global = key.namespace.is_empty();
        ObjectMeta {
            name: Some(self.host_name(&key)),
            namespace: (!is_global).then(|| self.host_namespace(&key.namespace)),
            labels: Some(labels),
            annotations: Some(annotations),
            // An owner in a namespace owns nothing outside of it.
            owner_references: self.owner(&key.namespace).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        }
    }

    /// The owner of host objects of a virtual namespace, if it is in the namespace that they are in.
    fn owner(&self, namespace: &str) -> Option<OwnerReference> {
        let is_beside = !namespace.is_empty() && self.mapped(namespace).is_none();
        self.config.owner.clone().filter(|_| is_beside)
    }

    /// The name on the host of a virtual object, of a namespace or cluster-scoped.
    pub fn host_name(&self, key: &ObjectKey) -> String {
        if key.namespace.is_empty() {
            self.names.global(&self.config.host_namespace, &key.name)
        } else {
            self.names.host(&key.namespace, &key.name)
        }
    }

    /// The labels that tell objects of `namespace` in this cluster from all others on the host.
    pub fn scope(&self, namespace: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            (VIRTUAL_CLUSTER.to_owned(), self.config.cluster.clone()),
            (VIRTUAL_NAMESPACE.to_owned(), namespace.to_owned()),
        ])
    }

    /// A tenant's labels as the host carries them.
    pub fn labels(&self, labels: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
        labels.into_iter().flatten().map(|(key, value)| (self.label_key(key), value.clone())).collect()
    }

    /// A tenant's label key as the host carries it: unchanged, unless it means something there.
    pub fn label_key(&self, key: &str) -> String {
        if is_ours(key) || self.config.reserved_labels.iter().any(|reserved| reserved == key) {
            return format!("{TENANT_LABEL}{}", names::key(key));
        }
        key.to_owned()
    }

    /// The host label by which a pod carries the label `key` of its virtual namespace.
    pub fn namespace_label_key(key: &str) -> String {
        format!("{NAMESPACE_LABEL}{}", names::key(key))
    }

    /// A tenant's selector as the host carries it, not yet limited to any namespace.
    pub fn selector(&self, selector: &LabelSelector) -> LabelSelector {
        LabelSelector {
            match_labels: selector.match_labels.as_ref().map(|labels| self.labels(Some(labels))),
            match_expressions: selector.match_expressions.as_ref().map(|expressions| {
                expressions
                    .iter()
                    .map(|e| LabelSelectorRequirement { key: self.label_key(&e.key), ..e.clone() })
                    .collect()
            }),
        }
    }

    /// A tenant's selector limited to pods of one virtual namespace.
    pub fn selector_in(&self, namespace: &str, selector: &LabelSelector) -> LabelSelector {
        let mut selector = self.selector(selector);
        selector.match_labels.get_or_insert_default().extend(self.scope(namespace));
        selector
    }

    /// The virtual object of `kind` behind a host object.
    ///
    /// `None` unless the annotations are complete and lead back to this very name: copies that backup tools or
    /// people make of a host object are nobody's.
    pub fn origin(&self, kind: &str, host: &ObjectMeta) -> Option<ObjectKey> {
        let annotations = host.annotations.as_ref()?;
        let cluster = host.labels.as_ref()?.get(VIRTUAL_CLUSTER)?;
        if *cluster != self.config.cluster || annotations.get(OBJECT_KIND)? != kind {
            return None;
        }
        let key = ObjectKey::new(annotations.get(OBJECT_NAMESPACE)?, annotations.get(OBJECT_NAME)?);
        let is_here = key.namespace.is_empty()
            || host.namespace.as_deref() == Some(self.host_namespace(&key.namespace).as_str());
        (is_here && host.name.as_deref() == Some(self.host_name(&key).as_str())).then_some(key)
    }
}

/// The uid of the virtual object that a host object was made for.
pub fn virtual_uid(host: &ObjectMeta) -> Option<&str> {
    host.annotations.as_ref()?.get(OBJECT_UID).map(String::as_str)
}

/// A tenant's annotations as the host carries them: without our own and without `kubectl`'s copy of the virtual
/// document, which would mislead host tools.
pub(crate) fn host_annotations(annotations: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
    annotations
        .into_iter()
        .flatten()
        .filter(|(key, _)| !is_ours(key) && key.as_str() != LAST_APPLIED)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Whether a key lies in `vkube.dev` or below it.
pub(crate) fn is_ours(key: &str) -> bool {
    key.split_once('/').is_some_and(|(domain, _)| domain == "vkube.dev" || domain.ends_with(".vkube.dev"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translator() -> Translator {
        let mut config = Config::new("demo", "host");
        config.reserved_labels = vec!["release".into()];
        Translator::new(config)
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn object() -> ObjectMeta {
        ObjectMeta {
            name: Some("web".into()),
            namespace: Some("shop".into()),
            uid: Some("u1".into()),
            labels: Some(labels(&[("app", "web"), ("vkube.dev/virtual-cluster", "other"), ("release", "x")])),
            annotations: Some(labels(&[
                (LAST_APPLIED, "{}"),
                ("note", "hi"),
                ("vkube.dev/object-uid", "forged"),
            ])),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn host_metadata_leads_back_to_its_object() {
        let host = translator().metadata("Pod", &object());
        assert_eq!(translator().origin("Pod", &host), Some(ObjectKey::new("shop", "web")));
        assert_eq!(virtual_uid(&host), Some("u1"));
    }

    #[test]
    fn tenants_cannot_set_the_hosts_labels() {
        let host = translator().metadata("Pod", &object()).labels.unwrap();
        assert_eq!(host[VIRTUAL_CLUSTER], "demo");
        assert_eq!(host["app"], "web");
        assert!(!host.contains_key("release"));
        assert_eq!(host.keys().filter(|key| key.starts_with(TENANT_LABEL)).count(), 2);
    }

    #[test]
    fn copies_of_host_objects_belong_to_nobody() {
        let mut host = translator().metadata("Pod", &object());
        host.name = Some("copy".into());
        assert_eq!(translator().origin("Pod", &host), None);
    }

    #[test]
    fn other_clusters_objects_are_not_ours() {
        let host = translator().metadata("Pod", &object());
        let other = Translator::new(Config::new("other", "host"));
        assert_eq!(other.origin("Pod", &host), None);
        assert_eq!(translator().origin("Service", &host), None);
    }

    #[test]
    fn kubectls_copy_of_the_document_stays_behind() {
        let host = translator().metadata("Pod", &object()).annotations.unwrap();
        assert_eq!(host.get("note").map(String::as_str), Some("hi"));
        assert!(!host.contains_key(LAST_APPLIED));
    }

    #[test]
    fn selectors_follow_renamed_labels() {
        let selector = LabelSelector {
            match_labels: Some(labels(&[("release", "x")])),
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "release".into(),
                operator: "Exists".into(),
                values: None,
            }]),
        };
        let host = translator().selector_in("shop", &selector);
        let renamed = translator().label_key("release");
        assert_eq!(host.match_expressions.unwrap()[0].key, renamed);
        let host = host.match_labels.unwrap();
        assert_eq!(host[&renamed], "x");
        assert_eq!(host[VIRTUAL_NAMESPACE], "shop");
    }
}
