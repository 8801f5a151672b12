//! The plan of one step of a deployment: a model of its replica sets that the rules change.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet, RollingUpdateDeployment};

use super::{progress, revisions, scaling};
use crate::counts::resolve;
use crate::events::Note;
use crate::replica_set::replicas;

/// What a plan is made from.
pub(super) struct Observed<'a> {
    pub deployment: &'a Deployment,
    /// The replica sets it controls.
    pub sets: Vec<Arc<ReplicaSet>>,
    /// The uids of replica sets that have pods which have not ended.
    pub running: &'a HashSet<String>,
    pub now: Timestamp,
}

/// What is to be done.
pub(super) struct Plan {
    /// The deployment with its new status and annotations; its specification is as observed.
    pub deployment: Deployment,
    /// The deployment with an earlier template, if it is to be rolled back.
    pub rolled_back: Option<Deployment>,
    pub sets: Vec<Planned>,
    pub notes: Vec<Note>,
    /// When the progress deadline is due.
    pub recheck_after: Option<Duration>,
}

/// A replica set as it shall be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planned {
    /// As it is; `None` if it is to be created.
    pub observed: Option<Arc<ReplicaSet>>,
    pub set: ReplicaSet,
    /// Whether it is to be deleted.
    pub doomed: bool,
}

/// The model.
pub(super) struct Rollout<'a> {
    pub deployment: Deployment,
    pub spec: DeploymentSpec,
    /// Oldest first.
    pub sets: Vec<Planned>,
    /// The set of the current template.
    pub newest: Option<usize>,
    pub notes: Vec<Note>,
    pub running: &'a HashSet<String>,
    pub now: Timestamp,
}

/// Decides the next step.
pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let mut rollout = Rollout::new(observed);
    if rollout.deployment.metadata.deletion_timestamp.is_some() {
        rollout.find_newest();
        return rollout.finish(progress::Kind::Counts);
    }

    rollout.mark_pause();
    if let Some(rolled_back) = revisions::roll_back(&mut rollout) {
        let deployment = observed.deployment.clone();
        let notes = rollout.notes;
        return Plan {
            deployment,
            rolled_back: Some(rolled_back),
            sets: Vec::new(),
            notes,
            recheck_after: None,
        };
    }
    rollout.sync_newest();
    let kind = if rollout.spec.paused == Some(true) || rollout.is_scaled() {
        scaling::scale(&mut rollout);
        if rollout.spec.paused == Some(true) {
            revisions::clean_up(&mut rollout);
        }
        progress::Kind::Counts
    } else {
        if recreates(&rollout.deployment) {
            scaling::recreate(&mut rollout);
        } else {
            scaling::roll(&mut rollout);
        }
        progress::Kind::Rollout
    };
    rollout.finish(kind)
}

