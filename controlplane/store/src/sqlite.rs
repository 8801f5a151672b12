//! The store in an embedded SQLite file.
//!
//! ```text
//!  commit ──► writer thread ──► one transaction, one fsync ──► log, current
//!                   │                                             │
//!                   └──► ring of recent events                    ├──► get, list, count
//!                              │                                  │    (a few read-only connections)
//!                              └──────────► watch ◄───────────────┘ when it starts in the past
//! ```
//!
//! # The file
//!
//! | table | a row is | ordered by |
//! |---|---|---|
//! | `log` | one write, with the whole document | `revision`; index `history` by key, then revision |
//! | `current` | one existing key: the revision of its state, and when it expires | `key` |
//! | `compaction` | the one number `oldest` | |
//!
//! A document is written once, into `log`. A list of the newest state is a range scan of the small
//! `current` followed by one look-up a key; history is not touched. A list of an older state takes, from the
//! index `history`, the last row of each key that is not younger than the revision asked for.
//!
//! A row of `log` names the revision of the state `previous` to it, `0` if it created the key. By these
//! links the compaction finds the states that have been superseded, and watchers that start in the past find
//! what a write replaced. A deletion is a row as well, with the final document. Revisions have no gaps as
//! they are given, and the newest row is never removed, so the highest revision in `log` is always the
//! newest that was ever given.
//!
//! In `value` the revision's digits are already written in, and `revision_at` is where they start. `fields`
//! is the document's index for selectors.
//!
//! Beside the file are SQLite's own `-wal` and `-shm`, and an empty `-lock`, which is locked while the
//! store is open.
//!
//! # Lists
//!
//! A list is sent while it is read. Nothing of it is kept, but for long ones that are asked for repeatedly within
//! seconds: those are answered from memory as long as nothing happens to their keys.
//!
//! # Watches
//!
//! A watcher reads the ring, or the log when it is further behind than the ring reaches; it ends only when
//! the compaction overtakes it. One without events learns of progress at most every 100 ms while others
//! write, and never while nobody does.
//!
//! # History
//!
//! Each transaction also forgets some history that has become too old (see [`Options`]), so there is no
//! background job: what is not written to, does not age. Freed pages of the file are used again.

use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use futures::channel;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::StreamExt as _;
use tokio::sync::oneshot;

use crate::retention::Retention;
use crate::ring::{Progress, Ring};
use crate::watch::{Watcher, check_events_after};
use crate::{Entry, Error, Options, Page, Parts, Range, Revision, Store, Watch, Write};
use reader::Readers;
use recent::Recent;
use schema::Location;
use writer::{Command, Writer};

mod batch;
mod keys;
mod reader;
mod recent;
mod schema;
mod snapshot;
mod writer;

/// A store in an SQLite file, or in memory.
pub struct SqliteStore {
    ring: Arc<Ring>,
    readers: Arc<Readers>,
    recent: Arc<Recent>,
    commands: Sender<Command>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl SqliteStore {
    /// Opens the store in this file, which is created if need be. Only one store can have it open.
    pub fn open(path: &Path, options: Options) -> Result<Arc<Self>, Error> {
        Self::start(Location::File(path.to_owned()), options)
    }

    /// Creates an empty store whose data goes when it is closed.
    pub fn in_memory() -> Result<Arc<Self>, Error> {
        Self::start(Location::memory(), Options::default())
    }

    fn start(location: Location, options: Options) -> Result<Arc<Self>, Error> {
        let lock = location.lock()?;
        let connection = location.writer()?;
        let (newest, oldest) = (snapshot::newest(&connection)?, snapshot::oldest(&connection)?);
        let ring = Arc::new(Ring::new(newest, oldest));

        let (commands, receiver) = mpsc::channel();
        let writer = Writer {
            expiry: batch::next_expiry(&connection)?,
            connection,
            lock,
            ring: Arc::clone(&ring),
            commands: receiver,
            retention: Retention::new(options.history, options.revisions),
            progress: Progress::default(),
        };
        let spawned = thread::Builder::new().name("store-writer".to_owned()).spawn(move || writer.run());
        let writer = spawned.map_err(|error| Error::Database(Box::new(error)))?;

        let readers = Readers::new(location, options.readers);
        let recent = Arc::default();
        Ok(Arc::new(Self { ring, readers, recent, commands, writer: Mutex::new(Some(writer)) }))
    }

    fn stop(&self) -> Option<JoinHandle<()>> {
        self.readers.close();
        // It fails only if the writer has ended already.
        let _ = self.commands.send(Command::Close);
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Hands a command to the writer. The queue has no bound of its own: it holds what callers wait for.
    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        if let Some(writer) = self.stop() {
            // Short, as nobody waits for a commit any more; then the file can be opened again at once.
            let _ = writer.join();
        }
    }
}

impl Store for SqliteStore {
    fn revision(&self) -> Revision {
        self.ring.newest()
    }

    fn get(&self, key: &str, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        let key = key.to_owned();
        match at {
            None => self.readers.look_up(move |connection| snapshot::get(connection, &key)).boxed(),
            Some(at) => self.readers.read(move |snapshot| snapshot.get(&key, at)).boxed(),
        }
    }

    fn parts(&self, prefix: &str, at: Option<Revision>) -> Parts {
        let (sender, parts) = channel::mpsc::unbounded();
        let list = recent::Reading {
            recent: Arc::clone(&self.recent),
            ring: Arc::clone(&self.ring),
            prefix: prefix.to_owned(),
            at,
        };
        let readers = Arc::clone(&self.readers);
        tokio::spawn(async move {
            // It fails only if nobody takes the parts any longer.
            let part = sender.clone();
            let take = move |next| part.unbounded_send(Ok(next)).is_ok();
            if let Err(error) = list.read(&readers, take).await {
                let _ = sender.unbounded_send(Err(error));
            }
        });
        parts.boxed()
    }

    fn has(&self, prefix: &str) -> BoxFuture<'_, Result<bool, Error>> {
        let prefix = prefix.to_owned();
        self.readers.look_up(move |connection| snapshot::has(connection, &prefix)).boxed()
    }

    fn list(&self, range: Range) -> BoxFuture<'_, Result<Page, Error>> {
        self.readers.read(move |snapshot| snapshot.list(&range)).boxed()
    }

    fn count(&self, prefix: &str) -> BoxFuture<'_, Result<u64, Error>> {
        let prefix = prefix.to_owned();
        self.readers.read(move |snapshot| snapshot.count(&prefix)).boxed()
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Vec<Revision>, Error>> {
        self.ask(|reply| Command::Commit(writes, reply)).boxed()
    }

    fn watch(&self, prefix: &str, after: Revision) -> BoxFuture<'_, Result<Watch, Error>> {
        let watcher = Watcher::new(Arc::clone(&self.ring), Arc::clone(&self.readers), prefix, after);
        async move {
            if self.ring.is_closed() {
                return Err(Error::Closed);
            }
            check_events_after(after, self.ring.oldest())?;
            if after > self.ring.newest() {
                // A read can have seen a transaction whose events are about to be published.
                let newest = self.readers.read(|snapshot| Ok(snapshot.newest)).await?;
                if after > newest {
                    return Err(Error::Future { requested: after, newest });
                }
            }
            Ok(watcher.into_stream())
        }
        .boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>> {
        self.ask(move |reply| Command::Compact(revision, reply)).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            if let Some(writer) = self.stop() {
                // It fails only if the thread panicked, and then there is nothing left to close.
                let _ = tokio::task::spawn_blocking(move || writer.join()).await;
            }
        }
        .boxed()
    }
}
