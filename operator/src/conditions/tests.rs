use k8s_openapi::jiff::Timestamp;

use super::*;

fn all_well() -> Checks {
    let well = || Check::applied("well");
    Checks {
        policy: well(),
        config: well(),
        namespace: well(),
        isolation: well(),
        store: well(),
        certificates: well(),
        endpoint: well(),
        control_plane: well(),
        available: well(),
        kubeconfig: well(),
        restored: well(),
        argocd: well(),
        bootstrap: well(),
        gates: well(),
        snapshots: well(),
        monitored: well(),
    }
}

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

struct Case {
    checks: Checks,
    progress: Progress,
    mode: Mode,
    established: bool,
}

impl Case {
    fn findings(&self) -> Findings<'_> {
        Findings {
            checks: &self.checks,
            progress: &self.progress,
            mode: &self.mode,
            established: self.established,
        }
    }

    fn conditions(&self, previous: &[Condition]) -> Vec<Condition> {
        conditions(&self.findings(), previous, 7, at(1))
    }

    /// `Ready` as `status/reason`, the phase, and which of the kstatus conditions are present.
    fn summary(&self) -> (String, Phase, Vec<String>) {
        let all = self.conditions(&[]);
        let ready = all.iter().find(|condition| condition.type_ == "Ready").unwrap();
        let abnormal = ["Reconciling", "Stalled", "Deleting", "Paused"];
        let present = all.iter().filter(|condition| abnormal.contains(&condition.type_.as_str()));
        (
            format!("{}/{}", ready.status, ready.reason),
            phase(&self.findings(), &[]),
            present.map(|condition| condition.type_.clone()).collect(),
        )
    }
}

fn mk(checks: Checks, progress: Progress, mode: Mode, established: bool) -> Case {
    Case { checks, progress, mode, established }
}

#[test]
fn every_state_has_its_summary() {
    let working = || Progress::Working("waiting".into());
    let stalled = || Progress::Stalled(Reason::InvalidSpec, "wrong".into());
    let retrying = || Progress::Retrying(Reason::ApplyFailed, "refused".into());
    let pending = || Checks { control_plane: Check::Pending("starting".into()), ..all_well() };
    let failing =
        || Checks { control_plane: Check::Failed(Reason::PodFailing, "no image".into()), ..all_well() };
    let upgrade_failed = || Progress::Stalled(Reason::UpgradeFailed, "no image".into());
    let stopped =
        || Checks { control_plane: Check::Failed(Reason::UpgradeFailed, "no image".into()), ..all_well() };
    let down = || Checks { available: Check::Failed(Reason::PodNotReady, "down".into()), ..stopped() };
    let begun = Checks::default;
    for (case, ready, phase, present) in [
        (mk(all_well(), Progress::Done, Mode::Running, true), "True/Running", Phase::Running, vec![]),
        (
            mk(begun(), working(), Mode::Running, false),
            "False/Provisioning",
            Phase::Provisioning,
            vec!["Reconciling"],
        ),
        (
            mk(pending(), working(), Mode::Running, false),
            "False/Provisioning",
            Phase::Provisioning,
            vec!["Reconciling"],
        ),
        (
            mk(pending(), working(), Mode::Running, true),
            "False/Updating",
            Phase::Updating,
            vec!["Reconciling"],
        ),
        (
            mk(failing(), working(), Mode::Running, false),
            "False/PodFailing",
            Phase::Provisioning,
            vec!["Reconciling"],
        ),
        (
            mk(begun(), retrying(), Mode::Running, false),
            "False/ApplyFailed",
            Phase::Provisioning,
            vec!["Reconciling"],
        ),
        (mk(begun(), stalled(), Mode::Running, true), "False/InvalidSpec", Phase::Failed, vec!["Stalled"]),
        (
            mk(down(), upgrade_failed(), Mode::Running, true),
            "False/UpgradeFailed",
            Phase::Failed,
            vec!["Stalled"],
        ),
        // Pods of the revision before still serve.
        (
            mk(stopped(), upgrade_failed(), Mode::Running, true),
            "True/Running",
            Phase::Failed,
            vec!["Stalled"],
        ),
        (mk(all_well(), Progress::Done, Mode::Asleep, true), "False/Sleeping", Phase::Sleeping, vec![]),
        (mk(begun(), stalled(), Mode::Asleep, true), "False/InvalidSpec", Phase::Failed, vec!["Stalled"]),
        (mk(begun(), working(), Mode::Paused, true), "Unknown/Paused", Phase::Paused, vec!["Paused"]),
        (
            mk(begun(), stalled(), Mode::Deleting("x".into()), true),
            "False/Deleting",
            Phase::Deleting,
            vec!["Deleting"],
        ),
    ] {
        assert_eq!(
            case.summary(),
            (ready.into(), phase, present.into_iter().map(ToOwned::to_owned).collect()),
            "{:?} {:?}",
            case.mode,
            case.progress
        );
    }
}

