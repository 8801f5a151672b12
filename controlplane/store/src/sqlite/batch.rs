//! What one transaction does: expiry, a batch of commits, and forgetting some history.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::snapshot::{entry, newest, oldest};
use crate::record::{Current, Millis, Record, millis};
use crate::{Change, Document, Entry, Error, Event, Expect, Revision, Write};

/// At most so many keys expire in one transaction, so that commits need not wait for all of a long downtime.
const EXPIRED_AT_ONCE: usize = 256;

/// A transaction under way.
pub(super) struct Batch<'c> {
    transaction: Transaction<'c>,
    now: Millis,
    newest: Revision,
    oldest: Revision,
    events: Vec<Arc<Event>>,
}

/// What a transaction has done, once it is durable.
pub(super) struct Done {
    pub(super) events: Vec<Arc<Event>>,
    pub(super) oldest: Revision,
    /// When the next key expires.
    pub(super) expiry: Option<Millis>,
}

impl<'c> Batch<'c> {
    pub(super) fn begin(connection: &'c mut Connection, now: Millis) -> Result<Self, Error> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (newest, oldest) = (newest(&transaction)?, oldest(&transaction)?);
        Ok(Self { transaction, now, newest, oldest, events: Vec::new() })
    }

    pub(super) fn newest(&self) -> Revision {
        self.newest
    }

    /// How many revisions this transaction has written.
    pub(super) fn written(&self) -> u64 {
        self.events.len() as u64
    }

