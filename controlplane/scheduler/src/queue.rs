//! The pods that wait for a node, and when each is tried.
//!
//! ```text
//!            ┌──────── something has changed that it may have waited for, or five minutes ───────┐
//!            ▼                                                                                   │
//!  new ──► active ──► tried ──fits nowhere──────────────────────────────────────────────► unschedulable
//!            ▲          └──────something failed──► erred, for 1 s, 2 s, … 10 s ──┐
//!            └──────────────────────────────────────────────────────────────────┘
//! ```
//!
//! As upstream since 1.33, a pod that fits nowhere is backed off from only behind others: while it backs off, those
//! that do not go first, but an idle scheduler does not keep it waiting. After an error it does wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;
use vkube_watch::feed::{self, Key};

use crate::preempt::priority;

/// `podInitialBackoffSeconds`
const INITIAL_BACKOFF: Duration = Duration::from_secs(1);
/// `podMaxBackoffSeconds`
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// How long a pod stays that no event speaks for (`podMaxInUnschedulablePodsDuration`).
const MAX_UNSCHEDULABLE: Duration = Duration::from_secs(5 * 60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Active,
    Unschedulable,
    Erred,
}

#[derive(Debug)]
struct Entry {
    pod: Arc<Pod>,
    state: State,
    /// When it was last tried.
    tried: Instant,
    history: History,
}

impl Entry {
    /// Until when it backs off.
    fn backoff_end(&self) -> Instant {
        let failures = if self.state == State::Erred { self.history.errors } else { self.history.attempts };
        self.tried + backoff(failures)
    }

    /// When it becomes active by itself.
    fn due(&self) -> Option<Instant> {
        match self.state {
            State::Active => None,
            State::Unschedulable => Some(self.tried + MAX_UNSCHEDULABLE),
            State::Erred => Some(self.backoff_end()),
        }
    }
}

/// How long to back off after so many failures.
fn backoff(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        _ => INITIAL_BACKOFF.saturating_mul(1 << (failures - 1).min(8)).min(MAX_BACKOFF),
    }
}

/// What became of a pod's attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// How often it was tried.
    pub attempts: u32,
    /// How often something has failed since it last fitted nowhere.
    pub errors: u32,
}

/// How many pods wait for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// For being tried.
    pub active: usize,
    /// For an error to pass.
    pub backoff: usize,
    /// For something to change.
    pub unschedulable: usize,
    /// For their gates to be opened.
    pub gated: usize,
}

/// The pods that wait.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: BTreeMap<Key, Entry>,
    /// Those that nobody may try yet.
    gated: BTreeSet<Key>,
}

impl Queue {
    /// Takes in a pod as it is now. One that is new or asks for something else is tried.
    pub fn observe(&mut self, pod: &Arc<Pod>, now: Instant) {
        let key = feed::key(&**pod);
        self.gated.remove(&key);
        match self.waiting.get_mut(&key) {
            // Our own report of failure changes only the status and is no reason to try again.
            Some(entry) if entry.pod.metadata.uid == pod.metadata.uid => {
                if asks(&entry.pod) != asks(pod) && entry.state == State::Unschedulable {
                    entry.state = State::Active;
                }
                entry.pod = Arc::clone(pod);
            }
            _ => {
                let (state, pod) = (State::Active, Arc::clone(pod));
                self.waiting.insert(key, Entry { pod, state, tried: now, history: History::default() });
            }
        }
    }

    /// Notes a pod that nobody may try yet.
    pub fn gate(&mut self, key: Key) {
        self.waiting.remove(&key);
        self.gated.insert(key);
    }

    /// Forgets a pod.
    pub fn remove(&mut self, key: &Key) {
        self.waiting.remove(key);
        self.gated.remove(key);
    }

    /// Takes a pod out that is to get a node; says how it came there.
    pub fn take(&mut self, key: &Key) -> Option<History> {
        let history = self.waiting.remove(key)?.history;
        Some(History { attempts: history.attempts.saturating_add(1), ..history })
    }

    /// A pod that waits.
    pub fn get(&self, key: &Key) -> Option<&Arc<Pod>> {
        self.waiting.get(key).map(|entry| &entry.pod)
    }

    /// Has a pod wait that fits nowhere, until something changes.
    pub fn unschedulable(&mut self, key: &Key, now: Instant) {
        if let Some(entry) = self.waiting.get_mut(key) {
            (entry.state, entry.tried) = (State::Unschedulable, now);
            entry.history = History { attempts: entry.history.attempts.saturating_add(1), errors: 0 };
        }
    }

    /// Has a pod wait for which something has failed once more, for longer each time.
    pub fn erred(&mut self, pod: &Arc<Pod>, history: History, now: Instant) {
        let history = History { errors: history.errors.saturating_add(1), ..history };
        let entry = Entry { pod: Arc::clone(pod), state: State::Erred, tried: now, history };
        self.waiting.insert(feed::key(&**pod), entry);
    }

