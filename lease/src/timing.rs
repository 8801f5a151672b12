//! The three times of an election, which only work together.

use std::time::Duration;

/// Attempts to acquire wait up to this many retry periods, as in client-go.
pub(crate) const JITTER: f64 = 1.2;

/// How long things take: kube-controller-manager's `--leader-elect-lease-duration`, `--leader-elect-renew-deadline` and
/// `--leader-elect-retry-period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    duration: Duration,
    renew_deadline: Duration,
    retry_period: Duration,
}

/// Times with which an election would not be safe.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A holder would work on after others may have begun.
    #[error("the lease duration must be greater than the renew deadline")]
    Duration,
    /// A holder would have no second attempt.
    #[error("the renew deadline must be greater than 1.2 retry periods")]
    RenewDeadline,
    /// Attempts would never pause, or the lease would have no duration in whole seconds.
    #[error("the retry period must not be zero, and the lease duration at least a second")]
    Zero,
}

impl Timing {
    /// Others may take the lease when it was not renewed for `duration`; the holder gives up after `renew_deadline`, and
    /// there is `retry_period` between attempts.
    pub fn new(
        duration: Duration,
        renew_deadline: Duration,
        retry_period: Duration,
    ) -> Result<Self, Unusable> {
        if retry_period.is_zero() || duration.as_secs() == 0 {
            return Err(Unusable::Zero);
        }
        if duration <= renew_deadline {
            return Err(Unusable::Duration);
        }
        if renew_deadline <= retry_period.mul_f64(JITTER) {
            return Err(Unusable::RenewDeadline);
        }
        Ok(Self { duration, renew_deadline, retry_period })
    }

    pub(crate) fn duration(self) -> Duration {
        self.duration
    }

    pub(crate) fn renew_deadline(self) -> Duration {
        self.renew_deadline
    }

    pub(crate) fn retry_period(self) -> Duration {
        self.retry_period
    }
}

impl Default for Timing {
    fn default() -> Self {
        let [duration, renew_deadline, retry_period] = [15, 10, 2].map(Duration::from_secs);
        Self { duration, renew_deadline, retry_period }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_let_two_lead_are_refused() {
        let timing = |a, b, c| {
            Timing::new(Duration::from_secs(a), Duration::from_secs(b), Duration::from_secs(c)).map(|_| ())
        };
        assert_eq!(timing(15, 10, 2), Ok(()));
        assert_eq!(timing(10, 10, 2), Err(Unusable::Duration));
        assert_eq!(timing(15, 2, 2), Err(Unusable::RenewDeadline));
        assert_eq!(timing(15, 10, 0), Err(Unusable::Zero));
    }
}
