//! Reading: every answer comes from one transaction, so it shows one state of the whole log.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, Rows, Transaction, params};

use super::keys::Keys;
use crate::ring::size;
use crate::watch::{PAGE_BYTES, PAGE_EVENTS, check_events_after};
use crate::{Entry, Error, Event, PART_BYTES, Page, Part, Range, Revision};

/// The newest state: along `current`, one look-up in the log a key.
const LIST_NEWEST: &str = "
    SELECT log.key, value, fields, created, log.revision
    FROM current CROSS JOIN log ON log.revision = current.revision
    WHERE current.key >= ?1 AND current.key < ?2
    ORDER BY current.key LIMIT ?3";

/// An older state: along the index, one look-up a key that existed. With max(), SQLite takes the other
/// columns of a group from the row that has the maximum; and a cross join keeps the order of its left side.
const LIST_OLDER: &str = "
    SELECT log.key, value, fields, created, log.revision
    FROM (SELECT key, max(revision) AS revision, deleted
          FROM log INDEXED BY history
          WHERE key >= ?1 AND key < ?2 AND revision <= ?4
          GROUP BY key HAVING NOT deleted ORDER BY key LIMIT ?3) AS state
    CROSS JOIN log ON log.revision = state.revision";

/// The pluses keep SQLite from choosing the index on keys: the way along a log is by revision.
const EVENTS: &str = "
    SELECT log.key, log.value, log.fields, log.created, log.revision, log.deleted,
           previous.value, previous.fields, previous.created, previous.revision
    FROM log LEFT JOIN log AS previous ON previous.revision = log.previous
    WHERE log.revision > ?1 AND log.revision <= ?2 AND +log.key >= ?3 AND +log.key < ?4
    ORDER BY log.revision";

/// The log as one transaction sees it.
pub(super) struct Snapshot<'c> {
    transaction: Transaction<'c>,
    /// The newest revision.
    pub(super) newest: Revision,
    /// The oldest revision that can be read.
    pub(super) oldest: Revision,
}

impl<'c> Snapshot<'c> {
    pub(super) fn of(connection: &'c mut Connection) -> Result<Self, Error> {
        let transaction = connection.transaction()?;
        let newest = newest(&transaction)?;
        let oldest = oldest(&transaction)?;
        Ok(Self { transaction, newest, oldest })
    }

    pub(super) fn get(&self, key: &str, at: Revision) -> Result<Option<Entry>, Error> {
        let revision = self.resolve(Some(at))?;
        if revision == self.newest {
            return get(&self.transaction, key);
        }

        let mut then = self.prepare(
            "SELECT key, value, fields, created, revision, deleted
             FROM log INDEXED BY history
             WHERE key = ?1 AND revision <= ?2
             ORDER BY revision DESC LIMIT 1",
        )?;
        let existing = |row: &Row<'_>| if row.get(5)? { Ok(None) } else { entry(row).map(Some) };
        Ok(then.query_row(params![key, revision], existing).optional()?.flatten())
    }

    pub(super) fn list(&self, range: &Range) -> Result<Page, Error> {
        let revision = self.resolve(range.at)?;
        let newest = revision == self.newest;
        let mut keys = Keys::with_prefix(&range.prefix);
        if let Some(after) = &range.after {
            keys = keys.after(after);
        }
        // SQLite takes a negative limit for none.
        let limit = if range.limit == 0 { -1 } else { i64::try_from(range.limit).unwrap_or(-1) };

        let mut statement = self.prepare(self.list_at(revision))?;
        let mut rows = self.rows(&mut statement, &keys, limit, revision)?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            entries.push(entry(row)?);
        }

