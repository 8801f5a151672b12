//! A revisioned key-value log with watches.
//!
//! Every committed write gets the next revision of one strictly increasing sequence; a key's history up
//! to the compaction point stays readable, so a list can be continued and a watch resumed at a revision.
//! This is the contract that the Kubernetes API needs from etcd; [`sqlite`] keeps it in an embedded
//! SQLite file, and [`postgres`] in a schema of a PostgreSQL database, which several processes can serve at once.
//!
//! Guarantees:
//! - A write is durable before it is acknowledged, and all writes of one [`Store::commit`] are atomic.
//! - Events reach a watcher in revision order, none lost and none twice.
//! - A revision never goes back, also across a crash.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, ready};

pub use postgres::PostgresStore;
pub use sqlite::SqliteStore;

pub mod postgres;
mod record;
mod retention;
mod ring;
pub mod sqlite;
mod stamp;
mod watch;

/// How a store behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long history is kept.
    pub history: Duration,
    /// How many revisions of history are kept at most, whatever their age.
    pub revisions: u64,
    /// How many reads can run at the same time.
    pub readers: usize,
}

impl Default for Options {
    fn default() -> Self {
        // Kubernetes' API server compacts etcd every five minutes, so clients are used to that. At some
        // 4 KiB a revision, the history stays below 100 MiB of disk.
        Self { history: Duration::from_mins(5), revisions: 20_000, readers: 2 }
    }
}

/// The size of a part of a list, as far as objects let it be: enough to make it worth to be woken for.
const PART_BYTES: usize = 128 << 10;

/// The position of a write in the log; `resourceVersion` in the Kubernetes API. The first write is 1.
pub type Revision = u64;

/// The bytes of a document that carries its own revision.
///
/// A Kubernetes object holds its revision in `metadata.resourceVersion`, which is known only at commit.
/// The store writes the decimal revision into the document at `revision_at`, so that readers can send
/// stored bytes as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The document without its revision.
    pub bytes: Bytes,
    /// The offset in `bytes` where the revision's digits are inserted; `None` leaves the bytes alone.
    pub revision_at: Option<u32>,
    /// What selectors need to know of the document, in the writer's own encoding; opaque to the store.
    pub index: Bytes,
}

/// One key's state at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The document's bytes, its revision written in.
    pub value: Bytes,
    /// The index given when it was written.
    pub index: Bytes,
    /// The revision that created the key (since its last deletion).
    pub created: Revision,
    /// The revision of this state.
    pub modified: Revision,
}

/// What a write demands of the key's current state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Any,
    /// The key does not exist.
    Absent,
    /// The key exists and its state is of this revision.
    Modified(Revision),
}

/// What a write does.
#[derive(Clone, Debug)]
pub enum Change {
    /// Set the key; with a time to live, the store deletes it by itself after that time.
    Put {
        /// The new state.
        document: Document,
        /// How long the key lives, if not for ever.
        ttl: Option<Duration>,
    },
    /// Delete the key. Watchers see `last`, or else the previous state, with the deletion's revision.
    /// To delete a key that does not exist changes nothing and takes no revision: the newest is returned.
    Delete {
        /// The final state that watchers see.
        last: Option<Document>,
    },
}

/// One write of a commit.
#[derive(Clone, Debug)]
pub struct Write {
    /// The key.
    pub key: String,
    /// The precondition.
    pub expect: Expect,
    /// The change.
    pub change: Change,
}

/// The range of a list.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// Only keys that start with this.
    pub prefix: String,
    /// Only keys after this one.
    pub after: Option<String>,
    /// At most so many; 0 is no limit.
    pub limit: usize,
    /// The state at this revision; `None` is the newest.
    pub at: Option<Revision>,
}

/// A consistent page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// In key order.
    pub entries: Vec<Entry>,
    /// The revision that the page shows.
    pub revision: Revision,
    /// How many keys of the range follow this page.
    pub remaining: u64,
}

/// A part of a list, in key order.
#[derive(Clone, Debug)]
pub struct Part {
    /// What follows the part before.
    pub entries: Vec<Entry>,
    /// The revision that all parts show.
    pub revision: Revision,
    /// Whether nothing follows.
    pub is_last: bool,
}

