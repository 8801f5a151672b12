//! What the controllers count: the `workqueue_*` metrics of kube-controller-manager, by the names of its queues.
//!
//! Handles are made once a queue; counting is an addition to a number, and nothing grows with the cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tokio::time::Instant;

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
    /// What is being worked on, by queue; looked at by scrapes only.
    running: Mutex<Vec<(Name, Arc<Running>)>>,
}

/// When work began that has not ended, by a number.
#[derive(Default)]
struct Running(Mutex<(u64, BTreeMap<u64, Instant>)>);

impl Running {
    fn locked(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Instant>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work under way, from its beginning until this is dropped.
pub(crate) struct Work<'a> {
    meter: &'a Meter,
    began: Instant,
    number: u64,
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.meter.running.locked().1.remove(&self.number);
        self.meter.worked.observe(self.began.elapsed().as_secs_f64());
    }
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
            running: Mutex::default(),
        }
    }
}

impl Families {
    fn running(&self) -> MutexGuard<'_, Vec<(Name, Arc<Running>)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of each queue, for how many seconds its work has been under way: all of it together, and the longest.
    fn unfinished(&self) -> (Family<Name, Seconds>, Family<Name, Seconds>) {
        let (all, longest) = (Family::default(), Family::default());
        let now = Instant::now();
        for (name, running) in self.running().iter() {
            let ages: Vec<f64> = (running.locked().1.values())
                .map(|began| now.saturating_duration_since(*began).as_secs_f64())
                .collect();
            // Queues of one name, as after the controllers were started again, count as one.
            let total: &Seconds = &all.get_or_create_owned(name);
            total.inc_by(ages.iter().sum());
            let most: &Seconds = &longest.get_or_create_owned(name);
            most.set(ages.into_iter().fold(most.get(), f64::max));
        }
        (all, longest)
    }
}

/// A number of seconds as of now.
type Seconds = Gauge<f64, AtomicU64>;

impl Metrics {
    /// Whether this process runs the controllers, which only the holder of the lease does.
    pub fn leading(&self, leading: bool) {
        self.0.leading.get_or_create(&Name { name: NAME }).set(i64::from(leading));
    }

    /// What the queue called `name` counts.
    pub(crate) fn queue(&self, name: &'static str) -> Meter {
        let name = Name { name };
        let running: Arc<Running> = Arc::default();
        self.0.running().push((name.clone(), running.clone()));
        Meter {
            running,
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
        let (unfinished, longest) = families.unfinished();
        let help = "How many seconds of work has been done that is in progress and hasn't been observed by \
                    work_duration. Large values indicate stuck threads. One can deduce the number of stuck threads by \
                    observing the rate at which this increases.";
        tell("workqueue_unfinished_work_seconds", help, &unfinished)?;
        let help = "How many seconds has the longest running processor for workqueue been running.";
        tell("workqueue_longest_running_processor_seconds", help, &longest)?;
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
    running: Arc<Running>,
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

    /// Work on a key begins.
    pub fn works(&self) -> Work<'_> {
        let began = Instant::now();
        let mut running = self.running.locked();
        running.0 += 1;
        let number = running.0;
        running.1.insert(number, began);
        Work { meter: self, began, number }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    fn scrape(metrics: &Metrics) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(metrics.clone()));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[tokio::test(start_paused = true)]
    async fn a_scrape_tells_each_queue_by_upstreams_name() {
        let metrics = Metrics::default();
        let meter = metrics.queue("deployment");
        meter.added();
        meter.depth(3);
        let work = meter.works();
        tokio::time::advance(Duration::from_millis(20)).await;
        drop(work);
        metrics.leading(true);
        let text = scrape(&metrics);
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

    #[tokio::test(start_paused = true)]
    async fn work_that_is_not_finished_is_told_by_its_age() {
        let metrics = Metrics::default();
        let meter = metrics.queue("job");
        let told = |name: &str, seconds: f64| {
            let line = format!("workqueue_{name}{{name=\"job\"}} {seconds:.1}");
            let text = scrape(&metrics);
            assert!(text.contains(&line), "{line}\n{text}");
        };
        let first = meter.works();
        tokio::time::advance(Duration::from_secs(2)).await;
        let second = meter.works();
        tokio::time::advance(Duration::from_secs(3)).await;
        told("unfinished_work_seconds", 8.0);
        told("longest_running_processor_seconds", 5.0);
        drop(first);
        told("unfinished_work_seconds", 3.0);
        drop(second);
        told("unfinished_work_seconds", 0.0);
        told("longest_running_processor_seconds", 0.0);
    }
}
