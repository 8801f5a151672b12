//! Everything wrong with a changed status of a job. Any controller may run a job, so the server itself sees to it
//! that jobs end once and for good: <https://kep.k8s.io/4368>.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::indexes;
use crate::field::{Errors, Path, Reason};
use crate::registry::access::{at, has, int_at, list_at, of_type, opt_int, opt_str, str_at};
use crate::registry::internal;
use crate::registry::workload::STATUS;
use crate::table::time_at;
use crate::validation::fields::non_negative;

/// A changed status.
pub fn validate_update(job: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        non_negative(&mut errors, &STATUS, at(job, "/status"), field);
    }
    uncounted(&mut errors, job);
    let (new, was) = (State::of(job), State::of(old));
    let change = Change { job, old, new, was };
    change.conditions(&mut errors);
    change.finished(&mut errors);
    change.indexes(&mut errors);
    change.pods(&mut errors);
    change.success(&mut errors);
    change.kept(&mut errors);
    errors
}

fn uncounted(errors: &mut Errors, job: &Value) {
    let path = STATUS.child("uncountedTerminatedPods");
    let mut seen = BTreeSet::new();
    for list in ["succeeded", "failed"] {
        let pods = list_at(job, &format!("/status/uncountedTerminatedPods/{list}"));
        for (index, uid) in pods.iter().filter_map(Value::as_str).enumerate() {
            let list_path = path.child(list);
            let path = list_path.index(index);
            if uid.is_empty() {
                errors.invalid_str(&path, uid, "must not be empty");
            } else if !seen.insert(uid) {
                errors.duplicate(&path, &uid.into());
            }
        }
    }
}

/// What the conditions and times of a job say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    complete: bool,
    failed: bool,
    fails: bool,
    succeeds: bool,
    started: Option<Timestamp>,
    completed: Option<Timestamp>,
}

impl State {
    fn of(job: &Value) -> Self {
        Self {
            complete: is_true(job, "Complete"),
            failed: is_true(job, "Failed"),
            fails: is_true(job, "FailureTarget"),
            succeeds: is_true(job, "SuccessCriteriaMet"),
            started: time_at(job, "/status/startTime"),
            completed: time_at(job, "/status/completionTime"),
        }
    }

    const fn finished(self) -> bool {
        self.complete || self.failed
    }
}

fn is_true(job: &Value, kind: &str) -> bool {
    of_type(list_at(job, "/status/conditions"), kind).is_some_and(|c| str_at(c, "/status") == "True")
}

/// A status before and after. Most rules hold only for what changes, lest an old mistake block what is unrelated.
struct Change<'a> {
    job: &'a Value,
    old: &'a Value,
    new: State,
    was: State,
}

