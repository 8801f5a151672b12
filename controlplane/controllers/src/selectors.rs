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

/// A selector in the notation of upstream's messages.
pub(crate) fn shown(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else { return "nil".to_owned() };
    let labels: String =
        selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}: {value},")).collect();
    let expressions: String = selector
        .match_expressions
        .iter()
        .flatten()
        .map(|one| {
            let values = one.values.clone().unwrap_or_default().join(" ");
            format!(
                "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},",
                one.key, one.operator
            )
        })
        .collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},\
         MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

/// Text that is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse requirement: {0:?}")]
pub(crate) struct Malformed(String);

/// Reads a selector as in URLs and scales: `app=web,tier in (a, b),!debug`.
pub(crate) fn parse(text: &str) -> Result<LabelSelector, Malformed> {
    let mut selector = LabelSelector::default();
    let requirements = selector.match_expressions.get_or_insert_default();
    let (mut depth, mut start) = (0, 0);
    let mut parts = Vec::new();
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    for part in parts.into_iter().map(str::trim).filter(|part| !part.is_empty()) {
        requirements.push(parse_requirement(part).ok_or_else(|| Malformed(part.to_owned()))?);
    }
    Ok(selector)
}

fn parse_requirement(text: &str) -> Option<LabelSelectorRequirement> {
    let requirement = |key: &str, operator: &str, values: Option<Vec<String>>| {
        let key = key.trim();
        let valid = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        valid.then(|| LabelSelectorRequirement { key: key.to_owned(), operator: operator.to_owned(), values })
    };
    if let Some((set, values)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, operator) = set.trim().rsplit_once(char::is_whitespace)?;
        return match operator {
            "in" => requirement(key, "In", Some(values)),
            "notin" => requirement(key, "NotIn", Some(values)),
            _ => None,
        };
    }
    if let Some((key, value)) = text.split_once("!=") {
        return requirement(key, "NotIn", Some(vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = text.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        return requirement(key, "In", Some(vec![value.trim().to_owned()]));
    }
    match text.strip_prefix('!') {
        Some(key) => requirement(key, "DoesNotExist", None),
        None => requirement(text, "Exists", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_as_urls_write_them() {
        let labels: Labels = [("app", "web"), ("tier", "b"), ("example.com/x", "")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier in (a, b)", true),
            ("app = web, tier notin (a,b)", false),
            ("app!=db,!debug,example.com/x", true),
            ("example.com/x=", true),
            ("!app", false),
        ] {
            assert_eq!(matches(&parse(text).unwrap(), Some(&labels)), expected, "{text}");
        }
        assert_eq!(parse("a b").unwrap_err().to_string(), "unable to parse requirement: \"a b\"");
        assert!(parse("a within (b)").is_err());
    }

    #[test]
    fn selectors_are_shown_as_upstream_shows_them() {
        let selector = parse("tier in (a,b)").unwrap();
        assert_eq!(
            shown(Some(&selector)),
            "&LabelSelector{MatchLabels:map[string]string{},MatchExpressions:[]LabelSelectorRequirement{\
             LabelSelectorRequirement{Key:tier,Operator:In,Values:[a b],},},}"
        );
        assert_eq!(shown(None), "nil");
    }

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
