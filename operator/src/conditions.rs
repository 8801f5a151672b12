//! From what was found to what is reported. Pure.
//!
//! Conditions follow kstatus, so that `kubectl wait`, Flux and Argo CD know the cluster's health: `Reconciling` and
//! `Stalled` are present only while true, and never both; `Ready` sums up the rest.

#[cfg(test)]
mod tests;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use vkube_crds::{Phase, ReadinessGate};

use crate::reason::Reason;

/// What one step of reconciling found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Not looked at, for a step before it did not pass.
    #[default]
    Unreached,
    /// As it should be.
    Passed(Reason, String),
    /// Not asked for, so there is nothing to say.
    NotAsked,
    /// On its way.
    Pending(String),
    /// Not as it should be.
    Failed(Reason, String),
    /// Cannot be known.
    Unknown(Reason, String),
}

impl Check {
    /// As it should be, with nothing to add.
    pub fn applied(message: &str) -> Self {
        Self::Passed(Reason::Applied, message.to_owned())
    }

    fn passed(&self) -> bool {
        matches!(self, Self::Passed(..) | Self::NotAsked)
    }
}

/// What every step found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// The policy allows what is asked.
    pub policy: Check,
    /// The configuration of vCluster can be read.
    pub config: Check,
    /// The host namespace is there and ours.
    pub namespace: Check,
    /// Quota, limits, network policies and Pod Security are in force.
    pub isolation: Check,
    /// The volume is there.
    pub store: Check,
    /// Certificates are valid.
    pub certificates: Check,
    /// The API server has its addresses.
    pub endpoint: Check,
    /// The control plane's pod is ready.
    pub control_plane: Check,
    /// The API server answers.
    pub available: Check,
    /// The kubeconfig is there.
    pub kubeconfig: Check,
    /// The cluster was brought to the snapshot that it is to start from.
    pub restored: Check,
    /// Argo CD knows the cluster.
    pub argocd: Check,
    /// The manifests that the cluster begins with were applied.
    pub bootstrap: Check,
    /// Whoever else has to say that the cluster is ready has said so.
    pub gates: Check,
    /// Prometheus finds the control plane. A cluster that nobody measures is ready all the same.
    pub monitored: Check,
    /// Snapshots are taken. A cluster that lacks one is ready all the same.
    pub snapshots: Check,
}

impl Checks {
    /// What makes the cluster ready, in the order of the steps.
    fn all(&self) -> [(&'static str, &Check); 14] {
        [
            ("PolicyAccepted", &self.policy),
            ("ConfigAccepted", &self.config),
            ("NamespaceReady", &self.namespace),
            ("IsolationReady", &self.isolation),
            ("EndpointReady", &self.endpoint),
            ("CertificatesAvailable", &self.certificates),
            ("BackingStoreReady", &self.store),
            ("ControlPlaneReady", &self.control_plane),
            ("Available", &self.available),
            ("Restored", &self.restored),
            ("KubeconfigReady", &self.kubeconfig),
            ("ArgoCDExported", &self.argocd),
            ("Bootstrapped", &self.bootstrap),
            ("ReadinessGatesPassed", &self.gates),
        ]
    }
}

/// How far reconciling has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything is as asked.
    Done,
    /// Something is still being applied or started.
    Working(String),
    /// The last attempt failed; the reason is for events.
    Retrying(Reason, String),
    /// Only an edit helps.
    Stalled(Reason, String),
}

/// What the user wants of the cluster as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Run.
    Running,
    /// Sleep.
    Asleep,
    /// Be left as it is.
    Paused,
    /// Go; what it waits for.
    Deleting(String),
}

/// What conditions are made of.
#[derive(Clone, Debug)]
pub struct Findings<'a> {
    /// What every step found.
    pub checks: &'a Checks,
    /// How far reconciling has come.
    pub progress: &'a Progress,
    /// What the user wants of the cluster as a whole.
    pub mode: &'a Mode,
    /// Whether the cluster has been ready before.
    pub established: bool,
}

/// The conditions. `previous` gives the time of the last transition, and stands in for steps that were not reached.
pub fn conditions(
    findings: &Findings<'_>,
    previous: &[Condition],
    generation: i64,
    now: Time,
) -> Vec<Condition> {
    let mut list = List { previous, generation, now, conditions: Vec::new() };
    list.summarise(findings);
    match (findings.mode, findings.progress) {
        (Mode::Deleting(waits), _) => list.add("Deleting", "True", Reason::Deleting, waits.clone()),
        (Mode::Paused, _) => {
            list.add("Paused", "True", Reason::Paused, "the operator leaves the cluster as it is".into());
        }
        (_, Progress::Done) => {}
        (_, Progress::Working(message)) => {
            list.add("Reconciling", "True", Reason::Progressing, message.clone());
        }
        (_, Progress::Retrying(_, message)) => {
            list.add("Reconciling", "True", Reason::ProgressingWithRetry, message.clone());
        }
        (_, Progress::Stalled(reason, message)) => list.add("Stalled", "True", *reason, message.clone()),
    }
    let beside = [("SnapshotsTaken", &findings.checks.snapshots), ("Monitored", &findings.checks.monitored)];
    for (name, check) in findings.checks.all().into_iter().chain(beside) {
        match check {
            Check::Passed(reason, message) => list.add(name, "True", *reason, message.clone()),
            Check::Pending(message) => list.add(name, "False", Reason::Progressing, message.clone()),
            Check::Failed(reason, message) => list.add(name, "False", *reason, message.clone()),
            Check::Unknown(reason, message) => list.add(name, "Unknown", *reason, message.clone()),
            Check::NotAsked => {}
            Check::Unreached => list.keep(name),
        }
    }
    list.conditions
}

