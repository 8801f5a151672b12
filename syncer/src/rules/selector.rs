//! Which objects a rule is about, by their labels.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Whether `selector` chooses an object with `labels`. An empty selector chooses everything.
pub(crate) fn chooses(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let label = |key: &str| labels.and_then(|labels| labels.get(key));
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| label(key) == Some(value));
    equal && selector.match_expressions.iter().flatten().all(|wanted| fits(wanted, label(&wanted.key)))
}

fn fits(wanted: &LabelSelectorRequirement, value: Option<&String>) -> bool {
    let is_in = || value.is_some_and(|value| wanted.values.iter().flatten().any(|other| other == value));
    match wanted.operator.as_str() {
        "In" => is_in(),
        "NotIn" => !is_in(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

/// The selector as the query parameter of a request.
pub(crate) fn query(selector: &LabelSelector) -> String {
    let equal = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().flatten().map(|wanted| {
        let (key, values) =
            (&wanted.key, wanted.values.iter().flatten().cloned().collect::<Vec<_>>().join(","));
        match wanted.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        }
    });
    equal.chain(expressions).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector() -> LabelSelector {
        serde_saphyr::from_str(
            "{matchLabels: {tier: web}, matchExpressions: [{key: zone, operator: NotIn, values: [a, b]}, \
             {key: gone, operator: DoesNotExist}, {key: team, operator: Exists}]}",
        )
        .unwrap()
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_requirement_counts() {
        let chosen = |pairs: &[(&str, &str)]| chooses(&selector(), Some(&labels(pairs)));
        assert!(chosen(&[("tier", "web"), ("team", "x")]));
        assert!(chosen(&[("tier", "web"), ("team", "x"), ("zone", "c")]));
        assert!(!chosen(&[("tier", "web"), ("team", "x"), ("zone", "a")]));
        assert!(!chosen(&[("tier", "web"), ("team", "x"), ("gone", "")]));
        assert!(!chosen(&[("tier", "web")]));
        assert!(!chosen(&[("team", "x")]));
        assert!(chooses(&LabelSelector::default(), None));
    }

    #[test]
    fn a_query_says_the_same() {
        assert_eq!(query(&selector()), "tier=web,zone notin (a,b),!gone,team");
    }
}
