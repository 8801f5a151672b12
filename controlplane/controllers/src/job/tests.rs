use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobSpec, JobStatus, SuccessPolicy, SuccessPolicyRule};
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStatus, PodSpec, PodTemplateSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::*;
use crate::events::Note;
use crate::pods::tests::running;

/// A job in a cluster without an API server: pods are created, deleted and released as the controller would.
struct World {
    job: Job,
    pods: BTreeMap<String, Pod>,
    now: i64,
    created: usize,
    notes: Vec<Note>,
}

fn time(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

impl World {
    fn new(change: impl FnOnce(&mut JobSpec)) -> Self {
        let template = PodTemplateSpec {
            metadata: None,
            spec: Some(PodSpec { containers: vec![Container::default()], ..PodSpec::default() }),
        };
        let mut spec = JobSpec { completions: Some(1), parallelism: Some(1), template, ..JobSpec::default() };
        change(&mut spec);
        let metadata = ObjectMeta {
            name: Some("work".into()),
            namespace: Some("default".into()),
            uid: Some("job".into()),
            ..ObjectMeta::default()
        };
        let job = Job { metadata, spec: Some(spec), status: None };
        Self { job, pods: BTreeMap::new(), now: 1000, created: 0, notes: Vec::new() }
    }

    fn list(&self) -> Vec<Arc<Pod>> {
        self.pods.values().cloned().map(Arc::new).collect()
    }

    fn plan(&self) -> Plan {
        let pods = self.list();
        let now = Timestamp::from_second(self.now).unwrap();
        plan::plan(&Observed { job: &self.job, pods: &pods, now })
    }

    /// One reconcile.
    fn step(&mut self) {
        if plan::is_finished(&self.job) {
            return;
        }
        let now = Timestamp::from_second(self.now).unwrap();
        let plan = self.plan();
        for pod in &plan.remove {
            self.release(pod);
            self.delete(pod);
        }
        for pod in &plan.kill {
            self.delete(pod);
        }
        for start in &plan.create {
            let mut pod = pod::build(&self.job, start);
            let name = format!("{}{}", pod.metadata.generate_name.as_deref().unwrap(), self.created);
            self.created += 1;
            let base = running(&name);
            pod.metadata.name = base.metadata.name;
            pod.metadata.uid = base.metadata.uid;
            pod.metadata.creation_timestamp = Some(time(self.now));
            pod.status = base.status;
            self.pods.insert(name, pod);
        }
        let pods = self.list();
        let account = accounting::account(&Observed { job: &self.job, pods: &pods, now }, &plan);
        self.job.status = Some(account.status);
        self.notes.extend(account.notes);
        for pod in account.release {
            self.release(&pod);
        }
    }

    fn settle(&mut self) {
        for _ in 0..10 {
            self.step();
        }
    }

    fn release(&mut self, pod: &Pod) {
        let name = pod.metadata.name.clone().unwrap();
        if let Some(pod) = self.pods.get_mut(&name) {
            pod.metadata.finalizers = None;
            if pods::is_terminating(pod) {
                self.pods.remove(&name);
            }
        }
    }

    fn delete(&mut self, pod: &Pod) {
        let name = pod.metadata.name.clone().unwrap();
        if let Some(pod) = self.pods.get_mut(&name) {
            pod.metadata.deletion_timestamp = Some(time(self.now));
            if !is_tracked(pod) {
                self.pods.remove(&name);
            }
        }
    }

    fn active(&self) -> Vec<String> {
        self.pods
            .values()
            .filter(|pod| pods::is_active(pod))
            .filter_map(|pod| pod.metadata.name.clone())
            .collect()
    }

    /// The active pods end in `phase` with `code`.
    fn end(&mut self, names: &[String], phase: &str, code: i32) {
        for name in names {
            let pod = self.pods.get_mut(name).unwrap();
            let end = ContainerStateTerminated {
                exit_code: code,
                finished_at: Some(time(self.now)),
                ..ContainerStateTerminated::default()
            };
            let state = Some(ContainerState { terminated: Some(end), ..ContainerState::default() });
            let status = pod.status.as_mut().unwrap();
            status.phase = Some(phase.into());
            status.conditions = None;
            status.container_statuses = Some(vec![ContainerStatus { state, ..ContainerStatus::default() }]);
        }
    }

    fn succeed(&mut self) {
        let active = self.active();
        self.end(&active, "Succeeded", 0);
        self.settle();
    }

    fn fail(&mut self) {
        let active = self.active();
        self.end(&active, "Failed", 1);
        self.settle();
    }

    fn status(&self) -> JobStatus {
        self.job.status.clone().unwrap_or_default()
    }

    fn counts(&self) -> (i32, i32, i32) {
        let status = self.status();
        (status.active.unwrap_or(0), status.succeeded.unwrap_or(0), status.failed.unwrap_or(0))
    }

    fn conditions(&self) -> Vec<(String, String)> {
        let conditions = self.status().conditions.unwrap_or_default();
        conditions
            .into_iter()
            .filter(|condition| condition.status == "True")
            .map(|condition| (condition.type_, condition.reason.unwrap_or_default()))
            .collect()
    }
}

fn held(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(type_, reason)| ((*type_).to_owned(), (*reason).to_owned())).collect()
}

