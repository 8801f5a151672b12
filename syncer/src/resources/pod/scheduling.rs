//! Placement: what a tenant may ask of the host's scheduler, in the host's terms.
//!
//! Pods of all virtual namespaces, and maybe of other clusters, share one host namespace. Selectors over pods are
//! therefore limited by the labels every host pod carries: its cluster, its virtual namespace, and (renamed) the
//! labels of that namespace.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, PodSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::translate::Surroundings;
use crate::labels::{ObjectKey, Translator, VIRTUAL_CLUSTER, VIRTUAL_NAMESPACE};
use crate::rules::Direction;

type Labels = BTreeMap<String, String>;

/// Rewrites everything about placement in the spec of a pod with `labels` in `namespace`.
pub(super) fn apply(
    translator: &Translator,
    surroundings: &Surroundings,
    namespace: &str,
    labels: &Labels,
    spec: &mut PodSpec,
) {
    let config = &translator.config;
    if config.schedules {
        // These have been weighed, by nodes that may have labels the host's lack; what is left of them is the node.
        spec.node_selector = None;
        spec.affinity = None;
        spec.topology_spread_constraints = None;
    }
    affinity(translator, surroundings, namespace, labels, spec);
    topology(translator, namespace, labels, spec);
    if let Some(node) = spec.node_name.take().filter(|node| !node.is_empty()) {
        require_node(&node, spec);
    }
    if !config.node_selector.is_empty() {
        spec.node_selector.get_or_insert_default().extend(config.node_selector.clone());
    }
    for toleration in &config.tolerations {
        let tolerations = spec.tolerations.get_or_insert_default();
        if !tolerations.contains(toleration) {
            tolerations.push(toleration.clone());
        }
    }

    // A virtual class and the value the virtual admission derived from it mean nothing on the host; the host's
    // admission derives them from the class given here.
    spec.priority = None;
    spec.preemption_policy = None;
    spec.priority_class_name = priority_class(translator, spec.priority_class_name.take());
    spec.scheduling_group = None;
    if config.rules.has(Direction::ToHost, "runtimeclasses.node.k8s.io") {
        let global = |class: String| translator.host_name(&ObjectKey::new("", class));
        spec.runtime_class_name = spec.runtime_class_name.take().map(global);
    }
    if config.runtime_class.is_some() {
        spec.runtime_class_name.clone_from(&config.runtime_class);
        spec.overhead = None;
    }
}

/// The host's class of a pod: what the settings say, else the tenant's own where a rule gives it a meaning there.
fn priority_class(translator: &Translator, asked: Option<String>) -> Option<String> {
    const CLASSES: &str = "priorityclasses.scheduling.k8s.io";
    let config = &translator.config;
    let asked = asked.filter(|asked| !asked.is_empty() && !asked.starts_with("system-"));
    config.priority_class.clone().or_else(|| {
        let asked = asked?;
        if config.rules.has(Direction::ToHost, CLASSES) {
            return Some(translator.host_name(&ObjectKey::new("", asked)));
        }
        config.rules.has(Direction::FromHost, CLASSES).then_some(asked)
    })
}

/// `nodeName` bypasses the scheduler, and with it the host's taints; as a required affinity it means the same
/// and is still scheduled.
fn require_node(node: &str, spec: &mut PodSpec) {
    let field = NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "In".into(),
        values: Some(vec![node.to_owned()]),
    };
    let affinity = spec.affinity.get_or_insert_default();
    let node_affinity = affinity.node_affinity.get_or_insert_with(NodeAffinity::default);
    let selector = node_affinity
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_with(NodeSelector::default);

    // Terms are alternatives, so each of them needs the requirement.
    if selector.node_selector_terms.is_empty() {
        selector.node_selector_terms.push(NodeSelectorTerm::default());
    }
    for term in &mut selector.node_selector_terms {
        term.match_fields.get_or_insert_default().push(field.clone());
    }
}

fn affinity(
    translator: &Translator,
    surroundings: &Surroundings,
    namespace: &str,
    labels: &Labels,
    spec: &mut PodSpec,
) {
    let Some(affinity) = &mut spec.affinity else { return };
    let with = affinity.pod_affinity.iter_mut().flat_map(|affinity| {
        let required = affinity.required_during_scheduling_ignored_during_execution.iter_mut().flatten();
        let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter_mut().flatten();
        required.chain(preferred.map(|weighted| &mut weighted.pod_affinity_term))
    });
    let against = affinity.pod_anti_affinity.iter_mut().flat_map(|affinity| {
        let required = affinity.required_during_scheduling_ignored_during_execution.iter_mut().flatten();
        let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter_mut().flatten();
        required.chain(preferred.map(|weighted| &mut weighted.pod_affinity_term))
    });
    for term in with.chain(against) {
        affinity_term(translator, surroundings, namespace, labels, term);
    }
}

