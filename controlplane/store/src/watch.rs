//! A watcher: from the log as long as it is behind, then from the ring.
//!
//! It knows one thing, the revision up to which everything has been delivered, and whichever source it asks,
//! it asks for what follows. So the change from log to ring, and back when it was slow, can neither lose nor
//! repeat an event. Only a watcher that falls behind the compaction ends.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};

use crate::ring::{Next, Ring};
use crate::{Error, Event, Revision, Signal, Watch};

/// The log as those read it who are behind the ring.
pub(crate) trait History: Send + Sync + 'static {
    /// A page of the events of keys with this prefix after `after`, up to and including revision `end`; and the
    /// revision up to which these are all.
    fn events(
        self: &Arc<Self>,
        prefix: Arc<str>,
        after: Revision,
        end: Revision,
    ) -> impl Future<Output = Result<(Vec<Arc<Event>>, Revision), Error>> + Send;
}

/// The bounds of such a page: enough to make a read worthwhile, little enough that a watcher far behind costs no
/// memory. A page holds at least one event, whatever its size.
pub(crate) const PAGE_EVENTS: usize = 256;
pub(crate) const PAGE_BYTES: usize = 512 << 10;

/// Whether every event after this revision is still in the log.
pub(crate) fn check_events_after(after: Revision, oldest: Revision) -> Result<(), Error> {
    if after.saturating_add(1) < oldest {
        return Err(Error::Compacted { requested: after, oldest });
    }
    Ok(())
}

pub(crate) struct Watcher<H> {
    ring: Arc<Ring>,
    history: Arc<H>,
    seat: u64,
    prefix: Arc<str>,
    /// All up to here has been delivered or is in `backlog`.
    reached: Revision,
    /// The revision that the consumer knows to have been reached.
    told: Revision,
    /// A page of events from the log.
    backlog: VecDeque<Arc<Event>>,
}

impl<H: History> Watcher<H> {
    pub(crate) fn new(ring: Arc<Ring>, history: Arc<H>, prefix: &str, after: Revision) -> Self {
        let prefix: Arc<str> = prefix.into();
        let seat = ring.sit(Arc::clone(&prefix));
        Self { ring, history, seat, prefix, reached: after, told: after, backlog: VecDeque::new() }
    }

    pub(crate) fn into_stream(self) -> Watch {
        stream::unfold(self, |mut watcher| async move {
            let signal = watcher.next().await?;
            Some((signal, watcher))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Signal> {
        loop {
            if let Some(event) = self.backlog.pop_front() {
                return Some(self.deliver(event));
            }
            if self.told < self.reached {
                self.told = self.reached;
                return Some(Signal::Progress(self.told));
            }
            match poll_fn(|context| self.ring.poll_next(self.seat, self.reached, context)).await {
                Next::Event(event) => {
                    self.reached = event.revision;
                    return Some(self.deliver(event));
                }
                Next::Nothing(newest) => self.reached = newest,
                Next::Behind(newest) => self.catch_up(newest).await?,
                Next::Closed => return None,
            }
        }
    }

    fn deliver(&mut self, event: Arc<Event>) -> Signal {
        self.told = event.revision;
        Signal::Event(event)
    }

    /// Reads the next page from the log; `None` when the log no longer has it.
    async fn catch_up(&mut self, newest: Revision) -> Option<()> {
        let (prefix, after) = (Arc::clone(&self.prefix), self.reached);
        match self.history.events(prefix, after, newest).await {
            Ok((events, reached)) => {
                self.backlog = events.into();
                self.reached = reached;
                Some(())
            }
            Err(Error::Compacted { .. } | Error::Closed) => None,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(prefix = &*self.prefix, after, error, "a watch cannot go on");
                None
            }
        }
    }
}

impl<H> Drop for Watcher<H> {
    fn drop(&mut self) {
        self.ring.leave(self.seat);
    }
}