    /// Has those pods tried again for which something has changed.
    pub fn wake(&mut self, may_help: impl Fn(&Pod) -> bool) {
        for entry in self.waiting.values_mut() {
            if entry.state == State::Unschedulable && may_help(&entry.pod) {
                entry.state = State::Active;
            }
        }
    }

    /// The pods to try now: those that back off last, and otherwise the most important first, then the oldest.
    pub fn due(&mut self, now: Instant) -> Vec<Key> {
        let mut due: Vec<_> = Vec::new();
        for (key, entry) in &mut self.waiting {
            if entry.due().is_some_and(|at| at <= now) {
                entry.state = State::Active;
            }
            if entry.state == State::Active {
                let backs_off = Some(entry.backoff_end()).filter(|end| *end > now);
                due.push((backs_off, order(&entry.pod), key.clone()));
            }
        }
        due.sort();
        due.into_iter().map(|(.., key)| key).collect()
    }

    /// When a pod becomes due by itself.
    pub fn next(&self) -> Option<Instant> {
        self.waiting.values().filter_map(Entry::due).min()
    }

    /// How many pods wait for what.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { gated: self.gated.len(), ..Counts::default() };
        for entry in self.waiting.values() {
            *match entry.state {
                State::Active => &mut counts.active,
                State::Unschedulable => &mut counts.unschedulable,
                State::Erred => &mut counts.backoff,
            } += 1;
        }
        counts
    }
}

/// What decides where a pod may go.
fn asks(pod: &Pod) -> impl PartialEq + '_ {
    (&pod.spec, pod.status.as_ref().and_then(|status| status.resource_claim_statuses.as_ref()))
}

/// Higher priority first, then older first.
fn order(pod: &Pod) -> (i64, Option<Timestamp>) {
    (-i64::from(priority(pod)), pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, priority: i32) -> Arc<Pod> {
        let spec = json!({"containers": [], "priority": priority});
        let metadata = json!({"name": name, "namespace": "ns", "uid": name});
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap())
    }

    fn names(keys: Vec<Key>) -> Vec<String> {
        keys.into_iter().map(|(_, name)| name).collect()
    }

    fn key(name: &str) -> Key {
        ("ns".into(), name.into())
    }

    #[test]
    fn the_most_important_pods_are_tried_first_and_those_that_back_off_last() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (name, priority) in [("tried", 9), ("common", 0), ("vital", 5)] {
            queue.observe(&pod(name, priority), now);
        }
        queue.unschedulable(&key("tried"), now);
        assert_eq!(names(queue.due(now)), ["vital", "common"]);
        queue.wake(|_| true);
        assert_eq!(names(queue.due(now)), ["vital", "common", "tried"]);
        assert_eq!(names(queue.due(now + INITIAL_BACKOFF)), ["tried", "vital", "common"]);
    }

    #[test]
    fn a_pod_that_fits_nowhere_is_tried_when_it_may_fit_or_after_five_minutes() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.observe(&pod("p", 0), now);
        queue.unschedulable(&key("p"), now);
        queue.observe(&pod("p", 0), now);
        queue.wake(|_| false);
        assert!(queue.due(now).is_empty(), "nothing has changed for it");
        assert_eq!(queue.next(), Some(now + MAX_UNSCHEDULABLE));
        assert_eq!(names(queue.due(now + MAX_UNSCHEDULABLE)), ["p"]);
        queue.unschedulable(&key("p"), now);
        queue.observe(&pod("p", 1), now);
        assert_eq!(names(queue.due(now)), ["p"], "it asks for something else");
    }

    #[test]
    fn errors_are_waited_for_longer_each_time_up_to_ten_seconds() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let mut history = History::default();
        for seconds in [1, 2, 4, 8, 10, 10] {
            queue.erred(&pod("p", 0), history, now);
            queue.wake(|_| true);
            let end = now + Duration::from_secs(seconds);
            assert!(queue.due(now).is_empty(), "no event ends it");
            assert_eq!(queue.next(), Some(end));
            assert_eq!(names(queue.due(end)), ["p"]);
            history = queue.take(&key("p")).unwrap();
        }
        assert_eq!(history, History { attempts: 6, errors: 6 });
    }

    #[test]
    fn everybody_who_waits_is_counted_by_what_for() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for name in ["a", "b", "c"] {
            queue.observe(&pod(name, 0), now);
        }
        queue.unschedulable(&key("b"), now);
        queue.erred(&pod("c", 0), History::default(), now);
        queue.gate(key("d"));
        assert_eq!(queue.counts(), Counts { active: 1, backoff: 1, unschedulable: 1, gated: 1 });
        assert_eq!(queue.take(&key("b")), Some(History { attempts: 2, errors: 0 }));
        queue.remove(&key("d"));
        assert_eq!(queue.counts(), Counts { active: 1, backoff: 1, unschedulable: 0, gated: 0 });
    }
}
