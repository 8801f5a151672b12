//! The job controller: pods that run to their end, counted exactly once.
//!
//! 1. Claim the job's pods and tally how they ended.
//! 2. Plan ([`plan::plan`], pure): finish, suspend, create or remove pods.
//! 3. Account ([`accounting::account`], pure): write into the status what ended, then take the tracking finalizer off
//!    those pods, then turn what was noted into counts.
//!
//! A pod carries the finalizer `batch.kubernetes.io/job-tracking` until its end is in the status, so neither a crash
//! nor a deleted pod makes the count wrong.

mod accounting;
mod failure_policy;
mod indexes;
mod plan;
mod pod;

use std::borrow::Cow;
use std::sync::Arc;

use futures::future::{join, join_all};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PropagationPolicy};

use crate::Context;
use crate::api::Error;
use crate::clock::{Clock, remaining};
use crate::events::Recorder;
use crate::informers::Informer;
use crate::ownership::{
    claim_all, controller_name, controller_of, is_controlled_by, wake_itself, wake_owners,
};
use crate::pod_control;
use crate::pods;
use crate::queue::{Key, Queue};
use plan::{Observed, Plan};

/// Holds a pod until its end has been counted.
const FINALIZER: &str = "batch.kubernetes.io/job-tracking";

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let controller = Controller {
        jobs: context.informers.of(),
        pods: context.informers.of(),
        recorder: context.recorder.named("job-controller"),
        clock: context.clock.clone(),
        queue: context.queue("job"),
    };
    wake_itself(&controller.jobs, &controller.queue);
    wake_owners(&controller.pods, &controller.jobs, &controller.queue, |job: &Job| {
        job.spec.as_ref()?.selector.as_ref().map(Cow::Borrowed)
    });
    let orphans = context.queue("job_orphan_pod");
    controller.wake_on_orphans(&orphans);
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = join(controller.jobs.synced(), controller.pods.synced()) => {}
        }
        join(
            controller.queue.run(5, &shutdown, |key| controller.reconcile(key)),
            orphans.run(2, &shutdown, |key| controller.release_orphan(key)),
        )
        .await;
    }
}

struct Controller {
    jobs: Informer<Job>,
    pods: Informer<Pod>,
    recorder: Recorder,
    clock: Clock,
    queue: Queue<Key>,
}

impl Controller {
    /// Pods keep the finalizer for their job; when that is gone, nobody else takes it off.
    fn wake_on_orphans(&self, queue: &Queue<Key>) {
        let (orphans, jobs) = (queue.clone(), self.jobs.clone());
        self.pods.subscribe(move |change| {
            let Some(pod) = change.new.as_ref().filter(|pod| is_tracked(pod)) else { return };
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let job = controller_name::<Job>(&pod.metadata).and_then(|name| jobs.get(namespace, name));
            if !job.is_some_and(|job| is_controlled_by(&pod.metadata, &job.metadata)) {
                orphans.add(Key::of(&**pod));
            }
        });
        let (orphans, pods) = (queue.clone(), self.pods.clone());
        self.jobs.subscribe(move |change| {
            let (Some(gone), None) = (&change.old, &change.new) else { return };
            for pod in pods.owned(&gone.metadata).iter().filter(|pod| is_tracked(pod)) {
                orphans.add(Key::of(&**pod));
            }
        });
    }

    async fn release_orphan(&self, key: Key) -> Result<(), Error> {
        let Some(pod) = self.pods.get(&key.namespace, &key.name).filter(|pod| is_tracked(pod)) else {
            return Ok(());
        };
        if let Some(owner) =
            controller_of(&pod.metadata).filter(|_| controller_name::<Job>(&pod.metadata).is_some())
        {
            let job = self.jobs.fetch(&key.namespace, &owner.name).await?;
            if job.is_some_and(|job| job.metadata.uid.as_deref() == Some(&owner.uid)) {
                return Ok(());
            }
        }
        self.release(&pod).await
    }

    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        let Some(job) = self.jobs.get(&key.namespace, &key.name) else { return Ok(()) };
        let Some(spec) = &job.spec else { return Ok(()) };
        // A time to live is for all jobs, whoever manages them.
        if plan::is_finished(&job) {
            return self.expire(key, &job).await;
        }
        if spec.managed_by.as_deref().is_some_and(|manager| manager != "kubernetes.io/job-controller") {
            return Ok(());
        }

