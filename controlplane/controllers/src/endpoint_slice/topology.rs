//! Hints of `service.kubernetes.io/topology-mode: Auto`: each zone gets endpoints in proportion to its CPUs.
//!
//! Source: <https://kubernetes.io/docs/concepts/services-networking/topology-aware-routing/>. Endpoints serve
//! their own zone first; zones that have more than their share give some to those that have less.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, ForZone};
use vkube_usage::quantity::Quantity;

use super::{Family, ZONE};

/// So much more than its share may an endpoint have to bear.
const OVERLOAD: f64 = 0.2;
const MODE: &str = "service.kubernetes.io/topology-mode";
const OLD_MODE: &str = "service.kubernetes.io/topology-aware-hints";
/// Nodes that run no ordinary pods.
const EXCLUDED: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// Whether a service asks for hints in proportion.
pub(super) fn is_automatic(service: &Service) -> bool {
    let annotations = service.metadata.annotations.as_ref();
    let mode = annotations.and_then(|all| all.get(MODE).or_else(|| all.get(OLD_MODE)));
    mode.is_some_and(|mode| matches!(mode.as_str(), "Auto" | "auto"))
}

/// Why there are no hints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unavailable {
    /// Nodes do not say enough.
    #[error("Insufficient Node information: allocatable CPU or zone not specified on one or more nodes")]
    Nodes,
    /// There is nothing to choose from.
    #[error("Nodes only ready in one zone")]
    OneZone,
    /// Some zone would have none.
    #[error("Insufficient number of endpoints ({endpoints} endpoints, {zones} zones)")]
    Endpoints {
        /// How many are ready.
        endpoints: usize,
        /// How many zones there are.
        zones: usize,
    },
    /// Rounding would burden some endpoints too much.
    #[error(
        "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold \
         ({endpoints} endpoints, {zones} zones)"
    )]
    Overload {
        /// How many are ready.
        endpoints: usize,
        /// How many zones there are.
        zones: usize,
    },
    /// An endpoint is nowhere.
    #[error("One or more endpoints do not have a zone specified")]
    NoZone,
}

impl Unavailable {
    /// The message of the event.
    pub fn message(&self, family: Family) -> String {
        format!("{self}, addressType: {}", family.name())
    }
}

/// The share of all CPUs by zone; `None` if some node does not tell.
pub(super) type Shares = Option<BTreeMap<String, f64>>;

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
}

/// The CPUs that a node offers while it is ready.
pub(super) fn capacity(node: &Node) -> Option<String> {
    let allocatable = node.status.as_ref()?.allocatable.as_ref()?;
    allocatable.get("cpu").filter(|_| is_ready(node)).map(|cpu| cpu.0.clone())
}

/// The zones' shares of the CPUs of all nodes that are ready for ordinary pods.
pub(super) fn shares(nodes: &[Arc<Node>]) -> Shares {
    let mut cpus: BTreeMap<String, f64> = BTreeMap::new();
    for node in nodes.iter().filter(|node| is_ready(node)) {
        let labels = node.metadata.labels.as_ref();
        if labels.is_some_and(|labels| EXCLUDED.iter().any(|label| labels.contains_key(*label))) {
            continue;
        }
        let zone = labels.and_then(|labels| labels.get(ZONE)).filter(|zone| !zone.is_empty())?;
        let cpu = Quantity::parse(&capacity(node)?).ok().filter(|cpu| !cpu.is_zero())?;
        *cpus.entry(zone.clone()).or_default() += cpu.to_f64();
    }
    let total: f64 = cpus.values().sum();
    for cpus in cpus.values_mut() {
        *cpus /= total;
    }
    (!cpus.is_empty()).then_some(cpus)
}

