//! Totals and bounds of the workloads.
//!
//! The control plane's pod runs in the same namespace and must not eat the tenant's quota, nor starve when the tenant
//! has used it up. So what pods consume is counted by a quota for every priority class but the control plane's, and the
//! control plane's class has a quota of its own pods, which keeps anybody else from hiding in it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    LimitRange, LimitRangeItem, LimitRangeSpec, ResourceQuota, ResourceQuotaSpec, ScopeSelector,
    ScopedResourceSelectorRequirement,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use vkube_crds::Quantity;

use super::identity::metadata;
use super::object::Key;
use crate::names::Identity;
use crate::settings::Settings;

const COMPUTE: &str = "vc-compute";
const OBJECTS: &str = "vc-objects";
const CONTROL_PLANE: &str = "vc-control-plane";
const LIMITS: &str = "vc-limits";

/// The quotas that count what the workloads use.
pub const WORKLOAD_QUOTAS: [&str; 2] = [COMPUTE, OBJECTS];

/// The quotas; none if switched off.
pub(super) fn quotas(identity: &Identity, settings: &Settings) -> Vec<ResourceQuota> {
    let Some(quota) = &settings.isolation.quota else { return Vec::new() };
    let class = &settings.priority_class;
    let mut quotas = Vec::new();
    if !quota.compute.is_empty() {
        quotas.push(resource_quota(identity, COMPUTE, &quota.compute, Some(("NotIn", class))));
        let pods = settings.replicas.max(1).to_string();
        let own_pods = BTreeMap::from([("pods".to_owned(), Quantity(pods))]);
        quotas.push(resource_quota(identity, CONTROL_PLANE, &own_pods, Some(("In", class))));
    }
    if !quota.objects.is_empty() {
        quotas.push(resource_quota(identity, OBJECTS, &quota.objects, None));
    }
    quotas
}

/// The LimitRange, unless switched off.
pub(super) fn limits(identity: &Identity, settings: &Settings) -> Option<LimitRange> {
    let limits = settings.isolation.limits.as_ref()?;
    let some = |map: &BTreeMap<String, Quantity>| Some(amounts(map)).filter(|map| !map.is_empty());
    Some(LimitRange {
        metadata: metadata(identity, &identity.host_namespace, LIMITS),
        spec: Some(LimitRangeSpec {
            limits: vec![LimitRangeItem {
                type_: "Container".into(),
                default: some(&limits.default),
                default_request: some(&limits.default_request),
                min: some(&limits.min),
                max: some(&limits.max),
                ..LimitRangeItem::default()
            }],
        }),
    })
}

/// Every object that this module may build.
pub(super) fn keys(identity: &Identity) -> Vec<Key> {
    let namespace = Some(identity.host_namespace.as_str());
    let mut keys: Vec<_> = [COMPUTE, OBJECTS, CONTROL_PLANE]
        .into_iter()
        .map(|name| Key::new::<ResourceQuota>(namespace, name))
        .collect();
    keys.push(Key::new::<LimitRange>(namespace, LIMITS));
    keys
}

/// Amounts in the types of Kubernetes.
pub(super) fn amounts(map: &BTreeMap<String, Quantity>) -> BTreeMap<String, ApiQuantity> {
    map.iter().map(|(name, amount)| (name.clone(), amount.clone().into())).collect()
}

fn resource_quota(
    identity: &Identity,
    name: &str,
    hard: &BTreeMap<String, Quantity>,
    class: Option<(&str, &str)>,
) -> ResourceQuota {
    ResourceQuota {
        metadata: metadata(identity, &identity.host_namespace, name),
        spec: Some(ResourceQuotaSpec {
            hard: Some(amounts(hard)),
            scope_selector: class.map(|(operator, class)| ScopeSelector {
                match_expressions: Some(vec![ScopedResourceSelectorRequirement {
                    scope_name: "PriorityClass".into(),
                    operator: operator.into(),
                    values: Some(vec![class.into()]),
                }]),
            }),
            ..ResourceQuotaSpec::default()
        }),
        ..ResourceQuota::default()
    }
}
