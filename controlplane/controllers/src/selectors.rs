//! Label selectors.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// An object's labels.
pub(crate) type Labels = BTreeMap<String, String>;

/// Whether `labels` satisfy `selector`; an empty selector matches everything.
pub(crate) fn matches(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    selector.match_labels.as_ref().is_none_or(|wanted| contains_all(labels, wanted))
        && selector.match_expressions.iter().flatten().all(|requirement| satisfies(requirement, labels))
}

/// Whether `selector` selects everything.
pub(crate) fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

/// Whether `labels` have each of `wanted`.
pub(crate) fn contains_all(labels: Option<&Labels>, wanted: &Labels) -> bool {
    wanted.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

fn satisfies(requirement: &LabelSelectorRequirement, labels: Option<&Labels>) -> bool {
    let value = labels.and_then(|labels| labels.get(&requirement.key));
    let listed = value.is_some_and(|value| requirement.values.iter().flatten().any(|one| one == value));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(key: &str, operator: &str, values: &[&str]) -> LabelSelector {
        let values = Some(values.iter().map(ToString::to_string).collect());
        let one = LabelSelectorRequirement { key: key.into(), operator: operator.into(), values };
        LabelSelector { match_expressions: Some(vec![one]), match_labels: None }
    }

    #[test]
    fn operators_mean_what_kubernetes_documents() {
        let labels: Labels = [("tier".to_owned(), "web".to_owned())].into();
        for (selector, expected) in [
            (requirement("tier", "In", &["web", "db"]), true),
            (requirement("tier", "In", &["db"]), false),
            (requirement("tier", "NotIn", &["db"]), true),
            (requirement("zone", "NotIn", &["a"]), true),
            (requirement("tier", "Exists", &[]), true),
            (requirement("zone", "Exists", &[]), false),
            (requirement("zone", "DoesNotExist", &[]), true),
            (LabelSelector::default(), true),
        ] {
            assert_eq!(matches(&selector, Some(&labels)), expected, "{selector:?}");
        }
    }

    #[test]
    fn all_match_labels_are_required() {
        let wanted: Labels = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())].into();
        let selector = LabelSelector { match_labels: Some(wanted.clone()), match_expressions: None };
        assert!(matches(&selector, Some(&wanted)));
        assert!(!matches(&selector, Some(&[("a".to_owned(), "1".to_owned())].into())));
        assert!(!matches(&selector, None));
    }
}
