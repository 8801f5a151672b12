//! Which devices claims get on a node: the first choice, in the order of requests, pools and devices, that gives every
//! request of every claim what it asks for and keeps all constraints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm},
    resource::v1::{
        AllocationResult, Device, DeviceAllocationConfiguration, DeviceAllocationResult, DeviceAttribute,
        DeviceClass, DeviceConstraint, DeviceRequest, DeviceRequestAllocationResult,
        DeviceSelector as Selector, DeviceTaint, DeviceToleration, ResourceClaim,
    },
};
use kube::ResourceExt;
use vkube_usage::taints;
use vkube_watch::feed::Key;

use super::{
    DeviceId, DeviceSelector,
    pools::{Offer, Pool, Reach, consumption},
    requests,
};

/// How many choices are tried before a node counts as one that cannot give the claims what they ask for.
const MAX_STEPS: usize = 100_000;
/// How many devices one claim can have (`AllocationResultsMaxSize`).
const MAX_RESULTS: usize = 32;
const CANNOT: &str = "cannot allocate all claims";

/// What is to be found.
pub(super) struct Search<'a> {
    pub claims: &'a [Arc<ResourceClaim>],
    pub pools: &'a [Pool<'a>],
    pub classes: &'a BTreeMap<Key, Arc<DeviceClass>>,
    pub selector: &'a DeviceSelector,
    pub node: &'a Node,
}

/// A way to satisfy a request.
struct Want<'a> {
    /// The request, with the subrequest after a slash.
    name: String,
    class: &'a str,
    selectors: &'a [Selector],
    /// All there are, or so many.
    count: Option<usize>,
    admin: bool,
    tolerations: &'a [DeviceToleration],
}

/// A request with the ways to satisfy it, the best first.
struct Slot<'a> {
    claim: usize,
    wants: Vec<Want<'a>>,
    /// What each way could take, in order; without those in use.
    offers: Vec<Vec<&'a Offer<'a>>>,
}

/// A device that has been chosen for a request.
#[derive(Clone, Copy)]
struct Choice<'s> {
    slot: usize,
    want: usize,
    offer: &'s Offer<'s>,
}

/// The requests and subrequests with the names of their classes.
pub(super) fn classes(request: &DeviceRequest) -> Vec<(String, String)> {
    wants(request).into_iter().map(|want| (want.name, want.class.to_owned())).collect()
}

fn wants(request: &DeviceRequest) -> Vec<Want<'_>> {
    let count = |mode: &Option<String>, count: Option<i64>| match mode.as_deref() {
        Some("All") => None,
        _ => Some(usize::try_from(count.unwrap_or(1)).unwrap_or(usize::MAX)),
    };
    let exactly = request.exactly.iter().map(|one| Want {
        name: request.name.clone(),
        class: &one.device_class_name,
        selectors: one.selectors.as_deref().unwrap_or_default(),
        count: count(&one.allocation_mode, one.count),
        admin: one.admin_access == Some(true),
        tolerations: one.tolerations.as_deref().unwrap_or_default(),
    });
    let alternatives = request.first_available.iter().flatten().map(|one| Want {
        name: format!("{}/{}", request.name, one.name),
        class: &one.device_class_name,
        selectors: one.selectors.as_deref().unwrap_or_default(),
        count: count(&one.allocation_mode, one.count),
        admin: false,
        tolerations: one.tolerations.as_deref().unwrap_or_default(),
    });
    exactly.chain(alternatives).collect()
}

impl<'a> Search<'a> {
    /// What each claim gets; or why that cannot be.
    pub fn run(&self, in_use: &BTreeSet<DeviceId>) -> Result<Vec<AllocationResult>, String> {
        let mut slots = Vec::new();
        for (claim, of) in self.claims.iter().enumerate() {
            for request in requests(of) {
                let wants = wants(request);
                let offers = wants.iter().map(|want| self.offers(of, want, in_use));
                let offers = offers.collect::<Result<_, _>>()?;
                slots.push(Slot { claim, wants, offers });
            }
        }
        let mut attempt = Attempt { search: self, slots: &slots, chosen: Vec::new(), steps: 0 };
        if !attempt.fill(0) {
            return Err(CANNOT.to_owned());
        }
        let chosen = attempt.chosen;
        Ok((0..self.claims.len()).map(|claim| self.result(claim, &slots, &chosen)).collect())
    }

