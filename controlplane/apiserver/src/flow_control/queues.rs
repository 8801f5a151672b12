//! The seats of one priority level, and the queues in front of them. Pure: time comes in, decisions go out.
//!
//! Fair queuing as in Kubernetes: each flow is dealt a small hand of queues by its hash and joins the shortest;
//! a queue is served in proportion to what it has used, measured by a progress meter that runs as fast as every
//! queue is served (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#fairness>). As long
//! as there are seats, no queue exists at all.

use std::collections::VecDeque;

/// How long a request is taken to run until it has, in seconds.
const EXPECTED: f64 = 0.003;

/// How a level lets requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queuing {
    /// How many queues there are.
    pub queues: usize,
    /// How many of them a flow may use.
    pub hand: usize,
    /// How many requests may wait in one.
    pub length: usize,
}

/// One queue. Its place is where on the progress meter its next request would begin.
#[derive(Debug)]
struct Queue<W> {
    waiting: VecDeque<(f64, W)>,
    executing: usize,
    place: f64,
}

/// The queues of a level; `W` is a request that waits.
#[derive(Debug)]
pub struct Queues<W> {
    queues: Vec<Queue<W>>,
    queuing: Queuing,
    waiting: usize,
    /// Requests that run and came out of a queue.
    executing: usize,
    /// Queues that have any request.
    active: usize,
    progress: f64,
    /// When the meter was read, in seconds.
    at: f64,
    /// The queue that was served last.
    last: usize,
    enqueued: usize,
}

