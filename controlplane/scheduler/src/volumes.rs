//! Volumes: a pod goes only where its volumes are or can be, as the plugins VolumeBinding, VolumeZone,
//! VolumeRestrictions and NodeVolumeLimits of the default scheduler decide.
//!
//! Where volumes are those of a host cluster, its scheduler sees to them; then only their claims matter here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod, TopologySelectorTerm},
    storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass},
};
use kube::ResourceExt;
use vkube_watch::feed::Key;

use crate::{
    filter::{Unfit, matches_node_selector, selects},
    quantity,
    state::Cluster,
};

/// Tells a provisioner, or whoever binds claims, which node the volume is for.
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// Labels of volumes, and of nodes, that say where they are.
const PLACES: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

/// What there is to store things in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Volumes {
    pub claims: BTreeMap<Key, Arc<PersistentVolumeClaim>>,
    pub volumes: BTreeMap<Key, Arc<PersistentVolume>>,
    pub classes: BTreeMap<Key, Arc<StorageClass>>,
    pub nodes: BTreeMap<Key, Arc<CSINode>>,
    pub drivers: BTreeMap<Key, Arc<CSIDriver>>,
    pub capacities: BTreeMap<Key, Arc<CSIStorageCapacity>>,
    /// Whether all that is another cluster's, which looks after it.
    pub elsewhere: bool,
}

/// A claim of a pod, as far as scheduling goes.
enum Claim<'a> {
    /// It has this volume, if that exists.
    Bound(Option<&'a PersistentVolume>),
    /// It gets one when its pod has a node.
    Waits(&'a PersistentVolumeClaim, &'a StorageClass),
    /// It does not depend on the node.
    Unbound,
}

/// The names of a pod's claims, and whether they are made for it.
pub(crate) fn claims_of(pod: &Pod) -> impl Iterator<Item = (Key, bool)> {
    let namespace = pod.namespace().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(move |volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(((namespace.clone(), claim.claim_name.clone()), false)),
        (None, Some(_)) => Some(((namespace.clone(), format!("{}-{}", pod.name_any(), volume.name)), true)),
        (None, None) => None,
    })
}

fn volume_of(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}

/// Whether a claim has its volume for good.
fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    let bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    volume_of(claim).is_some() && (bound || claim.annotations().contains_key(BIND_COMPLETED))
}

