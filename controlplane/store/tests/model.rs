//! The store against a model that is too simple to be wrong: a list of all writes ever made.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use proptest::prelude::*;
use vkube_store::postgres::{Address, Pem};
use vkube_store::{
    Change, Document, Entry, Error, Event, Expect, Options, PostgresStore, Range, Revision, Signal,
    SqliteStore, Store, Watch, Write,
};

mod common;

/// Few keys, so that writes meet; nested prefixes and the neighbours of a prefix's end.
const KEYS: [&str; 6] = ["/a/1", "/a/2", "/a/2/x", "/a0", "/b/1", "/b/\u{10ffff}"];
const PREFIXES: [&str; 6] = ["", "/", "/a", "/a/", "/b/", "/none/"];

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Plan>),
    /// To a share of the revisions there are.
    Compact(f64),
    Reopen,
    List {
        prefix: usize,
        after: Option<usize>,
        limit: usize,
        at: Option<f64>,
    },
    Get {
        key: usize,
        at: Option<f64>,
    },
    /// Compare what the running watches have seen.
    Watch,
}

#[derive(Clone, Debug)]
struct Plan {
    key: usize,
    expect: Wish,
    change: Deed,
}

#[derive(Clone, Copy, Debug)]
enum Wish {
    Any,
    Absent,
    Right,
    Wrong,
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Put,
    PutWithoutRevision,
    Delete,
    DeleteWithLast,
}

fn plan() -> impl Strategy<Value = Plan> {
    let expect = prop_oneof![
        6 => Just(Wish::Any), 2 => Just(Wish::Right), 1 => Just(Wish::Absent), 1 => Just(Wish::Wrong),
    ];
    let change = prop_oneof![
        4 => Just(Deed::Put), 1 => Just(Deed::PutWithoutRevision),
        2 => Just(Deed::Delete), 1 => Just(Deed::DeleteWithLast),
    ];
    (0..KEYS.len(), expect, change).prop_map(|(key, expect, change)| Plan { key, expect, change })
}

fn step() -> impl Strategy<Value = Step> {
    let at = || prop::option::of(0.0..1.2);
    let after = prop::option::of(0..KEYS.len());
    prop_oneof![
        8 => prop::collection::vec(plan(), 0..5).prop_map(Step::Commit),
        1 => (0.0..1.1).prop_map(Step::Compact),
        1 => Just(Step::Reopen),
        4 => (0..PREFIXES.len(), after, 0..4usize, at())
            .prop_map(|(prefix, after, limit, at)| Step::List { prefix, after, limit, at }),
        4 => (0..KEYS.len(), at()).prop_map(|(key, at)| Step::Get { key, at }),
        2 => Just(Step::Watch),
    ]
}

/// All writes, the first of revision 1.
#[derive(Clone, Default)]
struct Model {
    log: Vec<Event>,
    /// Where the documents of the log carry their revision.
    offsets: Vec<Option<u32>>,
    oldest: Revision,
}

impl Model {
    fn newest(&self) -> Revision {
        self.log.len() as Revision
    }

    fn state(&self, at: Revision) -> BTreeMap<String, Entry> {
        let mut state = BTreeMap::new();
        for event in &self.log[..at as usize] {
            let Event { entry, deleted, .. } = event;
            match deleted {
                true => drop(state.remove(&entry.key)),
                false => drop(state.insert(entry.key.clone(), entry.clone())),
            }
        }
        state
    }

    fn resolve(&self, at: Option<Revision>) -> Result<Revision, String> {
        match at {
            Some(at) if at > self.newest() => Err("future".to_owned()),
            Some(at) if at < self.oldest => Err("compacted".to_owned()),
            at => Ok(at.unwrap_or_else(|| self.newest())),
        }
    }

    /// The revision that lies at this share of all.
    fn revision(&self, share: f64) -> Revision {
        (self.newest() as f64 * share).round() as Revision
    }