fn affinity_term(
    translator: &Translator,
    surroundings: &Surroundings,
    namespace: &str,
    labels: &Labels,
    term: &mut PodAffinityTerm,
) {
    let namespaces = term.namespaces.take().unwrap_or_default();
    let namespace_selector = term.namespace_selector.take();
    let matching = term.match_label_keys.take().unwrap_or_default();
    let mismatching = term.mismatch_label_keys.take().unwrap_or_default();

    // Without a label selector a term matches no pod at all, here and there.
    let Some(selector) = &mut term.label_selector else { return };
    merge_keys(selector, labels, &matching, "In");
    merge_keys(selector, labels, &mismatching, "NotIn");
    let mut selector = translator.selector(selector);
    let pods = selector.match_labels.get_or_insert_default();
    pods.insert(VIRTUAL_CLUSTER.into(), translator.config.cluster.clone());

    let is_of_others = !namespaces.is_empty() || namespace_selector.is_some();
    match (namespaces.is_empty(), namespace_selector) {
        (true, None) => {
            pods.insert(VIRTUAL_NAMESPACE.into(), namespace.into());
        }
        (false, None) => selector.match_expressions.get_or_insert_default().push(in_namespaces(namespaces)),
        (true, Some(chosen)) => by_namespace_labels(&mut selector, &chosen),
        (false, Some(chosen)) => {
            // The union of both cannot be said in one label selector; the namespaces that match now can.
            let mut all = namespaces;
            all.extend(
                surroundings
                    .namespaces
                    .iter()
                    .filter(|(_, labels)| matches(&chosen, labels))
                    .map(|(name, _)| name.clone()),
            );
            all.sort();
            all.dedup();
            selector.match_expressions.get_or_insert_default().push(in_namespaces(all));
        }
    }
    term.label_selector = Some(selector);
    // Without either, a term is about the pod's own namespace, which is that of the host.
    if is_of_others {
        term.namespace_selector = translator.own_namespaces();
    }
}

fn topology(translator: &Translator, namespace: &str, labels: &Labels, spec: &mut PodSpec) {
    for constraint in spec.topology_spread_constraints.iter_mut().flatten() {
        let keys = constraint.match_label_keys.take().unwrap_or_default();
        let Some(selector) = &mut constraint.label_selector else { continue };
        merge_keys(selector, labels, &keys, "In");
        *selector = translator.selector_in(namespace, selector);
    }
}

/// Spells out `matchLabelKeys`: the pod's own value of each key becomes a requirement, unless the virtual API
/// server has added it already.
fn merge_keys(selector: &mut LabelSelector, labels: &Labels, keys: &[String], operator: &str) {
    for key in keys {
        let Some(value) = labels.get(key) else { continue };
        let requirement = LabelSelectorRequirement {
            key: key.clone(),
            operator: operator.into(),
            values: Some(vec![value.clone()]),
        };
        let expressions = selector.match_expressions.get_or_insert_default();
        if !expressions.contains(&requirement) {
            expressions.push(requirement);
        }
    }
}

fn in_namespaces(namespaces: Vec<String>) -> LabelSelectorRequirement {
    LabelSelectorRequirement {
        key: VIRTUAL_NAMESPACE.into(),
        operator: "In".into(),
        values: Some(namespaces),
    }
}

/// Adds a selector over namespaces to one over pods, through the namespace labels that host pods carry.
pub(crate) fn by_namespace_labels(pods: &mut LabelSelector, namespaces: &LabelSelector) {
    let labels = namespaces.match_labels.iter().flatten();
    pods.match_labels
        .get_or_insert_default()
        .extend(labels.map(|(key, value)| (Translator::namespace_label_key(key), value.clone())));
    let expressions = namespaces.match_expressions.iter().flatten();
    pods.match_expressions.get_or_insert_default().extend(
        expressions
            .map(|e| LabelSelectorRequirement { key: Translator::namespace_label_key(&e.key), ..e.clone() }),
    );
}

/// Whether a selector matches a set of labels.
pub(crate) fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let exact = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    exact
        && selector.match_expressions.iter().flatten().all(|e| {
            let listed = |value: &String| e.values.iter().flatten().any(|v| v == value);
            match e.operator.as_str() {
                "In" => labels.get(&e.key).is_some_and(listed),
                "NotIn" => !labels.get(&e.key).is_some_and(listed),
                "Exists" => labels.contains_key(&e.key),
                "DoesNotExist" => !labels.contains_key(&e.key),
                _ => false,
            }
        })
}
