//! Long lists that are asked for again and again, as by many clients that start at once or by one that polls.
//!
//! A list that has just been read twice stays for a few seconds, and the next one like it is answered from here: the
//! ring knows whether anything has happened to its keys. When nobody asks any more, everything goes, and the task that
//! sees to it as well.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::reader::Readers;
use super::snapshot::{self, Snapshot};
use crate::ring::{Ring, content};
use crate::{Entry, Error, Part, Revision};

/// Lists together hold at most so many bytes; a longer one is not kept.
const MOST_BYTES: usize = 8 << 20;

/// A list goes when nobody has asked for it for this long, and at most twice as long.
const PERIOD: Duration = Duration::from_secs(5);

/// The entries of a list, in the parts in which they are sent.
#[derive(Default)]
pub(super) struct Kept {
    parts: Vec<Vec<Entry>>,
    bytes: usize,
}

impl Kept {
    /// Adds a part, or ends with nothing if that is too much.
    pub(super) fn with(mut self, entries: &[Entry]) -> Option<Self> {
        self.bytes += entries.iter().map(|entry| size_of::<Entry>() + content(entry)).sum::<usize>();
        self.parts.push(entries.to_vec());
        (self.bytes <= MOST_BYTES).then_some(self)
    }

    /// The parts of the list as of a revision.
    pub(super) fn parts(&self, revision: Revision) -> impl Iterator<Item = Part> {
        self.parts.iter().enumerate().map(move |(number, entries)| Part {
            entries: entries.clone(),
            revision,
            is_last: number + 1 == self.parts.len(),
        })
    }
}

/// The lists that were asked for last.
#[derive(Default)]
pub(super) struct Recent(Mutex<State>);

#[derive(Default)]
struct State {
    /// The one read last comes last.
    lists: Vec<List>,
    is_swept: bool,
}

struct List {
    prefix: String,
    /// Absent after the first time.
    kept: Option<(Arc<Kept>, Revision)>,
    is_wanted: bool,
}

impl Recent {
    /// Whether a list of these keys is there.
    pub(super) fn has(&self, prefix: &str) -> bool {
        self.lock().lists.iter().any(|list| list.prefix == prefix && list.kept.is_some())
    }

    /// The list of these keys, if it still is that of revision `at`.
    pub(super) fn get(&self, prefix: &str, at: Revision, ring: &Ring) -> Option<Arc<Kept>> {
        let mut state = self.lock();
        let list = state.lists.iter_mut().find(|list| list.prefix == prefix)?;
        let (kept, revision) = list.kept.as_mut()?;
        if *revision > at || !ring.is_untouched(prefix, *revision, at) {
            list.kept = None;
            return None;
        }
        *revision = at;
        list.is_wanted = true;
        Some(Arc::clone(kept))
    }

    /// Whether the list of these keys, which is about to be read, is worth keeping: it was read a moment ago.
    pub(super) fn is_wanted(&self, prefix: &str) -> bool {
        self.lock().lists.iter().any(|list| list.prefix == prefix)
    }

    /// Takes note of a list that was read: with its entries if it is to be kept.
    pub(super) fn put(self: &Arc<Self>, prefix: &str, kept: Option<Kept>, revision: Revision) {
        let mut state = self.lock();
        state.lists.retain(|list| list.prefix != prefix);
        let kept = kept.map(|kept| (Arc::new(kept), revision));
        state.lists.push(List { prefix: prefix.to_owned(), kept, is_wanted: true });
        while state.bytes() > MOST_BYTES {
            state.lists.remove(0);
        }
        if !std::mem::replace(&mut state.is_swept, true) {
            let recent = Arc::clone(self);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(PERIOD).await;
                    if recent.sweep() {
                        break;
                    }
                }
            });
        }
    }

    /// Drops what nobody has asked for since the last time; whether nothing is left.
    fn sweep(&self) -> bool {
        let mut state = self.lock();
        state.lists.retain_mut(|list| std::mem::take(&mut list.is_wanted));
        let is_over = state.lists.is_empty();
        if is_over {
            *state = State::default();
        }
        is_over
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bytes(&self) -> usize {
        self.lists.iter().filter_map(|list| list.kept.as_ref()).map(|(kept, _)| kept.bytes).sum()
    }
}

/// A list that is asked for.
pub(super) struct Reading {
    pub(super) recent: Arc<Recent>,
    pub(super) ring: Arc<Ring>,
    pub(super) prefix: String,
    /// `None` is the newest state.
    pub(super) at: Option<Revision>,
}

