//! Work queues: which keys a controller still has to look at, and when.
//!
//! Guarantees: a key waits at most once, is worked on by at most one reconcile at a time, and a key added while it
//! is being worked on is worked on again afterwards. An idle queue holds no timer.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kube::Resource;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::Error;
use crate::metrics::Meter;

/// The first wait after a failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(5);
/// The longest wait after failures, reached at the eighteenth in a row.
const LAST_RETRY: Duration = Duration::from_secs(1000);

/// The name of an object; `namespace` is empty for cluster-scoped ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The namespace, or empty.
    pub namespace: String,
    /// The name within the namespace.
    pub name: String,
}

impl Key {
    /// The key of `object`.
    pub fn of(object: &impl Resource) -> Self {
        let meta = object.meta();
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }

    /// The key of `name` in `namespace`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// A handle to a work queue; clones share the queue.
pub(crate) struct Queue<T>(Arc<Shared<T>>);

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    wake: Notify,
    last_retry: Duration,
    meter: Meter,
}

struct State<T> {
    ready: VecDeque<T>,
    /// Keys that are in `ready`, or wait for their running reconcile to end, and since when.
    pending: HashMap<T, Instant>,
    active: HashSet<T>,
    /// Delayed keys by due time; the counter keeps equal times apart.
    later: BTreeMap<(Instant, u64), T>,
    due: HashMap<T, (Instant, u64)>,
    counter: u64,
    failures: HashMap<T, u32>,
}

impl<T: Clone + Eq + Hash> Queue<T> {
    /// An empty queue that `meter` counts.
    pub fn new(meter: Meter) -> Self {
        Self::empty(meter, LAST_RETRY)
    }

    /// An empty queue like this that waits no longer than `last_retry` between attempts.
    pub fn with_last_retry(self, last_retry: Duration) -> Self {
        Self::empty(self.0.meter.clone(), last_retry)
    }

    fn empty(meter: Meter, last_retry: Duration) -> Self {
        let state = State {
            ready: VecDeque::new(),
            pending: HashMap::new(),
            active: HashSet::new(),
            later: BTreeMap::new(),
            due: HashMap::new(),
            counter: 0,
            failures: HashMap::new(),
        };
        Self(Arc::new(Shared { state: Mutex::new(state), wake: Notify::new(), last_retry, meter }))
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for `key` to be worked on.
    pub fn add(&self, key: T) {
        self.state().push(key, &self.0.meter);
        self.0.wake.notify_one();
    }

    /// Asks for `key` to be worked on after `delay`, unless that is already due sooner.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let mut state = self.state();
        let at = Instant::now() + delay;
        match state.due.get(&key).copied() {
            Some((due, _)) if due <= at => return,
            Some(slot) => drop(state.later.remove(&slot)),
            None => {}
        }
        state.counter += 1;
        let slot = (at, state.counter);
        state.later.insert(slot, key.clone());
        state.due.insert(key, slot);
        drop(state);
        self.0.wake.notify_one();
    }

    /// Asks for `key` again after a failure, waiting longer each time.
    pub fn retry(&self, key: T) {
        let mut state = self.state();
        let failures = state.failures.entry(key.clone()).or_insert(0);
        let delay = FIRST_RETRY.saturating_mul(1 << (*failures).min(18)).min(self.0.last_retry);
        *failures += 1;
        drop(state);
        self.0.meter.retried();
        self.add_after(key, delay);
    }

    /// Forgets the failures of `key`.
    pub fn forget(&self, key: &T) {
        self.state().failures.remove(key);
    }

