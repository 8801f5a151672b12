//! The database file: its tables, and how connections to it are opened.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::Error;

/// Raised whenever the tables change; a file of a newer version is refused.
const VERSION: u32 = 1;

/// Marks the file as ours for tools such as `file`: "vkub".
const APPLICATION_ID: u32 = 0x766b_7562;

/// How long a connection waits for another one's short exclusive section, such as the recovery of the WAL.
const BUSY: Duration = Duration::from_secs(10);

/// Page caches in KiB: the operating system caches the file already, so these hold little more than the
/// inner nodes of the B-trees.
const WRITER_CACHE: i32 = 1024;
const READER_CACHE: i32 = 256;
/// While a list is read: it looks up its keys in their order, which is not that of the file, and would otherwise read
/// each page for each of the few documents on it.
const LIST_CACHE: i32 = 8 << 10;

/// After a burst of writes the WAL shrinks back to about what SQLite checkpoints at, 1,000 pages.
const WAL_LIMIT: u32 = 4 << 20;

const TABLES: &str = "
    CREATE TABLE log (
        revision    INTEGER PRIMARY KEY,
        key         TEXT NOT NULL,
        deleted     INTEGER NOT NULL,
        created     INTEGER NOT NULL,
        previous    INTEGER NOT NULL,
        revision_at INTEGER,
        fields      BLOB NOT NULL,
        value       BLOB NOT NULL
    ) STRICT;
    CREATE INDEX history ON log (key, revision, deleted);

    CREATE TABLE current (
        key      TEXT PRIMARY KEY,
        revision INTEGER NOT NULL,
        expires  INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX expiry ON current (expires) WHERE expires IS NOT NULL;

    CREATE TABLE compaction (oldest INTEGER NOT NULL) STRICT;
    INSERT INTO compaction VALUES (0);
";

/// Why a file cannot be used as a store.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("{path} is in use by another store")]
    Locked { path: PathBuf },
    #[error("the lock file {path} cannot be opened")]
    Lock { path: PathBuf, source: std::io::Error },
    #[error("the file has schema version {found}, this program knows {VERSION}")]
    Version { found: u32 },
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        Self::Database(Box::new(error))
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Box::new(error))
    }
}

/// Where a store's data is.
#[derive(Clone, Debug)]
pub(super) enum Location {
    File(PathBuf),
    /// A name in SQLite's shared memory file system; the data goes with the last connection.
    Memory(String),
}

impl Location {
    pub(super) fn memory() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self::Memory(format!("file:/vkube-{}?vfs=memdb", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Makes sure that no other store, in this process or another, writes to the same file. Lasts as long
    /// as the returned file is open, so also a killed process leaves nothing behind to clean up.
    pub(super) fn lock(&self) -> Result<Option<File>, Error> {
        let Self::File(path) = self else { return Ok(None) };
        let path = beside(path, "-lock");

        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|source| FileError::Lock { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Err(FileError::Locked { path }.into()),
            Err(TryLockError::Error(source)) => Err(FileError::Lock { path, source }.into()),
        }
    }

    /// Opens the one connection that writes, creating the tables in an empty file.
    pub(super) fn writer(&self) -> Result<Connection, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection = self.connect(flags, WRITER_CACHE)?;
        // In WAL mode FULL means an fsync of the WAL before each commit returns.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "journal_size_limit", WAL_LIMIT)?;
        create(&mut connection)?;
        Ok(connection)
    }

    /// Opens a connection that only reads.
    pub(super) fn reader(&self) -> Result<Connection, Error> {
        self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY, READER_CACHE)
    }

    fn connect(&self, flags: OpenFlags, cache: i32) -> Result<Connection, Error> {
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match self {
            Self::File(path) => Connection::open_with_flags(path, flags)?,
            Self::Memory(uri) => Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?,
        };
        connection.busy_timeout(BUSY)?;
        // A partial index, or statistics, would make SQLite compile a statement anew whenever it runs with other values.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.pragma_update(None, "cache_size", -cache)?;
        connection.pragma_update(None, "mmap_size", 0)?;
        // The file system around the database may be read-only.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        Ok(connection)
    }
}

/// Gives a connection that reads the memory for a list, or takes it back.
pub(super) fn enlarge_cache(connection: &Connection, enlarge: bool) -> Result<(), Error> {
    let size = if enlarge { LIST_CACHE } else { READER_CACHE };
    Ok(connection.pragma_update(None, "cache_size", -size)?)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn create(connection: &mut Connection) -> Result<(), Error> {
    let transaction = connection.transaction()?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        VERSION => return Ok(()),
        0 => {}
        found => return Err(FileError::Version { found }.into()),
    }
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()?;
    Ok(())
}
