//! The one thread that writes.
//!
//! It takes all commits that are waiting, applies them in one transaction, and so pays one fsync for them
//! together; while it does, the next ones gather. Otherwise it sleeps: until a commit arrives, until the next
//! key expires, or, after a commit, until watchers may be told of progress again.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::batch::{Batch, Done};
use crate::record::Millis;
use crate::retention::Retention;
use crate::ring::{Progress, Ring};
use crate::{Error, Revision, Write};

/// At most so many commits in one transaction: enough to make the fsync's share of each small, few enough
/// that the first need not wait long for the last.
const MOST_COMMITS: usize = 256;

/// How much history a transaction forgets beside its own work: more than it adds, so that the log shrinks
/// to its bounds, and without a transaction for that purpose alone.
const FORGET_FACTOR: u64 = 2;
const FORGET_LEAST: u64 = 64;

/// How much history an explicit compaction forgets in one transaction, to keep the WAL short.
const FORGET_STEP: u64 = 1000;

/// How long expiry waits after the database failed.
const RETRY: Duration = Duration::from_secs(1);

/// What a commit comes to: the revisions of its writes.
pub(super) type Outcome = Result<Vec<Revision>, Error>;

/// What the writer is asked to do.
pub(super) enum Command {
    Commit(Vec<Write>, oneshot::Sender<Outcome>),
    Compact(Revision, oneshot::Sender<Result<(), Error>>),
    /// Finish what was asked before, then end.
    Close,
}

/// The commands that one round takes up.
#[derive(Default)]
struct Round {
    commits: Vec<Vec<Write>>,
    replies: Vec<oneshot::Sender<Outcome>>,
    compaction: Option<(Revision, oneshot::Sender<Result<(), Error>>)>,
    closing: bool,
}

pub(super) struct Writer {
    pub(super) connection: Connection,
    /// Keeps other stores off the file.
    pub(super) lock: Option<File>,
    pub(super) ring: Arc<Ring>,
    pub(super) commands: Receiver<Command>,
    pub(super) retention: Retention,
    /// When the next key expires.
    pub(super) expiry: Option<Millis>,
    /// When watchers were last, and are next, told of progress.
    pub(super) progress: Progress,
}

impl Writer {
    /// Works until it is told to close.
    pub(super) fn run(mut self) {
        loop {
            let round = self.gather();
            self.write(round.commits, round.replies);
            if let Some((revision, reply)) = round.compaction {
                // Whoever asked may be gone; the work was to be done all the same.
                let _ = reply.send(self.compact(revision));
            }
            self.tell_progress();
            if round.closing {
                break;
            }
        }
        self.ring.close();
        drop(self.connection);
        drop(self.lock);
    }

    /// Waits for commands, or until something is due, and takes all there are.
    fn gather(&mut self) -> Round {
        let mut round = Round::default();
        let mut next = self.wait();
        while let Some(command) = next {
            match command {
                Command::Commit(writes, reply) => {
                    round.commits.push(writes);
                    round.replies.push(reply);
                }
                Command::Compact(revision, reply) => {
                    round.compaction = Some((revision, reply));
                    break;
                }
                Command::Close => {
                    round.closing = true;
                    break;
                }
            }
            if round.commits.len() == MOST_COMMITS {
                break;
            }
            next = self.commands.try_recv().ok();
        }
        round
    }

    /// The next command, or `None` when something is due.
    fn wait(&self) -> Option<Command> {
        let expiry = self.expiry.map(|at| Duration::from_millis(at.saturating_sub(now())));
        let progress = self.progress.due().map(|at| at.saturating_duration_since(Instant::now()));
        match expiry.into_iter().chain(progress).min() {
            None => Some(self.commands.recv().unwrap_or(Command::Close)),
            Some(timeout) => match self.commands.recv_timeout(timeout) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Command::Close),
            },
        }
    }

    /// One transaction: all these commits and what has expired. Answers when it is durable.
    fn write(&mut self, commits: Vec<Vec<Write>>, replies: Vec<oneshot::Sender<Outcome>>) {
        let now = now();
        if commits.is_empty() && self.expiry.is_none_or(|at| at > now) {
            return;
        }
        match self.transact(commits, now) {
            Ok((done, results)) => {
                self.publish(done);
                for (reply, result) in replies.into_iter().zip(results) {
                    let _ = reply.send(result);
                }
            }
            Err(error) => {
                self.expiry = self.expiry.map(|at| at.max(now + RETRY.as_millis() as Millis));
                if replies.is_empty() {
                    tracing::error!(error = &error as &dyn std::error::Error, "keys cannot be expired");
                }
                let cause: Arc<dyn std::error::Error + Send + Sync> = match error {
                    Error::Database(cause) => cause.into(),
                    error => Arc::new(error),
                };
                for reply in replies {
                    let _ = reply.send(Err(Error::Database(Box::new(Arc::clone(&cause)))));
                }
            }
        }
    }

    fn transact(&mut self, commits: Vec<Vec<Write>>, now: Millis) -> Result<(Done, Vec<Outcome>), Error> {
        let mut batch = Batch::begin(&mut self.connection, now)?;
        batch.expire()?;

        let mut results = Vec::with_capacity(commits.len());
        for writes in commits {
            match batch.commit(writes) {
                Err(failure @ Error::Database(_)) => return Err(failure),
                result => results.push(result),
            }
        }

        let horizon = self.retention.horizon(Instant::now(), batch.newest());
        let most = FORGET_LEAST + FORGET_FACTOR * batch.written();
        batch.forget(horizon, most)?;
        Ok((batch.finish()?, results))
    }

    fn compact(&mut self, goal: Revision) -> Result<(), Error> {
        let newest = self.ring.newest();
        if goal > newest {
            return Err(Error::Future { requested: goal, newest });
        }
        while self.ring.oldest() < goal {
            let mut batch = Batch::begin(&mut self.connection, now())?;
            batch.forget(goal, FORGET_STEP)?;
            let done = batch.finish()?;
            self.publish(done);
        }
        Ok(())
    }

    fn publish(&mut self, done: Done) {
        self.expiry = done.expiry;
        if !done.events.is_empty() {
            self.progress.made();
        }
        self.ring.publish(done.events, done.oldest);
    }

    fn tell_progress(&mut self) {
        if self.progress.take() {
            self.ring.wake_all();
        }
    }
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as Millis
}