    /// Applies a commit to the model, and turns it into one for the store.
    fn commit(&mut self, plans: &[Plan]) -> (Vec<Write>, Result<Vec<Revision>, String>) {
        let mut next = self.clone();
        let mut outcome = Ok(Vec::new());
        let mut writes = Vec::new();
        for (number, plan) in plans.iter().enumerate() {
            let (key, name) = (KEYS[plan.key], format!("{number}"));
            let current = next.state(next.newest()).remove(key);
            let modified = current.as_ref().map(|entry| entry.modified);
            let (expect, holds) = match plan.expect {
                Wish::Any => (Expect::Any, true),
                Wish::Absent => (Expect::Absent, modified.is_none()),
                Wish::Right => (modified.map_or(Expect::Absent, Expect::Modified), true),
                Wish::Wrong => (Expect::Modified(modified.map_or(1, |m| m + 1)), false),
            };
            writes.push(Write { key: key.to_owned(), expect, change: change(plan.change, &name) });
            if !holds && outcome.is_ok() {
                outcome = Err(format!("conflict {key} {modified:?}"));
            }
            if outcome.is_ok() {
                next.write(key, plan.change, &name, current);
            }
            if let Ok(revisions) = &mut outcome {
                revisions.push(next.newest());
            }
        }
        if outcome.is_ok() {
            *self = next;
        }
        (writes, outcome)
    }

    fn write(&mut self, key: &str, deed: Deed, name: &str, current: Option<Entry>) {
        let revision = self.newest() + 1;
        let (deleted, revision_at, text, index) = match (deed, &current) {
            (Deed::Put, _) => (false, Some(1), format!("[{revision}]{name}"), "full"),
            (Deed::PutWithoutRevision, _) => (false, None, format!("[]{name}"), "bare"),
            (Deed::Delete | Deed::DeleteWithLast, None) => return,
            (Deed::DeleteWithLast, Some(_)) => (true, Some(1), format!("[{revision}]{name}"), "last"),
            (Deed::Delete, Some(before)) => {
                let text = String::from_utf8(before.value.to_vec()).unwrap();
                match self.offsets[before.modified as usize - 1] {
                    Some(_) => {
                        let text = text.replacen(&before.modified.to_string(), &revision.to_string(), 1);
                        (true, Some(1), text, "full")
                    }
                    None => (true, None, text, "bare"),
                }
            }
        };
        let entry = Entry {
            key: key.to_owned(),
            value: text.into(),
            index: index.into(),
            created: current.as_ref().map_or(revision, |before| before.created),
            modified: revision,
        };
        self.log.push(Event { revision, deleted, entry, previous: current });
        self.offsets.push(revision_at);
    }
}

fn change(deed: Deed, name: &str) -> Change {
    let document = |revision_at, index: &'static str| Document {
        bytes: Bytes::from(format!("[]{name}")),
        revision_at,
        index: Bytes::from_static(index.as_bytes()),
    };
    match deed {
        Deed::Put => Change::Put { document: document(Some(1), "full"), ttl: None },
        Deed::PutWithoutRevision => Change::Put { document: document(None, "bare"), ttl: None },
        Deed::Delete => Change::Delete { last: None },
        Deed::DeleteWithLast => Change::Delete { last: Some(document(Some(1), "last")) },
    }
}

/// Errors as far as the model knows them.
fn plain<T>(result: Result<T, Error>) -> Result<T, String> {
    result.map_err(|error| match error {
        Error::Conflict { key, current } => {
            format!("conflict {key} {:?}", current.map(|entry| entry.modified))
        }
        Error::Compacted { .. } => "compacted".to_owned(),
        Error::Future { .. } => "future".to_owned(),
        error => panic!("{error:?}"),
    })
}

/// Where a store's data is while it is not open.
enum Place {
    File(tempfile::TempDir),
    Schema(Box<Address>),
}

impl Place {
    async fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::File(directory) => {
                SqliteStore::open(&directory.path().join("store.db"), Options::default()).unwrap()
            }
            Self::Schema(address) => {
                PostgresStore::open(Address::clone(address), Options::default()).await.unwrap()
            }
        }
    }
}

/// The store, the model, and a watch of each prefix with the revision it has reached.
struct Trial {
    place: Place,
    store: Arc<dyn Store>,
    model: Model,
    watches: Vec<(Watch, Revision)>,
}

impl Trial {
    async fn new(place: Place) -> Self {
        let store = place.open().await;
        let mut trial = Self { place, store, model: Model::default(), watches: Vec::new() };
        trial.watch_from(0).await;
        trial
    }

    async fn watch_from(&mut self, after: Revision) {
        self.watches.clear();
        for prefix in PREFIXES {
            self.watches.push((self.store.watch(prefix, after).await.unwrap(), after));
        }
    }