impl Volumes {
    /// Why the pod can go nowhere, whatever the node.
    pub fn obstacle(&self, pod: &Pod) -> Option<String> {
        for (key, own) in claims_of(pod) {
            let name = &key.1;
            let Some(claim) = self.claims.get(&key) else {
                return Some(if own {
                    format!(
                        "waiting for ephemeral volume controller to create the persistentvolumeclaim \"{name}\""
                    )
                } else {
                    format!("persistentvolumeclaim \"{name}\" not found")
                });
            };
            if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost") {
                let volume = volume_of(claim).unwrap_or_default();
                return Some(format!(
                    "persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{volume}\""
                ));
            }
            if claim.metadata.deletion_timestamp.is_some() {
                return Some(format!("persistentvolumeclaim \"{name}\" is being deleted"));
            }
        }
        let waits =
            |(key, _): (Key, bool)| self.claim(&key).is_some_and(|claim| matches!(claim, Claim::Unbound));
        (!self.elsewhere && claims_of(pod).any(waits))
            .then(|| "pod has unbound immediate PersistentVolumeClaims".to_owned())
    }

    fn claim(&self, key: &Key) -> Option<Claim<'_>> {
        let claim = self.claims.get(key)?;
        if is_bound(claim) {
            let name = volume_of(claim).unwrap_or_default();
            return Some(Claim::Bound(
                self.volumes.get(&(String::new(), name.to_owned())).map(AsRef::as_ref),
            ));
        }
        let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.clone()).unwrap_or_default();
        let class = self.classes.get(&(String::new(), class));
        let waits = |class: &&Arc<StorageClass>| {
            class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer") && volume_of(claim).is_none()
        };
        Some(class.filter(waits).map_or(Claim::Unbound, |class| Claim::Waits(claim, class)))
    }

    /// Whether the pod's volumes are or can be on the node.
    pub fn bind(&self, pod: &Pod, node: &Node) -> Result<(), Unfit> {
        if self.elsewhere {
            return Ok(());
        }
        let mut promised = BTreeSet::new();
        for claim in claims_of(pod).filter_map(|(key, _)| self.claim(&key)) {
            match claim {
                Claim::Bound(None) => {
                    return Err(Unfit::unresolvable(
                        "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
                    ));
                }
                Claim::Bound(Some(volume)) if !reaches(volume, node) => {
                    return Err(Unfit::unresolvable("node(s) didn't match PersistentVolume's node affinity"));
                }
                Claim::Waits(claim, class) => {
                    let found = self.find(claim, node, &promised).map(ResourceExt::name_any);
                    if found.is_none() && !can_provision(claim, class, node) {
                        return Err(Unfit::unresolvable(
                            "node(s) didn't find available persistent volumes to bind",
                        ));
                    }
                    if found.is_none() && !self.has_space(claim, class, node) {
                        return Err(Unfit::unresolvable("node(s) did not have enough free storage"));
                    }
                    promised.extend(found);
                }
                Claim::Bound(Some(_)) | Claim::Unbound => {}
            }
        }
        Ok(())
    }

    /// Whether the class has room for the claim where the node reaches it, as far as its driver publishes that.
    fn has_space(&self, claim: &PersistentVolumeClaim, class: &StorageClass, node: &Node) -> bool {
        let driver = self.drivers.get(&(String::new(), class.provisioner.clone()));
        if driver.is_none_or(|driver| driver.spec.storage_capacity != Some(true)) {
            return true;
        }
        let size = requested(claim);
        self.capacities.values().any(|capacity| {
            let limit = capacity.maximum_volume_size.as_ref().or(capacity.capacity.as_ref());
            let limit = limit.and_then(|quantity| quantity::milli(&quantity.0));
            capacity.storage_class_name == class.name_any()
                && limit.is_some_and(|limit| limit >= size)
                && capacity.node_topology.as_ref().is_some_and(|nodes| selects(nodes, node.labels()))
        })
    }

    /// Whether whoever makes volumes has given up on the node: claims that were told it no longer name it.
    pub fn has_given_up(&self, told: &[Key], node: &str) -> Option<String> {
        let mut claims = told.iter().filter_map(|key| self.claims.get(key));
        let given_up = |claim: &&Arc<PersistentVolumeClaim>| {
            !is_bound(claim) && claim.annotations().get(SELECTED_NODE).is_none_or(|named| named != node)
        };
        claims.find(given_up).map(|claim| claim.name_any())
    }

    /// The smallest free volume for the claim that reaches the node.
    fn find(
        &self,
        claim: &PersistentVolumeClaim,
        node: &Node,
        promised: &BTreeSet<String>,
    ) -> Option<&PersistentVolume> {
        let suits = |volume: &&PersistentVolume| {
            !promised.contains(&volume.name_any()) && is_free_for(volume, claim) && reaches(volume, node)
        };
        let all = self.volumes.values().map(AsRef::as_ref);
        all.filter(suits).min_by_key(|volume| capacity(volume))
    }

    /// The claims of a pod that wait for its node, with the volume that is there for each, if there is one.
    pub fn waiting(
        &self,
        pod: &Pod,
        node: &Node,
    ) -> Vec<(Arc<PersistentVolumeClaim>, Option<Arc<PersistentVolume>>)> {
        let mut waiting = Vec::new();
        let mut promised = BTreeSet::new();
        for (key, _) in claims_of(pod) {
            let (Some(Claim::Waits(..)), Some(claim)) = (self.claim(&key), self.claims.get(&key)) else {
                continue;
            };
            let found = self.find(claim, node, &promised).map(ResourceExt::name_any);
            let volume = found.clone().and_then(|name| self.volumes.get(&(String::new(), name)).cloned());
            promised.extend(found);
            waiting.push((Arc::clone(claim), volume));
        }
        waiting
    }

    /// Whether all claims of the pod have their volumes.
    pub fn are_bound(&self, pod: &Pod) -> bool {
        claims_of(pod).all(|(key, _)| self.claims.get(&key).is_some_and(|claim| is_bound(claim)))
    }

    /// Whether the pod's volumes are in the node's zone and region.
    pub fn zone(&self, pod: &Pod, node: &Node) -> Result<(), Unfit> {
        if self.elsewhere || !PLACES.iter().any(|place| node.labels().contains_key(*place)) {
            return Ok(());
        }
        for claim in claims_of(pod).filter_map(|(key, _)| self.claim(&key)) {
            let Claim::Bound(Some(volume)) = claim else { continue };
            let is_here = |place: &&str| match (volume.labels().get(*place), node.labels().get(*place)) {
                (Some(places), Some(here)) => places.split("__").any(|one| one == here),
                (Some(_), None) => false,
                (None, _) => true,
            };
            if !PLACES.iter().all(is_here) {
                return Err(Unfit::unresolvable("node(s) had no available volume zone"));
            }
        }
        Ok(())
    }

    /// Whether the node can have the pod's volumes besides those that it has.
    pub fn within_limits(&self, pod: &Pod, node: &Node, cluster: &Cluster) -> Result<(), Unfit> {
        let name = node.name_any();
        let Some(limits) = self.nodes.get(&(String::new(), name.clone())).filter(|_| !self.elsewhere) else {
            return Ok(());
        };
        let new = self.handles(pod);
        if new.is_empty() {
            return Ok(());
        }
        let mut there = BTreeSet::new();
        for placed in cluster.pods_on(&name) {
            there.extend(self.handles(&placed.pod));
        }
        for driver in &limits.spec.drivers {
            let Some(most) = driver.allocatable.as_ref().and_then(|allocatable| allocatable.count) else {
                continue;
            };
            let of = |(name, _): &&(String, String)| *name == driver.name;
            let more = new.difference(&there).filter(of).count();
            let all = more + there.iter().filter(of).count();
            if more > 0 && all > usize::try_from(most).unwrap_or(0) {
                return Err(Unfit::resolvable("node(s) exceed max volume count"));
            }
        }
        Ok(())
    }

    /// The driver and the handle of each volume that a driver attaches for the pod.
    fn handles(&self, pod: &Pod) -> BTreeSet<(String, String)> {
        let handle = |(key, _): (Key, bool)| match self.claim(&key)? {
            Claim::Bound(volume) => {
                let source = volume?.spec.as_ref()?.csi.as_ref()?;
                Some((source.driver.clone(), source.volume_handle.clone()))
            }
            // It will have a volume of its own, by the driver that makes it.
            Claim::Waits(claim, class) => {
                Some((class.provisioner.clone(), format!("{}/{}", key.0, claim.name_any())))
            }
            Claim::Unbound => None,
        };
        claims_of(pod).filter_map(handle).collect()
    }

    /// Whether no other pod uses a claim that only one may use.
    pub fn unshared(&self, pod: &Pod, cluster: &Cluster) -> Result<(), Unfit> {
        let exclusive: Vec<Key> = claims_of(pod)
            .map(|(key, _)| key)
            .filter(|key| {
                let modes = self.claims.get(key).and_then(|claim| claim.spec.as_ref()?.access_modes.as_ref());
                modes.is_some_and(|modes| modes.iter().any(|mode| mode == "ReadWriteOncePod"))
            })
            .collect();
        if exclusive.is_empty() {
            return Ok(());
        }
        let is_shared =
            cluster.pods().any(|placed| claims_of(&placed.pod).any(|(key, _)| exclusive.contains(&key)));
        if is_shared {
            return Err(Unfit::resolvable(
                "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
            ));
        }
        Ok(())
    }
}

