//! Whether a node is heard of: by its lease, or by the heartbeat of its conditions.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::clock::{remaining, time};

/// How long a node that has told its status may be silent (`--node-monitor-grace-period`).
const GRACE_SECONDS: i64 = 50;
/// How long a new node may take to tell its status (`--node-startup-grace-period`).
const STARTUP_SECONDS: i64 = 60;
/// What a node tells itself; whether its network works is told by others.
const TOLD: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
/// The reason of conditions that no node has told.
const NEVER: &str = "NodeStatusNeverUpdated";

/// What a node's `Ready` condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    True,
    False,
    Unknown,
}

/// The node's `Ready` condition; `None` if nobody has said anything yet.
pub(super) fn ready(node: &Node) -> Option<Ready> {
    Some(match condition(node, "Ready")?.status.as_str() {
        "True" => Ready::True,
        "False" => Ready::False,
        _ => Ready::Unknown,
    })
}

fn condition<'a>(node: &'a Node, type_: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_)
}

/// What has been heard from a node.
///
/// Times of nodes are compared with each other only: their clocks need not be right.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Heard {
    /// When, by our clock.
    at: Timestamp,
    heartbeat: Option<Timestamp>,
    renewal: Option<Timestamp>,
}

impl Heard {
    /// Of a node that we see for the first time.
    pub fn first(node: &Node, now: Timestamp) -> Self {
        let heartbeat = heartbeat(node);
        let created = node.metadata.creation_timestamp.as_ref().map_or(now, |at| at.0);
        let at = if heartbeat.is_none() && ready(node).is_none() { created } else { now };
        Self { at, heartbeat, renewal: None }
    }

    /// Takes in the node's status.
    pub fn told(&mut self, node: &Node, now: Timestamp) {
        let heartbeat = heartbeat(node);
        if heartbeat.is_some() && heartbeat != self.heartbeat {
            self.at = now;
        }
        self.heartbeat = heartbeat;
    }

    /// Takes in the node's lease.
    pub fn renewed(&mut self, lease: &Lease, now: Timestamp) {
        let renewal = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref()).map(|at| at.0);
        if renewal > self.renewal {
            (self.renewal, self.at) = (renewal, now);
        }
    }

    /// Begins the grace period anew.
    pub fn pardon(&mut self, now: Timestamp) {
        self.at = now;
    }

    /// How long the node may still be silent; `None` if it has been for too long.
    pub fn overdue(&self, node: &Node, now: Timestamp) -> Option<Duration> {
        let grace = if ready(node).is_some() { GRACE_SECONDS } else { STARTUP_SECONDS };
        remaining(self.at, grace, now)
    }
}

/// When the node last told its status, by its own clock.
fn heartbeat(node: &Node) -> Option<Timestamp> {
    let ready = condition(node, "Ready").filter(|condition| condition.reason.as_deref() != Some(NEVER))?;
    Some(ready.last_heartbeat_time.as_ref().map_or(Timestamp::MIN, |at| at.0))
}

/// The node with its conditions unknown, unless they are.
pub(super) fn lost(node: &Node, now: Timestamp) -> Option<Node> {
    let mut lost = node.clone();
    let created = node.metadata.creation_timestamp.clone();
    let conditions = lost.status.get_or_insert_default().conditions.get_or_insert_default();
    for type_ in TOLD {
        match conditions.iter_mut().find(|condition| condition.type_ == type_) {
            None => conditions.push(NodeCondition {
                type_: type_.to_owned(),
                last_heartbeat_time: created.clone(),
                ..unknown(NEVER, "Kubelet never posted node status.", time(now))
            }),
            Some(condition) if condition.status != "Unknown" => {
                let told = condition.clone();
                *condition = NodeCondition {
                    type_: told.type_,
                    last_heartbeat_time: told.last_heartbeat_time,
                    ..unknown("NodeStatusUnknown", "Kubelet stopped posting node status.", time(now))
                };
            }
            Some(_) => {}
        }
    }
    (lost != *node).then_some(lost)
}

fn unknown(reason: &str, message: &str, since: Time) -> NodeCondition {
    NodeCondition {
        status: "Unknown".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(since),
        ..NodeCondition::default()
    }
}
