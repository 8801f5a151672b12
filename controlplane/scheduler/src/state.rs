//! What the scheduler knows: the nodes, the budgets, and what every placed pod takes from its node.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::{Namespace, Node, Pod},
    policy::v1::PodDisruptionBudget,
};
use kube::ResourceExt;

use vkube_watch::feed::{self, Key};

use crate::{
    devices::Devices,
    filter,
    profile::{self, Profile},
    quantity::{self, Amounts},
    volumes::Volumes,
};

/// A pod that has a node, whether its binding is confirmed yet or only assumed.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    /// The name of its node.
    pub node: String,
    /// What it takes.
    pub requests: Amounts,
    /// The host ports it takes.
    pub ports: Vec<(i32, String)>,
    /// The pod.
    pub pod: Arc<Pod>,
}

/// The nodes and the pods placed on them.
#[derive(Clone, Default)]
pub(crate) struct Cluster {
    nodes: BTreeMap<String, Arc<Node>>,
    placed: BTreeMap<Key, Arc<Placed>>,
    by_node: BTreeMap<String, BTreeSet<Key>>,
    /// Placed pods that must not have certain others near them.
    repelling: BTreeSet<Key>,
    budgets: BTreeMap<Key, Arc<PodDisruptionBudget>>,
    /// The labels of namespaces.
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// What there is to store things in.
    pub volumes: Volumes,
    /// What devices there are, and who has them.
    pub devices: Devices,
    /// The schedulers that pods can ask for.
    pub profiles: Arc<Vec<Profile>>,
}

impl Cluster {
    /// An empty cluster whose pods can ask for these schedulers.
    pub fn new(profiles: Vec<Profile>) -> Self {
        Self { profiles: Arc::new(profiles), ..Self::default() }
    }

    /// Takes in a node's state; says whether it can matter to pods that wait.
    pub fn set_node(&mut self, node: &Arc<Node>) -> bool {
        let old = self.nodes.insert(node.name_any(), Arc::clone(node));
        old.is_none_or(|old| matters(&old) != matters(node))
    }

    /// Forgets a node.
    pub fn remove_node(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// A node by name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name).map(AsRef::as_ref)
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Node> + Clone {
        self.nodes.values().map(AsRef::as_ref)
    }

    /// Takes in a disruption budget.
    pub fn set_budget(&mut self, budget: &Arc<PodDisruptionBudget>) {
        self.budgets.insert(feed::key(&**budget), Arc::clone(budget));
    }

    /// Forgets a disruption budget.
    pub fn remove_budget(&mut self, key: &Key) {
        self.budgets.remove(key);
    }

    /// All disruption budgets.
    pub fn budgets(&self) -> impl Iterator<Item = &PodDisruptionBudget> {
        self.budgets.values().map(AsRef::as_ref)
    }

    /// Takes in a namespace; says whether its labels have changed.
    pub fn set_namespace(&mut self, namespace: &Namespace) -> bool {
        let labels = namespace.labels().clone();
        self.namespaces.insert(namespace.name_any(), labels.clone()) != Some(labels)
    }

    /// Forgets a namespace.
    pub fn remove_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    /// The labels of a namespace.
    pub fn namespace_labels(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.namespaces.get(name)
    }

    /// The scheduler that a pod asks for, if it is one of ours.
    pub fn profile(&self, pod: &Pod) -> Option<&Profile> {
        let name =
            pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or(profile::DEFAULT);
        self.profiles.iter().find(|profile| profile.name == name)
    }

    /// All pods that take something.
    pub fn pods(&self) -> impl Iterator<Item = &Placed> {
        self.placed.values().map(AsRef::as_ref)
    }

    /// The pods that must not have certain others near them.
    pub fn repelling(&self) -> impl Iterator<Item = &Placed> {
        self.repelling.iter().filter_map(|key| self.placed.get(key)).map(AsRef::as_ref)
    }

    /// The pods that take something from one node.
    pub fn pods_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Placed> + use<'a> {
        let keys = self.by_node.get(node).into_iter().flatten();
        keys.filter_map(|key| self.placed.get(key)).map(AsRef::as_ref)
    }

    /// Counts a pod against a node.
    pub fn place(&mut self, pod: &Arc<Pod>, node: &str) {
        let key = feed::key(&**pod);
        self.release(&key);
        let placed = Placed {
            node: node.into(),
            requests: quantity::pod_requests(pod),
            ports: pod.spec.as_ref().map(filter::host_ports).unwrap_or_default(),
            pod: Arc::clone(pod),
        };
        if filter::repulsions(pod).next().is_some() {
            self.repelling.insert(key.clone());
        }
        self.by_node.entry(node.into()).or_default().insert(key.clone());
        self.placed.insert(key, Arc::new(placed));
    }

    /// The pod as it was when it was last counted.
    pub fn placed(&self, key: &Key) -> Option<&Placed> {
        self.placed.get(key).map(AsRef::as_ref)
    }

    /// Stops counting a pod; says whether it was counted.
    pub fn release(&mut self, key: &Key) -> bool {
        let Some(placed) = self.placed.remove(key) else { return false };
        self.repelling.remove(key);
        if let Some(keys) = self.by_node.get_mut(&placed.node) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_node.remove(&placed.node);
            }
        }
        true
    }
}

/// What pods that wait may wait for a node to have.
fn matters(node: &Node) -> impl PartialEq + '_ {
    let spec = node.spec.as_ref();
    let taints = spec.and_then(|spec| spec.taints.as_ref());
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    (node.labels(), taints, spec.and_then(|spec| spec.unschedulable), allocatable)
}