        let remaining = match entries.last() {
            Some(last) if entries.len() == range.limit => {
                self.remaining(&keys.after(&last.key), (!newest).then_some(revision))?
            }
            _ => 0,
        };
        Ok(Page { entries, revision, remaining })
    }

    /// Hands all keys with this prefix to `take`, in parts, for as long as it wants more.
    pub(super) fn parts(
        &self,
        prefix: &str,
        at: Option<Revision>,
        mut take: impl FnMut(Part) -> bool,
    ) -> Result<(), Error> {
        let revision = self.resolve(at)?;
        let mut statement = self.prepare(self.list_at(revision))?;
        let mut rows = self.rows(&mut statement, &Keys::with_prefix(prefix), -1, revision)?;
        let mut slab = Slab::default();
        while let Some(row) = rows.next()? {
            if slab.bytes.len() >= PART_BYTES {
                let next = Slab { bytes: BytesMut::with_capacity(slab.bytes.len()), ..Slab::default() };
                let entries = std::mem::replace(&mut slab, next).into_entries();
                if !take(Part { entries, revision, is_last: false }) {
                    return Ok(());
                }
            }
            slab.add(row)?;
        }
        take(Part { entries: slab.into_entries(), revision, is_last: true });
        Ok(())
    }

    /// The query for a list at this revision.
    fn list_at(&self, revision: Revision) -> &'static str {
        if revision == self.newest { LIST_NEWEST } else { LIST_OLDER }
    }

    fn rows<'s>(
        &self,
        list: &'s mut CachedStatement<'_>,
        keys: &Keys,
        limit: i64,
        revision: Revision,
    ) -> Result<Rows<'s>, Error> {
        Ok(if revision == self.newest {
            list.query(params![keys.start, keys.end, limit])?
        } else {
            list.query(params![keys.start, keys.end, limit, revision])?
        })
    }

    pub(super) fn count(&self, prefix: &str) -> Result<u64, Error> {
        self.remaining(&Keys::with_prefix(prefix), None)
    }

    /// The events of keys with this prefix after `after`, up to and including revision `end`; and the
    /// revision up to which these are all.
    pub(super) fn events(
        &self,
        prefix: &str,
        after: Revision,
        end: Revision,
    ) -> Result<(Vec<Arc<Event>>, Revision), Error> {
        check_events_after(after, self.oldest)?;
        let keys = Keys::with_prefix(prefix);
        let mut statement = self.prepare(EVENTS)?;
        let mut rows = statement.query(params![after, end, keys.start, keys.end])?;

        let mut events = Vec::new();
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let event = event(row)?;
            let revision = event.revision;
            bytes += size(&event);
            events.push(Arc::new(event));
            if events.len() == PAGE_EVENTS || bytes >= PAGE_BYTES {
                return Ok((events, revision));
            }
        }
        Ok((events, end))
    }

    fn resolve(&self, at: Option<Revision>) -> Result<Revision, Error> {
        match at {
            Some(requested) if requested > self.newest => {
                Err(Error::Future { requested, newest: self.newest })
            }
            Some(requested) if requested < self.oldest => {
                Err(Error::Compacted { requested, oldest: self.oldest })
            }
            at => Ok(at.unwrap_or(self.newest)),
        }
    }

    fn remaining(&self, keys: &Keys, at: Option<Revision>) -> Result<u64, Error> {
        let count = match at {
            None => self
                .prepare("SELECT count(*) FROM current WHERE key >= ?1 AND key < ?2")?
                .query_row(params![keys.start, keys.end], |row| row.get(0))?,
            Some(at) => self
                .prepare(
                    "SELECT count(*)
                     FROM (SELECT max(revision), deleted
                           FROM log INDEXED BY history
                           WHERE key >= ?1 AND key < ?2 AND revision <= ?3
                           GROUP BY key HAVING NOT deleted)",
                )?
                .query_row(params![keys.start, keys.end, at], |row| row.get(0))?,
        };
        Ok(count)
    }

    fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>, Error> {
        Ok(self.transaction.prepare_cached(sql)?)
    }
}

/// A key's newest state: one statement, which needs no transaction around it to see one state of the log.
pub(super) fn get(connection: &Connection, key: &str) -> Result<Option<Entry>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT log.key, value, fields, created, log.revision
         FROM current CROSS JOIN log ON log.revision = current.revision
         WHERE current.key = ?1",
    )?;
    Ok(statement.query_row([key], entry).optional()?)
}

/// Whether a key with this prefix exists now.
pub(super) fn has(connection: &Connection, prefix: &str) -> Result<bool, Error> {
    let keys = Keys::with_prefix(prefix);
    let mut statement =
        connection.prepare_cached("SELECT 1 FROM current WHERE key >= ?1 AND key < ?2 LIMIT 1")?;
    Ok(statement.exists(params![keys.start, keys.end])?)
}

