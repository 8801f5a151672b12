//! How much history is kept.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Revision;

/// Time is measured in so many steps of the period, so history is kept up to a fifth longer than asked for.
const STEPS: u32 = 5;

/// Remembers when revisions were reached, to say which are old enough to be forgotten.
///
/// It is asked only when something is written: an idle store neither ages nor wakes up.
pub(crate) struct Retention {
    period: Duration,
    revisions: u64,
    /// At that time, that revision was the newest.
    marks: VecDeque<(Instant, Revision)>,
}

impl Retention {
    pub(crate) fn new(period: Duration, revisions: u64) -> Self {
        Self { period, revisions, marks: VecDeque::new() }
    }

    /// The revision whose predecessors may be forgotten, now that `newest` has been reached.
    pub(crate) fn horizon(&mut self, now: Instant, newest: Revision) -> Revision {
        let mut horizon = newest.saturating_sub(self.revisions);
        while let Some(&(time, revision)) = self.marks.front() {
            if now.duration_since(time) < self.period {
                break;
            }
            horizon = horizon.max(revision);
            self.marks.pop_front();
        }
        if self.marks.back().is_none_or(|(last, _)| now.duration_since(*last) >= self.period / STEPS) {
            self.marks.push_back((now, newest));
        }
        horizon
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn keeps_what_is_younger_than_the_period() {
        let start = Instant::now();
        let mut retention = Retention::new(5 * MINUTE, 1000);

        assert_eq!(retention.horizon(start, 10), 0);
        assert_eq!(retention.horizon(start + MINUTE, 20), 0);
        assert_eq!(retention.horizon(start + 5 * MINUTE, 30), 10);
        assert_eq!(retention.horizon(start + 6 * MINUTE, 31), 20);
    }

    #[test]
    fn keeps_no_more_revisions_than_asked_for() {
        let mut retention = Retention::new(5 * MINUTE, 100);
        assert_eq!(retention.horizon(Instant::now(), 250), 150);
    }

    #[test]
    fn keeps_everything_without_bounds() {
        let start = Instant::now();
        let mut retention = Retention::new(Duration::MAX, u64::MAX);
        assert_eq!(retention.horizon(start, 10), 0);
        assert_eq!(retention.horizon(start + 1_000_000 * MINUTE, 1_000_000), 0);
    }
}