    /// The next key to work on; it is active until [`Self::done`].
    async fn next(&self) -> T {
        loop {
            let due = {
                let mut state = self.state();
                let now = Instant::now();
                state.promote(now, &self.0.meter);
                if let Some(key) = state.ready.pop_front() {
                    let since = state.pending.remove(&key).unwrap_or(now);
                    self.0.meter.waited(now.saturating_duration_since(since));
                    self.0.meter.depth(state.ready.len());
                    state.active.insert(key.clone());
                    return key;
                }
                state.later.first_key_value().map(|((at, _), _)| *at)
            };
            match due {
                Some(at) => {
                    tokio::select! {
                        () = self.0.wake.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => self.0.wake.notified().await,
            }
        }
    }

    fn done(&self, key: &T) {
        let mut state = self.state();
        state.active.remove(key);
        if state.pending.contains_key(key) {
            state.ready.push_back(key.clone());
            self.0.meter.depth(state.ready.len());
            drop(state);
            self.0.wake.notify_one();
        }
    }
}

impl<T: Clone + Eq + Hash> State<T> {
    fn push(&mut self, key: T, meter: &Meter) {
        if self.pending.contains_key(&key) {
            return;
        }
        meter.added();
        self.pending.insert(key.clone(), Instant::now());
        if !self.active.contains(&key) {
            self.ready.push_back(key);
            meter.depth(self.ready.len());
        }
    }

    fn promote(&mut self, now: Instant, meter: &Meter) {
        while let Some(entry) = self.later.first_entry()
            && entry.key().0 <= now
        {
            let key = entry.remove();
            self.due.remove(&key);
            self.push(key, meter);
        }
    }
}

impl<T: Clone + Eq + Hash + fmt::Display> Queue<T> {
    /// Calls `reconcile` for each key, at most `concurrency` at a time, until `shutdown`.
    ///
    /// A failure or a panic in one reconcile delays that key only. Reconciles are dropped at their next await when
    /// `shutdown` fires: each step derives from API state, so the next start goes on where they stood.
    pub async fn run<F, Fut>(&self, concurrency: usize, shutdown: &CancellationToken, reconcile: F)
    where
        F: Fn(T) -> Fut,
        Fut: Future<Output = Result<(), Error>>,
    {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(()) = running.next(), if !running.is_empty() => {}
                key = self.next(), if running.len() < concurrency => {
                    let outcome = AssertUnwindSafe(reconcile(key.clone())).catch_unwind();
                    running.push(async move {
                        let work = self.0.meter.works();
                        let outcome = outcome.await;
                        drop(work);
                        self.settle(&key, outcome);
                    });
                }
            }
        }
    }

    fn settle(&self, key: &T, outcome: Result<Result<(), Error>, Box<dyn std::any::Any + Send>>) {
        match outcome {
            Ok(Ok(())) => self.forget(key),
            Ok(Err(error)) => {
                if error.is_transient() {
                    tracing::debug!(%key, %error, "will try again");
                } else {
                    tracing::warn!(%key, %error, "reconcile failed");
                }
                self.retry(key.clone());
            }
            Err(_) => {
                tracing::error!(%key, "reconcile panicked");
                self.retry(key.clone());
            }
        }
        self.done(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn queue() -> Queue<&'static str> {
        Queue::new(Metrics::default().queue("test"))
    }

    fn take(queue: &Queue<&'static str>) -> Option<&'static str> {
        queue.next().now_or_never()
    }

    #[tokio::test]
    async fn a_key_waits_at_most_once() {
        let queue = queue();
        queue.add("a");
        queue.add("a");
        assert_eq!(take(&queue), Some("a"));
        queue.done(&"a");
        assert_eq!(take(&queue), None);
    }

    #[tokio::test]
    async fn a_key_added_while_active_comes_back_only_after_it_is_done() {
        let queue = queue();
        queue.add("a");
        assert_eq!(take(&queue), Some("a"));
        queue.add("a");
        assert_eq!(take(&queue), None);
        queue.done(&"a");
        assert_eq!(take(&queue), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_sooner_of_two_delays_wins() {
        let queue = queue();
        queue.add_after("a", Duration::from_secs(60));
        queue.add_after("a", Duration::from_secs(5));
        queue.add_after("a", Duration::from_secs(30));
        let start = Instant::now();
        assert_eq!(queue.next().await, "a");
        assert_eq!(start.elapsed().as_secs(), 5);
        queue.done(&"a");
        assert!(queue.state().later.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_double_the_wait_and_success_forgets_them() {
        let queue = queue();
        for wait in [5, 10, 20, 40] {
            let start = Instant::now();
            queue.retry("a");
            assert_eq!(queue.next().await, "a");
            assert!(start.elapsed().as_millis() >= wait);
            queue.done(&"a");
        }
        queue.forget(&"a");
        assert!(queue.state().failures.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_delays_its_key_only() {
        let queue: Queue<&'static str> = queue();
        let shutdown = CancellationToken::new();
        let seen = Mutex::new(Vec::new());
        queue.add("bad");
        queue.add("good");
        queue
            .run(2, &shutdown, |key| {
                let (seen, shutdown) = (&seen, &shutdown);
                async move {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.push(key);
                    if seen.len() == 3 {
                        shutdown.cancel();
                    }
                    assert!(key != "bad" || seen.len() > 1, "first time");
                    Ok(())
                }
            })
            .await;
        assert_eq!(*seen.lock().unwrap_or_else(PoisonError::into_inner), ["bad", "good", "bad"]);
    }
}