    async fn run(&mut self, step: Step) {
        match step {
            Step::Commit(plans) => {
                let (writes, expected) = self.model.commit(&plans);
                assert_eq!(plain(self.store.commit(writes).await), expected);
            }
            Step::Compact(share) => {
                // A watch may or may not survive that, so let it come this far.
                self.compare_watches().await;
                let revision = self.model.revision(share);
                let expected = if revision > self.model.newest() { Err("future".to_owned()) } else { Ok(()) };
                assert_eq!(plain(self.store.compact(revision).await), expected);
                if expected.is_ok() {
                    self.model.oldest = self.model.oldest.max(revision);
                }
            }
            Step::Reopen => {
                self.compare_watches().await;
                self.store.close().await;
                self.store = self.place.open().await;
                self.watch_from(self.model.oldest.saturating_sub(1)).await;
            }
            Step::List { prefix, after, limit, at } => {
                let at = at.map(|share| self.model.revision(share));
                let after = after.map(|key| KEYS[key].to_owned());
                self.compare_list(Range { prefix: PREFIXES[prefix].to_owned(), after, limit, at }).await;
            }
            Step::Get { key, at } => {
                let at = at.map(|share| self.model.revision(share));
                let expected = self.model.resolve(at).map(|at| self.model.state(at).remove(KEYS[key]));
                assert_eq!(plain(self.store.get(KEYS[key], at).await), expected);
            }
            Step::Watch => self.compare_watches().await,
        }
        assert_eq!(self.store.revision(), self.model.newest());
    }

    async fn compare_list(&self, range: Range) {
        let expected = self.model.resolve(range.at).map(|at| {
            let mut entries: Vec<Entry> = self.model.state(at).into_values().collect();
            entries.retain(|entry| entry.key.starts_with(&range.prefix));
            entries.retain(|entry| range.after.as_ref().is_none_or(|after| entry.key > *after));
            let rest = if range.limit == 0 { 0 } else { entries.len().saturating_sub(range.limit) };
            entries.truncate(entries.len() - rest);
            (entries, at, rest as u64)
        });
        let page = plain(self.store.list(range).await);
        assert_eq!(page.map(|page| (page.entries, page.revision, page.remaining)), expected);
    }

    async fn compare_watches(&mut self) {
        for (prefix, (watch, reached)) in PREFIXES.iter().zip(&mut self.watches) {
            while *reached < self.model.newest() {
                let events = &self.model.log[*reached as usize..];
                let expected = events.iter().find(|event| event.entry.key.starts_with(prefix));
                match (watch.next().await.unwrap(), expected) {
                    (Signal::Event(event), Some(expected)) => {
                        assert_eq!(format!("{event:?}"), format!("{expected:?}"));
                        *reached = event.revision;
                    }
                    (Signal::Progress(revision), expected) => {
                        assert!(revision > *reached, "progress is news");
                        assert!(
                            expected.is_none_or(|event| event.revision > revision),
                            "nothing was left out"
                        );
                        *reached = revision;
                    }
                    (Signal::Event(event), None) => panic!("unexpected {event:?}"),
                }
            }
        }
    }

    /// What is left of the history is complete.
    async fn compare_history(&mut self) {
        for at in self.model.oldest..=self.model.newest() {
            self.compare_list(Range { at: Some(at), ..Range::default() }).await;
        }
        for after in self.model.oldest.saturating_sub(1)..=self.model.newest() {
            self.watch_from(after).await;
            self.compare_watches().await;
        }
        for prefix in PREFIXES {
            let state = self.model.state(self.model.newest());
            let expected = state.keys().filter(|key| key.starts_with(prefix)).count() as u64;
            assert_eq!(self.store.count(prefix).await.unwrap(), expected);
        }
    }
}

fn compare(place: Place, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut trial = Trial::new(place).await;
        for step in steps {
            trial.run(step).await;
        }
        trial.compare_watches().await;
        trial.compare_history().await;
        trial.store.close().await;
    });
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn sqlite_behaves_like_the_model(steps in prop::collection::vec(step(), 1..40)) {
        compare(Place::File(tempfile::tempdir().unwrap()), steps);
    }
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn postgres_behaves_like_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let Some(server) = common::shared() else { return Ok(()) };
        let address = Address::parse(&server.url(), None, &Pem::default(), &server.schema()).unwrap();
        compare(Place::Schema(Box::new(address)), steps);
    }
}
