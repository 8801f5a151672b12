//! The replica set controller: as many pods as asked for, no more and no fewer.
//!
//! Replication controllers are its elders, with another form of selector; both are [`Replicated`].
//!
//! 1. Claim the pods that match the selector.
//! 2. Create what is missing, or delete what is too much, the least valuable first.
//! 3. Report.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    Pod, PodTemplateSpec, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::Context;
use crate::api::Error;
use crate::clock::{Clock, sooner, time};
use crate::events::Recorder;
use crate::informers::{Informer, Object};
use crate::ownership::{claim_all, controller_of, controller_reference, wake_itself, wake_owners};
use crate::pod_control;
use crate::pods::{self, Availability};
use crate::queue::{Key, Queue};
use crate::selectors;

/// Most pods created or deleted in one step, so that one huge set does not hold up the others.
const BURST: usize = 500;

/// Something that asks for a number of equal pods.
pub(crate) trait Replicated: Object {
    /// The component that tells events about it.
    const COMPONENT: &'static str;
    /// What the metrics call its queue.
    const QUEUE: &'static str;

    /// How many pods it asks for.
    fn replicas(&self) -> i32;
    /// Which pods are its own; `None` if it cannot have any.
    fn selector(&self) -> Option<Cow<'_, LabelSelector>>;
    /// What new pods are made from.
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// How long a pod must be ready to be available, in seconds.
    fn min_ready_seconds(&self) -> i32;
    /// Its status, in the form of a replica set's.
    fn status(&self) -> Option<ReplicaSetStatus>;
    /// The same object with this status.
    #[must_use]
    fn with_status(&self, status: ReplicaSetStatus) -> Self;
}

impl Replicated for ReplicaSet {
    const COMPONENT: &'static str = "replicaset-controller";
    const QUEUE: &'static str = "replicaset";

    fn replicas(&self) -> i32 {
        replicas(self)
    }

    fn selector(&self) -> Option<Cow<'_, LabelSelector>> {
        self.spec.as_ref().map(|spec| Cow::Borrowed(&spec.selector))
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
    }

    fn status(&self) -> Option<ReplicaSetStatus> {
        self.status.clone()
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        Self { status: Some(status), ..self.clone() }
    }
}

impl Replicated for ReplicationController {
    const COMPONENT: &'static str = "replication-controller";
    const QUEUE: &'static str = "replicationmanager";

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    fn selector(&self) -> Option<Cow<'_, LabelSelector>> {
        let labels = self.spec.as_ref()?.selector.clone().filter(|labels| !labels.is_empty())?;
        Some(Cow::Owned(LabelSelector { match_labels: Some(labels), match_expressions: None }))
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
    }

    fn status(&self) -> Option<ReplicaSetStatus> {
        let status = self.status.clone()?;
        let condition = |one: ReplicationControllerCondition| ReplicaSetCondition {
            type_: one.type_,
            status: one.status,
            reason: one.reason,
            message: one.message,
            last_transition_time: one.last_transition_time,
        };
        Some(ReplicaSetStatus {
            available_replicas: status.available_replicas,
            conditions: status.conditions.map(|all| all.into_iter().map(condition).collect()),
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
            terminating_replicas: None,
        })
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        let condition = |one: ReplicaSetCondition| ReplicationControllerCondition {
            type_: one.type_,
            status: one.status,
            reason: one.reason,
            message: one.message,
            last_transition_time: one.last_transition_time,
        };
        // A replication controller does not count its terminating pods.
        let status = ReplicationControllerStatus {
            available_replicas: status.available_replicas,
            conditions: status.conditions.map(|all| all.into_iter().map(condition).collect()),
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
        };
        Self { status: Some(status), ..self.clone() }
    }
}

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    start_of::<ReplicaSet>(context)
}

/// As [`start`], for replication controllers.
pub(crate) fn start_replication(context: &Context) -> impl Future<Output = ()> + use<> {
    start_of::<ReplicationController>(context)
}

fn start_of<R: Replicated>(context: &Context) -> impl Future<Output = ()> + use<R> {
    let controller = Controller::<R> {
        sets: context.informers.of(),
        pods: context.informers.of(),
        recorder: context.recorder.named(R::COMPONENT),
        clock: context.clock.clone(),
        queue: context.queue(R::QUEUE),
    };
    wake_itself(&controller.sets, &controller.queue);
    wake_owners(&controller.pods, &controller.sets, &controller.queue, R::selector);
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = join(controller.sets.synced(), controller.pods.synced()) => {}
        }
        controller.queue.run(5, &shutdown, |key| controller.reconcile(key)).await;
    }
}

struct Controller<R> {
    sets: Informer<R>,
    pods: Informer<Pod>,
    recorder: Recorder,
    clock: Clock,
    queue: Queue<Key>,
}

/// What to do about the number of pods.
#[derive(Debug, PartialEq)]
enum Plan {
    Nothing,
    Create(usize),
    Delete(Vec<Arc<Pod>>),
}