        let selector = spec.selector.clone().unwrap_or_default();
        let all = self.pods.claimable(&job.metadata);
        let owned = claim_all(&self.jobs, &*job, &selector, &self.pods, all).await?;
        let now = self.clock.now();
        let plan = plan::plan(&Observed { job: &job, pods: &owned, now });
        let outcome = self.act(&job, &plan).await;

        let owned = self.pods.owned(&job.metadata);
        let account = accounting::account(&Observed { job: &job, pods: &owned, now }, &plan);
        let updated = Job { status: Some(account.status), ..Job::clone(&job) };
        self.jobs.update_status(&job, &updated).await?;
        for note in account.notes {
            self.recorder.tell(&*job, note);
        }
        let releases = join_all(account.release.iter().map(|pod| self.release(pod))).await;
        if let Some(wait) = plan.recheck_after {
            self.queue.add_after(key, wait);
        }
        outcome?;
        releases.into_iter().collect()
    }

    async fn act(&self, job: &Job, plan: &Plan) -> Result<(), Error> {
        let removals = plan.remove.iter().map(|pod| async move {
            // A pod that the job itself no longer wants has not failed: it is not tracked to its end.
            self.release(pod).await?;
            self.delete(job, pod).await
        });
        let kills = plan.kill.iter().map(|pod| self.delete(job, pod));
        let (removed, killed) = join(join_all(removals), join_all(kills)).await;
        removed.into_iter().chain(killed).collect::<Result<(), _>>()?;
        pods::slow_start(plan.create.len(), |index| self.create(job, plan.create.get(index))).await
    }

    async fn create(&self, job: &Job, start: Option<&plan::Start>) -> Result<(), Error> {
        let Some(start) = start else { return Ok(()) };
        pod_control::create(&self.pods, &self.recorder, job, &pod::build(job, start)).await
    }

    async fn delete(&self, job: &Job, pod: &Pod) -> Result<(), Error> {
        pod_control::delete(&self.pods, &self.recorder, job, pod).await
    }

    /// Takes the tracking finalizer off a pod.
    async fn release(&self, pod: &Pod) -> Result<(), Error> {
        if !is_tracked(pod) {
            return Ok(());
        }
        let mut released = pod.clone();
        let finalizers = released.metadata.finalizers.get_or_insert_default();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        if finalizers.is_empty() {
            released.metadata.finalizers = None;
        }
        match self.pods.update(pod, &released).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes a finished job when its time to live is over.
    async fn expire(&self, key: Key, job: &Job) -> Result<(), Error> {
        let spec = job.spec.as_ref().filter(|_| job.metadata.deletion_timestamp.is_none());
        let Some(seconds) = spec.and_then(|spec| spec.ttl_seconds_after_finished) else { return Ok(()) };
        let Some(finished) = plan::finish_time(job) else { return Ok(()) };
        if let Some(wait) = remaining(finished, seconds.into(), self.clock.now()) {
            self.queue.add_after(key, wait);
            return Ok(());
        }
        // The cache may not know yet that the time to live was prolonged.
        let fresh = self.jobs.fetch(&key.namespace, &key.name).await?;
        let same = |fresh: &Job| fresh.metadata.uid == job.metadata.uid && fresh.spec == job.spec;
        if !fresh.as_ref().is_some_and(same) {
            return Err(Error::NotYet(format!("job {key} changed while it expired")));
        }
        let foreground = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Foreground),
            ..DeleteParams::default()
        };
        self.jobs.delete(job, foreground).await
    }
}

/// Whether the pod's end is still to be counted.
fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// The pods as a list, for plans.
type Pods = [Arc<Pod>];

#[cfg(test)]
mod tests;