/// How many endpoints each zone should have.
fn allocate(shares: &Shares, endpoints: usize) -> Result<BTreeMap<&str, f64>, Unavailable> {
    let shares = shares.as_ref().ok_or(Unavailable::Nodes)?;
    let zones = shares.len();
    if zones < 2 {
        return Err(Unavailable::OneZone);
    }
    if zones > endpoints {
        return Err(Unavailable::Endpoints { endpoints, zones });
    }
    let mut left = endpoints as f64;
    let mut desired = BTreeMap::new();
    for (zone, share) in shares {
        let wanted = share * endpoints as f64;
        let least = (wanted / (1.0 + OVERLOAD)).ceil();
        left -= least;
        desired.insert(zone.as_str(), wanted.max(least));
    }
    if left < 0.0 { Err(Unavailable::Overload { endpoints, zones }) } else { Ok(desired) }
}

fn set(endpoint: &mut Endpoint, zone: &str) {
    let for_zones = Some(vec![ForZone { name: zone.to_owned() }]);
    endpoint.hints = Some(EndpointHints { for_zones, for_nodes: None });
}

/// Writes the hints of a service's endpoints of one family; none of them has any if that is impossible.
pub(super) fn hint(endpoints: &mut [&mut Endpoint], shares: &Shares) -> Result<(), Unavailable> {
    for endpoint in endpoints.iter_mut() {
        endpoint.hints = None;
    }
    let ready =
        |one: &Endpoint| one.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true);
    let mut serving: Vec<&mut Endpoint> =
        endpoints.iter_mut().map(|one| &mut **one).filter(|one| ready(one)).collect();
    let desired = allocate(shares, serving.len())?;
    let mut have: BTreeMap<String, usize> = BTreeMap::new();
    for endpoint in &serving {
        let zone = endpoint.zone.clone().filter(|zone| !zone.is_empty()).ok_or(Unavailable::NoZone)?;
        *have.entry(zone).or_default() += 1;
    }
    let (mut giving, mut receiving) = exchange(&desired, &have);
    for endpoint in &mut serving {
        let own = endpoint.zone.clone().unwrap_or_default();
        let gives = giving.get_mut(&own).filter(|count| **count > 0);
        let taker = receiving.iter_mut().find(|(_, count)| **count > 0);
        match (gives, taker) {
            (Some(gives), Some((zone, takes))) => {
                *gives -= 1;
                *takes -= 1;
                set(endpoint, zone);
            }
            _ => set(endpoint, &own),
        }
    }
    Ok(())
}

fn largest<'a>(zones: &BTreeMap<&'a str, f64>) -> Option<(&'a str, f64)> {
    zones.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(zone, amount)| (*zone, *amount))
}

