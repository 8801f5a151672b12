//! Following what other replicas write.
//!
//! The ring holds every event in the order of revisions, whoever made it. What this replica writes goes there at once if
//! it is the next; whatever else there is, is read from the log. A notification says when to look, and a look from time
//! to time makes up for those that are lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::Rng as _;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::sleep_until;

use super::reader::{Readers, State};
use super::session::{Hint, Slot};
use super::writer::{Command, Writes};
use crate::ring::{Progress, Ring};
use crate::watch::History as _;
use crate::{Error, Revision};

/// How often to look without having been told.
const PERIOD: Duration = Duration::from_secs(2);

/// How many revisions' worth of rows one statement removes.
const SWEEP_AT_ONCE: i64 = 2000;

/// The shared end of the log, as this replica sees it.
pub(super) struct Tail {
    pub(super) ring: Arc<Ring>,
    pub(super) readers: Arc<Readers>,
    /// There is something for watchers that no event has woken.
    pub(super) progress: Notify,
    /// Whether the last look was answered.
    pub(super) available: AtomicBool,
    /// One look at a time.
    looking: Mutex<()>,
    compacting: Mutex<()>,
}

impl Tail {
    pub(super) fn new(state: State, readers: Arc<Readers>) -> Self {
        Self {
            ring: Arc::new(Ring::new(state.newest, state.oldest)),
            readers,
            progress: Notify::new(),
            available: AtomicBool::new(true),
            looking: Mutex::new(()),
            compacting: Mutex::new(()),
        }
    }

    /// Reads what is in the log and not in the ring.
    pub(super) async fn catch_up(&self) -> Result<State, Error> {
        let _alone = self.looking.lock().await;
        let known = self.ring.newest();
        let state = self.readers.state().await?;
        if state.newest < known {
            // A standby has taken over that had not received everything: revisions that were told are to be given again.
            tracing::error!(
                known,
                newest = state.newest,
                "the database has lost writes; the store is closed"
            );
            self.ring.close();
            self.readers.close().await;
            return Err(Error::Closed);
        }
        loop {
            let reached = self.ring.newest();
            if reached >= state.newest {
                self.ring.skip_to(reached, state.oldest);
                return Ok(state);
            }
            match self.readers.events("".into(), reached, state.newest).await {
                Ok((events, _)) => self.ring.publish(events, state.oldest),
                // More has been forgotten than was missed.
                Err(Error::Compacted { .. }) => self.ring.skip_to(state.newest, state.oldest),
                Err(error) => return Err(error),
            }
            self.progress.notify_one();
        }
    }

    /// Forgets the history before `goal`.
    pub(super) async fn compact(&self, goal: Revision) -> Result<(), Error> {
        let _alone = self.compacting.lock().await;
        let state = self.readers.compact(goal).await?;
        self.ring.skip_to(0, state.oldest);
        while self.readers.sweep(SWEEP_AT_ONCE).await? {}
        Ok(())
    }

    /// Whether that is being done.
    pub(super) fn is_compacting(&self) -> bool {
        self.compacting.try_lock().is_err()
    }

    /// Looks at the log when told to, and from time to time.
    pub(super) async fn follow(
        self: Arc<Self>,
        hint: Arc<Hint>,
        slot: Arc<Slot<Writes>>,
        writer: mpsc::WeakUnboundedSender<Command>,
    ) {
        let mut progress = Progress::default();
        let mut next = Instant::now() + PERIOD;
        loop {
            let told = tokio::select! {
                newest = hint.told() => Some(newest),
                () = self.progress.notified() => None,
                () = sleep_until(progress.due().unwrap_or(next).min(next).into()) => None,
            };
            let now = Instant::now();
            let is_news = told.is_some_and(|newest| newest == 0 || newest > self.ring.newest());
            if told.is_none() && now < next {
                progress.made();
            }
            if progress.take() {
                self.ring.wake_all();
            }
            if !is_news && now < next {
                continue;
            }
            next = now + PERIOD;
            // It is what listens, also while nothing is written here.
            let listens = slot.get().await;
            let looked = self.catch_up().await;
            self.note(listens.err().as_ref().or(looked.as_ref().err()));
            let Some(writer) = writer.upgrade() else { return };
            if let Ok(State { expires_in: Some(millis), .. }) = looked {
                expire_later(&writer, millis);
            }
            if self.ring.is_closed() {
                return;
            }
        }
    }

    fn note(&self, error: Option<&Error>) {
        let was_available = self.available.swap(error.is_none(), Ordering::Relaxed);
        match error {
            Some(error) if was_available => {
                tracing::error!(error = error as &dyn std::error::Error, "the database is away");
            }
            None if !was_available => tracing::info!("the database is back"),
            _ => {}
        }
    }
}

/// Keys that others have set expire soon. Whoever set them is to do it, but may be gone.
fn expire_later(writer: &mpsc::UnboundedSender<Command>, millis: i64) {
    let until = Duration::from_millis(millis.max(0) as u64);
    if until < 2 * PERIOD {
        let behind = Duration::from_millis(rand::rng().random_range(200..1000));
        // It fails only if the writer has ended.
        let _ = writer.send(Command::Expire(Instant::now() + until + behind));
    }
}
