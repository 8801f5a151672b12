//! How evenly pods are spread over the domains of a topology (KEP-895, KEP-3022, KEP-3094, KEP-3243).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Node, Pod, TopologySpreadConstraint},
    apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement,
};
use kube::{
    ResourceExt,
    core::{Selector, SelectorExt},
};

use super::{
    filter::{Unfit, matches_selectors, tolerates_taints},
    state::Cluster,
};

const MISMATCH: &str = "node(s) didn't match pod topology spread constraints";

/// One constraint of a pod, and how many pods that it selects are in each domain.
pub(crate) struct Spread<'a> {
    constraint: &'a TopologySpreadConstraint,
    counts: BTreeMap<&'a str, usize>,
    /// Whether the pod itself is among those that the constraint selects.
    selects_itself: bool,
}

/// The pod's constraints of one kind, `DoNotSchedule` or `ScheduleAnyway`.
pub(crate) fn spreads<'a>(pod: &'a Pod, cluster: &'a Cluster, unsatisfiable: &str) -> Vec<Spread<'a>> {
    let all = pod.spec.iter().flat_map(|spec| spec.topology_spread_constraints.iter().flatten());
    let wanted: Vec<_> = all.filter(|constraint| constraint.when_unsatisfiable == unsatisfiable).collect();
    // A node without the labels of all constraints is no domain of any.
    let is_labelled = |node: &Node| wanted.iter().all(|one| node.labels().contains_key(&one.topology_key));
    let count = |constraint: &&'a TopologySpreadConstraint| {
        let selector = selector(constraint, pod);
        let selects =
            |labels: &BTreeMap<String, String>| selector.as_ref().is_some_and(|one| one.matches(labels));
        let mut counts = BTreeMap::new();
        for node in cluster.nodes().filter(|node| is_labelled(node) && counts_in(constraint, pod, node)) {
            let here = cluster.pods_on(node.metadata.name.as_deref().unwrap_or_default()).filter(|placed| {
                placed.pod.namespace() == pod.namespace()
                    && placed.pod.metadata.deletion_timestamp.is_none()
                    && selects(placed.pod.labels())
            });
            let domain = node.labels().get(&constraint.topology_key).map_or("", String::as_str);
            *counts.entry(domain).or_insert(0) += here.count();
        }
        Spread { constraint, counts, selects_itself: selects(pod.labels()) }
    };
    wanted.iter().map(count).collect()
}

/// Whether the node takes part in the constraint: by default if the pod's node affinity allows it, whatever its taints.
fn counts_in(constraint: &TopologySpreadConstraint, pod: &Pod, node: &Node) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let ignores_affinity = constraint.node_affinity_policy.as_deref() == Some("Ignore");
    let honors_taints = constraint.node_taints_policy.as_deref() == Some("Honor");
    (ignores_affinity || matches_selectors(spec, node).is_ok())
        && (!honors_taints || tolerates_taints(spec, node).is_ok())
}

/// The constraint's selector, together with the pod's own values of `matchLabelKeys`; none selects nothing.
fn selector(constraint: &TopologySpreadConstraint, pod: &Pod) -> Option<Selector> {
    let mut selector = constraint.label_selector.clone()?;
    let expressions = selector.match_expressions.get_or_insert_default();
    for key in constraint.match_label_keys.iter().flatten() {
        if let Some(value) = pod.labels().get(key) {
            expressions.push(LabelSelectorRequirement {
                key: key.clone(),
                operator: "In".into(),
                values: Some(vec![value.clone()]),
            });
        }
    }
    selector.try_into().ok()
}

impl Spread<'_> {
    /// Whether the pod may go to `node` without making the skew too great.
    pub fn allows(&self, node: &Node) -> Result<(), Unfit> {
        let Some(domain) = node.labels().get(&self.constraint.topology_key) else {
            return Err(Unfit::unresolvable(format!("{MISMATCH} (missing required label)")));
        };
        let enough = usize::try_from(self.constraint.min_domains.unwrap_or(1)).unwrap_or(1);
        let least = self.counts.values().min().copied().filter(|_| self.counts.len() >= enough).unwrap_or(0);
        let skew = self.count(domain) + usize::from(self.selects_itself) - least.min(self.count(domain));
        let most = usize::try_from(self.constraint.max_skew).unwrap_or(1);
        if skew > most { Err(Unfit::resolvable(MISMATCH)) } else { Ok(()) }
    }

    /// How many selected pods share the node's domain; nothing if it has none.
    pub fn crowd(&self, node: &Node) -> Option<usize> {
        node.labels().get(&self.constraint.topology_key).map(|domain| self.count(domain))
    }

    fn count(&self, domain: &str) -> usize {
        self.counts.get(domain).copied().unwrap_or(0)
    }
}
