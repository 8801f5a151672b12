//! The node lifecycle controller: nodes that fall silent are marked, tainted, and left by their pods.
//!
//! 1. A node changes, has been silent for its grace period, or gets a pod while it is silent: it is looked at.
//! 2. A node that is overdue ([`health`]) has unknown conditions, and its pods are not ready any more.
//! 3. Its conditions become `NoSchedule` taints, and its labels get their old names ([`taints`]).
//! 4. A node that is not ready gets the `NoExecute` taint by which its pods leave, at the pace that the state of its
//!    zone allows ([`zones`]): where all nodes are lost at once, it is more likely that we are.
//!
//! Each look writes one thing; the change is the reason for the next look. Nothing polls: a timer runs out only when
//! a node's grace period would, and a renewed lease just moves that.
//!
//! Source: <https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller>.

mod health;
mod taints;
mod zones;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::join3;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::Context;
use crate::api::Error;
use crate::clock::{Clock, time};
use crate::events::{Note, Recorder};
use crate::informers::Informer;
use crate::queue::{Key, Queue};
use health::{Heard, Ready, ready};
use zones::{Zones, zone};

/// Where nodes renew their leases.
const LEASES: &str = "kube-node-lease";

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let controller = Controller {
        nodes: context.informers.of(),
        pods: context.informers.of(),
        leases: context.informers.selected("metadata.namespace=kube-node-lease"),
        recorder: context.recorder.named("node-controller"),
        clock: context.clock.clone(),
        queue: context.queue("node_lifecycle_controller"),
        state: Arc::default(),
    };
    controller.subscribe();
    let shutdown = context.shutdown.clone();
    async move {
        let synced = join3(controller.nodes.synced(), controller.pods.synced(), controller.leases.synced());
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = synced => {}
        }
        // One at a time: the pace of taints is that of a zone, not of a node.
        controller.queue.run(1, &shutdown, |key| controller.reconcile(key)).await;
    }
}

struct Controller {
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    leases: Informer<Lease>,
    recorder: Recorder,
    clock: Clock,
    queue: Queue<Key>,
    state: Arc<Mutex<State>>,
}

/// What is known only from having listened; a restart begins anew, and gives each node its full grace period.
#[derive(Default)]
struct State {
    heard: HashMap<String, Heard>,
    zones: Zones,
}

fn name(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}

