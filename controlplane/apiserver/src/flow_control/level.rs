//! Priority levels: how many requests may run at once, and what becomes of those beyond
//! (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#prioritylevelconfiguration>).

use http::HeaderValue;
use serde_json::Value;

use super::{
    queues::{Queues, Queuing},
    schema::uid,
};
use crate::{
    metadata,
    registry::access::{get, int_at, str_at},
};

/// What a PriorityLevelConfiguration says.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Its name.
    pub name: String,
    /// Its uid, as answers show it.
    pub uid: HeaderValue,
    /// Its part of all seats, compared to the others.
    pub shares: i64,
    /// How much of its seats it lends to others, in percent.
    lendable: i64,
    /// How much it may borrow, in percent of its own seats; as much as there is if absent.
    borrowing: Option<i64>,
    /// Whether its requests run at once, always.
    pub exempt: bool,
    /// How requests wait; without it they are refused.
    queuing: Option<Queuing>,
}

impl Configuration {
    /// Reads a valid PriorityLevelConfiguration.
    pub fn parse(object: &Value) -> Self {
        let exempt = str_at(object, "/spec/type") == "Exempt";
        let place = if exempt { "/spec/exempt" } else { "/spec/limited" };
        let part = object.pointer(place).unwrap_or(&Value::Null);
        let size =
            |field| usize::try_from(int_at(part, &format!("/limitResponse/queuing/{field}"))).unwrap_or(0);
        let queued = str_at(part, "/limitResponse/type") == "Queue";
        Self {
            name: metadata::name(object).into(),
            uid: uid(object),
            shares: int_at(part, "/nominalConcurrencyShares"),
            lendable: int_at(part, "/lendablePercent"),
            borrowing: get(part, "/borrowingLimitPercent").and_then(Value::as_i64),
            exempt,
            queuing: queued.then(|| Queuing {
                queues: size("queues").max(1),
                hand: size("handSize").max(1),
                length: size("queueLengthLimit").max(1),
            }),
        }
    }
}

fn percent(seats: usize, percent: i64) -> usize {
    seats * usize::try_from(percent).unwrap_or(0) / 100
}

/// A level at work; `W` is a request that waits.
#[derive(Debug)]
pub struct Level<W> {
    /// What it goes by; absent once its configuration is gone.
    pub configuration: Option<Configuration>,
    /// The seats that it has of its own.
    pub seats: usize,
    lendable: usize,
    borrowing: usize,
    executing: usize,
    /// Present while there are, or were just now, more requests than seats.
    queues: Option<Queues<W>>,
}

impl<W> Level<W> {
    /// A level without requests.
    pub fn new() -> Self {
        Self { configuration: None, seats: 0, lendable: 0, borrowing: 0, executing: 0, queues: None }
    }

    /// Takes a new configuration with so many of all seats. Queues in use keep their shape.
    pub fn configure(&mut self, configuration: Configuration, seats: usize, all: usize) {
        self.lendable = percent(seats, configuration.lendable);
        self.borrowing = configuration.borrowing.map_or(all, |limit| percent(seats, limit));
        self.seats = seats;
        self.configuration = Some(configuration);
    }

    /// Whether it has no configuration and nothing to do.
    pub fn is_free(&self) -> bool {
        self.configuration.is_none() && self.executing == 0 && self.waiting() == 0
    }

    /// How many of its requests run.
    pub fn executing(&self) -> usize {
        self.executing
    }

    /// How many of its requests wait.
    pub fn waiting(&self) -> usize {
        self.queues.as_ref().map_or(0, Queues::waiting)
    }

    /// The seats that it lends and does not use.
    pub fn spare(&self) -> usize {
        self.lendable.min(self.seats.saturating_sub(self.executing))
    }

    /// The seats that it has from others.
    pub fn borrowed(&self) -> usize {
        self.executing.saturating_sub(self.seats)
    }

    /// Whether one more may run when the other levels can still lend `spare` seats.
    fn has_seat(&self, spare: usize) -> bool {
        self.executing < self.seats || (self.executing < self.seats + self.borrowing && spare > 0)
    }

