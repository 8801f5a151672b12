//! What the controllers count: the `workqueue_*` metrics of kube-controller-manager, by the names of its queues.
//!
//! Handles are made once a queue; counting is an addition to a number, and nothing grows with the cluster.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// The lease of upstream's controllers, which names who leads.
const NAME: &str = "kube-controller-manager";

/// From ten nanoseconds to a thousand seconds, as upstream's.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(1e-8, 10.0, 12))
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Name {
    name: &'static str,
}

/// What the controllers count; clones share it. A server's `/metrics` shows it.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Families>);

struct Families {
    adds: Family<Name, Counter>,
    depth: Family<Name, Gauge>,
    retries: Family<Name, Counter>,
    waited: Family<Name, Histogram, fn() -> Histogram>,
    worked: Family<Name, Histogram, fn() -> Histogram>,
    leading: Family<Name, Gauge>,
}

impl Default for Families {
    fn default() -> Self {
        Self {
            adds: Family::default(),
            depth: Family::default(),
            retries: Family::default(),
            waited: Family::new_with_constructor(durations),
            worked: Family::new_with_constructor(durations),
            leading: Family::default(),
        }
    }
}

impl Metrics {
    /// Whether this process runs the controllers, which only the holder of the lease does.
    pub fn leading(&self, leading: bool) {
        self.0.leading.get_or_create(&Name { name: NAME }).set(i64::from(leading));
    }

    /// What the queue called `name` counts.
    pub(crate) fn queue(&self, name: &'static str) -> Meter {
        let name = Name { name };
        Meter {
            adds: self.0.adds.get_or_create_owned(&name),
            depth: self.0.depth.get_or_create_owned(&name),
            retries: self.0.retries.get_or_create_owned(&name),
            waited: self.0.waited.get_or_create_owned(&name),
            worked: self.0.worked.get_or_create_owned(&name),
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
        let families = &*self.0;
        let mut tell = |name: &str, help: &str, metric: &dyn Told| metric.tell(&mut encoder, name, help);
        tell("workqueue_adds", "Total number of adds handled by workqueue", &families.adds)?;
        tell("workqueue_depth", "Current depth of workqueue", &families.depth)?;
        tell("workqueue_retries", "Total number of retries handled by workqueue", &families.retries)?;
        let help = "How long in seconds an item stays in workqueue before being requested.";
        tell("workqueue_queue_duration_seconds", help, &families.waited)?;
        let help = "How long in seconds processing an item from workqueue takes.";
        tell("workqueue_work_duration_seconds", help, &families.worked)?;
        let help = "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates \
                    master. 'name' is the string used to identify the lease. Please make sure to group by name.";
        tell("leader_election_master_status", help, &families.leading)
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

/// What one queue counts.
#[derive(Clone)]
pub(crate) struct Meter {
    adds: Counter,
    depth: Gauge,
    retries: Counter,
    waited: Histogram,
    worked: Histogram,
}

impl Meter {
    /// A key was added that did not wait already.
    pub fn added(&self) {
        self.adds.inc();
    }

    /// So many keys are ready now.
    pub fn depth(&self, ready: usize) {
        self.depth.set(i64::try_from(ready).unwrap_or(i64::MAX));
    }

    /// A key failed and will come back.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// A key was taken up after it was ready for so long.
    pub fn waited(&self, time: Duration) {
        self.waited.observe(time.as_secs_f64());
    }

    /// A key was worked on for so long.
    pub fn worked(&self, time: Duration) {
        self.worked.observe(time.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_scrape_tells_each_queue_by_upstreams_name() {
        let metrics = Metrics::default();
        let meter = metrics.queue("deployment");
        meter.added();
        meter.depth(3);
        meter.worked(Duration::from_millis(20));
        metrics.leading(true);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(metrics));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "workqueue_adds_total{name=\"deployment\"} 1",
            "workqueue_depth{name=\"deployment\"} 3",
            "workqueue_retries_total{name=\"deployment\"} 0",
            "workqueue_work_duration_seconds_bucket{le=\"0.1\",name=\"deployment\"} 1",
            "leader_election_master_status{name=\"kube-controller-manager\"} 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
