//! Which jobs to start and which to delete.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;

use super::schedule::Schedule;
use crate::clock::{remaining, time};
use crate::events::Note;
use crate::ownership::controller_reference;

/// The scheduled time, on each job.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// More missed times than this are worth a word.
const MANY: usize = 100;
/// A late timer is on time, an early one would have to wait again.
const SLACK: Duration = Duration::from_millis(100);

/// What a plan is made from.
pub(super) struct Observed<'a> {
    pub cron_job: &'a CronJob,
    /// The jobs it controls.
    pub jobs: &'a [Arc<Job>],
    pub now: Timestamp,
}

/// A job to be started.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Start {
    pub name: String,
    pub scheduled: Timestamp,
    zone: TimeZone,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pub delete: Vec<Arc<Job>>,
    pub start: Option<Start>,
    pub status: CronJobStatus,
    pub notes: Vec<Note>,
    /// The time until the next start.
    pub recheck_after: Option<Duration>,
}

fn name(job: &Job) -> &str {
    job.metadata.name.as_deref().unwrap_or_default()
}

/// How the job ended; `None` if it has not.
fn ending(job: &Job) -> Option<&str> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let ends = |type_: &str| matches!(type_, "Complete" | "Failed");
    let end = conditions.iter().find(|condition| ends(&condition.type_) && condition.status == "True")?;
    Some(&end.type_)
}

/// Decides the next step.
pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let Observed { cron_job, jobs, now } = *observed;
    let spec = &cron_job.spec;
    let mut plan = Plan {
        delete: Vec::new(),
        start: None,
        status: cron_job.status.clone().unwrap_or_default(),
        notes: Vec::new(),
        recheck_after: None,
    };
    take_stock(jobs, &mut plan);
    if cron_job.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    clean_up(spec, jobs, &mut plan);
    if spec.suspend == Some(true) {
        return plan;
    }
    let Ok(zone) = spec.time_zone.as_deref().map_or(Ok(TimeZone::UTC), TimeZone::get) else {
        let name = spec.time_zone.as_deref().unwrap_or_default();
        let message = format!("invalid timeZone: {name:?}: unknown time zone {name}");
        plan.notes.push(Note::warning("UnknownTimeZone", message));
        return plan;
    };
    let schedule = match Schedule::parse(&spec.schedule) {
        Ok(schedule) => schedule,
        Err(error) => {
            let message = format!("unparseable schedule: {:?} : {error}", spec.schedule);
            plan.notes.push(Note::warning("UnparseableSchedule", message));
            return plan;
        }
    };

    plan.recheck_after =
        schedule.next(now, &zone).and_then(|next| remaining(next, 0, now)).map(|wait| wait + SLACK);
    if let Some(scheduled) = missed(cron_job, spec, &schedule, &zone, now, &mut plan.notes) {
        start(observed, spec, scheduled, zone, &mut plan);
    }
    plan
}

/// Brings the list of active jobs up to date.
fn take_stock(jobs: &[Arc<Job>], plan: &mut Plan) {
    let active = plan.status.active.take().unwrap_or_default();
    let listed = |job: &Job| active.iter().any(|reference| reference.uid == job.metadata.uid);
    let mut running: Vec<&Arc<Job>> = Vec::new();
    for job in jobs {
        match (listed(job), ending(job)) {
            (true, Some(condition)) => {
                let message = format!("Saw completed job: {}, condition: {condition}", name(job));
                plan.notes.push(Note::normal("SawCompletedJob", message));
            }
            // A job that was started just before a crash is not in the list yet.
            (_, None) => running.push(job),
            (false, Some(_)) => {}
        }
        if ending(job) == Some("Complete") {
            let completed = job.status.as_ref().and_then(|status| status.completion_time.clone());
            plan.status.last_successful_time = plan.status.last_successful_time.take().max(completed);
        }
    }
    for reference in &active {
        if !jobs.iter().any(|job| job.metadata.uid == reference.uid) {
            let message =
                format!("Active job went missing: {}", reference.name.as_deref().unwrap_or_default());
            plan.notes.push(Note::normal("MissingJob", message));
        }
    }
    running.sort_by_key(|job| (job.metadata.creation_timestamp.clone(), job.metadata.name.clone()));
    set_active(&mut plan.status, running.into_iter().map(|job| reference(job)).collect());
}

fn set_active(status: &mut CronJobStatus, active: Vec<ObjectReference>) {
    status.active = (!active.is_empty()).then_some(active);
}

fn reference(job: &Job) -> ObjectReference {
    ObjectReference { resource_version: job.metadata.resource_version.clone(), ..job.object_ref(&()) }
}