impl Reading {
    /// Hands the parts of the list to `take`, for as long as it wants more.
    pub(super) async fn read(
        self,
        readers: &Arc<Readers>,
        mut take: impl FnMut(Part) -> bool + Send + 'static,
    ) -> Result<(), Error> {
        if self.at.is_some() {
            return readers.read(move |snapshot| snapshot.parts(&self.prefix, self.at, take)).await;
        }
        if self.recent.has(&self.prefix) {
            // The ring may be a moment behind what others have read, and so is not asked for the newest revision.
            let newest = readers.look_up(|connection| Ok(snapshot::newest(connection)?)).await?;
            if self.is_taken(newest, &mut take) {
                return Ok(());
            }
        }
        readers.read(move |snapshot| self.newest(snapshot, take)).await
    }

    /// Whether the list could be had without reading it.
    fn is_taken(&self, newest: Revision, take: &mut impl FnMut(Part) -> bool) -> bool {
        let Some(kept) = self.recent.get(&self.prefix, newest, &self.ring) else { return false };
        kept.parts(newest).all(take);
        true
    }

    fn newest(&self, snapshot: &Snapshot<'_>, mut take: impl FnMut(Part) -> bool) -> Result<(), Error> {
        // Another may have read it while this one waited for a connection.
        if self.is_taken(snapshot.newest, &mut take) {
            return Ok(());
        }
        let mut kept = self.recent.is_wanted(&self.prefix).then(Kept::default);
        let (mut parts, mut is_whole) = (0, false);
        snapshot.parts(&self.prefix, None, |part| {
            kept = kept.take().and_then(|kept| kept.with(&part.entries));
            (parts, is_whole) = (parts + 1, part.is_last);
            take(part)
        })?;
        if is_whole && parts > 1 {
            self.recent.put(&self.prefix, kept, snapshot.newest);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Event;

    fn entry(key: &str, size: usize, modified: Revision) -> Entry {
        Entry {
            key: key.into(),
            value: vec![b'x'; size].into(),
            index: Bytes::new(),
            created: modified,
            modified,
        }
    }

    fn write(ring: &Ring, key: &str) {
        let entry = entry(key, 1, ring.newest() + 1);
        let event = Event { revision: entry.modified, deleted: false, entry, previous: None };
        ring.publish(vec![Arc::new(event)], 0);
    }

    fn list(key: &str, size: usize) -> Option<Kept> {
        Kept::default().with(&[entry(key, size, 1)])
    }

    #[tokio::test]
    async fn a_list_is_kept_from_the_second_time_until_something_happens_to_its_keys() {
        let (recent, ring) = (Arc::new(Recent::default()), Ring::new(1, 0));
        assert!(!recent.is_wanted("/x/"));
        recent.put("/x/", None, 1);
        assert!(recent.is_wanted("/x/") && !recent.has("/x/"));
        recent.put("/x/", list("/x/1", 10), 1);
        assert!(recent.get("/x/", 1, &ring).is_some());
        write(&ring, "/y/1");
        assert!(recent.get("/x/", 2, &ring).is_some(), "it speaks of other keys");
        write(&ring, "/x/2");
        assert!(recent.get("/x/", 3, &ring).is_none());
        assert!(!recent.has("/x/") && recent.is_wanted("/x/"));
    }

    #[tokio::test]
    async fn what_the_ring_does_not_know_is_not_taken_for_unchanged() {
        let (recent, ring) = (Arc::new(Recent::default()), Ring::new(5, 0));
        recent.put("/x/", list("/x/1", 10), 3);
        assert!(recent.get("/x/", 5, &ring).is_none(), "revisions 4 and 5 are no longer in the ring");
        recent.put("/x/", list("/x/1", 10), 5);
        assert!(recent.get("/x/", 6, &ring).is_none(), "revision 6 is not in the ring yet");
        recent.put("/x/", list("/x/1", 10), 7);
        assert!(recent.get("/x/", 5, &ring).is_none(), "it is younger than what is asked for");
    }

    #[tokio::test]
    async fn lists_have_bounds_and_go_when_nobody_wants_them() {
        let (recent, ring) = (Arc::new(Recent::default()), Ring::new(1, 0));
        assert!(list("/x/1", MOST_BYTES).is_none(), "it is too long");
        recent.put("/a/", list("/a/1", MOST_BYTES / 2), 1);
        recent.put("/b/", list("/b/1", MOST_BYTES / 2), 1);
        assert!(!recent.has("/a/") && recent.has("/b/"));
        assert!(!recent.sweep(), "it was asked for since the last time");
        assert!(recent.get("/b/", 1, &ring).is_some());
        assert!(!recent.sweep());
        assert!(recent.sweep());
        assert!(!recent.has("/b/"));
    }
}
