//! Which policy shapes a cluster.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use vkube_crds::{PolicySettings, VirtualCluster, VirtualClusterPolicy};

/// Which policy shapes a cluster.
#[derive(Clone, Debug)]
pub enum Binding {
    /// None.
    Unbound,
    /// This one, by its name alone before these, which fit the cluster as well.
    Bound(Arc<VirtualClusterPolicy>, Vec<String>),
    /// The one that the cluster names does not exist.
    Missing(String),
    /// The one that the cluster names is not for it.
    NotAllowed(String),
}

/// Chooses among `policies`: the named one, else the matching one of the highest priority (ties go to the first name),
/// else the default of the highest priority.
///
/// A policy that is being deleted keeps the clusters it has and takes no new ones.
pub fn bind(
    cluster: &VirtualCluster,
    namespace_labels: &BTreeMap<String, String>,
    policies: &[Arc<VirtualClusterPolicy>],
) -> Binding {
    let bound = cluster.status.as_ref().and_then(|status| status.policy.as_ref()).map(|policy| &policy.uid);
    let usable = |policy: &VirtualClusterPolicy| {
        policy.metadata.deletion_timestamp.is_none() || bound == policy.metadata.uid.as_ref()
    };
    if let Some(reference) = &cluster.spec.policy_ref {
        let named = policies.iter().find(|policy| policy.name_any() == reference.name && usable(policy));
        return match named {
            None => Binding::Missing(reference.name.clone()),
            Some(policy) if matches(policy, cluster, namespace_labels).unwrap_or(true) => {
                Binding::Bound(policy.clone(), Vec::new())
            }
            Some(_) => Binding::NotAllowed(reference.name.clone()),
        };
    }
    let best = |candidate: &dyn Fn(&VirtualClusterPolicy) -> bool| {
        let rank = |policy: &VirtualClusterPolicy| Reverse(policy.spec.priority.unwrap_or(0));
        let mut fitting: Vec<_> =
            policies.iter().filter(|policy| usable(policy) && candidate(policy)).collect();
        fitting.sort_by_key(|policy| (rank(policy), policy.name_any()));
        let (first, others) = fitting.split_first()?;
        let rivals = others.iter().take_while(|other| rank(other) == rank(first));
        Some(Binding::Bound((*first).clone(), rivals.map(|rival| rival.name_any()).collect()))
    };
    best(&|policy| matches(policy, cluster, namespace_labels) == Some(true))
        .or_else(|| best(&|policy| policy.spec.default == Some(true)))
        .unwrap_or(Binding::Unbound)
}

/// Whether the policy's selector matches; `None` if it has none. A selector that cannot be read matches nothing.
fn matches(
    policy: &VirtualClusterPolicy,
    cluster: &VirtualCluster,
    namespace_labels: &BTreeMap<String, String>,
) -> Option<bool> {
    let selector = policy.spec.selector.as_ref()?;
    let fits = |selector: Option<&LabelSelector>, labels: &BTreeMap<String, String>| {
        selector.is_none_or(|selector| {
            Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
        })
    };
    Some(
        fits(selector.namespace_selector.as_ref(), namespace_labels)
            && fits(selector.cluster_selector.as_ref(), cluster.labels()),
    )
}

/// What is wrong with a policy itself; empty if it can be applied.
pub fn malformed(policy: &VirtualClusterPolicy) -> Vec<String> {
    let mut wrong = Vec::new();
    let selectors = policy.spec.selector.as_ref();
    for (path, selector) in [
        ("selector.namespaceSelector", selectors.and_then(|both| both.namespace_selector.as_ref())),
        ("selector.clusterSelector", selectors.and_then(|both| both.cluster_selector.as_ref())),
    ] {
        if let Some(Err(error)) = selector.map(|selector| Selector::try_from(selector.clone())) {
            wrong.push(format!("{path}: {error}"));
        }
    }
    for (path, settings) in [("defaults", &policy.spec.defaults), ("enforced", &policy.spec.enforced)] {
        let Some(settings) = settings else { continue };
        wrong.extend(settings_errors(settings).into_iter().map(|error| format!("{path}.{error}")));
    }
    let constraints = policy.spec.constraints.as_ref();
    let amounts = constraints.map(|constraints| &constraints.max_resource_quota).into_iter().flatten();
    for (name, amount) in amounts {
        if amount.nanos().is_none() {
            wrong.push(format!("constraints.maxResourceQuota.{name}: {:?} is not a quantity", amount.0));
        }
    }
    if let Some(size) = constraints.and_then(|constraints| constraints.max_volume_size.as_ref())
        && size.nanos().is_none()
    {
        wrong.push(format!("constraints.maxVolumeSize: {:?} is not a quantity", size.0));
    }
    let lifetime = constraints.and_then(|constraints| constraints.max_lifetime.as_ref());
    crate::settings::lifetime("constraints.maxLifetime", lifetime, &mut wrong);
    wrong
}

/// A policy's settings are validated as a cluster that asks for just them.
fn settings_errors(settings: &PolicySettings) -> Vec<String> {
    let mut cluster = VirtualCluster::default();
    cluster.metadata.name = Some("cluster".into());
    cluster.spec.control_plane.clone_from(&settings.control_plane);
    cluster.spec.backing_store.clone_from(&settings.backing_store);
    cluster.spec.expose.clone_from(&settings.expose);
    cluster.spec.certificates.clone_from(&settings.certificates);
    cluster.spec.workloads.clone_from(&settings.workloads);
    cluster.spec.sync.clone_from(&settings.sync);
    cluster.spec.isolation.clone_from(&settings.isolation);
    crate::settings::validate(&cluster, &crate::Options::new("image"), &BTreeMap::new())
        .err()
        .unwrap_or_default()
}