impl Change<'_> {
    fn differs(&self, path: &str) -> bool {
        at(self.job, path) != at(self.old, path)
    }

    fn conditions(&self, errors: &mut Errors) {
        let (new, was) = (self.new, self.was);
        let completion = STATUS.child("completionTime");
        let (complete, failed) = (new.complete != was.complete, new.failed != was.failed);
        let (fails, succeeds) = (new.fails != was.fails, new.succeeds != was.succeeds);
        let (started, completed) = (new.started != was.started, new.completed != was.completed);
        if (complete || failed) && new.complete && new.failed {
            wrong(errors, "conditions", "cannot set Complete=True and Failed=true conditions");
        }
        if (complete || fails) && new.complete && new.fails {
            wrong(errors, "conditions", "cannot set Complete=True and FailureTarget=true conditions");
        }
        let shown = at(self.job, "/status/completionTime");
        if complete || completed {
            if new.completed.is_some() && !new.complete {
                let why = "cannot set completionTime when there is no Complete=True condition";
                errors.invalid(&completion, shown, why);
            }
            if new.completed.is_none() && new.complete {
                errors.required(&completion, "completionTime is required for Complete jobs");
            }
        }
        if (started || completed)
            && let (Some(start), Some(end)) = (new.started, new.completed)
            && end < start
        {
            errors.invalid(&completion, shown, "completionTime cannot be set before startTime");
        }
        if (failed || fails) && new.failed && !new.fails {
            let why = "cannot set Failed=True condition without the FailureTarget=true condition";
            wrong(errors, "conditions", why);
        }
        if (complete || succeeds) && new.complete && !new.succeeds {
            let why = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
            wrong(errors, "conditions", why);
        }
    }

    fn finished(&self, errors: &mut Errors) {
        let (new, was) = (self.new, self.was);
        if !new.finished() {
            return;
        }
        let finished = !was.finished();
        let active = int_at(self.job, "/status/active");
        if (finished || self.differs("/status/active")) && active > 0 {
            errors.invalid(&STATUS.child("active"), &active.into(), "active>0 is invalid for finished job");
        }
        let never_ran =
            at(self.job, "/spec/suspend") == true && opt_int(self.job, "/spec/completions") == Some(0);
        if (finished || new.started != was.started) && new.started.is_none() && !never_ran {
            errors.required(&STATUS.child("startTime"), "startTime is required for finished job");
        }
        let pods = "/status/uncountedTerminatedPods";
        let any = ["succeeded", "failed"]
            .iter()
            .any(|list| !list_at(self.job, &format!("{pods}/{list}")).is_empty());
        if (finished || self.differs(pods)) && any {
            let why = "uncountedTerminatedPods needs to be empty for finished job";
            let path = STATUS.child("uncountedTerminatedPods");
            internal::invalid(errors, &path, "UncountedTerminatedPods", at(self.job, pods), why);
        }
    }

    fn indexes(&self, errors: &mut Errors) {
        let (completed, failed) =
            (str_at(self.job, "/status/completedIndexes"), opt_str(self.job, "/status/failedIndexes"));
        let (completed_path, failed_path) = (STATUS.child("completedIndexes"), STATUS.child("failedIndexes"));
        let (completed_differs, failed_differs) =
            (self.differs("/status/completedIndexes"), self.differs("/status/failedIndexes"));
        let completions = opt_int(self.job, "/spec/completions");
        let by_index = has(self.job, "/spec/backoffLimitPerIndex");
        let parse = |errors: &mut Errors, path: &Path<'_>, field: &str, text: &str| {
            if let Some(Err(why)) = completions.map(|completions| indexes::count(text, completions)) {
                errors.invalid_str(path, text, &format!("error parsing {field}: {why}"));
            }
        };
        if completed_differs {
            parse(errors, &completed_path, "completedIndexes", completed);
        }
        if let Some(failed) = failed.filter(|_| failed_differs && by_index) {
            parse(errors, &failed_path, "failedIndexes", failed);
        }
        if completed_differs && !completed.is_empty() && !self.is_indexed() {
            let why = "cannot set non-empty completedIndexes when non-indexed completion mode";
            errors.invalid_str(&completed_path, completed, why);
        }
        let Some(failed) = failed else { return };
        if failed_differs && !by_index {
            let why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
            errors.invalid_str(&failed_path, failed, why);
        }
        if let Some(completions) = completions.filter(|_| failed_differs || completed_differs)
            && let Some(index) = indexes::overlap(completed, failed, completions)
        {
            let why = format!("failedIndexes and completedIndexes overlap at index: {index}");
            errors.invalid_str(&failed_path, failed, &why);
        }
    }

    fn is_indexed(&self) -> bool {
        str_at(self.job, "/spec/completionMode") == "Indexed"
    }

    fn pods(&self, errors: &mut Errors) {
        let count = |field: &str| int_at(self.job, &format!("/status/{field}"));
        let (terminating, ready) = (count("terminating"), count("ready"));
        let finished = self.new.finished() != self.was.finished();
        if (finished || self.differs("/status/terminating")) && self.new.finished() && terminating > 0 {
            let why = "terminating>0 is invalid for finished job";
            errors.invalid(&STATUS.child("terminating"), &terminating.into(), why);
        }
        if (self.differs("/status/ready") || self.differs("/status/active")) && ready > count("active") {
            let why = "cannot set more ready pods than active";
            errors.invalid(&STATUS.child("ready"), &ready.into(), why);
        }
    }

    fn success(&self, errors: &mut Errors) {
        let new = self.new;
        if new.succeeds && new.failed {
            wrong(errors, "conditions", "cannot set SuccessCriteriaMet=True and Failed=true conditions");
        }
        if new.succeeds && new.fails {
            let why = "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions";
            wrong(errors, "conditions", why);
        }
        if has(self.job, "/spec/successPolicy") && !new.succeeds && new.complete {
            let why = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
            wrong(errors, "conditions", why);
        }
    }

    /// What has been said cannot be taken back.
    fn kept(&self, errors: &mut Errors) {
        let (new, was) = (self.new, self.was);
        for (kind, before, after) in [
            ("Failed", was.failed, new.failed),
            ("Complete", was.complete, new.complete),
            ("FailureTarget", was.fails, new.fails),
        ] {
            if before && !after {
                wrong(errors, "conditions", &format!("cannot disable the terminal {kind}=True condition"));
            }
        }
        let scales_down =
            self.is_indexed() && at(self.job, "/spec/completions") == at(self.job, "/spec/parallelism");
        for (field, may_shrink) in [("failed", false), ("succeeded", scales_down)] {
            let path = format!("/status/{field}");
            let count = int_at(self.job, &path);
            if count < int_at(self.old, &path) && !may_shrink {
                errors.invalid(
                    &STATUS.child(field),
                    &count.into(),
                    &format!("cannot decrease the {field} counter"),
                );
            }
        }
        if new.completed.is_some() && was.completed.is_some() && new.completed != was.completed {
            let shown = at(self.job, "/status/completionTime");
            errors.invalid(&STATUS.child("completionTime"), shown, "completionTime cannot be mutated");
        }
        if was.started.is_some() && new.started != was.started && at(self.job, "/spec/suspend") != true {
            errors.required(&STATUS.child("startTime"), "startTime cannot be removed for unsuspended job");
        }
        if was.succeeds && !new.succeeds {
            wrong(errors, "conditions", "cannot disable the SuccessCriteriaMet=True condition");
        }
        if was.complete && !was.succeeds && new.succeeds {
            let why = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
            wrong(errors, "conditions", why);
        }
    }
}

