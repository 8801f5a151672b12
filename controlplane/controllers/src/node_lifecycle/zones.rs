//! How fast the nodes of a zone may be given up: slower or not at all where many are lost, for then it is more likely
//! that the network is.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use super::health::{Ready, ready};
use crate::clock::remaining;

/// Seconds from one taint to the next in a zone (`--node-eviction-rate`).
const PACE: i64 = 10;
/// The same in a large zone that is partly lost (`--secondary-node-eviction-rate`).
const SLOW_PACE: i64 = 100;
/// More nodes than this make a zone large (`--large-cluster-size-threshold`).
const LARGE: usize = 50;
/// The percentage of lost nodes from which a zone is partly lost (`--unhealthy-zone-threshold`).
const PARTLY: usize = 55;
/// Nodes with this label do not count.
const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";

/// A node's region and zone.
pub(super) type Zone = (String, String);

/// The zone of a node.
pub(super) fn zone(node: &Node) -> Zone {
    let label = |name: &str| node.labels().get(name).cloned().unwrap_or_default();
    (label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone"))
}

/// How a zone fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Well,
    /// So many nodes are lost, of so many.
    Partly {
        large: bool,
    },
    Lost,
}

/// The zones, and when they have their next turn.
#[derive(Debug, Default)]
pub(super) struct Zones {
    fates: BTreeMap<Zone, Fate>,
    /// When a node of the zone was last given up.
    turns: BTreeMap<Zone, Timestamp>,
}

impl Zones {
    /// Takes in how the nodes are; says whether that changes how a zone fares.
    pub fn observe<'a>(&mut self, nodes: impl Iterator<Item = &'a Node>) -> bool {
        let mut counts: BTreeMap<Zone, (usize, usize)> = BTreeMap::new();
        for node in nodes.filter(|node| !node.labels().contains_key(EXCLUDED)) {
            let (well, lost) = counts.entry(zone(node)).or_default();
            *(if ready(node) == Some(Ready::True) { well } else { lost }) += 1;
        }
        let fates = counts.into_iter().map(|(zone, (well, lost))| (zone, fate(well, lost))).collect();
        let changed = self.fates != fates;
        self.fates = fates;
        changed
    }

    /// Whether no zone has a node that is ready: then nothing is done to any.
    pub fn all_lost(&self) -> bool {
        !self.fates.is_empty() && self.fates.values().all(|fate| *fate == Fate::Lost)
    }

    /// How long a node of the zone has to wait until it may be given up; that it is, if it need not wait. `None` if
    /// nothing is done to the nodes of the zone as it fares.
    pub fn turn(&mut self, zone: &Zone, now: Timestamp) -> Option<Duration> {
        let pace = match self.fates.get(zone) {
            // A lost zone has lost its pods too, as long as others are well.
            None | Some(Fate::Well | Fate::Lost) => PACE,
            Some(Fate::Partly { large: true }) => SLOW_PACE,
            Some(Fate::Partly { large: false }) => return None,
        };
        let wait = self.turns.get(zone).and_then(|last| remaining(*last, pace, now)).unwrap_or_default();
        if wait.is_zero() {
            self.turns.insert(zone.clone(), now);
        }
        Some(wait)
    }
}

fn fate(well: usize, lost: usize) -> Fate {
    match (well, lost) {
        (0, 1..) => Fate::Lost,
        (_, 3..) if lost * 100 >= PARTLY * (well + lost) => Fate::Partly { large: well + lost > LARGE },
        _ => Fate::Well,
    }
}