/// Deletes finished jobs beyond the history limits, oldest first.
fn clean_up(spec: &CronJobSpec, jobs: &[Arc<Job>], plan: &mut Plan) {
    for (end, limit) in [
        ("Complete", spec.successful_jobs_history_limit.unwrap_or(3)),
        ("Failed", spec.failed_jobs_history_limit.unwrap_or(1)),
    ] {
        let mut ended: Vec<_> = jobs.iter().filter(|job| ending(job) == Some(end)).cloned().collect();
        ended.sort_by_key(|job| {
            let started = job.status.as_ref().and_then(|status| status.start_time.clone());
            (started, job.metadata.name.clone())
        });
        let surplus = ended.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        plan.delete.extend(ended.into_iter().take(surplus));
    }
}

/// The most recent time that is due and was not started.
fn missed(
    cron_job: &CronJob,
    spec: &CronJobSpec,
    schedule: &Schedule,
    zone: &TimeZone,
    now: Timestamp,
    notes: &mut Vec<Note>,
) -> Option<Timestamp> {
    let last = cron_job.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    let mut from = last.or(cron_job.metadata.creation_timestamp.as_ref()).map_or(now, |at| at.0);
    if let Some(deadline) = spec.starting_deadline_seconds {
        // What is too late to start anyway need not be counted.
        let earliest = Timestamp::from_second(now.as_second().saturating_sub(deadline)).unwrap_or(from);
        from = from.max(earliest);
    }
    let mut found = None;
    for count in 0.. {
        match schedule.next(from, zone).filter(|next| *next <= now) {
            None => break,
            Some(next) if count == MANY => {
                let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
                notes.push(Note::warning("TooManyMissedTimes", message));
                // From here on, jump close to now: a day has the latest time of all but rare schedules.
                let near = Timestamp::from_second(now.as_second() - 24 * 3600).unwrap_or(next);
                (from, found) = (next.max(near), Some(next));
            }
            Some(next) => (from, found) = (next, Some(next)),
        }
    }
    found
}

/// Starts the job of `scheduled`, if it is not too late and the concurrency policy allows.
fn start(observed: &Observed<'_>, spec: &CronJobSpec, scheduled: Timestamp, zone: TimeZone, plan: &mut Plan) {
    if let Some(deadline) = spec.starting_deadline_seconds
        && scheduled.as_second() + deadline < observed.now.as_second()
    {
        let at = scheduled.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S %z");
        let message = format!("Missed scheduled time to start a job: {at}");
        plan.notes.push(Note::warning("MissSchedule", message));
        return;
    }
    let cron_name = observed.cron_job.metadata.name.as_deref().unwrap_or_default();
    let start = Start { name: format!("{cron_name}-{}", scheduled.as_second() / 60), scheduled, zone };
    if let Some(job) = observed.jobs.iter().find(|job| name(job) == start.name) {
        note_started(&mut plan.status, job, &start);
        return;
    }
    let running = plan.status.active.as_ref().is_some_and(|active| !active.is_empty());
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if running => {
            let message =
                "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.notes.push(Note::normal("JobAlreadyActive", message));
            return;
        }
        Some("Replace") => {
            plan.delete.extend(observed.jobs.iter().filter(|job| ending(job).is_none()).cloned());
            plan.status.active = None;
        }
        _ => {}
    }
    plan.start = Some(start);
}

/// Notes in the status that the job of a time exists.
pub(super) fn note_started(status: &mut CronJobStatus, job: &Job, start: &Start) {
    let mut active = status.active.take().unwrap_or_default();
    if ending(job).is_none() && !active.iter().any(|reference| reference.uid == job.metadata.uid) {
        active.push(reference(job));
    }
    set_active(status, active);
    status.last_schedule_time = Some(time(start.scheduled)).max(status.last_schedule_time.take());
}

/// The job to be created.
pub(super) fn build(cron_job: &CronJob, start: &Start) -> Job {
    let template = cron_job.spec.job_template.clone();
    let meta = template.metadata.unwrap_or_default();
    let mut annotations = meta.annotations.unwrap_or_default();
    let at = start.scheduled.to_zoned(start.zone.clone());
    let offset = if at.offset().is_zero() { "Z".to_owned() } else { at.strftime("%:z").to_string() };
    annotations.insert(SCHEDULED.to_owned(), format!("{}{offset}", at.strftime("%Y-%m-%dT%H:%M:%S")));
    Job {
        metadata: ObjectMeta {
            name: Some(start.name.clone()),
            namespace: cron_job.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(cron_job)]),
            creation_timestamp: None::<Time>,
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}