/// Whether old pods must be gone before new ones come.
pub(super) fn recreates(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// The deployment with nothing but its generation acknowledged.
pub(super) fn seen(deployment: &Deployment) -> Deployment {
    let mut seen = deployment.clone();
    seen.status.get_or_insert_default().observed_generation = deployment.metadata.generation;
    seen
}

impl<'a> Rollout<'a> {
    fn new(observed: &Observed<'a>) -> Self {
        let mut sets: Vec<_> = observed.sets.clone();
        sets.sort_by_key(|set| {
            let created = set.metadata.creation_timestamp.clone();
            (created, set.metadata.name.clone())
        });
        let planned = |set: Arc<ReplicaSet>| Planned {
            set: ReplicaSet::clone(&set),
            observed: Some(set),
            doomed: false,
        };
        Self {
            deployment: observed.deployment.clone(),
            spec: observed.deployment.spec.clone().unwrap_or_default(),
            sets: sets.into_iter().map(planned).collect(),
            newest: None,
            notes: Vec::new(),
            running: observed.running,
            now: observed.now,
        }
    }

    fn finish(mut self, kind: progress::Kind) -> Plan {
        let recheck_after = progress::report(&mut self, kind);
        Plan {
            deployment: self.deployment,
            rolled_back: None,
            sets: self.sets,
            notes: self.notes,
            recheck_after,
        }
    }

    /// How many pods are asked for.
    pub fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn rolling(&self) -> Option<&RollingUpdateDeployment> {
        let strategy = self.spec.strategy.as_ref().filter(|_| !recreates(&self.deployment))?;
        strategy.rolling_update.as_ref()
    }

    fn limits(&self) -> (i32, i32) {
        let Some(rolling) = self.rolling() else { return (0, 0) };
        let of =
            |value: &Option<_>, up| value.as_ref().map_or(0, |value| resolve(value, self.replicas(), up));
        let (surge, unavailable) = (of(&rolling.max_surge, true), of(&rolling.max_unavailable, false));
        // Both zero would never move: one may be unavailable then.
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }

    /// How many pods there may be above the number asked for.
    pub fn max_surge(&self) -> i32 {
        self.limits().0
    }

    /// How many pods may be missing during a rolling update.
    pub fn max_unavailable(&self) -> i32 {
        self.limits().1.min(self.replicas())
    }

    /// The set of the current template.
    pub fn newest(&self) -> Option<&Planned> {
        self.sets.get(self.newest?)
    }

    /// Indices of all sets but the newest, oldest first.
    pub fn old(&self) -> Vec<usize> {
        (0..self.sets.len()).filter(|index| Some(*index) != self.newest).collect()
    }

    /// Indices of sets that ask for pods, oldest first.
    pub fn active(&self) -> Vec<usize> {
        (0..self.sets.len()).filter(|index| self.size(*index) > 0).collect()
    }

    /// What a set asks for, as planned.
    pub fn size(&self, index: usize) -> i32 {
        self.sets.get(index).map_or(0, |planned| replicas(&planned.set))
    }

    /// How many of a set's pods are available.
    pub fn available(&self, index: usize) -> i32 {
        let status = self.sets.get(index).and_then(|planned| planned.set.status.as_ref());
        status.and_then(|status| status.available_replicas).unwrap_or(0)
    }

    /// The sum of what all sets ask for.
    pub fn total(&self) -> i32 {
        (0..self.sets.len()).map(|index| self.size(index)).sum()
    }

    /// Resizes a set; says so if that changes anything.
    pub fn resize(&mut self, index: usize, size: i32) -> bool {
        let (wanted, surge) = (self.replicas(), self.max_surge());
        let Some(planned) = self.sets.get_mut(index) else { return false };
        let was = replicas(&planned.set);
        revisions::note_sizes(&mut planned.set, wanted, surge);
        if was == size {
            return false;
        }
        planned.set.spec.get_or_insert_default().replicas = Some(size);
        let name = planned.set.metadata.name.clone().unwrap_or_default();
        self.note_scaling(&name, was, size);
        true
    }

    pub fn note_scaling(&mut self, set: &str, from: i32, to: i32) {
        let way = if from < to { "up" } else { "down" };
        let message = format!("Scaled {way} replica set {set} from {from} to {to}");
        self.notes.push(Note::normal("ScalingReplicaSet", message));
    }

    pub fn find_newest(&mut self) {
        let deployment = &self.deployment;
        self.newest =
            self.sets.iter().position(|planned| revisions::is_same_template(deployment, &planned.set));
    }

    /// Finds the newest set and brings revisions up to date.
    fn sync_newest(&mut self) {
        self.find_newest();
        revisions::sync(self);
    }

    /// Whether the number of pods asked for changed since a set was last sized.
    fn is_scaled(&self) -> bool {
        let changed = |index: usize| {
            let set = self.sets.get(index).map(|planned| &planned.set);
            set.and_then(revisions::desired).is_some_and(|desired| desired != self.replicas())
        };
        self.active().into_iter().any(changed)
    }

    fn mark_pause(&mut self) {
        let paused = self.spec.paused == Some(true);
        progress::mark_pause(&mut self.deployment, paused, self.now);
    }
}