#[test]
fn reconciling_and_stalled_are_never_both_present() {
    for progress in [
        Progress::Done,
        Progress::Working(String::new()),
        Progress::Retrying(Reason::ReadFailed, String::new()),
        Progress::Stalled(Reason::InvalidSpec, String::new()),
    ] {
        let (_, _, present) = mk(all_well(), progress, Mode::Running, true).summary();
        assert!(present.len() <= 1, "{present:?}");
    }
}

#[test]
fn times_change_only_with_the_status() {
    let well = mk(all_well(), Progress::Done, Mode::Running, true);
    let first = conditions(&well.findings(), &[], 7, at(1));
    let second = conditions(&well.findings(), &first, 8, at(2));
    assert!(second.iter().all(|condition| condition.last_transition_time == at(1)));
    assert!(second.iter().all(|condition| condition.observed_generation == Some(8)));
    let down = Checks { available: Check::Failed(Reason::ApiUnreachable, "down".into()), ..all_well() };
    let down = mk(down, Progress::Working(String::new()), Mode::Running, true);
    let third = conditions(&down.findings(), &second, 8, at(3));
    let time = |type_: &str| {
        third
            .iter()
            .find(|condition| condition.type_ == type_)
            .map(|found| found.last_transition_time.clone())
    };
    assert_eq!(time("Ready"), Some(at(3)));
    assert_eq!(time("Available"), Some(at(3)));
    assert_eq!(time("NamespaceReady"), Some(at(1)));
}

#[test]
fn a_failed_attempt_does_not_unready_a_cluster_that_was_well() {
    let before = mk(all_well(), Progress::Done, Mode::Running, true).conditions(&[]);
    let retrying = Progress::Retrying(Reason::ReadFailed, "the host is slow".into());
    let case = mk(Checks::default(), retrying, Mode::Running, true);
    let after = case.conditions(&before);
    let find = |type_: &str| after.iter().find(|condition| condition.type_ == type_).unwrap();
    assert_eq!(find("Ready").status, "True");
    assert_eq!(find("Reconciling").reason, "ProgressingWithRetry");
    assert_eq!(phase(&case.findings(), &before), Phase::Running);
}

#[test]
fn ready_speaks_of_the_old_generation_until_the_new_one_is_built() {
    let well = mk(all_well(), Progress::Done, Mode::Running, true);
    let before = conditions(&well.findings(), &[], 6, at(1));
    let begun = Checks { policy: Check::applied("none"), ..Checks::default() };
    let begun = mk(begun, Progress::Working("begun".into()), Mode::Running, true);
    let after = conditions(&begun.findings(), &before, 7, at(2));
    let generation = |type_: &str| {
        after.iter().find(|condition| condition.type_ == type_).and_then(|found| found.observed_generation)
    };
    assert_eq!(generation("Ready"), Some(6));
    assert_eq!(generation("Reconciling"), Some(7));
    let after = conditions(&well.findings(), &after, 7, at(3));
    assert!(after.iter().all(|condition| condition.observed_generation == Some(7)));
}

#[test]
fn a_cluster_that_serves_on_after_a_failed_upgrade_is_ready_in_its_old_generation() {
    let before = mk(all_well(), Progress::Done, Mode::Running, true).conditions(&[]);
    let checks = Checks {
        control_plane: Check::Failed(Reason::UpgradeFailed, "no image".into()),
        available: Check::applied("answers"),
        ..Checks::default()
    };
    let stalled = Progress::Stalled(Reason::UpgradeFailed, "no image".into());
    let after = conditions(&mk(checks, stalled, Mode::Running, true).findings(), &before, 8, at(2));
    let find = |type_: &str| after.iter().find(|condition| condition.type_ == type_);
    let told = |type_: &str| find(type_).map(|one| (one.status.as_str(), one.observed_generation));
    assert_eq!(told("Ready"), Some(("True", Some(7))));
    assert_eq!(told("Stalled"), Some(("True", Some(8))));
    assert_eq!(told("ControlPlaneReady"), Some(("False", Some(8))));
    assert_eq!(told("Reconciling"), None);
}

#[test]
fn what_failed_says_more_than_what_waits_for_it() {
    let checks = Checks {
        store: Check::Pending("the volume is Pending".into()),
        control_plane: Check::Failed(Reason::PodFailing, "no image".into()),
        ..all_well()
    };
    let case = mk(checks, Progress::Working("waiting".into()), Mode::Running, false);
    assert_eq!(case.summary().0, "False/PodFailing");
}

#[test]
fn a_snapshot_that_fails_is_told_and_leaves_the_cluster_ready() {
    let failed = Check::Failed(Reason::SnapshotFailed, "disk full".into());
    let checks = Checks { snapshots: failed, ..all_well() };
    let case = Case { checks, progress: Progress::Done, mode: Mode::Running, established: true };
    let found = conditions(&case.findings(), &[], 1, at(1));
    let status = |type_: &str| {
        found.iter().find(|one| one.type_ == type_).map(|one| (one.status.as_str(), one.reason.as_str()))
    };
    assert_eq!(status("Ready"), Some(("True", "Running")));
    assert_eq!(status("SnapshotsTaken"), Some(("False", "SnapshotFailed")));
}