    /// The devices that a request could take; none, where it asks for all and cannot have one of them.
    fn offers(
        &self,
        claim: &ResourceClaim,
        want: &Want<'_>,
        in_use: &BTreeSet<DeviceId>,
    ) -> Result<Vec<&'a Offer<'a>>, String> {
        let mut found = Vec::new();
        for pool in self.pools {
            for offer in &pool.offers {
                if !self.selects(claim, want, pool.driver, offer.device)? {
                    continue;
                }
                if !pool.complete {
                    if want.count.is_none() {
                        return Err(format!(
                            "claim {}, request {}: asks for all devices, but resource pool {}/{} is currently being \
                             updated",
                            claim.name_any(),
                            want.name,
                            pool.driver,
                            pool.name
                        ));
                    }
                    continue;
                }
                let taints = offer.device.taints.iter().flatten();
                let repels = taints.clone().any(|taint| {
                    taint.effect != "None" && !want.tolerations.iter().any(|one| tolerates(one, taint))
                });
                let free = !repels && (want.admin || !in_use.contains(&offer.id));
                match (free, want.count) {
                    (true, _) => found.push(offer),
                    (false, None) => return Ok(Vec::new()),
                    (false, Some(_)) => {}
                }
            }
        }
        Ok(found)
    }

    fn selects(
        &self,
        claim: &ResourceClaim,
        want: &Want<'_>,
        driver: &str,
        device: &Device,
    ) -> Result<bool, String> {
        let class = self.classes.get(&(String::new(), want.class.to_owned()));
        let of_class = class.and_then(|class| class.spec.selectors.as_deref()).unwrap_or_default();
        for (index, selector) in of_class.iter().chain(want.selectors).enumerate() {
            let Some(cel) = &selector.cel else { continue };
            match self.selector.selects(&cel.expression, driver, device) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(why) if index < of_class.len() => {
                    return Err(format!("class {}: selector #{index}: {why}", want.class));
                }
                Err(why) => {
                    let index = index - of_class.len();
                    let name = claim.name_any();
                    return Err(format!("claim {name}: selector #{index} of request {}: {why}", want.name));
                }
            }
        }
        Ok(true)
    }

    /// What is written into the status of a claim.
    fn result(&self, claim: usize, slots: &[Slot<'_>], chosen: &[Choice<'_>]) -> AllocationResult {
        let own: Vec<_> = chosen
            .iter()
            .filter_map(|choice| {
                let slot = slots.get(choice.slot).filter(|slot| slot.claim == claim)?;
                Some((slot.wants.get(choice.want)?, choice.offer))
            })
            .collect();
        let results = own.iter().map(|(want, offer)| DeviceRequestAllocationResult {
            request: want.name.clone(),
            driver: offer.id.driver.clone(),
            pool: offer.id.pool.clone(),
            device: offer.id.name.clone(),
            admin_access: want.admin.then_some(true),
            tolerations: Some(want.tolerations.to_vec()).filter(|all| !all.is_empty()),
            ..DeviceRequestAllocationResult::default()
        });
        let config = self.configuration(claim, own.iter().map(|(want, _)| *want));
        AllocationResult {
            devices: Some(DeviceAllocationResult {
                results: Some(results.collect()),
                config: Some(config).filter(|config| !config.is_empty()),
            }),
            node_selector: self.reach(own.iter().map(|(_, offer)| offer.reach)),
            allocation_timestamp: None,
        }
    }

    /// What drivers are told: first by the classes, then by the claim.
    fn configuration<'w>(
        &self,
        claim: usize,
        wants: impl Iterator<Item = &'w Want<'w>>,
    ) -> Vec<DeviceAllocationConfiguration> {
        let mut told = BTreeSet::new();
        let mut all = Vec::new();
        for want in wants {
            if !told.insert(want.name.clone()) {
                continue;
            }
            let class = self.classes.get(&(String::new(), want.class.to_owned()));
            for config in class.iter().flat_map(|class| class.spec.config.iter().flatten()) {
                all.push(DeviceAllocationConfiguration {
                    source: "FromClass".into(),
                    requests: Some(vec![want.name.clone()]),
                    opaque: config.opaque.clone(),
                });
            }
        }
        let own = self.claims.get(claim).and_then(|claim| claim.spec.devices.as_ref()?.config.as_ref());
        for config in own.into_iter().flatten() {
            let requests = config.requests.as_deref().unwrap_or_default();
            let concerns =
                requests.is_empty() || told.iter().any(|name| requests.iter().any(|one| covers(one, name)));
            if concerns {
                all.push(DeviceAllocationConfiguration {
                    source: "FromClaim".into(),
                    requests: config.requests.clone(),
                    opaque: config.opaque.clone(),
                });
            }
        }
        all
    }

    /// Where devices can be used; nowhere in particular is everywhere.
    fn reach<'o>(&self, reaches: impl Iterator<Item = Reach<'o>>) -> Option<NodeSelector> {
        let mut term = NodeSelectorTerm::default();
        for reach in reaches {
            match reach {
                Reach::Node => {
                    let field = NodeSelectorRequirement {
                        key: "metadata.name".into(),
                        operator: "In".into(),
                        values: Some(vec![self.node.name_any()]),
                    };
                    let term = NodeSelectorTerm { match_fields: Some(vec![field]), match_expressions: None };
                    return Some(NodeSelector { node_selector_terms: vec![term] });
                }
                // Selectors of slices have one term.
                Reach::Nodes(selector) => {
                    for one in &selector.node_selector_terms {
                        add(&mut term.match_expressions, one.match_expressions.as_deref());
                        add(&mut term.match_fields, one.match_fields.as_deref());
                    }
                }
                Reach::All => {}
            }
        }
        (term != NodeSelectorTerm::default()).then(|| NodeSelector { node_selector_terms: vec![term] })
    }
}

