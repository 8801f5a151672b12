//! How long a container waits before it is started again.

use std::time::Duration;

/// The first wait; the second start comes without one.
const FIRST: Duration = Duration::from_secs(10);
/// The longest wait.
const MOST: Duration = Duration::from_secs(5 * 60);
/// A run of this length forgives earlier failures.
const FORGIVEN_AFTER: Duration = Duration::from_secs(10 * 60);

/// The back-off of one container.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    next: Option<Duration>,
}

impl Backoff {
    /// Takes in a run that ended; gives the wait before the next one.
    pub fn ended(&mut self, ran_for: Duration) -> Duration {
        if ran_for >= FORGIVEN_AFTER {
            self.next = None;
        }
        match self.next {
            None => {
                self.next = Some(FIRST);
                Duration::ZERO
            }
            Some(wait) => {
                self.next = Some((wait * 2).min(MOST));
                wait
            }
        }
    }
}

/// A duration in the notation of Kubernetes' messages, such as `1m20s`.
pub(crate) fn display(duration: Duration) -> String {
    match (duration.as_secs() / 60, duration.as_secs() % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_five_minutes_and_forgives_a_long_run() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        let waits: Vec<_> = (0..8).map(|_| backoff.ended(short).as_secs()).collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff.ended(FORGIVEN_AFTER), Duration::ZERO);
    }

    #[test]
    fn displays_as_kubernetes_does() {
        assert_eq!(display(Duration::from_secs(40)), "40s");
        assert_eq!(display(Duration::from_secs(300)), "5m0s");
    }
}