/// Compares the active pods with what is asked for; `related` are the pods of all sets of the same deployment.
fn plan<R: Replicated>(set: &R, owned: &[Arc<Pod>], related: impl FnOnce() -> Vec<Arc<Pod>>) -> Plan {
    if set.meta().deletion_timestamp.is_some() {
        return Plan::Nothing;
    }
    let mut active: Vec<_> = owned.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
    let wanted = usize::try_from(set.replicas()).unwrap_or(0);
    if active.len() < wanted {
        return Plan::Create((wanted - active.len()).min(BURST));
    }
    let surplus = (active.len() - wanted).min(BURST);
    if surplus == 0 {
        return Plan::Nothing;
    }
    pods::sort_for_deletion(&mut active, &related());
    active.truncate(surplus);
    Plan::Delete(active)
}

/// What a set asks for.
pub(crate) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// The status given the pods owned now; and when it will change by itself as pods become available.
fn observe<R: Replicated>(
    set: &R,
    owned: &[Arc<Pod>],
    failure: Option<(&'static str, &Error)>,
    now: Timestamp,
) -> (ReplicaSetStatus, Option<Duration>) {
    let labels = set.template().and_then(|template| template.metadata.as_ref()?.labels.clone());
    let labels = labels.unwrap_or_default();
    let mut status = ReplicaSetStatus {
        observed_generation: set.meta().generation,
        // Zeros are left out, but for the terminating replicas: so does the wire format of this type.
        fully_labeled_replicas: None,
        ready_replicas: None,
        available_replicas: None,
        terminating_replicas: Some(0),
        conditions: set.status().and_then(|status| status.conditions),
        replicas: 0,
    };
    let mut next = None;
    let add = |count: &mut Option<i32>| *count = Some(count.unwrap_or(0) + 1);
    for pod in owned.iter().filter(|pod| !pods::is_finished(pod)) {
        if pods::is_terminating(pod) {
            add(&mut status.terminating_replicas);
            continue;
        }
        status.replicas += 1;
        if selectors::contains_all(pod.metadata.labels.as_ref(), &labels) {
            add(&mut status.fully_labeled_replicas);
        }
        match pods::availability(pod, set.min_ready_seconds(), now) {
            Availability::Unready => {}
            Availability::In(wait) => {
                add(&mut status.ready_replicas);
                next = sooner(next, Some(wait));
            }
            Availability::Available => {
                add(&mut status.ready_replicas);
                add(&mut status.available_replicas);
            }
        }
    }

    let conditions = status.conditions.get_or_insert_default();
    let known = conditions.iter().any(|condition| condition.type_ == "ReplicaFailure");
    match failure {
        Some((reason, error)) if !known => conditions.push(ReplicaSetCondition {
            type_: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(error.message()),
            last_transition_time: Some(time(now)),
        }),
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
        Some(_) => {}
    }
    if conditions.is_empty() {
        status.conditions = None;
    }
    (status, next)
}

impl<R: Replicated> Controller<R> {
    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        let Some(set) = self.sets.get(&key.namespace, &key.name) else { return Ok(()) };
        let Some(selector) = set.selector() else { return Ok(()) };
        let mut live = self.pods.claimable(set.meta());
        live.retain(|pod| !pods::is_finished(pod));
        let owned = claim_all(&self.sets, &*set, &selector, &self.pods, live).await?;

        let plan = plan(&*set, &owned, || self.related(&set));
        let reason = if matches!(plan, Plan::Create(_)) { "FailedCreate" } else { "FailedDelete" };
        let outcome = self.act(&set, plan).await;

        let owned = self.pods.owned(set.meta());
        let failure = outcome.as_ref().err().map(|error| (reason, error));
        let (status, next) = observe(&*set, &owned, failure, self.clock.now());
        self.sets.update_status(&set, &set.with_status(status)).await?;
        if let Some(wait) = next {
            self.queue.add_after(key, wait);
        }
        outcome
    }

    async fn act(&self, set: &R, plan: Plan) -> Result<(), Error> {
        match plan {
            Plan::Nothing => Ok(()),
            Plan::Create(count) => pods::slow_start(count, |_| self.create(set)).await,
            Plan::Delete(surplus) => {
                let deletions = surplus.iter().map(|pod| self.delete(set, pod));
                join_all(deletions).await.into_iter().collect()
            }
        }
    }

    async fn create(&self, set: &R) -> Result<(), Error> {
        let template = set.template().cloned().unwrap_or_default();
        let pod = pods::from_template(&template, set.meta().namespace.as_ref(), controller_reference(set));
        pod_control::create(&self.pods, &self.recorder, set, &pod).await
    }

    async fn delete(&self, set: &R, pod: &Pod) -> Result<(), Error> {
        pod_control::delete(&self.pods, &self.recorder, set, pod).await
    }

    /// The pods of all sets that have the same controller as `set`.
    fn related(&self, set: &R) -> Vec<Arc<Pod>> {
        let meta = set.meta();
        let Some(parent) = controller_of(meta) else { return self.pods.owned(meta) };
        let parent = ObjectMeta {
            namespace: meta.namespace.clone(),
            uid: Some(parent.uid.clone()),
            ..ObjectMeta::default()
        };
        self.sets.owned(&parent).iter().flat_map(|sibling| self.pods.owned(sibling.meta())).collect()
    }
}

#[cfg(test)]
mod tests;