fn indexed(completions: i32) -> impl FnOnce(&mut JobSpec) {
    move |spec| {
        spec.completion_mode = Some("Indexed".into());
        spec.completions = Some(completions);
        spec.parallelism = Some(completions);
    }
}

#[test]
fn a_job_completes_when_its_pods_have_succeeded() {
    let mut world = World::new(|spec| (spec.completions, spec.parallelism) = (Some(3), Some(2)));
    world.settle();
    assert_eq!(world.counts(), (2, 0, 0));
    assert_eq!(world.status().start_time, Some(time(1000)));
    world.succeed();
    assert_eq!(world.counts(), (1, 2, 0));
    world.succeed();
    assert_eq!(world.counts(), (0, 3, 0));
    let reason = "CompletionsReached";
    assert_eq!(world.conditions(), held(&[("SuccessCriteriaMet", reason), ("Complete", reason)]));
    assert_eq!(world.status().completion_time, Some(time(1000)));
    assert_eq!(world.notes, [Note::normal("Completed", "Job completed")]);
    assert!(world.pods.values().all(|pod| !is_tracked(pod)), "no finalizer is left behind");
}

#[test]
fn a_pod_is_noted_then_released_then_counted() {
    let mut world = World::new(|spec| spec.completions = Some(2));
    world.step();
    let active = world.active();
    world.end(&active, "Succeeded", 0);
    world.step();
    let noted = world.status().uncounted_terminated_pods.unwrap();
    assert_eq!(noted.succeeded, Some(vec![format!("uid-{}", active[0])]));
    assert_eq!(world.status().succeeded, None);
    assert!(!is_tracked(&world.pods[&active[0]]));
    world.step();
    assert_eq!(world.status().uncounted_terminated_pods, Some(Default::default()));
    assert_eq!(world.status().succeeded, Some(1));
}

#[test]
fn a_crash_between_any_two_writes_does_not_change_the_count() {
    let mut world = World::new(|spec| spec.completions = Some(2));
    world.step();
    let active = world.active();
    world.end(&active, "Succeeded", 0);
    // The status is written, but the finalizer stays: the process died in between.
    let before = world.pods.clone();
    world.step();
    world.pods = before;
    world.settle();
    assert_eq!(world.counts(), (1, 1, 0));
}

#[test]
fn without_completions_one_success_ends_the_work() {
    let mut world = World::new(|spec| (spec.completions, spec.parallelism) = (None, Some(3)));
    world.settle();
    let active = world.active();
    assert_eq!(active.len(), 3);
    world.end(&active[..1], "Succeeded", 0);
    world.settle();
    assert_eq!(world.counts(), (2, 1, 0), "the others finish, and no new ones start");
    world.succeed();
    assert_eq!(world.counts(), (0, 3, 0));
    assert!(plan::is_finished(&world.job));
}

#[test]
fn failures_are_retried_ever_later_until_the_limit() {
    let mut world = World::new(|spec| spec.backoff_limit = Some(2));
    for wait in [10, 20] {
        world.settle();
        world.fail();
        assert_eq!(world.plan().recheck_after, Some(Duration::from_secs(wait)));
        world.now += wait as i64 - 1;
        assert!(world.plan().create.is_empty());
        world.now += 1;
    }
    world.settle();
    world.fail();
    let reason = "BackoffLimitExceeded";
    assert_eq!(world.conditions(), held(&[("FailureTarget", reason), ("Failed", reason)]));
    assert_eq!(world.counts(), (0, 0, 3));
    let message = "Job has reached the specified backoff limit";
    assert_eq!(world.notes, [Note::warning("BackoffLimitExceeded", message)]);
}

#[test]
fn a_failing_job_takes_its_running_pods_with_it() {
    let mut world = World::new(|spec| {
        (spec.completions, spec.parallelism, spec.backoff_limit) = (Some(3), Some(3), Some(0));
    });
    world.settle();
    let active = world.active();
    world.end(&active[..1], "Failed", 1);
    world.settle();
    assert_eq!(world.counts(), (0, 0, 3));
    assert!(plan::is_finished(&world.job));
    assert_eq!(world.pods.len(), 1, "the failed pod stays for its logs");
}

