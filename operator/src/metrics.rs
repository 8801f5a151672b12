//! What the operator counts, in the OpenMetrics format.
//!
//! Labels are words of fixed sets; nothing grows with the number of clusters.

mod clusters;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use vkube_crds::{Phase, VirtualCluster};

pub use clusters::ClusterMetrics;

use crate::reason::Reason;

/// From a reconcile that changes nothing to one that is given up.
const RECONCILE_BUCKETS: [f64; 9] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0];
/// From a warm image to a slow volume.
const PROVISION_BUCKETS: [f64; 9] = [0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];

/// What the operator counts.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    reconciles: Family<OfController, Counter>,
    failures: Family<Failure, Counter>,
    durations: Family<OfController, Histogram, fn() -> Histogram>,
    applied: Family<Apply, Counter>,
    drift: Family<OfKind, Counter>,
    watch_errors: Family<OfKind, Counter>,
    clusters: Family<OfPhase, Gauge>,
    provision: Histogram,
    deletion: Histogram,
    rotations: Counter,
    violations: Counter,
    snapshots: Family<OfResult, Counter>,
    single: ClusterMetrics,
    leader: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfController {
    controller: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Failure {
    controller: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Apply {
    kind: String,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfResult {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfKind {
    kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfPhase {
    phase: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("vkube");
        let reconcile_histogram: fn() -> Histogram = || Histogram::new(RECONCILE_BUCKETS);
        let mut inner = Inner {
            registry: Registry::default(),
            reconciles: Family::default(),
            failures: Family::default(),
            durations: Family::new_with_constructor(reconcile_histogram),
            applied: Family::default(),
            drift: Family::default(),
            watch_errors: Family::default(),
            clusters: Family::default(),
            provision: Histogram::new(PROVISION_BUCKETS),
            deletion: Histogram::new(PROVISION_BUCKETS),
            rotations: Counter::default(),
            violations: Counter::default(),
            snapshots: Family::default(),
            single: ClusterMetrics::default(),
            leader: Gauge::default(),
        };
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The release of the operator", build);
        registry.register("reconcile_runs", "Reconciles begun", inner.reconciles.clone());
        registry.register("reconcile_failures", "Reconciles failed, by reason", inner.failures.clone());
        registry.register("reconcile_duration_seconds", "Time of a reconcile", inner.durations.clone());
        registry.register("apply", "Writes to host objects, by kind and result", inner.applied.clone());
        registry.register("drift_corrected", "Host objects put back, by kind", inner.drift.clone());
        registry.register("watch_errors", "Watches interrupted, by kind", inner.watch_errors.clone());
        registry.register("virtualclusters", "Clusters, by phase", inner.clusters.clone());
        registry.register("provision_duration_seconds", "From creation to ready", inner.provision.clone());
        registry.register("deletion_duration_seconds", "From deletion to gone", inner.deletion.clone());
        registry.register("certificate_rotations", "Certificates reissued", inner.rotations.clone());
        registry.register("policy_violations", "Specs that a policy refused", inner.violations.clone());
        registry.register("snapshots", "Snapshots by schedule, by result", inner.snapshots.clone());
        inner.single.register(&mut registry);
        registry.register("leader", "1 while this replica works", inner.leader.clone());
        inner.registry = registry;
        Self(Arc::new(inner))
    }

    /// The text that a scrape gets, with a series for each of `clusters`.
    pub fn encode<'a>(&self, clusters: impl Iterator<Item = &'a VirtualCluster>) -> String {
        for cluster in clusters {
            self.0.single.report(cluster);
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.0.registry);
        self.0.single.clear();
        text
    }

    /// A reconcile ended.
    pub(crate) fn reconciled(&self, controller: &'static str, took: Duration, failure: Option<Reason>) {
        let labels = OfController { controller };
        self.0.reconciles.get_or_create(&labels).inc();
        self.0.durations.get_or_create(&labels).observe(took.as_secs_f64());
        if let Some(reason) = failure {
            self.0.failures.get_or_create(&Failure { controller, reason: reason.as_str() }).inc();
        }
    }

    /// An object was written, or not.
    pub(crate) fn applied(&self, kind: &str, succeeded: bool) {
        let result = result_of(succeeded);
        self.0.applied.get_or_create(&Apply { kind: kind.to_owned(), result }).inc();
    }

    /// An object of a cluster that had settled was put back.
    pub(crate) fn corrected(&self, kind: &str) {
        self.0.drift.get_or_create(&OfKind { kind: kind.to_owned() }).inc();
    }

    /// A watch was interrupted.
    pub(crate) fn watch_error(&self, kind: &str) {
        self.0.watch_errors.get_or_create(&OfKind { kind: kind.to_owned() }).inc();
    }

    /// How many clusters are in each phase.
    pub(crate) fn phases(&self, count: impl Fn(Phase) -> usize) {
        for phase in Phase::ALL {
            self.0.clusters.get_or_create(&OfPhase { phase: phase.as_str() }).set(count(phase) as i64);
        }
    }

    /// A cluster became ready for the first time.
    pub(crate) fn provisioned(&self, took: Duration) {
        self.0.provision.observe(took.as_secs_f64());
    }

    /// A cluster is gone.
    pub(crate) fn deleted(&self, took: Duration) {
        self.0.deletion.observe(took.as_secs_f64());
    }

    /// A certificate was reissued.
    pub(crate) fn rotated(&self) {
        self.0.rotations.inc();
    }

    /// A policy refused a spec.
    pub(crate) fn violated(&self) {
        self.0.violations.inc();
    }

    /// A snapshot was due, and taken or not.
    pub(crate) fn snapshot(&self, succeeded: bool) {
        self.0.snapshots.get_or_create(&OfResult { result: result_of(succeeded) }).inc();
    }

    /// Whether this replica works.
    pub(crate) fn leading(&self, leading: bool) {
        self.0.leader.set(i64::from(leading));
    }
}

fn result_of(succeeded: bool) -> &'static str {
    if succeeded { "success" } else { "failure" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_names_every_metric() {
        let metrics = Metrics::new();
        metrics.reconciled("virtualcluster", Duration::from_millis(20), Some(Reason::ApplyFailed));
        metrics.applied("Service", true);
        metrics.violated();
        metrics.snapshot(false);
        metrics.phases(|phase| usize::from(phase == Phase::Running));
        let text = metrics.encode(std::iter::empty());
        for line in [
            "vkube_reconcile_runs_total{controller=\"virtualcluster\"} 1",
            "vkube_reconcile_failures_total{controller=\"virtualcluster\",reason=\"ApplyFailed\"} 1",
            "vkube_apply_total{kind=\"Service\",result=\"success\"} 1",
            "vkube_policy_violations_total 1",
            "vkube_snapshots_total{result=\"failure\"} 1",
            "vkube_virtualclusters{phase=\"Running\"} 1",
            "vkube_virtualclusters{phase=\"Failed\"} 0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    fn mk() -> VirtualCluster {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "vkube.dev/v1alpha1", "kind": "VirtualCluster",
            "metadata": {"name": "demo", "namespace": "tenants"}, "spec": {},
            "status": {
                "phase": "Running", "version": "v1.36.0", "replicas": 1, "readyReplicas": 1,
                "conditions": [{"type": "Ready", "status": "True", "reason": "Running", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                "certificates": [{"name": "ca", "notAfter": "2030-01-01T00:00:00Z"}],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_cluster_has_series_as_long_as_it_is_there() {
        let metrics = Metrics::new();
        let text = metrics.encode([mk()].iter());
        for line in [
            "vkube_virtualcluster_info{namespace=\"tenants\",name=\"demo\",phase=\"Running\",version=\"v1.36.0\",policy=\"\"} 1",
            "vkube_virtualcluster_condition{namespace=\"tenants\",name=\"demo\",type=\"Ready\"} 1",
            "vkube_virtualcluster_condition{namespace=\"tenants\",name=\"demo\",type=\"Stalled\"} 0",
            "vkube_certificate_expiry_timestamp_seconds{namespace=\"tenants\",name=\"demo\",certificate=\"ca\"} 1893456000",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!metrics.encode(std::iter::empty()).contains("demo"));
    }

    #[test]
    fn alerts_and_dashboard_speak_of_series_that_exist() {
        let metrics = Metrics::new();
        metrics.reconciled("virtualcluster", Duration::from_millis(20), Some(Reason::ApplyFailed));
        metrics.applied("Service", true);
        metrics.corrected("Service");
        metrics.phases(|_| 1);
        metrics.provisioned(Duration::from_secs(1));
        metrics.deleted(Duration::from_secs(1));
        let text = metrics.encode([mk()].iter());
        let asked = crate::install::documents(&crate::install::monitoring());
        let mut names: Vec<&str> = asked
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("vkube_"))
            .collect();
        names.sort_unstable();
        names.dedup();
        assert!(names.len() >= 10, "{names:?}");
        for name in names {
            let starts =
                |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
            assert!(text.lines().any(starts), "{name}\n{text}");
        }
    }
}
