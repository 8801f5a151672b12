//! The most recent events, and who waits for the next ones.
//!
//! Watchers are not sent anything: each holds the revision that it has reached and comes for the next event
//! itself. So a slow watcher costs no memory; when the ring has moved on, it reads from the log.

use std::collections::{HashMap, VecDeque, vec_deque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::{Entry, Event, Revision};

/// The bounds of the ring: what arrives while a healthy watcher is scheduled. More costs memory for ever,
/// less only a read from the log.
const MOST_EVENTS: usize = 1024;
const MOST_BYTES: usize = 1 << 20;

/// The shared end of the log.
pub(crate) struct Ring {
    state: Mutex<State>,
}

struct State {
    /// Of every revision from some point up to `newest`, without gaps.
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    newest: Revision,
    oldest: Revision,
    closed: bool,
    next_seat: u64,
    seats: HashMap<u64, Seat>,
}

/// A watcher's place.
struct Seat {
    prefix: Arc<str>,
    /// Set while it waits.
    waker: Option<Waker>,
}

/// What a watcher finds at its revision.
pub(crate) enum Next {
    Event(Arc<Event>),
    /// No event of its prefix up to here.
    Nothing(Revision),
    /// The ring has moved on; what is missing up to this revision is in the log.
    Behind(Revision),
    /// The store is closed.
    Closed,
}

impl Ring {
    pub(crate) fn new(newest: Revision, oldest: Revision) -> Self {
        Self {
            state: Mutex::new(State {
                events: VecDeque::new(),
                bytes: 0,
                newest,
                oldest,
                closed: false,
                next_seat: 0,
                seats: HashMap::new(),
            }),
        }
    }

    /// The newest published revision.
    pub(crate) fn newest(&self) -> Revision {
        self.lock().newest
    }

    /// The oldest revision that can be read.
    pub(crate) fn oldest(&self) -> Revision {
        self.lock().oldest
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether it is known that nothing happened to keys with this prefix after one revision, up to another.
    pub(crate) fn is_untouched(&self, prefix: &str, after: Revision, until: Revision) -> bool {
        let state = self.lock();
        until <= state.newest
            && state.after(after).is_some_and(|mut events| {
                !events.any(|event| event.revision <= until && event.entry.key.starts_with(prefix))
            })
    }

    /// Publishes what has been committed, waking the watchers of those keys. Of a shared log, what has been published
    /// already is left out, and what does not follow it too: the log is to be read first.
    pub(crate) fn publish(&self, events: Vec<Arc<Event>>, oldest: Revision) {
        let mut keys: Vec<Arc<Event>> = events.clone();
        keys.sort_unstable_by(|a, b| a.entry.key.cmp(&b.entry.key));
        let touched = |prefix: &str| {
            let first = keys.partition_point(|event| event.entry.key.as_str() < prefix);
            keys.get(first).is_some_and(|event| event.entry.key.starts_with(prefix))
        };

        let mut state = self.lock();
        state.oldest = state.oldest.max(oldest);
        state.push(events);
        let awake = state.wakers(touched);
        drop(state);
        awake.into_iter().for_each(Waker::wake);
    }

    /// Goes on at this point of the log, as what is before can no longer be read: watchers that have not come so far find
    /// that out themselves.
    pub(crate) fn skip_to(&self, newest: Revision, oldest: Revision) {
        let mut state = self.lock();
        if newest <= state.newest && oldest <= state.oldest {
            return;
        }
        if newest > state.newest {
            state.events.clear();
            state.bytes = 0;
            state.newest = newest;
        }
        state.oldest = state.oldest.max(oldest);
        drop(state);
        self.wake_all();
    }

    /// Wakes the watchers that no event has woken, so that they learn how far the log has come.
    pub(crate) fn wake_all(&self) {
        let awake = self.lock().wakers(|_| true);
        awake.into_iter().for_each(Waker::wake);
    }

    /// Ends all watches.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake_all();
    }

    /// Takes a place for a watcher of this prefix.
    pub(crate) fn sit(&self, prefix: Arc<str>) -> u64 {
        let mut state = self.lock();
        let seat = state.next_seat;
        state.next_seat += 1;
        state.seats.insert(seat, Seat { prefix, waker: None });
        seat
    }

    /// Gives the place back.
    pub(crate) fn leave(&self, seat: u64) {
        self.lock().seats.remove(&seat);
    }

    /// What comes after revision `after` for the watcher at this seat; waits while that is nothing at all.
    pub(crate) fn poll_next(&self, seat: u64, after: Revision, context: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.lock();
        if state.closed {
            return Poll::Ready(Next::Closed);
        }
        if after < state.newest {
            return Poll::Ready(state.next(seat, after));
        }
        if let Some(seat) = state.seats.get_mut(&seat) {
            seat.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, events: Vec<Arc<Event>>) {
        for event in events {
            if event.revision != self.newest + 1 {
                continue;
            }
            self.newest = event.revision;
            self.bytes += size(&event);
            self.events.push_back(event);
        }
        while self.events.len() > MOST_EVENTS || self.bytes > MOST_BYTES {
            let Some(event) = self.events.pop_front() else { break };
            self.bytes -= size(&event);
        }
    }

    fn wakers(&mut self, is_concerned: impl Fn(&str) -> bool) -> Vec<Waker> {
        let concerned =
            self.seats.values_mut().filter(|seat| seat.waker.is_some() && is_concerned(&seat.prefix));
        concerned.filter_map(|seat| seat.waker.take()).collect()
    }

    /// The events after a revision, if all of them are still here.
    fn after(&self, revision: Revision) -> Option<vec_deque::Iter<'_, Arc<Event>>> {
        // One event a revision, so distance is position.
        let missing = usize::try_from(self.newest.saturating_sub(revision)).unwrap_or(usize::MAX);
        self.events.len().checked_sub(missing).map(|start| self.events.range(start..))
    }

    fn next(&self, seat: u64, after: Revision) -> Next {
        let Some(mut events) = self.after(after) else { return Next::Behind(self.newest) };
        let Some(Seat { prefix, .. }) = self.seats.get(&seat) else { return Next::Closed };
        let found = events.find(|event| event.entry.key.starts_with(&**prefix));
        found.map_or(Next::Nothing(self.newest), |event| Next::Event(Arc::clone(event)))
    }
}

/// The memory that an event holds, near enough.
pub(crate) fn size(event: &Event) -> usize {
    size_of::<Event>() + content(&event.entry) + event.previous.as_ref().map_or(0, content)
}

/// The memory that an entry refers to.
pub(crate) fn content(entry: &Entry) -> usize {
    entry.key.len() + entry.value.len() + entry.index.len()
}

/// Watchers without events learn of progress at most this often: waking all of them for each batch would
/// cost more than the batch.
const PROGRESS: Duration = Duration::from_millis(100);

/// When watchers were last, and are next, told of progress.
#[derive(Default)]
pub(crate) struct Progress {
    last: Option<Instant>,
    due: Option<Instant>,
}

impl Progress {
    /// When they are to be told.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// There is something to tell.
    pub(crate) fn made(&mut self) {
        if self.due.is_none() {
            let now = Instant::now();
            self.due = Some(self.last.map_or(now, |last| now.max(last + PROGRESS)));
        }
    }

    /// Whether it is time to tell; it is told then.
    pub(crate) fn take(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            *self = Self { last: Some(now), due: None };
        }
        is_due
    }
}