/// A list in parts, as they are read; there is at least one. It ends after the last part or an error.
pub type Parts = futures::stream::BoxStream<'static, Result<Part, Error>>;

/// What happened to a key.
#[derive(Clone, Debug)]
pub struct Event {
    /// The write's revision; equals `entry.modified`.
    pub revision: Revision,
    /// Whether the key was deleted; `entry` is then its final state, carrying the deletion's revision.
    pub deleted: bool,
    /// The state after the write.
    pub entry: Entry,
    /// The state before the write; `None` when the write created the key.
    pub previous: Option<Entry>,
}

/// What a watcher receives.
#[derive(Clone, Debug)]
pub enum Signal {
    /// The next event of the watched prefix.
    Event(std::sync::Arc<Event>),
    /// Every event up to this revision has been delivered.
    Progress(Revision),
}

/// A stream of signals; it ends when the watcher falls too far behind and must start again.
pub type Watch = futures::stream::BoxStream<'static, Signal>;

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A write's expectation did not hold; nothing of its commit was written.
    #[error("the state of {key} is not the expected one")]
    Conflict {
        /// The key whose expectation failed.
        key: String,
        /// Its present state.
        current: Option<Box<Entry>>,
    },
    /// The revision is older than the compaction point.
    #[error("revision {requested} has been compacted, the oldest is {oldest}")]
    Compacted {
        /// The revision asked for.
        requested: Revision,
        /// The oldest that can be read.
        oldest: Revision,
    },
    /// The revision has not been reached.
    #[error("revision {requested} is in the future, the newest is {newest}")]
    Future {
        /// The revision asked for.
        requested: Revision,
        /// The newest there is.
        newest: Revision,
    },
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database cannot be reached, or not be written to. Of a write it is then not known whether it was made.
    #[error("the database cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store is shut down.
    #[error("the store is closed")]
    Closed,
}

/// A revisioned key-value log.
pub trait Store: Send + Sync + 'static {
    /// The newest committed revision that is known here: everything written here is in it, what others have written to a
    /// shared store soon is.
    fn revision(&self) -> Revision;

    /// The newest committed revision, whoever committed it.
    fn newest(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        ready(Ok(self.revision())).boxed()
    }

    /// Whether other processes may write to the same store.
    fn is_shared(&self) -> bool {
        false
    }

    /// Whether the store answers, as far as is known.
    fn is_available(&self) -> bool {
        true
    }

    /// One key's state, at a revision or now.
    fn get(&self, key: &str, at: Option<Revision>) -> BoxFuture<'_, Result<Option<Entry>, Error>>;

    /// A page of keys in key order, all as of one revision.
    fn list(&self, range: Range) -> BoxFuture<'_, Result<Page, Error>>;

    /// All keys with this prefix, as of one revision (`None` is the newest). Reading does not wait for who takes the
    /// parts, so a slow one holds up nobody else.
    fn parts(&self, prefix: &str, at: Option<Revision>) -> Parts;

    /// Whether any key has this prefix now.
    fn has(&self, prefix: &str) -> BoxFuture<'_, Result<bool, Error>>;

    /// How many keys have this prefix now.
    fn count(&self, prefix: &str) -> BoxFuture<'_, Result<u64, Error>>;

    /// Writes all or nothing. Each write has a revision of its own, in order; they are returned.
    /// Durable when it returns.
    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Vec<Revision>, Error>>;

    /// Every event of keys with this prefix after revision `after`, in order, then those to come.
    /// Events from the compaction point on can be watched, so `after` may be the revision before it.
    fn watch(&self, prefix: &str, after: Revision) -> BoxFuture<'_, Result<Watch, Error>>;

    /// Forgets the history before `revision`; states current at that revision stay readable.
    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>>;

    /// Finishes the commits that are under way, and ends all watches. Whatever is asked afterwards fails with
    /// [`Error::Closed`].
    fn close(&self) -> BoxFuture<'_, ()>;
}