/// Entries whose documents lie in one piece of memory: thousands are made and gone together.
#[derive(Default)]
struct Slab {
    bytes: BytesMut,
    /// Their documents and indexes are still to be cut off; these are the lengths.
    entries: Vec<(Entry, usize, usize)>,
}

impl Slab {
    /// Adds the entry of a row as [`entry`] reads it.
    fn add(&mut self, row: &Row<'_>) -> Result<(), rusqlite::Error> {
        let (value, index) = (row.get_ref(1)?.as_blob()?, row.get_ref(2)?.as_blob()?);
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(index);
        let (key, created, modified) = (row.get(0)?, row.get(3)?, row.get(4)?);
        let entry = Entry { key, value: Bytes::new(), index: Bytes::new(), created, modified };
        self.entries.push((entry, value.len(), index.len()));
        Ok(())
    }

    fn into_entries(self) -> Vec<Entry> {
        let mut rest = self.bytes.freeze();
        let whole = |(entry, value, index)| Entry {
            value: rest.split_to(value),
            index: rest.split_to(index),
            ..entry
        };
        self.entries.into_iter().map(whole).collect()
    }
}

/// The newest revision. The compaction never removes the newest row, so it survives in the log itself.
pub(super) fn newest(connection: &Connection) -> Result<Revision, rusqlite::Error> {
    connection.prepare_cached("SELECT coalesce(max(revision), 0) FROM log")?.query_row([], |row| row.get(0))
}

/// The oldest revision that can be read.
pub(super) fn oldest(connection: &Connection) -> Result<Revision, rusqlite::Error> {
    connection.prepare_cached("SELECT oldest FROM compaction")?.query_row([], |row| row.get(0))
}

/// Reads an entry from the columns `key, value, fields, created, revision`, the first ones of the row.
pub(super) fn entry(row: &Row<'_>) -> Result<Entry, rusqlite::Error> {
    let key = row.get(0)?;
    state(row, key, 1)
}

fn event(row: &Row<'_>) -> Result<Event, rusqlite::Error> {
    let entry = entry(row)?;
    let previous = match row.get_ref(6)? {
        ValueRef::Null => None,
        _ => Some(state(row, entry.key.clone(), 6)?),
    };
    Ok(Event { revision: entry.modified, deleted: row.get(5)?, entry, previous })
}

/// Reads an entry from the columns `value, fields, created, revision`, starting at `first`.
fn state(row: &Row<'_>, key: String, first: usize) -> Result<Entry, rusqlite::Error> {
    let blob = |column| -> Result<Bytes, rusqlite::Error> {
        Ok(Bytes::copy_from_slice(row.get_ref(column)?.as_blob()?))
    };
    Ok(Entry {
        key,
        value: blob(first)?,
        index: blob(first + 1)?,
        created: row.get(first + 2)?,
        modified: row.get(first + 3)?,
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::sqlite::schema::Location;

    fn plan(sql: &str) -> Vec<String> {
        let connection = Location::memory().writer().unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = vec![1; statement.parameter_count()];
        let steps = statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get(3)).unwrap();
        steps.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn lists_the_newest_state_without_its_history() {
        let [range, look_up] = &plan(LIST_NEWEST)[..] else { panic!() };
        assert_eq!(range, "SEARCH current USING PRIMARY KEY (key>? AND key<?)");
        assert_eq!(look_up, "SEARCH log USING INTEGER PRIMARY KEY (rowid=?)");
    }

    #[test]
    fn lists_an_older_state_along_the_index_without_sorting() {
        let plan = plan(LIST_OLDER);
        assert!(plan.contains(&"SEARCH log USING COVERING INDEX history (key>? AND key<?)".to_owned()));
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:?}");
    }

    #[test]
    fn a_statement_is_compiled_once_whatever_it_runs_with() {
        let connection = Location::memory().writer().unwrap();
        for sql in [LIST_NEWEST, LIST_OLDER, EVENTS] {
            let mut statement = connection.prepare(sql).unwrap();
            for value in ["a", "b"] {
                let parameters = vec![value; statement.parameter_count()];
                let _ = statement.exists(rusqlite::params_from_iter(parameters));
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{sql}");
        }
    }

    #[test]
    fn reads_events_along_the_log() {
        assert_eq!(plan(EVENTS)[0], "SEARCH log USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)");
    }
}