/// How many endpoints zones give away and get, in whole numbers.
fn exchange(
    desired: &BTreeMap<&str, f64>,
    have: &BTreeMap<String, usize>,
) -> (BTreeMap<String, usize>, BTreeMap<String, usize>) {
    let (mut surplus, mut shortage) = (BTreeMap::new(), BTreeMap::new());
    let zones: BTreeSet<&str> = desired.keys().copied().chain(have.keys().map(String::as_str)).collect();
    for zone in zones {
        let wanted = desired.get(zone).copied().unwrap_or(0.0);
        let difference = have.get(zone).copied().unwrap_or(0) as f64 - wanted;
        if difference > 0.0 {
            surplus.insert(zone, difference);
        } else if difference < 0.0 {
            shortage.insert(zone, -difference);
        }
    }
    let (mut giving, mut receiving) = (BTreeMap::new(), BTreeMap::new());
    while let (Some((from, much)), Some((to, need))) = (largest(&surplus), largest(&shortage)) {
        // Fractions are not worth a foreign endpoint, unless one side misses a whole one.
        if much < 0.5 || need < 0.5 || (much < 1.0 && need < 1.0) {
            break;
        }
        *giving.entry(from.to_owned()).or_insert(0) += 1;
        *receiving.entry(to.to_owned()).or_insert(0) += 1;
        surplus.entry(from).and_modify(|left| *left -= 1.0);
        shortage.entry(to).and_modify(|left| *left -= 1.0);
    }
    (giving, receiving)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::discovery::v1::EndpointConditions;
    use serde_json::json;

    use super::*;

    fn node(zone: &str, cpu: &str, ready: bool) -> Arc<Node> {
        let status = if ready { "True" } else { "False" };
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": zone, "labels": {ZONE: zone}},
                "status": {"allocatable": {"cpu": cpu}, "conditions": [{"type": "Ready", "status": status}]},
            }))
            .unwrap(),
        )
    }

    /// Endpoints in these zones; those in capitals are not ready.
    fn endpoints(zones: &str) -> Vec<Endpoint> {
        let endpoint = |zone: char| Endpoint {
            zone: Some(zone.to_ascii_lowercase().to_string()),
            conditions: Some(EndpointConditions {
                ready: Some(zone.is_ascii_lowercase()),
                ..EndpointConditions::default()
            }),
            ..Endpoint::default()
        };
        zones.chars().map(endpoint).collect()
    }

    fn hinted(zones: &str, shares: &Shares) -> Result<String, Unavailable> {
        let mut endpoints = endpoints(zones);
        hint(&mut endpoints.iter_mut().collect::<Vec<_>>(), shares)?;
        let shown = |endpoint: &Endpoint| {
            let zones = endpoint.hints.as_ref().and_then(|hints| hints.for_zones.clone());
            zones.map_or_else(|| "-".to_owned(), |zones| zones[0].name.clone())
        };
        Ok(endpoints.iter().map(shown).collect())
    }

    fn even() -> Shares {
        shares(&[node("a", "4", true), node("b", "4", true)])
    }

    #[test]
    fn zones_have_shares_by_the_cpus_of_their_ready_nodes() {
        let nodes = [node("a", "3", true), node("b", "500m", true), node("b", "500m", true)];
        let shares = shares(&nodes).unwrap();
        assert_eq!((shares["a"], shares["b"]), (0.75, 0.25));
        assert_eq!(super::shares(&[node("a", "1", true), node("b", "1", false)]).unwrap().len(), 1);
        assert_eq!(super::shares(&[node("a", "1", true), node("", "1", true)]), None);
    }

    #[test]
    fn endpoints_serve_their_own_zone_where_shares_allow() {
        assert_eq!(hinted("aabb", &even()).unwrap(), "aabb");
        assert_eq!(hinted("aabbB", &even()).unwrap(), "aabb-");
    }

    #[test]
    fn zones_with_too_many_endpoints_give_some_away() {
        assert_eq!(hinted("aaab", &even()).unwrap(), "baab");
        assert_eq!(hinted("aaaa", &even()).unwrap(), "bbaa");
        let uneven = shares(&[node("a", "6", true), node("b", "2", true)]);
        assert_eq!(hinted("aabbbbbb", &uneven).unwrap(), "aaaaaabb");
    }

    #[test]
    fn there_are_no_hints_where_they_would_do_harm() {
        assert_eq!(hinted("a", &even()), Err(Unavailable::Endpoints { endpoints: 1, zones: 2 }));
        assert_eq!(hinted("aa", &shares(&[node("a", "1", true)])), Err(Unavailable::OneZone));
        assert_eq!(hinted("aa", &None), Err(Unavailable::Nodes));
        assert_eq!(hinted("aab", &even()), Err(Unavailable::Overload { endpoints: 3, zones: 2 }));
        let mut nowhere = endpoints("aabb");
        nowhere[0].zone = None;
        let outcome = hint(&mut nowhere.iter_mut().collect::<Vec<_>>(), &even());
        assert_eq!(outcome, Err(Unavailable::NoZone));
        assert_eq!(
            Unavailable::Endpoints { endpoints: 1, zones: 2 }.message(Family::V4),
            "Insufficient number of endpoints (1 endpoints, 2 zones), addressType: IPv4"
        );
    }
}