fn add(all: &mut Option<Vec<NodeSelectorRequirement>>, more: Option<&[NodeSelectorRequirement]>) {
    for one in more.unwrap_or_default() {
        let all = all.get_or_insert_default();
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
}

/// Whether a request named by a constraint or a configuration is this one, or this one is a subrequest of it.
fn covers(named: &str, request: &str) -> bool {
    named == request || request.strip_prefix(named).is_some_and(|rest| rest.starts_with('/'))
}

fn tolerates(toleration: &DeviceToleration, taint: &DeviceTaint) -> bool {
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

/// A search under way.
struct Attempt<'s, 'a> {
    search: &'s Search<'a>,
    slots: &'s [Slot<'a>],
    chosen: Vec<Choice<'s>>,
    steps: usize,
}

impl<'s> Attempt<'s, '_> {
    /// Finds devices for this slot and those after it.
    fn fill(&mut self, index: usize) -> bool {
        let Some(slot) = self.slots.get(index) else { return true };
        for (want, offers) in slot.offers.iter().enumerate() {
            let count = slot.wants.get(want).and_then(|want| want.count);
            let found = match count {
                Some(count) => self.choose(index, want, 0, count),
                None => !offers.is_empty() && self.choose(index, want, 0, offers.len()),
            };
            if found {
                return true;
            }
        }
        false
    }

    /// Chooses so many more of the devices from `from` on, and then fills what follows.
    fn choose(&mut self, index: usize, want: usize, from: usize, left: usize) -> bool {
        if left == 0 {
            return self.fill(index + 1);
        }
        let slots = self.slots;
        let Some(offers) = slots.get(index).and_then(|slot| slot.offers.get(want)) else { return false };
        for at in from..offers.len() {
            self.steps += 1;
            if self.steps > MAX_STEPS || offers.len() - at < left {
                return false;
            }
            let Some(offer) = offers.get(at) else { return false };
            let choice = Choice { slot: index, want, offer };
            if !self.may_choose(choice) {
                continue;
            }
            self.chosen.push(choice);
            if self.choose(index, want, at + 1, left - 1) {
                return true;
            }
            self.chosen.pop();
        }
        false
    }

    fn may_choose(&self, choice: Choice<'s>) -> bool {
        let (Some(slot), Some(want)) = (self.slots.get(choice.slot), self.want(choice)) else { return false };
        let same =
            |other: &&Choice<'s>| self.slots.get(other.slot).is_some_and(|one| one.claim == slot.claim);
        let taken = self.chosen.iter().any(|other| {
            other.offer.id == choice.offer.id
                && !want.admin
                && self.want(*other).is_some_and(|one| !one.admin)
        });
        let own: Vec<&Choice<'s>> = self.chosen.iter().filter(same).collect();
        let claim = self.search.claims.get(slot.claim);
        let constraints =
            claim.and_then(|claim| claim.spec.devices.as_ref()?.constraints.as_deref()).unwrap_or_default();
        !taken
            && own.len() < MAX_RESULTS
            && (want.admin || self.has_counters(choice))
            && constraints.iter().all(|constraint| self.keeps(constraint, choice, want, &own))
    }

    /// Whether the pool has what the device takes of it, besides those that are chosen already.
    fn has_counters(&self, choice: Choice<'s>) -> bool {
        if consumption(choice.offer.device).next().is_none() {
            return true;
        }
        let id = &choice.offer.id;
        let is_own = |pool: &&Pool<'_>| pool.driver == id.driver && pool.name == id.pool;
        let Some(pool) = self.search.pools.iter().find(is_own) else { return false };
        let mut left = pool.left.clone();
        let counted = |other: &&Choice<'s>| {
            let same = other.offer.id.driver == id.driver && other.offer.id.pool == id.pool;
            same && self.want(**other).is_some_and(|want| !want.admin)
        };
        let all = self.chosen.iter().filter(counted).chain([&choice]);
        all.flat_map(|one| consumption(one.offer.device)).all(|(counter, amount)| {
            let Some(left) = left.get_mut(&counter) else { return false };
            *left -= amount;
            *left >= 0
        })
    }

    fn want(&self, choice: Choice<'_>) -> Option<&'s Want<'s>> {
        self.slots.get(choice.slot)?.wants.get(choice.want)
    }

    /// Whether the constraint holds with one more device.
    fn keeps(
        &self,
        constraint: &DeviceConstraint,
        choice: Choice<'_>,
        want: &Want<'_>,
        own: &[&Choice<'_>],
    ) -> bool {
        let named = constraint.requests.as_deref().unwrap_or_default();
        let concerns = |name: &str| named.is_empty() || named.iter().any(|one| covers(one, name));
        if !concerns(&want.name) {
            return true;
        }
        let others = own.iter().filter(|one| self.want(***one).is_some_and(|want| concerns(&want.name)));
        match (&constraint.match_attribute, &constraint.distinct_attribute) {
            (Some(name), _) => {
                let Some(here) = attribute(choice.offer, name) else { return false };
                others.map(|other| attribute(other.offer, name)).all(|there| there == Some(here))
            }
            (None, Some(name)) => {
                let Some(here) = attribute(choice.offer, name) else { return false };
                others.map(|other| attribute(other.offer, name)).all(|there| there != Some(here))
            }
            (None, None) => true,
        }
    }
}

/// An attribute of a device by its full name; the domain of the driver may be left out in slices.
fn attribute<'a>(offer: &Offer<'a>, name: &str) -> Option<&'a DeviceAttribute> {
    let attributes = offer.device.attributes.as_ref()?;
    attributes.get(name).or_else(|| {
        let (domain, bare) = name.split_once('/')?;
        (domain == offer.id.driver).then(|| attributes.get(bare)).flatten()
    })
}