    /// Whether all its own seats are taken.
    pub fn is_full(&self) -> bool {
        self.executing >= self.seats
    }

    /// Takes a seat, if there is one and nobody waits for it. `spare` is what others can still lend.
    pub fn take(&mut self, spare: usize) -> bool {
        let taken = self.waiting() == 0 && self.has_seat(spare);
        self.executing += usize::from(taken);
        taken
    }

    /// Lets a request of this flow wait, or gives it back with the reason as metrics call it.
    pub fn wait(
        &mut self,
        request: W,
        flow: u64,
        gone: impl Fn(&W) -> bool,
        now: f64,
    ) -> Result<(), (W, &'static str)> {
        let Some(queuing) = self.configuration.as_ref().and_then(|configuration| configuration.queuing)
        else {
            return Err((request, "concurrency-limit"));
        };
        let queues = self.queues.get_or_insert_with(|| Queues::new(queuing));
        queues.push(flow, request, gone, self.seats, now).map_err(|request| (request, "queue-full"))
    }

    /// The next request that may run, with its queue.
    pub fn next(&mut self, spare: usize, now: f64) -> Option<(usize, W)> {
        if !self.has_seat(spare) {
            return None;
        }
        let next = self.queues.as_mut()?.pop(self.seats, now)?;
        self.executing += 1;
        Some(next)
    }

    /// A request has ended; `queue` is where it waited, and how many seconds it ran after that.
    pub fn leave(&mut self, queue: Option<(usize, f64)>, now: f64) {
        self.executing = self.executing.saturating_sub(1);
        let Some(queues) = &mut self.queues else { return };
        if let Some((index, took)) = queue {
            queues.finish(index, took, self.seats, now);
        }
        if queues.is_idle() {
            self.queues = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn level(limited: &Value, seats: usize) -> Level<u32> {
        let object =
            json!({"metadata": {"name": "l", "uid": "u"}, "spec": {"type": "Limited", "limited": limited}});
        let mut level = Level::new();
        level.configure(Configuration::parse(&object), seats, 100);
        level
    }

    fn wait(level: &mut Level<u32>, request: u32) -> Result<(), (u32, &'static str)> {
        level.wait(request, 1, |_| false, 0.0)
    }

    #[test]
    fn a_level_that_rejects_keeps_nobody_waiting() {
        let mut level = level(&json!({"limitResponse": {"type": "Reject"}}), 1);
        assert!(level.take(0));
        assert!(!level.take(0));
        assert_eq!(wait(&mut level, 2), Err((2, "concurrency-limit")));
        level.leave(None, 0.0);
        assert!(level.take(0));
    }

    #[test]
    fn seats_of_others_are_borrowed_up_to_the_limit() {
        let limited = json!({"borrowingLimitPercent": 50, "limitResponse": {"type": "Reject"}});
        let mut level = level(&limited, 2);
        assert_eq!([9, 9, 0, 9, 9].map(|spare| level.take(spare)), [true, true, false, true, false]);
        assert_eq!(level.borrowed(), 1);
    }

    #[test]
    fn queues_are_there_only_while_they_are_needed() {
        let queuing = json!({"queues": 4, "handSize": 2, "queueLengthLimit": 5});
        let mut level = level(&json!({"limitResponse": {"type": "Queue", "queuing": queuing}}), 1);
        assert!(level.take(0));
        assert!(level.queues.is_none());
        wait(&mut level, 2).unwrap();
        assert!(!level.take(9), "those who wait come first");
        assert_eq!(level.next(0, 0.0), None, "the seat is taken");
        level.leave(None, 0.1);
        let (queue, request) = level.next(0, 0.1).unwrap();
        assert_eq!(request, 2);
        level.leave(Some((queue, 0.1)), 0.2);
        assert!(level.queues.is_none());
        assert_eq!((level.executing(), level.waiting()), (0, 0));
    }
}