fn reaches(volume: &PersistentVolume, node: &Node) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required.as_ref());
    required.is_none_or(|selector| matches_node_selector(selector, node))
}

fn capacity(volume: &PersistentVolume) -> i128 {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()?.get("storage"));
    capacity.and_then(|quantity| quantity::milli(&quantity.0)).unwrap_or(0)
}

/// How much a claim asks for.
fn requested(claim: &PersistentVolumeClaim) -> i128 {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let size = resources.and_then(|resources| resources.requests.as_ref()?.get("storage"));
    size.and_then(|quantity| quantity::milli(&quantity.0)).unwrap_or(0)
}

/// Whether a volume made beforehand suits the claim, and nobody has it.
fn is_free_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let (Some(offer), Some(wanted)) = (&volume.spec, &claim.spec) else { return false };
    if let Some(owner) = &offer.claim_ref {
        return owner.namespace == claim.namespace()
            && owner.name == claim.metadata.name
            && owner.uid.as_ref().is_none_or(|uid| claim.uid().as_ref() == Some(uid));
    }
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let selected = wanted.selector.as_ref().is_none_or(|selector| selects(selector, volume.labels()));
    let modes = offer.access_modes.as_deref().unwrap_or_default();
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
    phase.is_none_or(|phase| phase == "Available")
        && volume.metadata.deletion_timestamp.is_none()
        && offer.storage_class_name.as_deref().unwrap_or_default()
            == wanted.storage_class_name.as_deref().unwrap_or_default()
        && mode(&offer.volume_mode) == mode(&wanted.volume_mode)
        && capacity(volume) >= requested(claim)
        && wanted.access_modes.iter().flatten().all(|mode| modes.contains(mode))
        && selected
}

/// Whether a volume for the claim can be made on the node.
fn can_provision(claim: &PersistentVolumeClaim, class: &StorageClass, node: &Node) -> bool {
    let elsewhere =
        claim.annotations().get(SELECTED_NODE).is_some_and(|selected| *selected != node.name_any());
    let topologies = class.allowed_topologies.as_deref().unwrap_or_default();
    !elsewhere
        && class.provisioner != NO_PROVISIONER
        && !class.provisioner.is_empty()
        && (topologies.is_empty() || topologies.iter().any(|term| allows(term, node)))
}

fn allows(term: &TopologySelectorTerm, node: &Node) -> bool {
    let mut expressions = term.match_label_expressions.iter().flatten();
    expressions.all(|one| node.labels().get(&one.key).is_some_and(|value| one.values.contains(value)))
}
