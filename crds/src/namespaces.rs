//! Which virtual namespaces have a namespace of their own on the host, and how a control plane asks for it.
//!
//! A control plane may make no namespaces. It names those that it needs in a ConfigMap ([`claims_name`]) of the cluster's
//! host namespace; the operator makes them, bounds them as it bounds the cluster's own, gives the control plane its rights
//! there, and answers in another ConfigMap ([`answers_name`]). In both the keys are virtual namespaces.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// In names on the host: the name of the virtual cluster.
const CLUSTER: &str = "${name}";

/// Stands in a pattern for any text.
const ANY: char = '*';

/// Longest name of a namespace.
const LIMIT: usize = 63;

/// Name of the ConfigMap in which the control plane of `cluster` names its namespaces; the values are their UIDs.
pub fn claims_name(cluster: &str) -> String {
    format!("vc-{cluster}-namespaces")
}

/// Name of the ConfigMap in which the operator answers; the values are [`Answer`]s as JSON.
pub fn answers_name(cluster: &str) -> String {
    format!("vc-{cluster}-mapped")
}

/// What the operator says of a namespace that was asked for. None means that it is not there yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// It is there, bounded, and open to the control plane.
    Granted,
    /// It cannot be had, and why.
    Refused(String),
}

/// Pairs of a virtual namespace and its namespace on the host, or of patterns of both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceMap {
    /// Those without `*` first, then by how much of a name they fix, so that the first that fits is the most exact.
    pairs: Vec<(Pattern, Pattern)>,
}

/// A name, or what a name begins and ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    Around(String, String),
}

impl NamespaceMap {
    /// Reads the mappings of the virtual cluster `cluster`; the error lists all that is wrong with them.
    pub fn parse(cluster: &str, mappings: &BTreeMap<String, String>) -> Result<Self, Vec<String>> {
        let (mut pairs, mut wrong) = (Vec::<(Pattern, Pattern)>::new(), Vec::new());
        for (from, to) in mappings {
            let mut refuse = |why: &str| wrong.push(format!("mapping {from:?} to {to:?}: {why}"));
            let (Some(here), Some(there)) =
                (Pattern::parse(from), Pattern::parse(&to.replace(CLUSTER, cluster)))
            else {
                refuse("a namespace is a DNS label, with at most one * for any text");
                continue;
            };
            if matches!(here, Pattern::Exact(_)) != matches!(there, Pattern::Exact(_)) {
                refuse("either both sides have a * or none has");
            } else if there.is_hosts() {
                refuse("namespaces of the host's own cannot be had");
            } else if pairs.iter().any(|(_, other)| *other == there) {
                refuse("another mapping leads there");
            } else {
                pairs.push((here, there));
            }
        }
        pairs.sort_by_key(|(here, _)| std::cmp::Reverse(here.weight()));
        if wrong.is_empty() { Ok(Self { pairs }) } else { Err(wrong) }
    }

    /// The namespace on the host of a virtual one; `None` if it has none of its own.
    pub fn host(&self, namespace: &str) -> Option<String> {
        self.pairs.iter().find_map(|(here, there)| Some(there.with(here.rest(namespace)?)))
    }

    /// The virtual namespaces that are mapped: names, or patterns with one `*`.
    pub fn virtual_side(&self) -> impl Iterator<Item = String> {
        self.pairs.iter().map(|(here, _)| here.with(&ANY.to_string()))
    }

    /// The namespaces on the host that may be had: names, or patterns with one `*`.
    pub fn on_host(&self) -> impl Iterator<Item = String> {
        self.pairs.iter().map(|(_, there)| there.with(&ANY.to_string()))
    }

    /// The virtual namespace that a namespace on the host belongs to.
    pub fn origin(&self, host: &str) -> Option<String> {
        let back = self.pairs.iter().filter_map(|(here, there)| Some(here.with(there.rest(host)?)));
        back.into_iter().find(|namespace| self.host(namespace).as_deref() == Some(host))
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let is_part =
            |part: &str| part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        match text.split_once(ANY) {
            None => is_namespace(text).then(|| Self::Exact(text.to_owned())),
            Some((before, after)) => {
                let fits = text.len() <= LIMIT && is_part(before) && is_part(after);
                let is_whole = !before.starts_with('-') && !after.ends_with('-');
                (fits && is_whole).then(|| Self::Around(before.to_owned(), after.to_owned()))
            }
        }
    }

    /// Whether it may stand for namespaces that every host has.
    fn is_hosts(&self) -> bool {
        match self {
            Self::Exact(name) => name == "default" || name.starts_with("kube-"),
            Self::Around(before, after) => {
                before.starts_with("kube-") || (before.is_empty() && after.is_empty())
            }
        }
    }

    /// What the `*` stands for in `name`.
    fn rest<'a>(&self, name: &'a str) -> Option<&'a str> {
        match self {
            Self::Exact(own) => (own == name).then_some(""),
            Self::Around(before, after) => {
                let rest = name.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
                (!rest.is_empty()).then_some(rest)
            }
        }
    }

    fn with(&self, rest: &str) -> String {
        match self {
            Self::Exact(own) => own.clone(),
            Self::Around(before, after) => format!("{before}{rest}{after}"),
        }
    }

    fn weight(&self) -> (bool, usize) {
        match self {
            Self::Exact(_) => (true, 0),
            Self::Around(before, after) => (false, before.len() + after.len()),
        }
    }
}

/// Whether a text can be the name of a namespace.
pub fn is_namespace(text: &str) -> bool {
    let is_inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_edge = |c: Option<char>| c.is_some_and(|c| c != '-');
    text.len() <= LIMIT
        && text.chars().all(is_inside)
        && is_edge(text.chars().next())
        && is_edge(text.chars().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Result<NamespaceMap, Vec<String>> {
        let pairs = pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        NamespaceMap::parse("demo", &pairs)
    }

    #[test]
    fn a_name_is_mapped_as_said_and_a_pattern_keeps_what_its_star_stands_for() {
        let map = map(&[
            ("prod", "acme-prod"),
            ("team-*", "h-team-*"),
            ("team-a-*", "a-*-x"),
            ("data-*", "${name}-data-*"),
        ])
        .unwrap();
        for (here, there) in [
            ("prod", "acme-prod"),
            ("team-b", "h-team-b"),
            ("team-a-1", "a-1-x"),
            ("data-raw", "demo-data-raw"),
        ] {
            assert_eq!(map.host(here).as_deref(), Some(there));
            assert_eq!(map.origin(there).as_deref(), Some(here));
        }
        assert_eq!(map.host("default"), None);
        assert_eq!(map.host("team-"), None);
        assert_eq!(map.origin("h-team-a-1"), None, "that one is mapped elsewhere");
    }

    #[test]
    fn what_is_no_pair_of_namespaces_is_refused() {
        for (from, to) in [
            ("a", "b-*"),
            ("a-*", "b"),
            ("a-*-*", "b-*-*"),
            ("A", "b"),
            ("a", "b.c"),
            ("a", ""),
            ("a", "kube-system"),
            ("a-*", "kube-*"),
            ("*", "*"),
            ("a", "default"),
        ] {
            assert!(map(&[(from, to)]).is_err(), "{from} {to}");
        }
        let twice = map(&[("a", "x"), ("b", "x")]).unwrap_err();
        assert!(twice[0].contains("another mapping leads there"), "{twice:?}");
    }
}
