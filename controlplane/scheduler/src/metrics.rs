//! What the scheduler counts, under the names of kube-scheduler's metrics.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
};

use crate::queue::Counts;

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The pod is bound.
    Scheduled,
    /// It fits nowhere.
    Unschedulable,
    /// Something failed.
    Error,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Attempt {
    profile: String,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Waiting {
    queue: &'static str,
}

/// What the scheduler counts; clones share it.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Families>);

struct Families {
    attempts: Family<Attempt, Counter>,
    durations: Family<Attempt, Histogram, fn() -> Histogram>,
    tries: Histogram,
    preemptions: Counter,
    victims: Histogram,
    pending: Family<Waiting, Gauge>,
}

impl Default for Families {
    fn default() -> Self {
        Self {
            attempts: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15))),
            tries: Histogram::new(exponential_buckets(1.0, 2.0, 5)),
            preemptions: Counter::default(),
            victims: Histogram::new(exponential_buckets(1.0, 2.0, 7)),
            pending: Family::default(),
        }
    }
}

impl Metrics {
    /// Counts an attempt of a scheduler, with the time that it took.
    pub(crate) fn attempted(&self, profile: &str, outcome: Outcome, took: Duration) {
        let result = match outcome {
            Outcome::Scheduled => "scheduled",
            Outcome::Unschedulable => "unschedulable",
            Outcome::Error => "error",
        };
        let attempt = Attempt { profile: profile.to_owned(), result };
        self.0.attempts.get_or_create(&attempt).inc();
        self.0.durations.get_or_create(&attempt).observe(took.as_secs_f64());
    }

    /// Counts the attempts that a pod took until it had a node.
    pub(crate) fn took(&self, attempts: u32) {
        self.0.tries.observe(f64::from(attempts));
    }

    /// Counts that room is made, with the pods that have to leave.
    pub(crate) fn preempted(&self, victims: usize) {
        self.0.preemptions.inc();
        self.0.victims.observe(f64::from(u32::try_from(victims).unwrap_or(u32::MAX)));
    }

    /// Says how many pods wait.
    pub(crate) fn waiting(&self, counts: Counts) {
        let Counts { active, backoff, unschedulable, gated } = counts;
        let all =
            [("active", active), ("backoff", backoff), ("unschedulable", unschedulable), ("gated", gated)];
        for (queue, count) in all {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.0.pending.get_or_create(&Waiting { queue }).set(count);
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let all = &self.0;
        let mut tell = |name: &str, help: &str, metric: &dyn Told| metric.tell(&mut encoder, name, help);
        tell(
            "scheduler_schedule_attempts",
            "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, \
             while 'error' means an internal scheduler problem.",
            &all.attempts,
        )?;
        tell(
            "scheduler_scheduling_attempt_duration_seconds",
            "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
            &all.durations,
        )?;
        tell(
            "scheduler_pod_scheduling_attempts",
            "Number of attempts to successfully schedule a pod.",
            &all.tries,
        )?;
        tell(
            "scheduler_preemption_attempts",
            "Total preemption attempts in the cluster till now",
            &all.preemptions,
        )?;
        tell("scheduler_preemption_victims", "Number of selected preemption victims", &all.victims)?;
        tell(
            "scheduler_pending_pods",
            "Number of pending pods, by the queue type. 'active' means number of pods in activeQ; 'backoff' means \
             number of pods in backoffQ; 'unschedulable' means number of pods in unschedulablePods that the scheduler \
             attempted to schedule and failed; 'gated' is the number of unschedulable pods that the scheduler never \
             attempted to schedule because they are gated.",
            &all.pending,
        )
    }
}

/// A metric of any type.
trait Told {
    fn tell(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result;
}

impl<M: EncodeMetric> Told for M {
    fn tell(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        self.encode(encoder.encode_descriptor(name, help, None, self.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    #[test]
    fn a_scrape_tells_attempts_and_who_waits_under_upstreams_names() {
        let metrics = Metrics::default();
        metrics.attempted("default-scheduler", Outcome::Unschedulable, Duration::from_millis(3));
        metrics.attempted("default-scheduler", Outcome::Scheduled, Duration::from_millis(3));
        metrics.took(2);
        metrics.preempted(1);
        metrics.waiting(Counts { unschedulable: 4, ..Counts::default() });
        let mut registry = Registry::default();
        registry.register_collector(Box::new(metrics));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "scheduler_schedule_attempts_total{profile=\"default-scheduler\",result=\"scheduled\"} 1",
            "scheduler_schedule_attempts_total{profile=\"default-scheduler\",result=\"unschedulable\"} 1",
            "scheduler_pod_scheduling_attempts_bucket{le=\"2.0\"} 1",
            "scheduler_preemption_attempts_total 1",
            "scheduler_preemption_victims_sum 1",
            "scheduler_pending_pods{queue=\"unschedulable\"} 4",
            "scheduler_pending_pods{queue=\"active\"} 0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
