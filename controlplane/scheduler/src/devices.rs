//! Devices: a pod goes only where those are, or can be given out, that its resource claims ask for, as the plugin
//! DynamicResources of the default scheduler decides
//! (<https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/>).
//!
//! Drivers publish what they have in ResourceSlices. A claim is given devices when its first pod gets a node, by writing
//! them into its status; further pods share them. Devices that have been promised count as given out until the API server
//! has confirmed it.

mod pools;
mod search;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::{Node, Pod},
    resource::v1::{
        AllocationResult, Device, DeviceClass, DeviceRequest, ResourceClaim, ResourceClaimConsumerReference,
        ResourceSlice,
    },
};
use kube::ResourceExt;
use vkube_watch::feed::Key;

use crate::filter::{Unfit, matches_node_selector};
use search::Search;

/// How many pods may share a claim.
const MAX_CONSUMERS: usize = 256;

/// A device of a driver's pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeviceId {
    driver: String,
    pool: String,
    name: String,
}

/// Whether an expression selects a device of a driver, or why it has no answer.
type Judge = dyn Fn(&str, &str, &Device) -> Result<bool, String> + Send + Sync;

/// Evaluates the CEL expressions by which classes and claims select devices. Whoever runs the scheduler brings it.
#[derive(Clone)]
pub struct DeviceSelector(Arc<Judge>);

impl DeviceSelector {
    /// A selector that asks this function: about an expression, the name of a driver and a device of it.
    pub fn new(judge: impl Fn(&str, &str, &Device) -> Result<bool, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(judge))
    }

    fn selects(&self, expression: &str, driver: &str, device: &Device) -> Result<bool, String> {
        (self.0)(expression, driver, device)
    }
}

impl fmt::Debug for DeviceSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceSelector").finish_non_exhaustive()
    }
}

/// What a claim is to be given before its pod is bound.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// The claim as it was observed.
    pub claim: Arc<ResourceClaim>,
    /// The devices; none where it has them already.
    pub allocation: Option<AllocationResult>,
}

/// What there is to give out, and who has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Devices {
    pub claims: BTreeMap<Key, Arc<ResourceClaim>>,
    pub slices: BTreeMap<Key, Arc<ResourceSlice>>,
    pub classes: BTreeMap<Key, Arc<DeviceClass>>,
    /// What has been promised to claims, and is not in their status yet.
    promised: BTreeMap<Key, AllocationResult>,
    /// Who knows what expressions select; without one, devices are somebody else's matter.
    pub selector: Option<DeviceSelector>,
}

/// The claims of a pod, or why they are not there yet.
fn claims_of(pod: &Pod) -> Result<Vec<Key>, String> {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let spec = pod.spec.iter().flat_map(|spec| spec.resource_claims.iter().flatten());
    let made = pod.status.as_ref().and_then(|status| status.resource_claim_statuses.as_deref());
    let mut keys = Vec::new();
    for claim in spec {
        let name = match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
            (Some(name), _) => Some(name),
            (None, Some(_)) => {
                let made = made.unwrap_or_default().iter().find(|one| one.name == claim.name);
                let made = made.ok_or_else(|| {
                    format!(
                        "pod \"{namespace}/{name}\": pod claim \"{}\": resource claim not created yet",
                        claim.name
                    )
                })?;
                // The pod turned out to need none.
                made.resource_claim_name.as_ref()
            }
            (None, None) => None,
        };
        keys.extend(name.map(|name| (namespace.clone(), name.clone())));
    }
    Ok(keys)
}

/// Whether a pod has claims for devices.
pub(crate) fn has_claims(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.resource_claims.as_ref()).is_some_and(|claims| !claims.is_empty())
}

fn consumers(claim: &ResourceClaim) -> &[ResourceClaimConsumerReference] {
    claim.status.as_ref().and_then(|status| status.reserved_for.as_deref()).unwrap_or_default()
}

fn is_reserved_for(claim: &ResourceClaim, pod: &Pod) -> bool {
    pod.uid().is_some_and(|uid| consumers(claim).iter().any(|consumer| consumer.uid == uid))
}

fn requests(claim: &ResourceClaim) -> &[DeviceRequest] {
    claim.spec.devices.as_ref().and_then(|devices| devices.requests.as_deref()).unwrap_or_default()
}

impl Devices {
    /// The devices that a claim has or is promised.
    fn allocation(&self, key: &Key) -> Option<&AllocationResult> {
        let written = self.claims.get(key).and_then(|claim| claim.status.as_ref()?.allocation.as_ref());
        written.or_else(|| self.promised.get(key))
    }

