//! Probes: when to ask, how to ask, and what the answers amount to.
//!
//! Until its first success a startup or readiness probe is asked far more often than its period says, so
//! that a process counts as ready within milliseconds of being so; failures still count once a period.

pub(crate) mod check;

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;
use tokio::time::Instant;

/// How soon to ask again, by how long the container has run without a success.
const EAGER: [(Duration, Duration); 2] = [
    (Duration::from_secs(3), Duration::from_millis(10)),
    (Duration::from_secs(30), Duration::from_millis(100)),
];
/// Processes are not started more often than this for the sake of a probe.
const EAGER_EXEC: Duration = Duration::from_millis(200);

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Holds the other probes back until it succeeds.
    Startup,
    /// Tells whether the container gets traffic.
    Readiness,
    /// Restarts the container when it fails.
    Liveness,
}

impl Purpose {
    /// The name in events.
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// The numbers of a probe, defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// Before the first question.
    pub delay: Duration,
    /// Between questions.
    pub period: Duration,
    /// For one answer.
    pub timeout: Duration,
    successes: u32,
    failures: u32,
    eager: bool,
    exec: bool,
}

impl Timing {
    /// The numbers of `probe`.
    pub fn new(probe: &Probe, purpose: Purpose) -> Self {
        let seconds = |value: Option<i32>, default: u64| {
            let value = value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
            Duration::from_secs(value.unwrap_or(default))
        };
        let count = |value: Option<i32>, default| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default)
        };
        Self {
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            successes: count(probe.success_threshold, 1),
            failures: count(probe.failure_threshold, 3),
            eager: purpose != Purpose::Liveness,
            exec: probe.exec.is_some(),
        }
    }
}

/// The running count of a probe's answers.
#[derive(Debug)]
pub(crate) struct Tally {
    timing: Timing,
    began: Instant,
    counted: Option<Instant>,
    successes: u32,
    failures: u32,
    succeeded: bool,
}

/// What an answer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Enough successes in a row.
    Healthy,
    /// Enough failures in a row.
    Unhealthy,
    /// A failure that counts, but not enough of them.
    Failing,
    /// Nothing.
    Undecided,
}

impl Tally {
    /// A tally of a container that was started at `began`.
    pub fn new(timing: Timing, began: Instant) -> Self {
        Self { timing, began, counted: None, successes: 0, failures: 0, succeeded: false }
    }

    /// Takes in an answer.
    pub fn observe(&mut self, success: bool, now: Instant) -> Verdict {
        if success {
            self.failures = 0;
            self.successes += 1;
            if self.successes < self.timing.successes {
                return Verdict::Undecided;
            }
            self.succeeded = true;
            return Verdict::Healthy;
        }
        self.successes = 0;
        // A process that has just been started is expected not to answer yet.
        let due = self.counted.unwrap_or(self.began + self.timing.delay) + self.timing.period;
        if now < due {
            return Verdict::Undecided;
        }
        self.counted = Some(now);
        self.failures += 1;
        if self.failures >= self.timing.failures { Verdict::Unhealthy } else { Verdict::Failing }
    }

    /// How long to wait, after the probe's delay, before asking for the first time.
    pub fn head_start(&self) -> Duration {
        if self.timing.eager { Duration::ZERO } else { self.timing.period }
    }

    /// How long to wait before asking again.
    pub fn wait(&self, now: Instant) -> Duration {
        let period = self.timing.period;
        if self.succeeded || !self.timing.eager {
            return period;
        }
        let ran = now.saturating_duration_since(self.began + self.timing.delay);
        let eager = EAGER.iter().find(|(until, _)| ran < *until).map_or(period, |(_, wait)| *wait);
        let least = if self.timing.exec { EAGER_EXEC } else { Duration::ZERO };
        eager.max(least).min(period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_tally(purpose: Purpose) -> (Tally, Instant) {
        let probe = Probe { period_seconds: Some(10), failure_threshold: Some(2), ..Probe::default() };
        let began = Instant::now();
        (Tally::new(Timing::new(&probe, purpose), began), began)
    }

    #[test]
    fn is_eager_until_the_first_success() {
        let (mut tally, began) = mk_tally(Purpose::Readiness);
        assert_eq!(tally.wait(began), Duration::from_millis(10));
        assert_eq!(tally.wait(began + Duration::from_secs(5)), Duration::from_millis(100));
        assert_eq!(tally.wait(began + Duration::from_mins(1)), Duration::from_secs(10));
        assert_eq!(tally.observe(true, began), Verdict::Healthy);
        assert_eq!(tally.wait(began), Duration::from_secs(10));
    }

    #[test]
    fn liveness_keeps_its_period() {
        let (tally, began) = mk_tally(Purpose::Liveness);
        assert_eq!(tally.wait(began), Duration::from_secs(10));
    }

    #[test]
    fn failures_count_once_a_period_however_often_asked() {
        let (mut tally, began) = mk_tally(Purpose::Readiness);
        for millis in (0..9990).step_by(10) {
            assert_eq!(tally.observe(false, began + Duration::from_millis(millis)), Verdict::Undecided);
        }
        assert_eq!(tally.observe(false, began + Duration::from_secs(10)), Verdict::Failing);
        assert_eq!(tally.observe(false, began + Duration::from_secs(15)), Verdict::Undecided);
        assert_eq!(tally.observe(false, began + Duration::from_secs(20)), Verdict::Unhealthy);
    }

    #[test]
    fn a_success_forgives_failures() {
        let (mut tally, began) = mk_tally(Purpose::Liveness);
        assert_eq!(tally.observe(false, began + Duration::from_secs(10)), Verdict::Failing);
        assert_eq!(tally.observe(true, began + Duration::from_secs(20)), Verdict::Healthy);
        assert_eq!(tally.observe(false, began + Duration::from_secs(30)), Verdict::Failing);
    }
}