#[test]
fn failed_waits_until_all_pods_are_gone() {
    let mut world = World::new(|spec| spec.active_deadline_seconds = Some(60));
    world.settle();
    assert_eq!(world.plan().recheck_after, Some(Duration::from_secs(60)));
    world.now += 60;
    let name = world.active().remove(0);
    world.step();
    assert_eq!(world.conditions(), held(&[("FailureTarget", "DeadlineExceeded")]));
    // The pod takes its time.
    let mut pod = running(&name);
    pod.metadata.deletion_timestamp = Some(time(world.now));
    world.pods.insert(name.clone(), pod);
    world.settle();
    assert_eq!(world.conditions(), held(&[("FailureTarget", "DeadlineExceeded")]));
    assert_eq!(world.status().terminating, Some(1));
    world.pods.remove(&name);
    world.settle();
    assert_eq!(world.conditions().last(), Some(&("Failed".to_owned(), "DeadlineExceeded".to_owned())));
}

#[test]
fn a_suspended_job_has_no_pods_and_no_start_time() {
    let mut world = World::new(|spec| spec.parallelism = Some(1));
    world.settle();
    world.job.spec.as_mut().unwrap().suspend = Some(true);
    world.settle();
    assert_eq!(world.counts(), (0, 0, 0), "suspended pods have not failed");
    assert_eq!(world.status().start_time, None);
    assert_eq!(world.conditions(), held(&[("Suspended", "JobSuspended")]));
    world.now += 100;
    world.job.spec.as_mut().unwrap().suspend = Some(false);
    world.settle();
    assert_eq!(world.counts(), (1, 0, 0));
    assert_eq!(world.status().start_time, Some(time(1100)));
    assert_eq!(world.conditions(), []);
    let reasons: Vec<_> = world.notes.iter().map(|note| note.reason).collect();
    assert_eq!(reasons, ["Suspended", "Resumed"]);
}

#[test]
fn a_pod_on_its_way_out_is_replaced_at_once_or_only_when_it_has_ended() {
    for (policy, replaced) in [("TerminatingOrFailed", 1), ("Failed", 0)] {
        let mut world = World::new(|spec| spec.pod_replacement_policy = Some(policy.into()));
        world.settle();
        let leaving = world.active();
        let pod = world.pods.get_mut(&leaving[0]).unwrap();
        pod.metadata.deletion_timestamp = Some(time(900));
        pod.metadata.finalizers.get_or_insert_default().push("example.com/held".into());
        world.settle();
        let active = world.active().len();
        assert_eq!(active, replaced, "{policy}");
        if replaced == 0 {
            assert_eq!((world.status().terminating, world.counts()), (Some(1), (0, 0, 0)));
            world.end(&leaving, "Failed", 1);
            world.settle();
            world.now += 100;
            world.settle();
            assert_eq!(world.counts(), (1, 0, 1), "{policy}");
        }
    }
}

#[test]
fn less_parallelism_removes_pods_without_failing_them() {
    let mut world = World::new(|spec| (spec.completions, spec.parallelism) = (Some(9), Some(4)));
    world.settle();
    world.job.spec.as_mut().unwrap().parallelism = Some(1);
    world.settle();
    assert_eq!(world.counts(), (1, 0, 0));
}

#[test]
fn an_indexed_job_runs_each_index_once() {
    let mut world = World::new(indexed(3));
    world.settle();
    let indexes: Vec<_> = world.pods.values().filter_map(pod::index).collect();
    assert_eq!(indexes, [0, 1, 2]);
    let active = world.active();
    world.end(&active[1..2], "Failed", 1);
    world.end(&active[2..], "Succeeded", 0);
    world.settle();
    assert_eq!(world.status().completed_indexes.as_deref(), Some("2"));
    world.now += 10;
    world.settle();
    let again: Vec<_> =
        world.pods.values().filter(|pod| pods::is_active(pod)).filter_map(pod::index).collect();
    assert_eq!(again, [0, 1]);
    world.succeed();
    assert_eq!(world.status().completed_indexes.as_deref(), Some("0-2"));
    assert_eq!(world.counts(), (0, 3, 1));
    assert!(plan::is_finished(&world.job));
}

#[test]
fn an_indexed_pod_knows_its_index() {
    let world = World::new(indexed(1));
    let pod = pod::build(&world.job, &plan::Start { index: Some(4), failures: None });
    assert_eq!(pod.metadata.generate_name.as_deref(), Some("work-4-"));
    let spec = pod.spec.as_ref().unwrap();
    assert_eq!(spec.hostname.as_deref(), Some("work-4"));
    let variable = &spec.containers[0].env.as_ref().unwrap()[0];
    assert_eq!(variable.name, "JOB_COMPLETION_INDEX");
    assert_eq!(pod.metadata.labels.as_ref().unwrap()["batch.kubernetes.io/job-completion-index"], "4");
    assert!(is_tracked(&pod));
}