    /// Deletes keys whose time has come.
    pub(super) fn expire(&mut self) -> Result<(), Error> {
        let keys: Vec<String> = self
            .transaction
            .prepare_cached("SELECT key FROM current WHERE expires <= ?1 ORDER BY expires LIMIT ?2")?
            .query_map(params![self.now, EXPIRED_AT_ONCE], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for key in keys {
            self.write(Write { key, expect: Expect::Any, change: Change::Delete { last: None } })?;
        }
        Ok(())
    }

    /// Applies one commit, or nothing of it when an expectation fails.
    pub(super) fn commit(&mut self, writes: Vec<Write>) -> Result<Vec<Revision>, Error> {
        // A write looks at its expectation before it changes anything, so one alone leaves nothing to take back.
        if writes.len() == 1 {
            return writes.into_iter().map(|write| self.write(write)).collect();
        }
        let (newest, events) = (self.newest, self.events.len());
        self.transaction.execute_batch("SAVEPOINT one")?;

        let result = writes.into_iter().map(|write| self.write(write)).collect();
        match result {
            Ok(_) => {}
            Err(Error::Conflict { .. }) => {
                self.transaction.execute_batch("ROLLBACK TO one")?;
                self.newest = newest;
                self.events.truncate(events);
            }
            // SQLite may have rolled back the whole transaction already; it is the caller's to give up.
            Err(_) => return result,
        }
        self.transaction.execute_batch("RELEASE one")?;
        result
    }

    /// Forgets the history before `goal`, or the next `most` revisions of it.
    ///
    /// What goes is every state whose successor is older than the new `oldest`, and every deletion that is.
    /// So the states at `oldest` stay, and all events from `oldest` on keep their previous states; and the
    /// newest revision stays in the log, whatever it was.
    pub(super) fn forget(&mut self, goal: Revision, most: u64) -> Result<(), Error> {
        let end = goal.min(self.newest).min(self.oldest.saturating_add(most));
        if end <= self.oldest {
            return Ok(());
        }
        let range = params![self.oldest, end];
        self.transaction
            .prepare_cached(
                "DELETE FROM log WHERE revision IN
                     (SELECT previous FROM log WHERE revision >= ?1 AND revision < ?2 AND previous > 0)",
            )?
            .execute(range)?;
        self.transaction
            .prepare_cached("DELETE FROM log WHERE revision >= ?1 AND revision < ?2 AND deleted")?
            .execute(range)?;
        self.transaction.prepare_cached("UPDATE compaction SET oldest = ?1")?.execute([end])?;
        self.oldest = end;
        Ok(())
    }

    /// Makes it all durable.
    pub(super) fn finish(self) -> Result<Done, Error> {
        let expiry = next_expiry(&self.transaction)?;
        self.transaction.commit()?;
        Ok(Done { events: self.events, oldest: self.oldest, expiry })
    }

    fn write(&mut self, write: Write) -> Result<Revision, Error> {
        let Write { key, expect, change } = write;
        let current = self.current(&key)?;
        if !expect.holds(current.as_ref()) {
            return Err(Error::Conflict { key, current: current.map(|c| Box::new(c.entry)) });
        }

        match (change, current) {
            (Change::Put { document, ttl }, current) => self.put(key, &document, ttl, current)?,
            (Change::Delete { last }, Some(current)) => self.delete(key, last.as_ref(), current)?,
            (Change::Delete { .. }, None) => {}
        }
        Ok(self.newest)
    }

    fn put(
        &mut self,
        key: String,
        document: &Document,
        ttl: Option<Duration>,
        current: Option<Current>,
    ) -> Result<(), Error> {
        let revision = self.newest + 1;
        let record = Record::put(document, current.as_ref(), revision);
        let expires = ttl.map(|ttl| self.now.saturating_add(millis(ttl)));
        self.transaction
            .prepare_cached("INSERT OR REPLACE INTO current (key, revision, expires) VALUES (?1, ?2, ?3)")?
            .execute(params![key, revision, expires])?;
        self.append(key, record, current.map(|current| current.entry))
    }

    fn delete(&mut self, key: String, last: Option<&Document>, current: Current) -> Result<(), Error> {
        let revision = self.newest + 1;
        let record = Record::deletion(last, &current, revision);
        self.transaction.prepare_cached("DELETE FROM current WHERE key = ?1")?.execute([&key])?;
        self.append(key, record, Some(current.entry))
    }

    fn append(&mut self, key: String, record: Record, previous: Option<Entry>) -> Result<(), Error> {
        let revision = self.newest + 1;
        let Record { deleted, created, revision_at, index, value } = record;
        let before = previous.as_ref().map_or(0, |previous| previous.modified);
        self.transaction
            .prepare_cached(
                "INSERT INTO log (revision, key, deleted, created, previous, revision_at, fields, value)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![revision, key, deleted, created, before, revision_at, &index[..], value])?;

        let entry = Entry { key, value: value.into(), index, created, modified: revision };
        self.events.push(Arc::new(Event { revision, deleted, entry, previous }));
        self.newest = revision;
        Ok(())
    }

    fn current(&self, key: &str) -> Result<Option<Current>, Error> {
        let mut statement = self.transaction.prepare_cached(
            "SELECT log.key, value, fields, created, log.revision, revision_at
             FROM current CROSS JOIN log ON log.revision = current.revision
             WHERE current.key = ?1",
        )?;
        let current = statement
            .query_row([key], |row| Ok(Current { entry: entry(row)?, revision_at: row.get(5)? }))
            .optional()?;
        Ok(current)
    }
}

/// When the next key expires.
pub(super) fn next_expiry(connection: &Connection) -> Result<Option<Millis>, Error> {
    let mut statement = connection
        .prepare_cached("SELECT expires FROM current WHERE expires IS NOT NULL ORDER BY expires LIMIT 1")?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sqlite::schema::Location;
    use bytes::Bytes;

    fn put(key: &str, size: usize) -> Vec<Write> {
        let document = Document { bytes: vec![b'x'; size].into(), revision_at: None, index: Bytes::new() };
        let change = Change::Put { document, ttl: None };
        vec![Write { key: key.to_owned(), expect: Expect::Any, change }]
    }

    #[test]
    fn a_full_disk_fails_the_transaction_with_its_cause_and_not_the_next_one() {
        let mut connection = Location::memory().writer().unwrap();
        connection.pragma_update(None, "max_page_count", 20).unwrap();

        let mut batch = Batch::begin(&mut connection, 0).unwrap();
        batch.commit(put("/small", 10)).unwrap();
        let Err(Error::Database(cause)) = batch.commit(put("/large", 1 << 20)) else { panic!() };
        assert_eq!(cause.to_string(), "database or disk is full");
        drop(batch);

        let mut batch = Batch::begin(&mut connection, 0).unwrap();
        assert_eq!(batch.commit(put("/small", 10)).unwrap(), [1]);
        assert_eq!(batch.finish().unwrap().events.len(), 1);
    }
}
