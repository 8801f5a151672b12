//! Work, keyed by object: each key is worked on by one worker at a time, changes that arrive meanwhile are
//! remembered, failures back off, and timers are exact. Idle means asleep.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// First delay after a failure; doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// Longest delay between attempts.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// What became of a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing more to do until something changes.
    Done,
    /// To be looked at again after this time, even if nothing changes.
    After(Duration),
    /// To be tried again soon.
    Failed,
}

/// A queue of keys.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    wake: Notify,
}

#[derive(Debug)]
struct State<T> {
    entries: HashMap<T, Entry>,
    due: BTreeSet<(Instant, T)>,
}

#[derive(Debug, Default)]
struct Entry {
    /// When it is to be worked on; present exactly if it is in `due`.
    due: Option<Instant>,
    running: bool,
    /// A change that arrived while running.
    again: Option<Instant>,
    failures: u32,
}

impl<T: Clone + Eq + Hash + Ord> Queue<T> {
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State { entries: HashMap::new(), due: BTreeSet::new() }),
            wake: Notify::new(),
        }
    }

    /// Asks for work on `key` now.
    pub fn add(&self, key: T) {
        self.lock().schedule(key, Instant::now());
        self.wake.notify_one();
    }

    /// Waits for the next due key; [`Queue::finish`] must follow.
    pub async fn next(&self) -> T {
        loop {
            let wait = match self.lock().pop(Instant::now()) {
                Ok(key) => {
                    // Another worker may be waiting for the next one.
                    self.wake.notify_one();
                    return key;
                }
                Err(wait) => wait,
            };
            match wait {
                Some(due) => {
                    let _ = tokio::time::timeout_at(due, self.wake.notified()).await;
                }
                None => self.wake.notified().await,
            }
        }
    }

    /// Reports the outcome of work on `key`.
    pub fn finish(&self, key: T, outcome: Outcome) {
        self.lock().finish(key, outcome);
        self.wake.notify_one();
    }

    /// Forgets the keys that are waiting and not wanted.
    pub fn retain(&self, mut is_wanted: impl FnMut(&T) -> bool) {
        let State { entries, due } = &mut *self.lock();
        due.retain(|(_, key)| {
            let keep = is_wanted(key);
            if !keep {
                entries.remove(key);
            }
            keep
        });
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + Eq + Hash + Ord> State<T> {
    fn schedule(&mut self, key: T, at: Instant) {
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.running {
            entry.again = Some(entry.again.map_or(at, |again| again.min(at)));
            return;
        }
        match entry.due {
            Some(due) if due <= at => return,
            Some(due) => {
                self.due.remove(&(due, key.clone()));
            }
            None => {}
        }
        entry.due = Some(at);
        self.due.insert((at, key));
    }

    /// The next due key, or when to ask again.
    fn pop(&mut self, now: Instant) -> Result<T, Option<Instant>> {
        let Some((due, _)) = self.due.first() else { return Err(None) };
        if *due > now {
            return Err(Some(*due));
        }
        let Some((_, key)) = self.due.pop_first() else { return Err(None) };
        let entry = self.entries.entry(key.clone()).or_default();
        entry.due = None;
        entry.running = true;
        Ok(key)
    }

    fn finish(&mut self, key: T, outcome: Outcome) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.running = false;
        let again = entry.again.take();
        let now = Instant::now();
        let at = match outcome {
            Outcome::Failed => {
                entry.failures += 1;
                Some(now + delay(entry.failures))
            }
            Outcome::Done => None,
            Outcome::After(wait) => Some(now + wait),
        };
        if outcome != Outcome::Failed {
            entry.failures = 0;
        }
        match (at, again) {
            (None, None) => {
                self.entries.remove(&key);
            }
            (at, again) => {
                let at = at.into_iter().chain(again).min().unwrap_or(now);
                self.schedule(key, at);
            }
        }
    }
}

fn delay(failures: u32) -> Duration {
    let factor = 1_u32 << (failures.saturating_sub(1)).min(16);
    FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_during_work_is_worked_on_afterwards() {
        let queue = Queue::new();
        queue.add("a");
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.next().await, "b", "one worker a key");
        queue.finish("a", Outcome::Done);
        assert_eq!(queue.next().await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn timers_are_exact_and_sooner_work_wins() {
        let queue = Queue::new();
        queue.add("a");
        let start = Instant::now();
        queue.next().await;
        queue.finish("a", Outcome::After(Duration::from_secs(2880)));
        queue.next().await;
        assert_eq!(start.elapsed().as_secs(), 2880);

        queue.finish("a", Outcome::After(Duration::from_secs(100)));
        queue.add("a");
        let start = Instant::now();
        queue.next().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_until_a_success() {
        let queue = Queue::new();
        queue.add("a");
        let mut waits = Vec::new();
        for _ in 0..4 {
            let start = Instant::now();
            queue.next().await;
            waits.push(start.elapsed().as_millis());
            queue.finish("a", Outcome::Failed);
        }
        assert_eq!(waits, [0, 100, 200, 400]);
    }

    #[test]
    fn delays_are_bounded() {
        assert_eq!(delay(1), FIRST_DELAY);
        assert_eq!(delay(u32::MAX), LONGEST_DELAY);
    }
}