#[test]
fn two_pods_of_one_index_are_one_too_many() {
    let mut world = World::new(indexed(2));
    world.settle();
    let mut twin = world.pods.values().next().unwrap().clone();
    twin.metadata.name = Some("twin".into());
    twin.metadata.uid = Some("twin".into());
    world.pods.insert("twin".into(), twin);
    world.settle();
    assert_eq!(world.counts(), (2, 0, 0));
}

#[test]
fn a_backoff_limit_per_index_gives_up_on_that_index_only() {
    let mut world = World::new(|spec| {
        indexed(2)(spec);
        spec.backoff_limit_per_index = Some(1);
    });
    for _ in 0..2 {
        world.settle();
        let first: Vec<_> = world
            .pods
            .values()
            .filter(|pod| pods::is_active(pod) && pod::index(pod) == Some(0))
            .filter_map(|pod| pod.metadata.name.clone())
            .collect();
        world.end(&first, "Failed", 1);
        world.settle();
        world.now += 1000;
    }
    world.settle();
    assert_eq!(world.status().failed_indexes.as_deref(), Some("0"));
    assert!(!plan::is_finished(&world.job), "index 1 still runs");
    world.succeed();
    let reason = "FailedIndexes";
    assert_eq!(world.conditions(), held(&[("FailureTarget", reason), ("Failed", reason)]));
    assert_eq!(world.status().completed_indexes.as_deref(), Some("1"));
}

#[test]
fn a_success_policy_ends_a_job_before_all_indexes_are_done() {
    let mut world = World::new(|spec| {
        indexed(5)(spec);
        let rule = SuccessPolicyRule { succeeded_indexes: Some("0-2".into()), succeeded_count: Some(1) };
        spec.success_policy = Some(SuccessPolicy { rules: vec![rule] });
    });
    world.settle();
    let active = world.active();
    world.end(&active[..1], "Succeeded", 0);
    world.settle();
    let reason = "SuccessPolicy";
    assert_eq!(world.conditions(), held(&[("SuccessCriteriaMet", reason), ("Complete", reason)]));
    assert_eq!(world.counts(), (0, 1, 0));
}

#[test]
fn what_ends_a_job_in_failure_counts_before_its_success_policy() {
    let mut world = World::new(|spec| {
        indexed(3)(spec);
        spec.backoff_limit_per_index = Some(0);
        spec.max_failed_indexes = Some(0);
        let rule = SuccessPolicyRule { succeeded_indexes: None, succeeded_count: Some(1) };
        spec.success_policy = Some(SuccessPolicy { rules: vec![rule] });
    });
    world.settle();
    let active = world.active();
    world.end(&active[..1], "Succeeded", 0);
    world.end(&active[1..2], "Failed", 0);
    world.settle();
    let reason = "MaxFailedIndexesExceeded";
    assert_eq!(world.conditions(), held(&[("FailureTarget", reason), ("Failed", reason)]));
}

#[test]
fn restarts_in_place_count_towards_the_limit() {
    let mut world = World::new(|spec| {
        spec.backoff_limit = Some(2);
        spec.template.spec.as_mut().unwrap().restart_policy = Some("OnFailure".into());
    });
    world.settle();
    let pod = world.pods.values_mut().next().unwrap();
    let restarted = ContainerStatus { restart_count: 2, ..ContainerStatus::default() };
    pod.status.as_mut().unwrap().container_statuses = Some(vec![restarted]);
    world.settle();
    assert_eq!(world.conditions().last().unwrap().1, "BackoffLimitExceeded");
}

#[test]
fn a_job_that_is_being_deleted_lets_go_of_its_pods() {
    let mut world = World::new(|_| {});
    world.settle();
    world.job.metadata.deletion_timestamp = Some(time(world.now));
    world.step();
    assert!(world.pods.values().all(|pod| !is_tracked(pod)));
    assert_eq!(world.plan(), Plan::default());
}

#[test]
fn a_finished_job_has_a_finish_time() {
    let condition = JobCondition {
        type_: "Failed".into(),
        status: "True".into(),
        last_transition_time: Some(time(77)),
        ..JobCondition::default()
    };
    let status = JobStatus { conditions: Some(vec![condition]), ..JobStatus::default() };
    let job = Job { status: Some(status), ..Job::default() };
    assert_eq!(plan::finish_time(&job), Some(time(77).0));
}