/// A field is wrong as a whole; its value is not shown.
fn wrong(errors: &mut Errors, field: &str, why: &str) {
    errors.push(&STATUS.child(field), Reason::Invalid, format!("Invalid value: {why}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(spec: &Value, old: Value, new: Value) -> Vec<String> {
        let job = |status| json!({"spec": spec, "status": status});
        validate_update(&job(new), &job(old)).0.iter().map(ToString::to_string).collect()
    }

    fn conditions(kinds: &[&str]) -> Value {
        kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect()
    }

    #[test]
    fn a_job_completes_with_its_time_and_its_criteria() {
        let spec = json!({"completions": 1, "parallelism": 1, "completionMode": "NonIndexed"});
        let bare = json!({"conditions": conditions(&["Complete"])});
        assert_eq!(
            told(&spec, json!({}), bare),
            [
                "status.completionTime: Required value: completionTime is required for Complete jobs",
                "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
                "status.startTime: Required value: startTime is required for finished job",
            ]
        );
        let whole = json!({
            "conditions": conditions(&["SuccessCriteriaMet", "Complete"]),
            "startTime": "2024-01-01T00:00:00Z",
            "completionTime": "2024-01-01T00:01:00Z",
            "succeeded": 1,
        });
        assert_eq!(told(&spec, json!({}), whole.clone()), [""; 0]);
        assert_eq!(
            told(&spec, whole, json!({"startTime": "2024-01-01T00:00:00Z"})),
            [
                "status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
                "status.succeeded: Invalid value: 0: cannot decrease the succeeded counter",
                "status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition",
            ]
        );
    }

    #[test]
    fn a_finished_job_has_no_pods_left() {
        let spec = json!({"completions": 1, "parallelism": 1});
        let status = json!({
            "conditions": conditions(&["FailureTarget", "Failed"]),
            "startTime": "2024-01-01T00:00:00Z",
            "active": 1,
            "terminating": 2,
            "uncountedTerminatedPods": {"succeeded": ["a"]},
        });
        assert_eq!(
            told(&spec, json!({}), status),
            [
                "status.active: Invalid value: 1: active>0 is invalid for finished job",
                "status.uncountedTerminatedPods: Invalid value: {\"Succeeded\":[\"a\"],\"Failed\":null}: uncountedTerminatedPods needs to be empty for finished job",
                "status.terminating: Invalid value: 2: terminating>0 is invalid for finished job",
            ]
        );
    }

    #[test]
    fn indexes_are_of_indexed_jobs_and_either_done_or_lost() {
        let spec = json!({"completions": 3, "parallelism": 1, "completionMode": "Indexed", "backoffLimitPerIndex": 1});
        let status = json!({"completedIndexes": "0-1", "failedIndexes": "1"});
        assert_eq!(
            told(&spec, json!({}), status),
            [
                "status.failedIndexes: Invalid value: \"1\": failedIndexes and completedIndexes overlap at index: 1"
            ]
        );
        let plain = json!({"completions": 3, "completionMode": "NonIndexed"});
        assert_eq!(
            told(&plain, json!({}), json!({"completedIndexes": "0,9"})),
            [
                "status.completedIndexes: Invalid value: \"0,9\": error parsing completedIndexes: too large index: \"9\"",
                "status.completedIndexes: Invalid value: \"0,9\": cannot set non-empty completedIndexes when non-indexed completion mode",
            ]
        );
    }

    #[test]
    fn an_old_mistake_does_not_block_what_is_unrelated() {
        let spec = json!({"completions": 1, "parallelism": 1});
        let old = json!({"conditions": conditions(&["Complete"])});
        let mut new = old.clone();
        new["observed"] = json!(1);
        assert_eq!(told(&spec, old, new), [""; 0]);
    }
}
