//! Which nodes get a pod, and which lose theirs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use super::pod::{hash_of, node_of, template};
use crate::clock::{remaining, sooner};
use crate::counts::{nonzero, resolve};
use crate::events::Note;
use crate::node_fit::{Fit, fit};
use crate::pods::{self, Availability};

/// A failed daemon is left for this long, so that one which cannot live is not killed in a tight loop.
const FAILED_SECONDS: i64 = 10;

/// What a plan is made from.
#[derive(Clone, Copy)]
pub(super) struct Observed<'a> {
    pub set: &'a DaemonSet,
    /// The set's pods.
    pub pods: &'a [Arc<Pod>],
    pub nodes: &'a [Arc<Node>],
    /// The hash of the present revision.
    pub hash: &'a str,
    pub now: Timestamp,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Names of nodes that get a pod.
    pub create: Vec<String>,
    pub delete: Vec<Arc<Pod>>,
    pub notes: Vec<Note>,
    pub recheck_after: Option<Duration>,
}

/// A node and the set's pods on it, oldest first.
struct Place<'a> {
    node: &'a str,
    fit: Fit,
    pods: Vec<&'a Arc<Pod>>,
}

struct View<'a> {
    observed: &'a Observed<'a>,
    spec: DaemonSetSpec,
    places: Vec<Place<'a>>,
    /// Pods on nodes that do not exist.
    lost: Vec<&'a Arc<Pod>>,
}

impl<'a> View<'a> {
    fn new(observed: &'a Observed<'a>) -> Self {
        let mut by_node: BTreeMap<&str, Vec<&Arc<Pod>>> = BTreeMap::new();
        for pod in observed.pods {
            by_node.entry(node_of(pod).unwrap_or_default()).or_default().push(pod);
        }
        let sample = template(observed.set);
        let mut places = Vec::new();
        for node in observed.nodes {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            let mut pods = by_node.remove(name).unwrap_or_default();
            pods.sort_by_key(|pod| (pod.creation_timestamp(), pod.name_any()));
            places.push(Place { node: name, fit: fit(&sample, node), pods });
        }
        let lost = by_node.into_values().flatten().collect();
        Self { observed, spec: observed.set.spec.clone().unwrap_or_default(), places, lost }
    }

    fn desired(&self) -> i32 {
        self.places.iter().filter(|place| place.fit.start).count() as i32
    }

    fn availability(&self, pod: &Pod) -> Availability {
        pods::availability(pod, self.spec.min_ready_seconds.unwrap_or(0), self.observed.now)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        self.availability(pod) == Availability::Available
    }

    fn is_new(&self, pod: &Pod) -> bool {
        hash_of(pod) == Some(self.observed.hash)
    }

    /// How many pods may be missing, and how many nodes may have two, during a rolling update.
    fn limits(&self) -> (usize, usize) {
        let rolling =
            self.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let of =
            |value: Option<_>, default| value.map_or(default, |value| resolve(value, self.desired(), true));
        let surge = of(rolling.and_then(|rolling| rolling.max_surge.as_ref()), 0);
        let unavailable =
            of(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), i32::from(surge == 0));
        let count = |number: i32| usize::try_from(number).unwrap_or(0);
        // If both come out as zero, one may be missing: otherwise nothing would ever move.
        if surge == 0 { (count(unavailable).max(1), 0) } else { (count(unavailable), count(surge)) }
    }

    fn is_rolling(&self) -> bool {
        let strategy = self.spec.update_strategy.as_ref();
        strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete")
    }
}

/// Decides the next step.
pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let mut plan = Plan::default();
    if observed.set.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let view = View::new(observed);
    view.place(&mut plan);
    // Rolling goes on once every node has what it needs, as each surplus or missing pod is a pod unavailable.
    if view.is_rolling() && plan.delete.is_empty() {
        match view.limits() {
            (unavailable, 0) => view.roll(unavailable, &mut plan),
            (_, surge) => view.surge(surge, &mut plan),
        }
    }
    plan
}

/// The status given the pods; and when it changes by itself.
pub(super) fn observe(observed: &Observed<'_>) -> (DaemonSetStatus, Option<Duration>) {
    let view = View::new(observed);
    let (mut scheduled, mut misscheduled, mut ready, mut available, mut updated) = (0, 0, 0, 0, 0);
    let mut next = None;
    for place in &view.places {
        let Some(pod) = place.pods.first().filter(|_| place.fit.start) else {
            misscheduled += i32::from(!place.pods.is_empty());
            continue;
        };
        scheduled += 1;
        updated += i32::from(place.pods.iter().any(|pod| view.is_new(pod)));
        match view.availability(pod) {
            Availability::Unready => {}
            Availability::In(wait) => {
                ready += 1;
                next = sooner(next, Some(wait));
            }
            Availability::Available => {
                ready += 1;
                available += 1;
            }
        }
    }
    let old = observed.set.status.clone().unwrap_or_default();
    let status = DaemonSetStatus {
        observed_generation: observed.set.metadata.generation,
        desired_number_scheduled: view.desired(),
        current_number_scheduled: scheduled,
        number_misscheduled: misscheduled,
        number_ready: ready,
        number_available: nonzero(available),
        number_unavailable: nonzero(view.desired() - available),
        updated_number_scheduled: nonzero(updated),
        collision_count: old.collision_count,
        conditions: old.conditions,
    };
    (status, next)
}

