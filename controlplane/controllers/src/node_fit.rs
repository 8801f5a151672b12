//! Which nodes a pod may run on.

use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration,
};
use vkube_usage::taints;

use crate::selectors::{Labels, contains_all};

/// How a pod and a node get on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    /// Whether the pod should be started there.
    pub start: bool,
    /// Whether the pod may stay there.
    pub stay: bool,
}

/// Whether `pod` may run on `node` as far as name, selector, affinity and taints go.
pub(crate) fn fit(pod: &Pod, node: &Node) -> Fit {
    let spec = pod.spec.clone().unwrap_or_default();
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let named = spec.node_name.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == name);
    if !named || !matches(&spec, node) {
        return Fit { start: false, stay: false };
    }
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let mut fit = Fit { start: true, stay: true };
    for taint in taints.filter(|taint| !spec.tolerations.iter().flatten().any(|one| tolerates(one, taint))) {
        match taint.effect.as_str() {
            "NoExecute" => fit = Fit { start: false, stay: false },
            "NoSchedule" => fit.start = false,
            _ => {}
        }
    }
    fit
}

fn matches(spec: &PodSpec, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    if !spec.node_selector.as_ref().is_none_or(|wanted| contains_all(labels, wanted)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|selector| selector.node_selector_terms.iter().any(|term| term_matches(term, node)))
}

fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let name = node.metadata.name.clone().unwrap_or_default();
    let named: Labels = [("metadata.name".to_owned(), name)].into();
    // A term without requirements matches nothing.
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|one| satisfies(one, node.metadata.labels.as_ref()))
        && fields.iter().all(|one| satisfies(one, Some(&named)))
}

fn satisfies(requirement: &NodeSelectorRequirement, labels: Option<&Labels>) -> bool {
    let value = labels.and_then(|labels| labels.get(&requirement.key));
    let values = requirement.values.as_deref().unwrap_or_default();
    let number = |text: &String| text.parse::<i64>().ok();
    let bounds = || Some((number(value?)?, number(values.first()?)?));
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => !value.is_some_and(|value| values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => bounds().is_some_and(|(value, bound)| value > bound),
        "Lt" => bounds().is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

/// Whether the toleration is one for this taint.
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let toleration = taints::Toleration {
        key: toleration.key.as_deref(),
        operator: toleration.operator.as_deref(),
        value: toleration.value.as_deref(),
        effect: toleration.effect.as_deref(),
    };
    toleration.tolerates(taints::Taint {
        key: &taint.key,
        value: taint.value.as_deref(),
        effect: &taint.effect,
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Affinity, NodeAffinity, NodeSelector, NodeSpec};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn node(taints: &[(&str, &str)]) -> Node {
        let labels = [("zone", "a"), ("cores", "8")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let taint = |(key, effect): &(&str, &str)| Taint {
            key: (*key).to_owned(),
            effect: (*effect).to_owned(),
            ..Taint::default()
        };
        Node {
            metadata: ObjectMeta {
                name: Some("n1".into()),
                labels: Some(labels.into()),
                ..ObjectMeta::default()
            },
            spec: Some(NodeSpec { taints: Some(taints.iter().map(taint).collect()), ..NodeSpec::default() }),
            status: None,
        }
    }

    fn requirement(key: &str, operator: &str, values: &[&str]) -> NodeSelectorRequirement {
        let values = Some(values.iter().map(ToString::to_string).collect());
        NodeSelectorRequirement { key: key.into(), operator: operator.into(), values }
    }

    fn with_affinity(term: NodeSelectorTerm) -> Pod {
        let required = NodeSelector { node_selector_terms: vec![term] };
        let node_affinity = NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(required),
            ..NodeAffinity::default()
        };
        let affinity = Affinity { node_affinity: Some(node_affinity), ..Affinity::default() };
        let spec = PodSpec { affinity: Some(affinity), ..PodSpec::default() };
        Pod { spec: Some(spec), ..Pod::default() }
    }

    #[test]
    fn taints_keep_pods_from_starting_or_drive_them_out() {
        let pod = Pod::default();
        assert_eq!(fit(&pod, &node(&[])), Fit { start: true, stay: true });
        assert_eq!(fit(&pod, &node(&[("a", "PreferNoSchedule")])), Fit { start: true, stay: true });
        assert_eq!(fit(&pod, &node(&[("a", "NoSchedule")])), Fit { start: false, stay: true });
        assert_eq!(
            fit(&pod, &node(&[("a", "NoSchedule"), ("b", "NoExecute")])),
            Fit { start: false, stay: false }
        );
    }

    #[test]
    fn a_toleration_covers_its_key_and_effect() {
        let tolerating = |key: Option<&str>, operator: &str, effect: Option<&str>| {
            let toleration = Toleration {
                key: key.map(Into::into),
                operator: Some(operator.into()),
                effect: effect.map(Into::into),
                ..Toleration::default()
            };
            let spec = PodSpec { tolerations: Some(vec![toleration]), ..PodSpec::default() };
            fit(&Pod { spec: Some(spec), ..Pod::default() }, &node(&[("a", "NoSchedule")])).start
        };
        assert!(tolerating(Some("a"), "Exists", None));
        assert!(tolerating(Some("a"), "Equal", Some("NoSchedule")));
        assert!(tolerating(None, "Exists", None));
        assert!(!tolerating(Some("b"), "Exists", None));
        assert!(!tolerating(Some("a"), "Exists", Some("NoExecute")));
    }

    #[test]
    fn affinity_terms_must_match_labels_and_fields() {
        for (requirement, expected) in [
            (requirement("zone", "In", &["a", "b"]), true),
            (requirement("zone", "NotIn", &["a"]), false),
            (requirement("gpu", "DoesNotExist", &[]), true),
            (requirement("cores", "Gt", &["4"]), true),
            (requirement("cores", "Lt", &["8"]), false),
        ] {
            let term = NodeSelectorTerm { match_expressions: Some(vec![requirement]), match_fields: None };
            assert_eq!(fit(&with_affinity(term.clone()), &node(&[])).start, expected, "{term:?}");
        }
        let named = |name| NodeSelectorTerm {
            match_expressions: None,
            match_fields: Some(vec![requirement("metadata.name", "In", &[name])]),
        };
        assert!(fit(&with_affinity(named("n1")), &node(&[])).start);
        assert!(!fit(&with_affinity(named("n2")), &node(&[])).start);
        assert!(!fit(&with_affinity(NodeSelectorTerm::default()), &node(&[])).start);
    }
}