/// Gates that are not open, each with what is known of it.
pub fn closed_gates(gates: &[ReadinessGate], present: &[Condition]) -> Vec<String> {
    let closed = |gate: &ReadinessGate| {
        let type_ = &gate.condition_type;
        match present.iter().find(|condition| condition.type_ == *type_) {
            Some(condition) if condition.status == "True" => None,
            None => Some(format!("nobody has set condition {type_} yet")),
            Some(Condition { message, .. }) if !message.is_empty() => {
                Some(format!("condition {type_} is not True: {message}"))
            }
            Some(_) => Some(format!("condition {type_} is not True")),
        }
    };
    gates.iter().filter_map(closed).collect()
}

/// Whether a condition is not the operator's: types of others carry their domain.
pub fn is_of_others(condition: &Condition) -> bool {
    condition.type_.contains('/')
}

/// One word for people.
pub fn phase(findings: &Findings<'_>, previous: &[Condition]) -> Phase {
    match (findings.mode, findings.progress) {
        (Mode::Deleting(_), _) => Phase::Deleting,
        (Mode::Paused, _) => Phase::Paused,
        (_, Progress::Stalled(..)) => Phase::Failed,
        (Mode::Asleep, _) => Phase::Sleeping,
        (Mode::Running, _) if ready(findings, previous).0 == "True" => Phase::Running,
        (Mode::Running, _) if findings.established => Phase::Updating,
        (Mode::Running, _) => Phase::Provisioning,
    }
}

/// `Ready`: the first thing that is not as it should be, or that all is well. A step that was not reached is as it was.
fn ready(findings: &Findings<'_>, previous: &[Condition]) -> (&'static str, Reason, String) {
    // Pods that a failed upgrade has not come to may serve as before.
    let has_failed = matches!(findings.progress, Progress::Stalled(Reason::UpgradeFailed, _));
    let serves_on = has_failed && findings.checks.available.passed();
    match (findings.mode, findings.progress) {
        (Mode::Deleting(waits), _) => return ("False", Reason::Deleting, waits.clone()),
        (Mode::Paused, _) => {
            return ("Unknown", Reason::Paused, "the operator leaves the cluster as it is".into());
        }
        (_, Progress::Stalled(reason, message)) if !serves_on => return ("False", *reason, message.clone()),
        (Mode::Asleep, _) => return ("False", Reason::Sleeping, "the cluster has zero replicas".into()),
        (Mode::Running, _) => {}
    }
    let underway = if findings.established { Reason::Updating } else { Reason::Provisioning };
    let was_well = |name: &str| previous.iter().any(|before| before.type_ == name && before.status == "True");
    let unwell: Vec<_> = findings
        .checks
        .all()
        .into_iter()
        .filter(|(name, _)| !(serves_on && *name == "ControlPlaneReady"))
        .filter(|(name, check)| !(check.passed() || **check == Check::Unreached && was_well(name)))
        .collect();
    // What failed says more than what waits for it.
    let failed = unwell.iter().find(|(_, check)| matches!(check, Check::Failed(..)));
    let first = failed.or_else(|| unwell.first()).copied();
    match (first, findings.progress) {
        (None, _) => ("True", Reason::Running, "the API server answers".into()),
        (Some((_, Check::Unknown(reason, message))), _) => ("Unknown", *reason, message.clone()),
        // Else what failed is the attempt, before the step could find anything.
        (Some((_, Check::Failed(reason, message))), _) | (Some(_), Progress::Retrying(reason, message)) => {
            ("False", *reason, message.clone())
        }
        (Some((_, Check::Pending(message))), _) => ("False", underway, message.clone()),
        (Some((name, _)), _) => ("False", underway, format!("{name} has not been reached")),
    }
}

struct List<'a> {
    previous: &'a [Condition],
    generation: i64,
    now: Time,
    conditions: Vec<Condition>,
}

impl List<'_> {
    /// Adds `Ready`. While it rests on what was seen of an earlier generation it says so, and `kubectl wait` waits.
    fn summarise(&mut self, findings: &Findings<'_>) {
        let (status, reason, message) = ready(findings, self.previous);
        self.add("Ready", status, reason, message);
        let complete = findings.checks.all().iter().all(|(_, check)| **check != Check::Unreached);
        let before = self.previous.iter().find(|previous| previous.type_ == "Ready");
        if let (true, false, Some(before)) = (status == "True", complete, before)
            && let Some(ready) = self.conditions.last_mut()
        {
            ready.observed_generation = before.observed_generation;
        }
    }

    fn add(&mut self, type_: &str, status: &str, reason: Reason, message: String) {
        let since = self
            .previous
            .iter()
            .find(|previous| previous.type_ == type_ && previous.status == status)
            .map_or_else(|| self.now.clone(), |previous| previous.last_transition_time.clone());
        self.conditions.push(Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message,
            observed_generation: Some(self.generation),
            last_transition_time: since,
        });
    }

    /// What is not known now was known before, or is not known at all.
    fn keep(&mut self, type_: &str) {
        match self.previous.iter().find(|previous| previous.type_ == type_) {
            Some(previous) => self.conditions.push(previous.clone()),
            None => {
                self.add(type_, "Unknown", Reason::Waiting, "a step before this one has not passed".into());
            }
        }
    }
}
