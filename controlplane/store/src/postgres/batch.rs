//! What several waiting commits come to, given the state that they find: no I/O.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::record::{Current, Millis, Record, millis};
use crate::{Change, Entry, Error, Event, Expect, Revision, Write};

/// A row of the log to be written.
pub(super) struct Row {
    pub(super) event: Arc<Event>,
    pub(super) revision_at: Option<u32>,
    pub(super) expires: Option<Millis>,
}

/// The writes of a transaction.
pub(super) struct Batch {
    now: Millis,
    newest: Revision,
    /// The keys that exist, of those that are written to.
    states: HashMap<String, Current>,
    pub(super) rows: Vec<Row>,
}

impl Batch {
    pub(super) fn new(now: Millis, newest: Revision, found: impl IntoIterator<Item = Current>) -> Self {
        let states = found.into_iter().map(|current| (current.entry.key.clone(), current)).collect();
        Self { now, newest, states, rows: Vec::new() }
    }

    /// The newest revision, with these writes.
    pub(super) fn newest(&self) -> Revision {
        self.newest
    }

    /// Deletes a key whose time has come.
    pub(super) fn expire(&mut self, key: String) {
        // Without an expectation nothing can fail.
        let _ = self.write(
            &Write { key, expect: Expect::Any, change: Change::Delete { last: None } },
            &mut Vec::new(),
        );
    }

    /// Applies one commit, or nothing of it when an expectation fails.
    pub(super) fn commit(&mut self, writes: &[Write]) -> Result<Vec<Revision>, Error> {
        let (newest, rows) = (self.newest, self.rows.len());
        let mut before = Vec::new();
        let result = writes.iter().map(|write| self.write(write, &mut before)).collect();
        if matches!(result, Err(Error::Conflict { .. })) {
            self.newest = newest;
            self.rows.truncate(rows);
            for (key, state) in before.into_iter().rev() {
                self.set(key, state);
            }
        }
        result
    }

    /// Applies one write, and remembers what was before it.
    fn write(
        &mut self,
        write: &Write,
        before: &mut Vec<(String, Option<Current>)>,
    ) -> Result<Revision, Error> {
        let Write { key, expect, change } = write;
        let current = self.states.get(key);
        if !expect.holds(current) {
            let current = current.map(|current| Box::new(current.entry.clone()));
            return Err(Error::Conflict { key: key.clone(), current });
        }
        let revision = self.newest + 1;
        let (record, ttl) = match (change, current) {
            (Change::Put { document, ttl }, current) => (Record::put(document, current, revision), *ttl),
            (Change::Delete { last }, Some(current)) => {
                (Record::deletion(last.as_ref(), current, revision), None)
            }
            (Change::Delete { .. }, None) => return Ok(self.newest),
        };
        before.push((key.clone(), current.cloned()));
        self.append(key, record, ttl);
        Ok(revision)
    }

    fn append(&mut self, key: &str, record: Record, ttl: Option<Duration>) {
        self.newest += 1;
        let Record { deleted, created, revision_at, index, value } = record;
        let entry = Entry { key: key.to_owned(), value: value.into(), index, created, modified: self.newest };
        let state = (!deleted).then(|| Current { entry: entry.clone(), revision_at });
        let previous = self.set(key.to_owned(), state).map(|previous| previous.entry);
        let event = Arc::new(Event { revision: self.newest, deleted, entry, previous });
        let expires = ttl.map(|ttl| self.now.saturating_add(millis(ttl)));
        self.rows.push(Row { event, revision_at, expires });
    }

    fn set(&mut self, key: String, state: Option<Current>) -> Option<Current> {
        match state {
            Some(state) => self.states.insert(key, state),
            None => self.states.remove(&key),
        }
    }

    /// What the keys are in the end: the last row of each.
    pub(super) fn outcome(&self) -> Vec<&Row> {
        let last: HashMap<&str, &Row> = self.rows.iter().map(|row| (&*row.event.entry.key, row)).collect();
        last.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Document;

    fn write(key: &str, expect: Expect, text: Option<&'static str>) -> Write {
        let document =
            |text: &'static str| Document { bytes: text.into(), revision_at: None, index: Bytes::new() };
        let change = match text {
            Some(text) => Change::Put { document: document(text), ttl: None },
            None => Change::Delete { last: None },
        };
        Write { key: key.to_owned(), expect, change }
    }

    #[test]
    fn a_commit_that_fails_leaves_the_batch_as_it_was() {
        let mut batch = Batch::new(0, 7, []);
        assert_eq!(batch.commit(&[write("/a", Expect::Any, Some("1"))]).unwrap(), [8]);
        let failing = [
            write("/a", Expect::Modified(8), Some("2")),
            write("/a", Expect::Modified(9), None),
            write("/b", Expect::Absent, Some("3")),
            write("/a", Expect::Modified(8), Some("4")),
        ];
        assert!(matches!(batch.commit(&failing), Err(Error::Conflict { current: None, .. })));
        assert_eq!((batch.newest(), batch.rows.len()), (8, 1));
        assert_eq!(batch.commit(&[write("/a", Expect::Modified(8), None)]).unwrap(), [9]);
        assert_eq!(batch.rows[1].event.previous.as_ref().map(|entry| entry.modified), Some(8));
        assert!(batch.outcome()[0].event.deleted);
    }
}
