//! How long to wait after a failure: twice as long each time, for each cluster by itself.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The first wait: most failures are races that the host has settled by then.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(300);

/// Failures in a row, by the UID of the object.
#[derive(Debug, Default)]
pub struct Backoff(Mutex<HashMap<String, Failures>>);

#[derive(Debug, Default)]
struct Failures {
    generation: Option<i64>,
    count: u32,
}

impl Backoff {
    /// Counts a failure at this generation and returns how long to wait. A new generation starts anew.
    pub fn failed(&self, uid: &str, generation: Option<i64>) -> Duration {
        let mut all = self.lock();
        let failures = all.entry(uid.to_owned()).or_default();
        if failures.generation != generation {
            *failures = Failures { generation, count: 0 };
        }
        let wait = FIRST.saturating_mul(1 << failures.count.min(16)).min(LONGEST);
        failures.count += 1;
        // A quarter of chance keeps clusters that failed together from returning together.
        wait.mul_f64(rand::random_range(0.75..=1.0))
    }

    /// Forgets the failures of an object that succeeded or is gone.
    pub fn succeeded(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Failures>> {
        // Counts are whole at every step, so a panic elsewhere cannot have left them half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit() {
        let backoff = Backoff::default();
        let waits: Vec<_> = (0..20).map(|_| backoff.failed("a", Some(1))).collect();
        for (index, wait) in waits.iter().enumerate() {
            let most = FIRST.saturating_mul(1 << index).min(LONGEST);
            assert!(*wait <= most && *wait >= most.mul_f64(0.74), "{index}: {wait:?}");
        }
    }

    #[test]
    fn success_and_new_generations_start_anew() {
        let backoff = Backoff::default();
        for _ in 0..5 {
            backoff.failed("a", Some(1));
        }
        assert!(backoff.failed("a", Some(2)) <= FIRST);
        for _ in 0..5 {
            backoff.failed("a", Some(2));
        }
        backoff.succeeded("a");
        assert!(backoff.failed("a", Some(2)) <= FIRST);
    }

    #[test]
    fn objects_do_not_wait_for_each_other() {
        let backoff = Backoff::default();
        for _ in 0..5 {
            backoff.failed("a", None);
        }
        assert!(backoff.failed("b", None) <= FIRST);
    }
}
