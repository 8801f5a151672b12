//! The store in a schema of a PostgreSQL database, which several replicas serve at once.
//!
//! ```text
//!  commit ──► writer ──► one transaction at a time ──► log, current ◄── the other replicas
//!                │       of all replicas                 │      │
//!                └──► ring of recent events ◄── tail ◄───┘      ├──► get, list, count
//!                              │                (NOTIFY says    │    (one statement each)
//!                              └──────────► watch  when) ◄──────┘ when it starts in the past
//! ```
//!
//! # The schema
//!
//! | table | a row is | ordered by |
//! |---|---|---|
//! | `log` | one write, with the whole document | `revision`; index `history` by key, then revision |
//! | `current` | one existing key: the revision of its state, and when it expires | `key` |
//! | `state` | the numbers `newest` and `oldest` (the compaction point), and the schema's `version` | |
//! | `owner` | whom the schema belongs to, if anybody said so; others are refused | |
//! | `sweep` | the one number `swept`: what is of no use before this revision has been removed | |
//!
//! `log` and `current` are those of [`crate::sqlite`]. A write locks the row of `state` to its end, so that revisions are
//! given, and become visible, in one order without gaps, whichever replica gives them.
//!
//! # Watches
//!
//! Each replica has the ring of all recent events. After its own commit it knows the next ones; those of others it reads
//! from the log after the revision that it has reached, when it is notified and every two seconds. So none is lost or comes
//! twice, whatever becomes of notifications.
//!
//! # When the database is away
//!
//! A read is tried once more on a new connection, a write too if it had not come to its commit; then they fail with
//! [`Error::Unavailable`]. Watches go on, and continue when the database is back. A standby that takes over has to have
//! all that was acknowledged (`synchronous_standby_names`); if revisions are missing, the store closes for good.
//!
//! A replica has three connections: one that writes and listens, and [`Options::readers`] that read. They keep settings and
//! prepared statements, so a pooler between has to pool sessions.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::channel;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::retention::Retention;
use crate::watch::{Watcher, check_events_after};
use crate::{Entry, Error, Options, Page, Parts, Range, Revision, Store, Watch, Write};
pub use address::{Address, AddressError, Pem};
use reader::Readers;
use session::{Hint, Slot};
use tail::Tail;
use writer::{Command, Writer};

mod address;
mod batch;
mod reader;
mod schema;
mod session;
mod sql;
mod tail;
mod tls;
mod writer;

/// How long closing waits for the commits that are under way.
const CLOSING: Duration = Duration::from_secs(10);

/// A store in a schema of a PostgreSQL database.
pub struct PostgresStore {
    tail: Arc<Tail>,
    readers: Arc<Readers>,
    commands: mpsc::UnboundedSender<Command>,
    following: JoinHandle<()>,
}

impl PostgresStore {
    /// Opens the store in this schema, which is created if need be.
    pub async fn open(address: Address, options: Options) -> Result<Arc<Self>, Error> {
        schema::prepare(&address).await?;
        let address = Arc::new(address);
        let readers = Readers::new(&address, options.readers);
        let tail = Arc::new(Tail::new(readers.state().await?, Arc::clone(&readers)));

        let (hint, (commands, receiver)) = (Arc::new(Hint::default()), mpsc::unbounded_channel());
        let slot = Arc::new(Slot::new(Arc::clone(&address), Some(Arc::clone(&hint))));
        slot.get().await?;
        let writer = Writer {
            slot: Arc::clone(&slot),
            channel: address.channel(),
            tail: Arc::clone(&tail),
            commands: receiver,
            retention: Retention::new(options.history, options.revisions),
            expiry: None,
        };
        tokio::spawn(writer.run());
        // What was written between the first look and the first word that is listened to.
        hint.tell(0);
        let following = tokio::spawn(Arc::clone(&tail).follow(hint, slot, commands.downgrade()));
        Ok(Arc::new(Self { tail, readers, commands, following }))
    }

    /// Removes a schema and all that is in it; it is no error if there is none.
    pub async fn remove(address: &Address) -> Result<(), Error> {
        schema::drop(address).await
    }

    /// Marks a schema as somebody's, if it is nobody's; says whose it is if it is another's.
    pub async fn claim(address: &Address, owner: &str) -> Result<Option<String>, Error> {
        schema::claim(address, owner).await
    }

    /// Takes somebody's mark off a schema, which stays with all that is in it.
    pub async fn release(address: &Address, owner: &str) -> Result<(), Error> {
        schema::release(address, owner).await
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.tail.ring.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        // The writer ends with its commands.
        self.following.abort();
        self.tail.ring.close();
    }
}

impl Store for PostgresStore {
    fn revision(&self) -> Revision {
        self.tail.ring.newest()
    }

    fn newest(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        async move { Ok(self.readers.state().await?.newest) }.boxed()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn is_available(&self) -> bool {
        !self.tail.ring.is_closed() && self.tail.available.load(Ordering::Relaxed)
    }

    fn get(&self, key: &str, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>> {
        self.readers.get(key.to_owned(), at).boxed()
    }

    fn list(&self, range: Range) -> BoxFuture<'_, Result<Page, Error>> {
        self.readers.list(range).boxed()
    }

    fn parts(&self, prefix: &str, at: Option<Revision>) -> Parts {
        let (sender, parts) = channel::mpsc::unbounded();
        let (readers, prefix, part) = (Arc::clone(&self.readers), prefix.to_owned(), sender.clone());
        tokio::spawn(async move {
            let take = move |next| part.unbounded_send(Ok(next)).is_ok();
            if let Err(error) = readers.parts(prefix, at, take).await {
                // It fails only if nobody takes the parts any longer.
                let _ = sender.unbounded_send(Err(error));
            }
        });
        parts.boxed()
    }

    fn has(&self, prefix: &str) -> BoxFuture<'_, Result<bool, Error>> {
        self.readers.has(prefix.to_owned()).boxed()
    }

    fn count(&self, prefix: &str) -> BoxFuture<'_, Result<u64, Error>> {
        self.readers.count(prefix.to_owned()).boxed()
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Vec<Revision>, Error>> {
        async move {
            self.check_open()?;
            let (reply, answer) = oneshot::channel();
            self.commands.send(Command::Commit(writes, reply)).map_err(|_| Error::Closed)?;
            answer.await.map_err(|_| Error::Closed)?
        }
        .boxed()
    }

    fn watch(&self, prefix: &str, after: Revision) -> BoxFuture<'_, Result<Watch, Error>> {
        let ring = Arc::clone(&self.tail.ring);
        let watcher = Watcher::new(ring, Arc::clone(&self.readers), prefix, after);
        async move {
            self.check_open()?;
            check_events_after(after, self.tail.ring.oldest())?;
            if after > self.revision() {
                // Another replica may have told of it.
                let newest = self.newest().await?;
                if after > newest {
                    return Err(Error::Future { requested: after, newest });
                }
            }
            Ok(watcher.into_stream())
        }
        .boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>> {
        self.tail.compact(revision).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            let (reply, closed) = oneshot::channel();
            if self.commands.send(Command::Close(reply)).is_ok() {
                let _ = tokio::time::timeout(CLOSING, closed).await;
            }
            self.tail.ring.close();
            self.following.abort();
            self.readers.close().await;
        }
        .boxed()
    }
}