impl View<'_> {
    /// Gives each node that fits its pod, and takes pods from those that do not.
    fn place(&self, plan: &mut Plan) {
        let live = |pod: &&&Arc<Pod>| !pods::is_terminating(pod);
        for place in &self.places {
            if !place.fit.stay {
                plan.delete.extend(place.pods.iter().filter(live).map(|pod| Arc::clone(pod)));
            } else if place.pods.is_empty() {
                if place.fit.start {
                    plan.create.push(place.node.to_owned());
                }
            } else {
                self.tidy(place, plan);
            }
        }
        plan.delete.extend(self.lost.iter().filter(live).map(|pod| Arc::clone(pod)));
    }

    /// Removes ended and surplus pods from a node.
    fn tidy(&self, place: &Place<'_>, plan: &mut Plan) {
        let mut running: Vec<&Arc<Pod>> = Vec::new();
        for pod in place.pods.iter().filter(|pod| !pods::is_terminating(pod)) {
            if !pods::is_finished(pod) {
                running.push(pod);
                continue;
            }
            let ended = pod.creation_timestamp().map_or(self.observed.now, |at| at.0);
            if let Some(wait) = remaining(ended, FAILED_SECONDS, self.observed.now) {
                plan.recheck_after = sooner(plan.recheck_after, Some(wait));
                continue;
            }
            let full =
                format!("{}/{} on node {}", pod.namespace().unwrap_or_default(), pod.name_any(), place.node);
            plan.notes.push(if pods::phase(pod) == "Failed" {
                Note::warning(
                    "FailedDaemonPod",
                    format!("Found failed daemon pod {full}, will try to kill it"),
                )
            } else {
                Note::normal(
                    "SucceededDaemonPod",
                    format!("Found succeeded daemon pod {full}, will try to delete it"),
                )
            });
            plan.delete.push(Arc::clone(pod));
        }
        if self.limits().1 == 0 {
            plan.delete.extend(running.into_iter().skip(1).cloned());
            return;
        }
        // With a surge, one old and one new pod may be there, until the new one serves or the old one does not.
        let (new, old): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) =
            running.into_iter().partition(|pod| self.is_new(pod));
        if let (Some(new), Some(old)) = (new.first(), old.first())
            && (self.is_available(new) || !self.is_available(old))
        {
            plan.delete.push(Arc::clone(old));
        }
        plan.delete.extend(new.into_iter().skip(1).chain(old.into_iter().skip(1)).cloned());
    }

    /// Deletes old pods, as many as may be missing; those that do not serve are no loss.
    fn roll(&self, limit: usize, plan: &mut Plan) {
        let mut unavailable = 0;
        let mut candidates = Vec::new();
        for place in self.places.iter().filter(|place| place.fit.start) {
            match place.pods.as_slice() {
                [pod] if pods::is_terminating(pod) => unavailable += 1,
                [pod] if self.is_new(pod) => unavailable += usize::from(!self.is_available(pod)),
                [pod] if !self.is_available(pod) => {
                    unavailable += 1;
                    plan.delete.push(Arc::clone(pod));
                }
                [pod] => candidates.push(Arc::clone(pod)),
                _ => unavailable += 1,
            }
        }
        plan.delete.extend(candidates.into_iter().take(limit.saturating_sub(unavailable)));
    }

    /// Creates new pods beside old ones, on as many nodes as may have two; where the old one does not serve, at once.
    fn surge(&self, limit: usize, plan: &mut Plan) {
        let mut surging = 0;
        let mut candidates = Vec::new();
        for place in self.places.iter().filter(|place| place.fit.start) {
            let has_new = place.pods.iter().any(|pod| self.is_new(pod));
            let old = place.pods.iter().find(|pod| !self.is_new(pod));
            match old {
                Some(_) if has_new => surging += 1,
                Some(old) if pods::is_terminating(old) || !self.is_available(old) => {
                    plan.create.push(place.node.to_owned());
                }
                Some(_) => candidates.push(place.node.to_owned()),
                None => {}
            }
        }
        plan.create.extend(candidates.into_iter().take(limit.saturating_sub(surging)));
    }
}
