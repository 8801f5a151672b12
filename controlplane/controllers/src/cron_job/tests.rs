use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJobSpec, CronJobStatus, JobCondition, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::*;

fn at(text: &str) -> Timestamp {
    format!("2026-03-01T{text}Z").parse().unwrap()
}

/// A cron job that is due at each full hour, made at 09:30.
fn hourly(change: impl FnOnce(&mut CronJobSpec)) -> CronJob {
    let mut spec = CronJobSpec { schedule: "0 * * * *".into(), ..CronJobSpec::default() };
    change(&mut spec);
    CronJob {
        metadata: ObjectMeta {
            name: Some("report".into()),
            namespace: Some("default".into()),
            uid: Some("cron".into()),
            creation_timestamp: Some(Time(at("09:30:00"))),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

fn job(name: &str, end: Option<&str>, started: &str) -> Arc<Job> {
    let condition =
        |type_: &str| JobCondition { type_: type_.into(), status: "True".into(), ..Default::default() };
    let metadata = ObjectMeta { name: Some(name.into()), uid: Some(name.into()), ..ObjectMeta::default() };
    let status = JobStatus {
        start_time: Some(Time(at(started))),
        completion_time: end.filter(|end| *end == "Complete").map(|_| Time(at(started))),
        conditions: end.map(|end| vec![condition(end)]),
        ..JobStatus::default()
    };
    Arc::new(Job { metadata, spec: None, status: Some(status) })
}

fn run(cron_job: &CronJob, jobs: &[Arc<Job>], now: &str) -> plan::Plan {
    plan(&Observed { cron_job, jobs, now: at(now) })
}

fn reasons(plan: &plan::Plan) -> Vec<&str> {
    plan.notes.iter().map(|note| note.reason).collect()
}

fn names(jobs: &[Arc<Job>]) -> Vec<&str> {
    jobs.iter().filter_map(|job| job.metadata.name.as_deref()).collect()
}

/// The name of the job of a time.
fn of(text: &str) -> String {
    format!("report-{}", at(text).as_second() / 60)
}

#[test]
fn nothing_starts_before_its_time() {
    let plan = run(&hourly(|_| {}), &[], "09:45:00");
    assert_eq!(plan.start, None);
    assert_eq!(plan.recheck_after, Some(Duration::from_millis(15 * 60 * 1000 + 100)));
}

#[test]
fn a_job_is_started_at_its_time_and_named_after_it() {
    let cron_job = hourly(|_| {});
    let start = run(&cron_job, &[], "10:00:00").start.unwrap();
    let job = plan::build(&cron_job, &start);
    assert_eq!(job.metadata.name, Some(of("10:00:00")));
    let annotations = job.metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"], "2026-03-01T10:00:00Z");
    let mut status = CronJobStatus::default();
    plan::note_started(&mut status, &job, &start);
    assert_eq!(status.last_schedule_time, Some(Time(at("10:00:00"))));
    assert_eq!(status.active.unwrap().len(), 1);
}

#[test]
fn of_several_missed_times_only_the_last_is_made_up_for() {
    let start = run(&hourly(|_| {}), &[], "14:10:00").start.unwrap();
    assert_eq!(start.scheduled, at("14:00:00"));
}

#[test]
fn a_start_before_a_crash_is_found_again() {
    let job = job(&of("10:00:00"), None, "10:00:00");
    let plan = run(&hourly(|_| {}), &[job], "10:00:05");
    assert_eq!(plan.start, None);
    assert_eq!(plan.status.last_schedule_time, Some(Time(at("10:00:00"))));
    assert_eq!(plan.status.active.unwrap().len(), 1);
}

#[test]
fn a_start_that_is_too_late_is_skipped() {
    let cron_job = hourly(|spec| spec.starting_deadline_seconds = Some(60));
    assert!(run(&cron_job, &[], "10:00:30").start.is_some());
    assert_eq!(run(&cron_job, &[], "10:30:00").start, None);
}

#[test]
fn the_concurrency_policy_decides_what_happens_to_a_running_job() {
    let running = [job(&of("09:00:00"), None, "09:00:00")];
    let with = |policy: &str| hourly(|spec| spec.concurrency_policy = Some(policy.into()));
    let allowed = run(&with("Allow"), &running, "10:00:00");
    assert!(allowed.start.is_some() && allowed.delete.is_empty());
    let forbidden = run(&with("Forbid"), &running, "10:00:00");
    assert_eq!((forbidden.start.clone(), reasons(&forbidden)), (None, vec!["JobAlreadyActive"]));
    let replaced = run(&with("Replace"), &running, "10:00:00");
    assert!(replaced.start.is_some());
    assert_eq!(names(&replaced.delete), [of("09:00:00")]);
}

#[test]
fn a_suspended_cron_job_starts_nothing_but_cleans_up() {
    let cron_job = hourly(|spec| (spec.suspend, spec.successful_jobs_history_limit) = (Some(true), Some(0)));
    let plan = run(&cron_job, &[job("old", Some("Complete"), "08:00:00")], "10:00:00");
    assert_eq!((plan.start.clone(), plan.recheck_after), (None, None));
    assert_eq!(names(&plan.delete), ["old"]);
}

#[test]
fn history_is_kept_up_to_its_limits() {
    let jobs = [
        job("c1", Some("Complete"), "01:00:00"),
        job("c2", Some("Complete"), "02:00:00"),
        job("c3", Some("Complete"), "03:00:00"),
        job("c4", Some("Complete"), "04:00:00"),
        job("f1", Some("Failed"), "05:00:00"),
        job("f2", Some("Failed"), "06:00:00"),
    ];
    let plan = run(&hourly(|_| {}), &jobs, "09:45:00");
    assert_eq!(names(&plan.delete), ["c1", "f1"]);
    assert_eq!(plan.status.last_successful_time, Some(Time(at("04:00:00"))));
}

#[test]
fn finished_and_missing_jobs_leave_the_list_of_active_ones() {
    let mut cron_job = hourly(|_| {});
    let (done, lost) = (job("done", Some("Complete"), "09:00:00"), job("lost", None, "09:00:00"));
    let mut status = CronJobStatus::default();
    for job in [&done, &lost] {
        let mut running = Job::clone(job);
        running.status = None;
        let start = run(&cron_job, &[], "10:00:00").start.unwrap();
        plan::note_started(&mut status, &running, &start);
    }
    cron_job.status = Some(status);
    let plan = run(&cron_job, &[done], "10:10:00");
    assert_eq!(plan.status.active, None);
    assert_eq!(reasons(&plan), ["SawCompletedJob", "MissingJob"]);
}

#[test]
fn what_cannot_be_understood_is_said() {
    let plan = run(&hourly(|spec| spec.schedule = "whenever".into()), &[], "10:00:00");
    assert_eq!(reasons(&plan), ["UnparseableSchedule"]);
    let plan = run(&hourly(|spec| spec.time_zone = Some("Moon/Tranquility".into())), &[], "10:00:00");
    assert_eq!(reasons(&plan), ["UnknownTimeZone"]);
}

#[test]
fn a_long_outage_does_not_take_long_to_catch_up_with() {
    let mut cron_job = hourly(|spec| spec.schedule = "* * * * *".into());
    cron_job.metadata.creation_timestamp = Some(Time("2020-01-01T00:00:00Z".parse().unwrap()));
    let plan = run(&cron_job, &[], "10:00:30");
    assert_eq!(plan.start.unwrap().scheduled, at("10:00:00"));
    assert_eq!(plan.notes[0].reason, "TooManyMissedTimes");
}
