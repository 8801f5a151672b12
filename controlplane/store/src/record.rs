//! What a write makes of a key: the row of the log, whichever database holds it.

use std::time::Duration;

use bytes::Bytes;

use crate::{Document, Entry, Expect, Revision, stamp};

/// Milliseconds since 1970: expiry must survive a restart, so it is kept in wall-clock time.
pub(crate) type Millis = u64;

/// A key's state as a write finds it.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) entry: Entry,
    pub(crate) revision_at: Option<u32>,
}

/// A row of the log to be written.
pub(crate) struct Record {
    pub(crate) deleted: bool,
    pub(crate) created: Revision,
    pub(crate) revision_at: Option<u32>,
    pub(crate) index: Bytes,
    pub(crate) value: Vec<u8>,
}

impl Record {
    /// The key is set.
    pub(crate) fn put(document: &Document, current: Option<&Current>, revision: Revision) -> Self {
        Self {
            deleted: false,
            created: current.map_or(revision, |current| current.entry.created),
            revision_at: clamp(document),
            index: document.index.clone(),
            value: document.at(revision),
        }
    }

    /// The key is deleted, and `last` is what watchers see of it.
    pub(crate) fn deletion(last: Option<&Document>, current: &Current, revision: Revision) -> Self {
        let Current { entry, revision_at } = current;
        match last {
            Some(last) => Self { deleted: true, ..Self::put(last, Some(current), revision) },
            None => Self {
                deleted: true,
                created: entry.created,
                revision_at: *revision_at,
                index: entry.index.clone(),
                value: stamp::replace(&entry.value, *revision_at, entry.modified, revision),
            },
        }
    }
}

impl Expect {
    /// Whether the key's state is as demanded.
    pub(crate) fn holds(self, current: Option<&Current>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Modified(revision) => current.is_some_and(|c| c.entry.modified == revision),
        }
    }
}

/// Whole milliseconds, rounded up so that nothing expires early; at most what a database can hold.
pub(crate) fn millis(ttl: Duration) -> Millis {
    u64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).min(u64::MAX >> 2)
}

/// The offset where the document's digits really start; see [`Document::at`].
fn clamp(document: &Document) -> Option<u32> {
    document.revision_at.map(|at| at.min(document.bytes.len() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expires_no_key_early_and_none_never() {
        assert_eq!(millis(Duration::from_micros(1)), 1);
        assert!(i64::try_from(millis(Duration::MAX)).is_ok());
    }
}