impl<W> Queues<W> {
    /// Queues that are all empty.
    pub fn new(queuing: Queuing) -> Self {
        let empty = || Queue { waiting: VecDeque::new(), executing: 0, place: 0.0 };
        let queues = std::iter::repeat_with(empty).take(queuing.queues).collect();
        Self {
            queues,
            queuing,
            waiting: 0,
            executing: 0,
            active: 0,
            progress: 0.0,
            at: 0.0,
            last: 0,
            enqueued: 0,
        }
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether nobody needs them any more.
    pub fn is_idle(&self) -> bool {
        self.active == 0
    }

    /// Lets a request of `flow` wait; gives it back if its queue is full. Those that gave up make place.
    pub fn push(
        &mut self,
        flow: u64,
        request: W,
        gone: impl Fn(&W) -> bool,
        seats: usize,
        now: f64,
    ) -> Result<(), W> {
        self.advance(seats, now);
        let index = self.shortest(flow);
        let queue = &mut self.queues[index];
        let before = queue.waiting.len();
        queue.waiting.retain(|(_, request)| !gone(request));
        self.waiting -= before - queue.waiting.len();
        let idle = queue.waiting.is_empty() && queue.executing == 0;
        if queue.waiting.len() >= self.queuing.length {
            return Err(request);
        }
        if idle {
            queue.place = self.progress;
        }
        if idle && before == 0 {
            self.active += 1;
        }
        queue.waiting.push_back((self.progress, request));
        self.waiting += 1;
        Ok(())
    }

    /// The next request that is to run, and its queue.
    pub fn pop(&mut self, seats: usize, now: f64) -> Option<(usize, W)> {
        self.advance(seats, now);
        let count = self.queues.len();
        let order = (1..=count).map(|step| (self.last + step) % count);
        let fullest = order.filter(|index| !self.queues[*index].waiting.is_empty());
        let index = fullest.min_by(|a, b| self.queues[*a].place.total_cmp(&self.queues[*b].place))?;
        let queue = &mut self.queues[index];
        let (arrived, request) = queue.waiting.pop_front()?;
        // A queue that had nothing to do saves nothing up.
        queue.place = queue.place.max(arrived) + EXPECTED;
        queue.executing += 1;
        self.waiting -= 1;
        self.executing += 1;
        self.last = index;
        Some((index, request))
    }

    /// A request of a queue has ended after so many seconds.
    pub fn finish(&mut self, index: usize, took: f64, seats: usize, now: f64) {
        self.advance(seats, now);
        let Some(queue) = self.queues.get_mut(index) else { return };
        queue.place += took - EXPECTED;
        queue.executing -= 1;
        self.executing -= 1;
        if queue.executing == 0 && queue.waiting.is_empty() {
            self.active -= 1;
        }
    }

    /// Moves the meter: as fast as each active queue gets seats.
    fn advance(&mut self, seats: usize, now: f64) {
        if self.active > 0 {
            let used = (self.executing + self.waiting).min(seats);
            self.progress += (now - self.at).max(0.0) * used as f64 / self.active as f64;
        }
        self.at = now;
    }

    /// The queue of a flow's hand in which the fewest wait. Flows with overlapping hands begin at other
    /// cards.
    fn shortest(&mut self, flow: u64) -> usize {
        let hand = deal(flow, self.queues.len(), self.queuing.hand);
        self.enqueued = self.enqueued.wrapping_add(1);
        let offset = self.enqueued;
        let order = (0..hand.len()).map(|step| hand[(offset + step) % hand.len()]);
        order.min_by_key(|index| self.queues[*index].waiting.len()).unwrap_or_default()
    }
}

/// A hand of different cards below `deck`, by a hash
/// (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#queuing>).
fn deal(hash: u64, deck: usize, hand: usize) -> Vec<usize> {
    let mut rest = hash;
    let mut cards: Vec<usize> = Vec::with_capacity(hand);
    for dealt in 0..hand.min(deck) {
        let left = (deck - dealt) as u64;
        let mut card = (rest % left) as usize;
        rest /= left;
        // The card is a place among those not dealt yet.
        let mut sorted = cards.clone();
        sorted.sort_unstable();
        for taken in sorted {
            card += usize::from(taken <= card);
        }
        cards.push(card);
    }
    cards
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUING: Queuing = Queuing { queues: 64, hand: 6, length: 50 };

    fn never<W>(_: &W) -> bool {
        false
    }

    #[test]
    fn a_hand_has_different_cards_of_the_deck() {
        for hash in [0, 1, 0x1234_5678_9abc_def0, u64::MAX] {
            let mut hand = deal(hash, 8, 6);
            hand.sort_unstable();
            hand.dedup();
            assert_eq!(hand.len(), 6, "{hash}");
            assert!(hand.iter().all(|card| *card < 8));
        }
        assert_eq!(deal(7, 2, 6).len(), 2, "no hand is larger than its deck");
    }

    #[test]
    fn a_flow_that_floods_waits_for_itself_and_not_before_others() {
        let mut queues = Queues::<u64>::new(QUEUING);
        let (flood, other) = (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
        for request in 0..200 {
            queues.push(flood, request, never, 4, 0.0).unwrap();
        }
        for request in 1000..1003 {
            queues.push(other, request, never, 4, 0.0).unwrap();
        }
        let first: Vec<u64> = std::iter::from_fn(|| queues.pop(4, 0.0)).map(|(_, r)| r).take(12).collect();
        let served = first.iter().filter(|request| **request >= 1000).count();
        assert_eq!(served, 3, "two hands of six queues, served in turns: {first:?}");
    }

    #[test]
    fn a_queue_pays_for_the_time_that_its_requests_took() {
        let mut queues = Queues::new(Queuing { queues: 2, hand: 1, length: 9 });
        for request in 0..4 {
            queues.push(0, request, never, 1, 0.0).unwrap();
            queues.push(1, 10 + request, never, 1, 0.0).unwrap();
        }
        let (queue, slow) = queues.pop(1, 0.0).unwrap();
        queues.finish(queue, 0.03, 1, 0.03);
        let mut after = Vec::new();
        for step in 0..4 {
            let now = 0.03 + f64::from(step) * 0.003;
            let (queue, request) = queues.pop(1, now).unwrap();
            queues.finish(queue, 0.003, 1, now + 0.003);
            after.push(request);
        }
        assert!(after.iter().all(|request| (*request < 10) != (slow < 10)), "after {slow}: {after:?}");
    }

    #[test]
    fn a_full_queue_refuses_until_somebody_gives_up() {
        let mut queues = Queues::new(Queuing { queues: 1, hand: 1, length: 2 });
        queues.push(0, 1, never, 1, 0.0).unwrap();
        queues.push(0, 2, never, 1, 0.0).unwrap();
        assert_eq!(queues.push(0, 3, never, 1, 0.0), Err(3));
        queues.push(0, 4, |request| *request == 1, 1, 0.0).unwrap();
        assert_eq!((queues.pop(1, 0.0).unwrap().1, queues.pop(1, 0.0).unwrap().1), (2, 4));
        assert_eq!(queues.waiting(), 0);
        queues.finish(0, 0.1, 1, 0.1);
        assert!(!queues.is_idle());
        queues.finish(0, 0.1, 1, 0.1);
        assert!(queues.is_idle());
    }
}
