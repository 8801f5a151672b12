//! What the scheduler knows: the nodes, and what every placed pod takes from its node.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use super::filter::{self, Unfit};
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
    /// Its namespace and labels, which affinity terms select by.
    pub namespace: String,
    /// See `namespace`.
    pub labels: BTreeMap<String, String>,
}

/// The nodes and the pods placed on them.
#[derive(Default)]
pub(crate) struct Cluster {
    nodes: BTreeMap<String, Arc<Node>>,
    placed: BTreeMap<Key, Placed>,
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

    /// All pods that take something.
    pub fn pods(&self) -> impl Iterator<Item = &Placed> {
        self.placed.values()
    }

    /// The pods that take something from one node.
    pub fn pods_on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Placed> {
        self.placed.values().filter(move |placed| placed.node == node)
    }

    /// Counts a pod against a node.
    pub fn place(&mut self, pod: &Pod, node: &str) {
        let placed = Placed {
            node: node.into(),
            requests: quantity::pod_requests(pod),
            ports: pod.spec.as_ref().map(filter::host_ports).unwrap_or_default(),
            namespace: pod.namespace().unwrap_or_default(),
            labels: pod.labels().clone(),
        };
        self.placed.insert(feed::key(pod), placed);
    }

    /// Stops counting a pod; says whether it was counted.
    pub fn release(&mut self, key: &Key) -> bool {
        self.placed.remove(key).is_some()
    }

    /// The best node for a pod, or the message of why there is none.
    pub fn pick(&self, pod: &Pod) -> Result<String, String> {
        let mut best: Option<(i128, &str)> = None;
        let mut unfit = Vec::new();
        for (name, node) in &self.nodes {
            match filter::fits(pod, node, self) {
                Ok(()) => {
                    let load = self.load(name, node);
                    if best.is_none_or(|(least, _)| load < least) {
                        best = Some((load, name));
                    }
                }
                Err(reason) => unfit.push(reason),
            }
        }
        best.map(|(_, name)| name.to_owned()).ok_or_else(|| explain(self.nodes.len(), &unfit))
    }

    /// How full a node is: the share of its fullest resource in millionths, then the number of its pods.
    fn load(&self, name: &str, node: &Node) -> i128 {
        let allocatable =
            quantity::amounts(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
        let mut used = Amounts::new();
        let mut count = 0;
        for placed in self.pods_on(name) {
            quantity::add(&mut used, &placed.requests);
            count += 1;
        }
        let share = |resource: &str| {
            let most = allocatable.get(resource).copied().unwrap_or(0).max(1);
            used.get(resource).copied().unwrap_or(0) * 1_000_000 / most
        };
        share("cpu").max(share("memory")) * 10_000 + count
    }
}

/// The message of a pod that fits nowhere.
fn explain(nodes: usize, unfit: &[Unfit]) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".into();
    }
    let mut reasons = BTreeMap::<&str, usize>::new();
    for reason in unfit.iter().flat_map(|unfit| &unfit.reasons) {
        *reasons.entry(reason).or_default() += 1;
    }
    let mut listed: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    listed.sort();

    let helped = unfit.iter().filter(|unfit| unfit.preemption_helps).count();
    let mut preemption = Vec::new();
    if helped > 0 {
        preemption.push(format!("{helped} No preemption victims found for incoming pod"));
    }
    if helped < unfit.len() {
        preemption.push(format!("{} Preemption is not helpful for scheduling", unfit.len() - helped));
    }
    preemption.sort();
    format!(
        "0/{nodes} nodes are available: {}. preemption: 0/{nodes} nodes are available: {}.",
        listed.join(", "),
        preemption.join(", ")
    )
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