impl Controller {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscribe(&self) {
        let (queue, state, recorder) = (self.queue.clone(), self.state.clone(), self.recorder.clone());
        self.nodes.subscribe(move |change| match (&change.old, &change.new) {
            (_, Some(node)) => queue.add(Key::of(&**node)),
            (Some(node), None) => {
                state.lock().unwrap_or_else(PoisonError::into_inner).heard.remove(name(node));
                recorder.tell(&**node, node_event(node, "RemovingNode", "Removing", "from"));
                queue.add(Key::of(&**node));
            }
            (None, None) => {}
        });
        let (state, clock) = (self.state.clone(), self.clock.clone());
        self.leases.subscribe(move |change| {
            let Some(lease) = &change.new else { return };
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(heard) = state.heard.get_mut(lease.metadata.name.as_deref().unwrap_or_default()) {
                heard.renewed(lease, clock.now());
            }
        });
        let (queue, nodes) = (self.queue.clone(), self.nodes.clone());
        self.pods.subscribe(move |change| {
            let place = |pod: &Option<Arc<Pod>>| pod.as_ref()?.spec.as_ref()?.node_name.clone();
            let Some(name) = place(&change.new) else { return };
            let is_new = place(&change.old).as_ref() != Some(&name);
            if is_new && nodes.get("", &name).is_some_and(|node| ready(&node) == Some(Ready::Unknown)) {
                queue.add(Key::new("", &name));
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        let now = self.clock.now();
        self.watch_zones(now);
        let Some(node) = self.nodes.get("", &key.name) else { return Ok(()) };
        let overdue = match self.listen(&node, now).overdue(&node, now) {
            Some(wait) => {
                self.queue.add_after(key.clone(), wait);
                None
            }
            None => health::lost(&node, now),
        };
        if let Some(lost) = overdue {
            self.nodes.update_status(&node, &lost).await?;
            if ready(&node) == Some(Ready::True) {
                let message = format!("Node {} status is now: NodeNotReady", key.name);
                self.recorder.tell(&*node, Note::normal("NodeNotReady", message));
            }
            return Ok(());
        }
        if ready(&node) == Some(Ready::Unknown) {
            self.end_readiness(&key.name, now).await?;
        }
        let marked = taints::mark(&node, now);
        if marked != *node {
            return self.nodes.update(&node, &marked).await;
        }
        match self.eviction(&node, &key, now) {
            Some(tainted) => self.nodes.update(&node, &tainted).await,
            None => Ok(()),
        }
    }

    /// What was last heard from the node, up to now.
    fn listen(&self, node: &Node, now: Timestamp) -> Heard {
        let lease = self.leases.get(LEASES, name(node));
        let mut state = self.state();
        let heard = state.heard.entry(name(node).to_owned()).or_insert_with(|| {
            self.recorder.tell(node, node_event(node, "RegisteredNode", "Registered", "in"));
            Heard::first(node, now)
        });
        heard.told(node, now);
        if let Some(lease) = lease {
            heard.renewed(&lease, now);
        }
        heard.clone()
    }

    /// Looks at the zones; when one has changed its state, all nodes are to be looked at again.
    fn watch_zones(&self, now: Timestamp) {
        let nodes = self.nodes.all();
        let mut state = self.state();
        let was_lost = state.zones.all_lost();
        if !state.zones.observe(nodes.iter().map(AsRef::as_ref)) {
            return;
        }
        if was_lost && !state.zones.all_lost() {
            // It may have been us who heard nothing.
            state.heard.values_mut().for_each(|heard| heard.pardon(now));
        }
        drop(state);
        for node in nodes {
            self.queue.add(Key::of(&*node));
        }
    }

    /// The node with the `NoExecute` taint that it must have now, or without; `None` if it is as it must be, or has to
    /// wait for its turn.
    fn eviction(&self, node: &Node, key: &Key, now: Timestamp) -> Option<Node> {
        let mut state = self.state();
        let wanted = match ready(node)? {
            Ready::True => None,
            _ if state.zones.all_lost() => None,
            Ready::False => Some(taints::NOT_READY),
            Ready::Unknown => Some(taints::UNREACHABLE),
        };
        let tainted = taints::evict(node, wanted, now)?;
        // Only the first taint waits for its turn, not the change from one to the other.
        if wanted.is_some() && !taints::is_evicting(node) {
            match state.zones.turn(&zone(node), now) {
                None => return None,
                Some(wait) if !wait.is_zero() => {
                    self.queue.add_after(key.clone(), wait);
                    return None;
                }
                Some(_) => {}
            }
        }
        Some(tainted)
    }

    /// Says of the pods of a silent node that they are not ready: nobody else will.
    async fn end_readiness(&self, node: &str, now: Timestamp) -> Result<(), Error> {
        for pod in self.pods.all() {
            let here = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node);
            let Some(unready) = here.then(|| unready(&pod, now)).flatten() else { continue };
            match self.pods.update_status(&pod, &unready).await {
                Err(error) if error.is_not_found() => continue,
                outcome => outcome?,
            }
            self.recorder.tell(&*pod, Note::warning("NodeNotReady", "Node is not ready"));
        }
        Ok(())
    }
}

fn node_event(node: &Node, reason: &'static str, did: &str, where_: &str) -> Note {
    let name = name(node);
    Note::normal(reason, format!("Node {name} event: {did} Node {name} {where_} Controller"))
}

/// The pod as not ready, if it says that it is.
fn unready(pod: &Pod, now: Timestamp) -> Option<Pod> {
    let mut unready = pod.clone();
    let conditions = unready.status.as_mut()?.conditions.as_mut()?;
    let condition = conditions.iter_mut().find(|one| one.type_ == "Ready" && one.status != "False")?;
    "False".clone_into(&mut condition.status);
    condition.last_transition_time = Some(time(now));
    Some(unready)
}

#[cfg(test)]
mod tests;