    /// Why the pod can go nowhere, whatever the node.
    pub fn obstacle(&self, pod: &Pod) -> Option<String> {
        self.selector.as_ref()?;
        let keys = match claims_of(pod) {
            Ok(keys) => keys,
            Err(why) => return Some(why),
        };
        for key in keys {
            let name = &key.1;
            let Some(claim) = self.claims.get(&key) else {
                return Some(format!("resourceclaim.resource.k8s.io \"{name}\" not found"));
            };
            if claim.metadata.deletion_timestamp.is_some() {
                return Some(format!("resourceclaim \"{name}\" is being deleted"));
            }
            if !is_reserved_for(claim, pod) && consumers(claim).len() >= MAX_CONSUMERS {
                return Some("resourceclaim in use".to_owned());
            }
            if claim.status.as_ref().is_some_and(|status| status.allocation.is_some()) {
                continue;
            }
            if self.promised.contains_key(&key) {
                let (namespace, name) = &key;
                return Some(format!(
                    "resource claim {namespace}/{name} is in the process of being allocated"
                ));
            }
            let missing = requests(claim)
                .iter()
                .flat_map(search::classes)
                .find(|(_, class)| !self.classes.contains_key(&(String::new(), class.clone())));
            if let Some((request, class)) = missing {
                return Some(format!("request {request}: device class {class} does not exist"));
            }
        }
        None
    }

    /// Whether the pod's devices are on the node, or can be given out there.
    pub fn fit(&self, pod: &Pod, node: &Node) -> Result<(), Unfit> {
        if !has_claims(pod) || self.selector.is_none() {
            return Ok(());
        }
        for key in claims_of(pod).unwrap_or_default() {
            let selector = self.allocation(&key).and_then(|allocation| allocation.node_selector.as_ref());
            if selector.is_some_and(|selector| !matches_node_selector(selector, node)) {
                return Err(Unfit::resolvable("resourceclaim not available on the node"));
            }
        }
        match self.grants(pod, node) {
            Ok(_) => Ok(()),
            Err(why) => Err(Unfit::resolvable(why)),
        }
    }

    /// What the pod's claims are to be given on the node; or why that cannot be.
    pub fn grants(&self, pod: &Pod, node: &Node) -> Result<Vec<Grant>, String> {
        let Some(selector) = self.selector.as_ref().filter(|_| has_claims(pod)) else {
            return Ok(Vec::new());
        };
        let mut grants = Vec::new();
        for key in claims_of(pod)? {
            let Some(claim) = self.claims.get(&key) else { continue };
            if self.allocation(&key).is_none() || !is_reserved_for(claim, pod) {
                grants.push(Grant { claim: Arc::clone(claim), allocation: None });
            }
        }
        let is_new = |grant: &Grant| self.allocation(&vkube_watch::feed::key(&*grant.claim)).is_none();
        let new: Vec<_> = grants.iter().filter(|one| is_new(one)).map(|one| Arc::clone(&one.claim)).collect();
        if !new.is_empty() {
            let in_use = self.in_use();
            let pools = pools::on(self.slices.values().map(AsRef::as_ref), node, &in_use);
            let search = Search { claims: &new, pools: &pools, classes: &self.classes, selector, node };
            let mut found = search.run(&in_use)?.into_iter();
            for grant in grants.iter_mut().filter(|one| is_new(one)) {
                grant.allocation = found.next();
            }
        }
        Ok(grants)
    }

    /// A claim of a pod that fits nowhere which has devices out of some node's reach, and which nobody else uses.
    pub fn idle<'a>(
        &self,
        pod: &Pod,
        nodes: impl Iterator<Item = &'a Node> + Clone,
    ) -> Option<Arc<ResourceClaim>> {
        self.selector.as_ref()?;
        let keys = claims_of(pod).unwrap_or_default();
        let mut claims = keys.iter().filter_map(|key| self.claims.get(key));
        let is_idle = |claim: &&Arc<ResourceClaim>| {
            let allocation = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
            let selector = allocation.and_then(|allocation| allocation.node_selector.as_ref());
            consumers(claim).iter().all(|one| Some(&one.uid) == pod.metadata.uid.as_ref())
                && selector.is_some_and(|one| nodes.clone().any(|node| !matches_node_selector(one, node)))
        };
        claims.find(is_idle).cloned()
    }

    /// The devices that nobody else can have.
    fn in_use(&self) -> BTreeSet<DeviceId> {
        let allocations =
            self.claims.keys().chain(self.promised.keys()).filter_map(|key| self.allocation(key));
        let results = allocations.filter_map(|one| one.devices.as_ref()?.results.as_ref()).flatten();
        results
            .filter(|one| one.admin_access != Some(true))
            .map(|one| DeviceId {
                driver: one.driver.clone(),
                pool: one.pool.clone(),
                name: one.device.clone(),
            })
            .collect()
    }

    /// Counts devices as given out that are about to be.
    pub fn promise(&mut self, grants: &[Grant]) {
        for Grant { claim, allocation } in grants {
            if let Some(allocation) = allocation {
                self.promised.insert(vkube_watch::feed::key(&**claim), allocation.clone());
            }
        }
    }

    /// Forgets what was promised: it has been given, or will not be.
    pub fn settle(&mut self, grants: &[Grant]) {
        for Grant { claim, .. } in grants {
            self.promised.remove(&vkube_watch::feed::key(&**claim));
        }
    }
}

#[cfg(test)]
mod tests;
