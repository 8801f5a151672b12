//! What drivers offer: the devices of their pools, as far as a node can reach them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::{
    core::v1::{Node, NodeSelector},
    resource::v1::{Counter, Device, ResourceSlice},
};
use kube::ResourceExt;

use super::DeviceId;
use crate::{filter::matches_node_selector, quantity};

/// A device that a node can reach.
#[derive(Debug)]
pub(super) struct Offer<'a> {
    pub id: DeviceId,
    pub device: &'a Device,
    /// Which nodes can reach it.
    pub reach: Reach<'a>,
}

/// Which nodes can reach a device.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reach<'a> {
    /// The one that it is in.
    Node,
    /// Those that are selected.
    Nodes(&'a NodeSelector),
    /// All of them.
    All,
}

/// A pool with those of its devices that a node can reach.
#[derive(Debug)]
pub(super) struct Pool<'a> {
    pub driver: &'a str,
    pub name: &'a str,
    /// Whether all its slices of the newest generation are known.
    pub complete: bool,
    pub offers: Vec<Offer<'a>>,
    /// What the devices in use leave of what devices share.
    pub left: Counters<'a>,
}

/// Amounts by counter set and counter.
pub(super) type Counters<'a> = BTreeMap<(&'a str, &'a str), i128>;

/// What a device takes of what it shares with others of its pool.
pub(super) fn consumption(device: &Device) -> impl Iterator<Item = ((&str, &str), i128)> {
    device.consumes_counters.iter().flatten().flat_map(|set| {
        let amount = |(name, counter)| ((set.counter_set.as_str(), name), amount(counter));
        set.counters.iter().map(|(name, counter)| (name.as_str(), counter)).map(amount)
    })
}

fn amount(counter: &Counter) -> i128 {
    quantity::milli(&counter.value.0).unwrap_or(0)
}

/// What the devices in use leave of the counters of a pool.
fn left<'a>(slices: &[&'a ResourceSlice], in_use: &BTreeSet<DeviceId>) -> Counters<'a> {
    let sets = slices.iter().flat_map(|slice| slice.spec.shared_counters.iter().flatten());
    let all = sets.flat_map(|set| {
        set.counters.iter().map(|(name, counter)| ((set.name.as_str(), name.as_str()), amount(counter)))
    });
    let mut left: Counters<'a> = all.collect();
    for slice in slices {
        for device in slice.spec.devices.iter().flatten().filter(|one| in_use.contains(&id(slice, one))) {
            for (counter, amount) in consumption(device) {
                *left.entry(counter).or_default() -= amount;
            }
        }
    }
    left
}

fn id(slice: &ResourceSlice, device: &Device) -> DeviceId {
    DeviceId {
        driver: slice.spec.driver.clone(),
        pool: slice.spec.pool.name.clone(),
        name: device.name.clone(),
    }
}

/// The pools of which a node can reach something.
pub(super) fn on<'a>(
    slices: impl Iterator<Item = &'a ResourceSlice>,
    node: &Node,
    in_use: &BTreeSet<DeviceId>,
) -> Vec<Pool<'a>> {
    let mut pools: BTreeMap<(&str, &str), Vec<&ResourceSlice>> = BTreeMap::new();
    for slice in slices {
        pools.entry((&slice.spec.driver, &slice.spec.pool.name)).or_default().push(slice);
    }
    let mut reachable = Vec::new();
    for ((driver, name), mut slices) in pools {
        let newest = slices.iter().map(|slice| slice.spec.pool.generation).max().unwrap_or_default();
        // Older ones are on their way out.
        slices.retain(|slice| slice.spec.pool.generation == newest);
        let wanted = slices.first().map_or(0, |slice| slice.spec.pool.resource_slice_count);
        let complete = i64::try_from(slices.len()) == Ok(wanted);
        let offers: Vec<_> = slices.iter().flat_map(|slice| offers(slice, node)).collect();
        if !offers.is_empty() {
            reachable.push(Pool { driver, name, complete, offers, left: left(&slices, in_use) });
        }
    }
    reachable
}

fn offers<'a>(slice: &'a ResourceSlice, node: &Node) -> impl Iterator<Item = Offer<'a>> {
    let spec = &slice.spec;
    let each = spec.per_device_node_selection == Some(true);
    let whole =
        reach(spec.node_name.as_deref(), spec.node_selector.as_ref(), spec.all_nodes == Some(true), node);
    let node = node.clone();
    spec.devices.iter().flatten().filter_map(move |device| {
        let (name, selector) = (device.node_name.as_deref(), device.node_selector.as_ref());
        let reach = if each { reach(name, selector, device.all_nodes == Some(true), &node) } else { whole };
        Some(Offer { id: id(slice, device), device, reach: reach? })
    })
}

fn reach<'a>(
    name: Option<&str>,
    selector: Option<&'a NodeSelector>,
    all: bool,
    node: &Node,
) -> Option<Reach<'a>> {
    match (name, selector) {
        (Some(name), _) => (name == node.name_any()).then_some(Reach::Node),
        (None, Some(selector)) => matches_node_selector(selector, node).then_some(Reach::Nodes(selector)),
        (None, None) => all.then_some(Reach::All),
    }
}
