//! A watcher: from the log as long as it is behind, then from the ring.
//!
//! It knows one thing, the revision up to which everything has been delivered, and whichever source it asks,
//! it asks for what follows. So the change from log to ring, and back when it was slow, can neither lose nor
//! repeat an event. Only a watcher that falls behind the compaction ends.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};

use super::reader::Readers;
use super::ring::{Next, Ring};
use crate::{Error, Event, Revision, Signal, Watch};

pub(super) struct Watcher {
    ring: Arc<Ring>,
    readers: Arc<Readers>,
    seat: u64,
    prefix: Arc<str>,
    /// All up to here has been delivered or is in `backlog`.
    reached: Revision,
    /// The revision that the consumer knows to have been reached.
    told: Revision,
    /// A page of events from the log.
    backlog: VecDeque<Arc<Event>>,
}

impl Watcher {
    pub(super) fn new(ring: Arc<Ring>, readers: Arc<Readers>, prefix: &str, after: Revision) -> Self {
        let prefix: Arc<str> = prefix.into();
        let seat = ring.sit(Arc::clone(&prefix));
        Self { ring, readers, seat, prefix, reached: after, told: after, backlog: VecDeque::new() }
    }

    pub(super) fn into_stream(self) -> Watch {
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
        match self.readers.read(move |snapshot| snapshot.events(&prefix, after, newest)).await {
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

impl Drop for Watcher {
    fn drop(&mut self) {
        self.ring.leave(self.seat);
    }
}
