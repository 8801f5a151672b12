//! What to do next about the pods of a stateful set.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;

use super::identity::{is_labelled, ordinal, revision};
use crate::clock::sooner;
use crate::counts::{nonzero, resolve};
use crate::pods::{self, Availability};

/// What a plan is made from.
#[derive(Clone, Copy)]
pub(super) struct Observed<'a> {
    pub set: &'a StatefulSet,
    /// The set's pods.
    pub pods: &'a [Arc<Pod>],
    /// The revision before the running update.
    pub current: &'a str,
    /// The revision of the present template.
    pub update: &'a str,
    pub now: Timestamp,
}

/// A step.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Create {
        ordinal: i32,
        revision: String,
    },
    Delete(Arc<Pod>),
    /// The pod ended by itself and is deleted to make room for its successor.
    Replace(Arc<Pod>),
    /// Give the pod its labels.
    Identify(Arc<Pod>),
    /// Create missing claims and give claims their owners.
    TendClaims {
        pod: Arc<Pod>,
        /// Whether the pod is beyond the number asked for.
        condemned: bool,
    },
}

/// The status given the pods; and when it changes by itself.
pub(super) fn observe(observed: &Observed<'_>) -> (StatefulSetStatus, Option<Duration>) {
    let view = View::new(observed);
    let (mut ready, mut available, mut current, mut updated) = (0, 0, 0, 0);
    let mut next = None;
    for pod in observed.pods.iter().filter(|pod| ordinal(observed.set, pod).is_some()) {
        if pods::phase(pod) == "Running" {
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
        if !pods::is_terminating(pod) {
            current += i32::from(revision(pod) == Some(observed.current));
            updated += i32::from(revision(pod) == Some(observed.update));
        }
    }
    let replicas = i32::try_from(observed.pods.len()).unwrap_or(i32::MAX);
    let mut status = StatefulSetStatus {
        observed_generation: observed.set.metadata.generation,
        replicas,
        ready_replicas: nonzero(ready),
        available_replicas: Some(available),
        current_replicas: nonzero(current),
        updated_replicas: nonzero(updated),
        current_revision: Some(observed.current.to_owned()),
        update_revision: Some(observed.update.to_owned()),
        collision_count: None,
        conditions: observed.set.status.as_ref().and_then(|status| status.conditions.clone()),
    };
    let all = view.replicas();
    if view.is_rolling() && replicas == all && updated == all && ready == all {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
    (status, next)
}

/// Decides the next steps: at most one that creates or deletes a pod, unless the set is parallel.
pub(super) fn plan(observed: &Observed<'_>) -> Vec<Action> {
    if observed.set.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let view = View::new(observed);
    let mut actions = Vec::new();
    if view.fill(&mut actions) && view.shrink(&mut actions) {
        view.roll(&mut actions);
    }
    actions
}

/// The pods by their place.
struct View<'a> {
    observed: &'a Observed<'a>,
    spec: StatefulSetSpec,
    /// The pods that should be, by ordinal; `None` where one is missing.
    replicas: BTreeMap<i32, Option<&'a Arc<Pod>>>,
    /// The pods that should not be, by ordinal.
    condemned: BTreeMap<i32, &'a Arc<Pod>>,
}

impl<'a> View<'a> {
    fn new(observed: &'a Observed<'a>) -> Self {
        let spec = observed.set.spec.clone().unwrap_or_default();
        let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
        let end = start.saturating_add(spec.replicas.unwrap_or(1));
        let mut replicas: BTreeMap<_, _> = (start..end).map(|ordinal| (ordinal, None)).collect();
        let mut condemned = BTreeMap::new();
        for pod in observed.pods {
            let Some(ordinal) = ordinal(observed.set, pod) else { continue };
            match replicas.get_mut(&ordinal) {
                Some(slot) => *slot = Some(pod),
                None => drop(condemned.insert(ordinal, pod)),
            }
        }
        Self { observed, spec, replicas, condemned }
    }

    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn is_ordered(&self) -> bool {
        self.spec.pod_management_policy.as_deref() != Some("Parallel")
    }

    fn is_rolling(&self) -> bool {
        let strategy = self.spec.update_strategy.as_ref();
        strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete")
    }

    fn partition(&self) -> i32 {
        let rolling =
            self.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let start = self.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
        start + rolling.and_then(|rolling| rolling.partition).unwrap_or(0)
    }

    fn availability(&self, pod: &Pod) -> Availability {
        pods::availability(pod, self.spec.min_ready_seconds.unwrap_or(0), self.observed.now)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pods::phase(pod) == "Running"
            && !pods::is_terminating(pod)
            && self.availability(pod) == Availability::Available
    }

    /// Creates what is missing, lowest first; says whether the next stage may go on.
    fn fill(&self, actions: &mut Vec<Action>) -> bool {
        let mut settled = true;
        for (ordinal, pod) in &self.replicas {
            let Some(pod) = pod else {
                let old = self.is_rolling() && *ordinal < self.partition();
                let revision = if old { self.observed.current } else { self.observed.update };
                actions.push(Action::Create { ordinal: *ordinal, revision: revision.to_owned() });
                settled = false;
                if self.is_ordered() {
                    return false;
                }
                continue;
            };
            if pods::is_finished(pod) {
                if !pods::is_terminating(pod) {
                    actions.push(Action::Replace((*pod).clone()));
                }
                settled = false;
                if self.is_ordered() {
                    return false;
                }
                continue;
            }
            if !is_labelled(self.observed.set, pod) {
                actions.push(Action::Identify((*pod).clone()));
            }
            actions.push(Action::TendClaims { pod: (*pod).clone(), condemned: false });
            if self.is_ordered() && !self.is_available(pod) {
                return false;
            }
        }
        settled
    }

    /// Deletes what is too much, highest first; says whether the next stage may go on.
    fn shrink(&self, actions: &mut Vec<Action>) -> bool {
        let tend = |pod: &&Arc<Pod>| Action::TendClaims { pod: (*pod).clone(), condemned: true };
        actions.extend(self.condemned.values().map(tend));
        let all = self.replicas.values().flatten().chain(self.condemned.values());
        let first_unhealthy = all.copied().find(|pod| !self.is_available(pod));
        for pod in self.condemned.values().rev() {
            let terminating = pods::is_terminating(pod);
            if self.is_ordered() {
                // One that cannot become available need not be waited for, unless it is behind another such.
                let stuck = !self.is_available(pod) && first_unhealthy.is_some_and(|first| first != *pod);
                if !terminating && !stuck {
                    actions.push(Action::Delete((*pod).clone()));
                }
                return false;
            }
            if !terminating {
                actions.push(Action::Delete((*pod).clone()));
            }
        }
        true
    }

    /// Deletes pods of an old revision, highest first, to have them created anew.
    ///
    /// Every pod that is not available counts towards `maxUnavailable`, whatever its revision; deleting one that is
    /// not available anyway makes nothing worse.
    fn roll(&self, actions: &mut Vec<Action>) {
        if !self.is_rolling() {
            return;
        }
        let rolling =
            self.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let limit = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        let limit = limit.map_or(1, |limit| resolve(limit, self.replicas(), true).max(1));
        let limit = usize::try_from(limit).unwrap_or(1);
        let present = self.replicas.values().flatten();
        let mut unavailable = present.filter(|pod| !self.is_available(pod)).count();
        for (_, pod) in self.replicas.range(self.partition()..).rev() {
            let Some(pod) = pod else { continue };
            if revision(pod) == Some(self.observed.update) || pods::is_terminating(pod) {
                continue;
            }
            if self.is_available(pod) {
                if unavailable >= limit {
                    continue;
                }
                unavailable += 1;
            }
            actions.push(Action::Delete((*pod).clone()));
        }
    }
}
