//! What the scheduler knows: the nodes, the budgets, and what every placed pod takes from its node.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{
    core::v1::{Node, Pod},
    policy::v1::PodDisruptionBudget,
};
use kube::ResourceExt;

use super::filter;
use crate::{
    feed::{self, Key},
    quantity::{self, Amounts},
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
    placed: BTreeMap<Key, Placed>,
    budgets: BTreeMap<Key, Arc<PodDisruptionBudget>>,
}

impl Cluster {
    /// Takes in a node's state; says whether it can matter to pods that wait.
    pub fn set_node(&mut self, node: &Arc<Node>) -> bool {
        let relevant = |node: &Node| {
            let spec = node.spec.clone().unwrap_or_default();
            let allocatable = node.status.as_ref().and_then(|status| status.allocatable.clone());
            (node.labels().clone(), spec.taints, spec.unschedulable, allocatable)
        };
        let old = self.nodes.insert(node.name_any(), Arc::clone(node));
        old.is_none_or(|old| relevant(&old) != relevant(node))
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
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Node> {
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

    /// All pods that take something.
    pub fn pods(&self) -> impl Iterator<Item = &Placed> {
        self.placed.values()
    }

    /// The pods that take something from one node.
    pub fn pods_on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Placed> {
        self.placed.values().filter(move |placed| placed.node == node)
    }

    /// Counts a pod against a node.
    pub fn place(&mut self, pod: &Arc<Pod>, node: &str) {
        let placed = Placed {
            node: node.into(),
            requests: quantity::pod_requests(pod),
            ports: pod.spec.as_ref().map(filter::host_ports).unwrap_or_default(),
            pod: Arc::clone(pod),
        };
        self.placed.insert(feed::key(&**pod), placed);
    }

    /// Stops counting a pod; says whether it was counted.
    pub fn release(&mut self, key: &Key) -> bool {
        self.placed.remove(key).is_some()
    }
}
