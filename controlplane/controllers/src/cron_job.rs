//! The cron job controller: starts jobs on time.
//!
//! What has been started is told from the jobs themselves: a job's name is made of the cron job's name and the
//! scheduled minute, so that one time never starts two jobs, whatever else is forgotten.

mod plan;
mod schedule;

use std::sync::Arc;

use futures::future::join;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::api::DeleteParams;

use crate::Context;
use crate::api::Error;
use crate::clock::Clock;
use crate::events::{Note, Recorder};
use crate::informers::Informer;
use crate::ownership::{is_controlled_by, wake_itself, wake_owners};
use crate::queue::{Key, Queue};
use plan::{Observed, Start, plan};

/// The first time of a cron schedule after another, in a time zone by its IANA name; `None` if there is none.
pub fn next_time(schedule: &str, zone: &str, after: Timestamp) -> Result<Option<Timestamp>, String> {
    let schedule = schedule::Schedule::parse(schedule).map_err(|error| error.to_string())?;
    let zone = TimeZone::get(zone).map_err(|error| error.to_string())?;
    Ok(schedule.next(after, &zone))
}

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let controller = Controller {
        cron_jobs: context.informers.of(),
        jobs: context.informers.of(),
        recorder: context.recorder.named("cronjob-controller"),
        clock: context.clock.clone(),
        queue: context.queue("cronjob"),
    };
    wake_itself(&controller.cron_jobs, &controller.queue);
    wake_owners(&controller.jobs, &controller.cron_jobs, &controller.queue, |_: &CronJob| None);
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = join(controller.cron_jobs.synced(), controller.jobs.synced()) => {}
        }
        controller.queue.run(5, &shutdown, |key| controller.reconcile(key)).await;
    }
}

struct Controller {
    cron_jobs: Informer<CronJob>,
    jobs: Informer<Job>,
    recorder: Recorder,
    clock: Clock,
    queue: Queue<Key>,
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        let Some(cron_job) = self.cron_jobs.get(&key.namespace, &key.name) else { return Ok(()) };
        let jobs = self.jobs.owned(&cron_job.metadata);
        let mut plan = plan(&Observed { cron_job: &cron_job, jobs: &jobs, now: self.clock.now() });
        for note in plan.notes.drain(..) {
            self.recorder.tell(&*cron_job, note);
        }
        for job in &plan.delete {
            self.delete(&cron_job, job).await?;
        }
        if let Some(start) = &plan.start {
            let job = self.start_job(&cron_job, start).await?;
            plan::note_started(&mut plan.status, &job, start);
        }
        let updated = CronJob { status: Some(plan.status), ..CronJob::clone(&cron_job) };
        self.cron_jobs.update_status(&cron_job, &updated).await?;
        if let Some(wait) = plan.recheck_after {
            self.queue.add_after(key, wait);
        }
        Ok(())
    }

    async fn delete(&self, cron_job: &CronJob, job: &Job) -> Result<(), Error> {
        let name = job.metadata.name.as_deref().unwrap_or_default();
        match self.jobs.delete(job, DeleteParams::background()).await {
            Ok(()) => {
                self.recorder.tell(cron_job, Note::normal("SuccessfulDelete", format!("Deleted job {name}")));
                Ok(())
            }
            Err(error) => {
                let message = format!("Deleted job: {}", error.message());
                self.recorder.tell(cron_job, Note::warning("FailedDelete", message));
                Err(error)
            }
        }
    }

    /// Starts the job of a time; one that exists already was started before a crash.
    async fn start_job(&self, cron_job: &CronJob, start: &Start) -> Result<Arc<Job>, Error> {
        let job = plan::build(cron_job, start);
        let (namespace, name) = (job.metadata.namespace.as_deref(), job.metadata.name.as_deref());
        let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
        match self.jobs.create(&job).await {
            Ok(created) => {
                self.recorder.tell(cron_job, Note::normal("SuccessfulCreate", format!("Created job {name}")));
                Ok(created)
            }
            Err(error) if error.is_already_exists() => {
                let found = self.jobs.fetch(namespace, name).await?;
                let ours = |job: &Job| is_controlled_by(&job.metadata, &cron_job.metadata);
                found.filter(ours).map(Arc::new).ok_or(error)
            }
            Err(error) => {
                if !error.is_namespace_terminating() {
                    let message = format!("Error creating job: {}", error.message());
                    self.recorder.tell(cron_job, Note::warning("FailedCreate", message));
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
