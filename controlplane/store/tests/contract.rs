//! What every [`Store`] promises, tried on each of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use vkube_store::postgres::{Address, Pem};
use vkube_store::{
    Change, Document, Entry, Error, Event, Expect, Page, Range, Revision, Signal, Store, Watch, Write,
};

mod common;

/// Each of these is a test of either store.
macro_rules! contract {
    ($($name:ident,)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(vkube_store::SqliteStore::in_memory().unwrap()).await;
            })*
        }

        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                if let Some(store) = super::postgres_store().await {
                    super::$name(store).await;
                }
            })*
        }
    };
}

contract! {
    gives_every_write_the_next_revision_and_writes_it_into_the_document,
    reads_nothing_where_nothing_is,
    refuses_a_commit_as_a_whole_when_one_expectation_fails,
    checks_each_expectation_against_the_writes_before_it,
    fails_only_the_conflicting_commits_of_a_group,
    deleting_what_does_not_exist_changes_nothing,
    shows_every_past_state_until_it_is_compacted,
    pages_through_one_state_while_it_changes,
    a_list_in_parts_is_the_list_at_one_revision,
    a_long_list_that_is_asked_for_again_and_again_is_never_old,
    knows_whether_a_prefix_has_keys,
    counts_the_keys_of_a_prefix,
    watches_from_the_past_into_the_future,
    watches_only_its_prefix_but_learns_of_progress,
    merges_the_progress_that_nobody_has_taken,
    a_deletion_carries_the_final_state_with_its_own_revision,
    replaces_the_revision_also_when_it_gains_a_digit,
    a_watch_that_was_left_alone_misses_nothing,
    large_documents_do_not_disturb_a_watch,
    a_watch_can_start_just_before_the_compaction_and_no_earlier,
    a_watch_ends_when_the_compaction_overtakes_it,
    compacts_only_what_exists_and_only_once,
    keys_with_a_time_to_live_delete_themselves_in_order,
    reads_see_whole_commits_while_others_write,
    a_closed_store_refuses_everything_and_ends_its_watches,
}

async fn postgres_store() -> Option<Arc<dyn Store>> {
    let server = common::shared()?;
    let address = Address::parse(&server.url(), None, &Pem::default(), &server.schema()).unwrap();
    Some(vkube_store::PostgresStore::open(address, vkube_store::Options::default()).await.unwrap())
}

/// A document that reads `<name>@<its revision>.`
fn document(name: &str) -> Document {
    Document {
        bytes: Bytes::from(format!("{name}@.")),
        revision_at: Some(name.len() as u32 + 1),
        index: Bytes::from(format!("index of {name}")),
    }
}

fn put(key: &str, name: &str) -> Write {
    expect(key, Expect::Any, Change::Put { document: document(name), ttl: None })
}

fn delete(key: &str) -> Write {
    expect(key, Expect::Any, Change::Delete { last: None })
}

fn expect(key: &str, expect: Expect, change: Change) -> Write {
    Write { key: key.to_owned(), expect, change }
}

fn text(entry: &Entry) -> &str {
    std::str::from_utf8(&entry.value).unwrap()
}

fn texts(page: &Page) -> Vec<&str> {
    page.entries.iter().map(text).collect()
}

async fn get(store: &dyn Store, key: &str, at: Option<Revision>) -> Option<String> {
    store.get(key, at).await.unwrap().map(|entry| text(&entry).to_owned())
}

async fn next_event(watch: &mut Watch) -> Arc<Event> {
    loop {
        match watch.next().await.expect("the watch goes on") {
            Signal::Event(event) => return event,
            Signal::Progress(_) => {}
        }
    }
}

/// Commits `n` writes of one key, one at a time.
async fn churn(store: &dyn Store, key: &str, n: usize) {
    for i in 0..n {
        store.commit(vec![put(key, &i.to_string())]).await.unwrap();
    }
}

async fn gives_every_write_the_next_revision_and_writes_it_into_the_document(store: Arc<dyn Store>) {
    assert_eq!(store.revision(), 0);

    assert_eq!(store.commit(vec![put("/a", "a"), put("/b", "b")]).await.unwrap(), [1, 2]);
    assert_eq!(store.commit(vec![put("/a", "c")]).await.unwrap(), [3]);

    assert_eq!(store.revision(), 3);
    let entry = store.get("/a", None).await.unwrap().unwrap();
    assert_eq!((text(&entry), entry.created, entry.modified), ("c@3.", 1, 3));
    assert_eq!(entry.index, "index of c");
}

async fn reads_nothing_where_nothing_is(store: Arc<dyn Store>) {
    assert_eq!(store.get("/a", None).await.unwrap(), None);
    assert_eq!(store.get("/a", Some(0)).await.unwrap(), None);
    let page = store.list(Range::default()).await.unwrap();
    assert_eq!((page.entries.len(), page.revision, page.remaining), (0, 0, 0));
    assert_eq!(store.commit(Vec::new()).await.unwrap(), []);
}

async fn refuses_a_commit_as_a_whole_when_one_expectation_fails(store: Arc<dyn Store>) {
    store.commit(vec![put("/a", "a")]).await.unwrap();

    let writes = vec![
        put("/b", "b"),
        expect("/a", Expect::Modified(7), Change::Put { document: document("x"), ttl: None }),
    ];
    match store.commit(writes).await {
        Err(Error::Conflict { key, current: Some(current) }) => {
            assert_eq!((&*key, text(&current)), ("/a", "a@1."));
        }
        other => panic!("{other:?}"),
    }

    assert_eq!(get(&*store, "/b", None).await, None);
    assert_eq!(store.commit(vec![put("/c", "c")]).await.unwrap(), [2]);
}

async fn checks_each_expectation_against_the_writes_before_it(store: Arc<dyn Store>) {
    let change = |name: &str| Change::Put { document: document(name), ttl: None };
    let writes = vec![
        expect("/a", Expect::Absent, change("1")),
        expect("/a", Expect::Modified(1), change("2")),
        expect("/a", Expect::Modified(2), Change::Delete { last: None }),
        expect("/a", Expect::Absent, change("4")),
    ];
    assert_eq!(store.commit(writes.clone()).await.unwrap(), [1, 2, 3, 4]);
    assert!(matches!(store.commit(writes).await, Err(Error::Conflict { .. })));
    let entry = store.get("/a", None).await.unwrap().unwrap();
    assert_eq!((text(&entry), entry.created), ("4@4.", 4));
}

async fn fails_only_the_conflicting_commits_of_a_group(store: Arc<dyn Store>) {
    let create = || expect("/a", Expect::Absent, Change::Put { document: document("a"), ttl: None });
    let commits = (0..50).map(|i| store.commit(vec![put(&format!("/{i}"), "x"), create()]));
    let results = futures::future::join_all(commits).await;

    let winners: Vec<_> = results.into_iter().filter_map(Result::ok).collect();
    assert_eq!(winners, [[1, 2]]);
    assert_eq!(store.count("").await.unwrap(), 2);
}

async fn deleting_what_does_not_exist_changes_nothing(store: Arc<dyn Store>) {
    store.commit(vec![put("/a", "a")]).await.unwrap();
    assert_eq!(store.commit(vec![delete("/b")]).await.unwrap(), [1]);
    let expecting = expect("/b", Expect::Modified(1), Change::Delete { last: None });
    assert!(matches!(store.commit(vec![expecting]).await, Err(Error::Conflict { current: None, .. })));
    assert_eq!(store.revision(), 1);
}

async fn shows_every_past_state_until_it_is_compacted(store: Arc<dyn Store>) {
    store
        .commit(vec![put("/a", "a"), put("/b", "b"), put("/a", "c"), delete("/b"), put("/b", "d")])
        .await
        .unwrap();

    let at = |revision| Range { at: Some(revision), ..Range::default() };
    for (revision, expected) in [
        (0, vec![]),
        (1, vec!["a@1."]),
        (2, vec!["a@1.", "b@2."]),
        (3, vec!["c@3.", "b@2."]),
        (4, vec!["c@3."]),
        (5, vec!["c@3.", "d@5."]),
    ] {
        let page = store.list(at(revision)).await.unwrap();
        assert_eq!((page.revision, texts(&page)), (revision, expected));
    }
    assert_eq!(get(&*store, "/b", Some(3)).await.as_deref(), Some("b@2."));
    assert_eq!(get(&*store, "/b", Some(4)).await, None);
    assert_eq!(store.get("/b", None).await.unwrap().unwrap().created, 5);

    store.compact(4).await.unwrap();
    assert_eq!(texts(&store.list(at(4)).await.unwrap()), ["c@3."]);
    let refused = store.list(at(3)).await;
    assert!(matches!(refused, Err(Error::Compacted { requested: 3, oldest: 4 })), "{refused:?}");
    assert!(matches!(store.get("/a", Some(3)).await, Err(Error::Compacted { .. })));
    let refused = store.get("/a", Some(6)).await;
    assert!(matches!(refused, Err(Error::Future { requested: 6, newest: 5 })), "{refused:?}");
}

async fn pages_through_one_state_while_it_changes(store: Arc<dyn Store>) {
    store.commit((0..10).map(|i| put(&format!("/x/{i}"), &i.to_string())).collect()).await.unwrap();
    store.commit(vec![put("/w", "w"), put("/y", "y")]).await.unwrap();

    let mut range = Range { prefix: "/x/".to_owned(), limit: 4, ..Range::default() };
    let mut seen = Vec::new();
    loop {
        let page = store.list(range.clone()).await.unwrap();
        assert_eq!(page.revision, 12);
        assert!(page.entries.len() <= 4);
        seen.extend(page.entries.iter().map(|entry| entry.key.clone()));
        assert_eq!(page.remaining, 10 - seen.len() as u64);
        if page.remaining == 0 {
            break;
        }
        range.at = Some(page.revision);
        range.after = seen.last().cloned();
        store.commit(vec![delete(&format!("/x/{}", seen.len())), put("/x/00", "new")]).await.unwrap();
    }
    assert_eq!(seen, (0..10).map(|i| format!("/x/{i}")).collect::<Vec<_>>());
}

async fn a_list_in_parts_is_the_list_at_one_revision(store: Arc<dyn Store>) {
    let large = |i: usize| put(&format!("/x/{i:03}"), &"large ".repeat(i * 10));
    store.commit((0..200).map(large).collect()).await.unwrap();
    store.commit(vec![put("/w", "w"), put("/y", "y")]).await.unwrap();
    let whole = store.list(Range { prefix: "/x/".to_owned(), ..Range::default() }).await.unwrap();

    for at in [None, Some(202)] {
        let mut parts = store.parts("/x/", at);
        let mut entries = Vec::new();
        let mut lengths = Vec::new();
        while let Some(part) = parts.next().await {
            let part = part.unwrap();
            assert_eq!(part.revision, 202);
            lengths.push(part.entries.len());
            entries.extend(part.entries);
            assert_eq!(part.is_last, entries.len() == 200);
        }
        assert_eq!(entries, whole.entries);
        assert!(lengths.len() > 2, "{lengths:?}");
        // The second time it is a list of the past.
        store.commit(vec![delete("/x/000"), put("/x/100", "new")]).await.unwrap();
    }
    let nothing = store.parts("/none/", None).next().await.unwrap().unwrap();
    assert!(nothing.is_last && nothing.entries.is_empty());
    let refused = store.parts("/x/", Some(999)).next().await.unwrap();
    assert!(matches!(refused, Err(Error::Future { requested: 999, .. })), "{refused:?}");
}

async fn a_long_list_that_is_asked_for_again_and_again_is_never_old(store: Arc<dyn Store>) {
    let large = |i: usize| put(&format!("/x/{i:03}"), &"large ".repeat(1_000));
    store.commit((0..100).map(large).collect()).await.unwrap();
    let changes = [
        vec![],
        vec![],
        vec![put("/y", "of other keys")],
        vec![put("/x/050", "new")],
        vec![],
        vec![],
        vec![delete("/x/051")],
        vec![put("/y", "of other keys"), put("/x/100", "at the end")],
        (0..2_000).map(|_| put("/y", "more than is kept in memory")).collect(),
        vec![],
    ];
    for change in changes {
        if !change.is_empty() {
            store.commit(change).await.unwrap();
        }
        let whole = store.list(Range { prefix: "/x/".to_owned(), ..Range::default() }).await.unwrap();
        let parts: Vec<_> = store.parts("/x/", None).map(Result::unwrap).collect().await;
        assert!(parts.iter().all(|part| part.revision == whole.revision), "{}", whole.revision);
        let last: Vec<bool> = parts.iter().map(|part| part.is_last).collect();
        assert!(last.len() > 2 && last.iter().position(|last| *last) == Some(last.len() - 1), "{last:?}");
        let entries: Vec<_> = parts.into_iter().flat_map(|part| part.entries).collect();
        assert_eq!(entries, whole.entries);
    }
}

async fn knows_whether_a_prefix_has_keys(store: Arc<dyn Store>) {
    store.commit(vec![put("/a/1", "1"), put("/a0", "x")]).await.unwrap();
    assert!(store.has("/a/").await.unwrap());
    store.commit(vec![delete("/a/1")]).await.unwrap();
    assert!(!store.has("/a/").await.unwrap());
}

async fn counts_the_keys_of_a_prefix(store: Arc<dyn Store>) {
    store.commit(vec![put("/a/1", "1"), put("/a/2", "2"), put("/a0", "x"), put("/b", "b")]).await.unwrap();
    store.commit(vec![delete("/a/2")]).await.unwrap();
    assert_eq!(store.count("/a/").await.unwrap(), 1);
    assert_eq!(store.count("").await.unwrap(), 3);
}

async fn watches_from_the_past_into_the_future(store: Arc<dyn Store>) {
    churn(&*store, "/a", 3).await;
    let mut watch = store.watch("/", 1).await.unwrap();
    for revision in 2..=3 {
        let event = next_event(&mut watch).await;
        assert_eq!((event.revision, event.previous.as_ref().unwrap().modified), (revision, revision - 1));
    }
    churn(&*store, "/b", 2).await;
    let created = next_event(&mut watch).await;
    assert_eq!((text(&created.entry), created.previous.is_none()), ("0@4.", true));
    assert_eq!(text(next_event(&mut watch).await.previous.as_ref().unwrap()), "0@4.");
}

async fn watches_only_its_prefix_but_learns_of_progress(store: Arc<dyn Store>) {
    let mut watch = store.watch("/a/", 0).await.unwrap();
    store.commit(vec![put("/a0", "x"), put("/a", "x")]).await.unwrap();
    assert!(matches!(watch.next().await, Some(Signal::Progress(2))));

    store.commit(vec![put("/b", "x"), put("/a/1", "x"), put("/b", "x"), put("/b", "x")]).await.unwrap();
    assert!(matches!(watch.next().await, Some(Signal::Event(event)) if event.revision == 4));
    assert!(matches!(watch.next().await, Some(Signal::Progress(6))));
    assert!(watch.next().now_or_never().is_none());
}

async fn merges_the_progress_that_nobody_has_taken(store: Arc<dyn Store>) {
    let mut watch = store.watch("/a", 0).await.unwrap();
    churn(&*store, "/b", 20).await;
    assert!(matches!(watch.next().await, Some(Signal::Progress(20))));
}

async fn a_deletion_carries_the_final_state_with_its_own_revision(store: Arc<dyn Store>) {
    let mut live = store.watch("", 0).await.unwrap();
    churn(&*store, "/other", 9).await;
    store.commit(vec![put("/a", "a"), put("/b", "b")]).await.unwrap();
    let last = Change::Delete { last: Some(document("final")) };
    store.commit(vec![delete("/a"), expect("/b", Expect::Modified(11), last)]).await.unwrap();

    let mut past = store.watch("", 11).await.unwrap();
    while next_event(&mut live).await.revision < 11 {}
    for watch in [&mut live, &mut past] {
        let a = next_event(watch).await;
        assert!(a.deleted);
        assert_eq!((text(&a.entry), a.entry.created, a.entry.modified), ("a@12.", 10, 12));
        assert_eq!(a.entry.index, "index of a");
        assert_eq!(text(a.previous.as_ref().unwrap()), "a@10.");
        let b = next_event(watch).await;
        assert_eq!((text(&b.entry), text(b.previous.as_ref().unwrap())), ("final@13.", "b@11."));
        assert_eq!(b.entry.index, "index of final");
    }
}

async fn replaces_the_revision_also_when_it_gains_a_digit(store: Arc<dyn Store>) {
    churn(&*store, "/other", 8).await;
    store.commit(vec![put("/a", "a"), delete("/a")]).await.unwrap();
    let mut watch = store.watch("/a", 9).await.unwrap();
    let event = next_event(&mut watch).await;
    assert_eq!((text(&event.entry), text(event.previous.as_ref().unwrap())), ("a@10.", "a@9."));
}

async fn a_watch_that_was_left_alone_misses_nothing(store: Arc<dyn Store>) {
    let mut watch = store.watch("/a", 0).await.unwrap();
    for _ in 0..30 {
        store
            .commit((0..100).flat_map(|i| [put("/a", &i.to_string()), put("/b", "b")]).collect())
            .await
            .unwrap();
    }
    for i in 0..3000 {
        assert_eq!(next_event(&mut watch).await.revision, 2 * i + 1);
    }
}

async fn large_documents_do_not_disturb_a_watch(store: Arc<dyn Store>) {
    let mut watch = store.watch("", 0).await.unwrap();
    let large = || Document { bytes: vec![b'x'; 1_500_000].into(), revision_at: None, index: Bytes::new() };
    for i in 0..4 {
        let change = Change::Put { document: large(), ttl: None };
        store.commit(vec![expect(&format!("/{i}"), Expect::Any, change)]).await.unwrap();
    }
    for revision in 1..=4 {
        let event = next_event(&mut watch).await;
        assert_eq!((event.revision, event.entry.value.len()), (revision, 1_500_000));
    }
}

async fn a_watch_can_start_just_before_the_compaction_and_no_earlier(store: Arc<dyn Store>) {
    store.commit(vec![put("/a", "a"), put("/a", "b"), delete("/a"), put("/b", "c")]).await.unwrap();
    store.compact(3).await.unwrap();

    let mut watch = store.watch("", 2).await.unwrap();
    let event = next_event(&mut watch).await;
    assert!(event.deleted);
    assert_eq!(text(event.previous.as_ref().unwrap()), "b@2.");

    let refused = store.watch("", 1).await.err();
    assert!(matches!(refused, Some(Error::Compacted { requested: 1, oldest: 3 })), "{refused:?}");
    let refused = store.watch("", 5).await.err();
    assert!(matches!(refused, Some(Error::Future { requested: 5, newest: 4 })), "{refused:?}");
}

async fn a_watch_ends_when_the_compaction_overtakes_it(store: Arc<dyn Store>) {
    let mut watch = store.watch("", 0).await.unwrap();
    store.commit((0..2000).map(|i| put("/a", &i.to_string())).collect()).await.unwrap();
    store.compact(2000).await.unwrap();
    assert!(watch.next().await.is_none());
}

async fn compacts_only_what_exists_and_only_once(store: Arc<dyn Store>) {
    churn(&*store, "/a", 3).await;
    assert!(matches!(store.compact(4).await, Err(Error::Future { requested: 4, newest: 3 })));
    store.compact(3).await.unwrap();
    store.compact(2).await.unwrap();
    assert!(matches!(store.get("/a", Some(2)).await, Err(Error::Compacted { oldest: 3, .. })));
    assert_eq!(get(&*store, "/a", Some(3)).await.as_deref(), Some("2@3."));
}

async fn keys_with_a_time_to_live_delete_themselves_in_order(store: Arc<dyn Store>) {
    let mortal = |key: &str, millis| {
        let ttl = Some(Duration::from_millis(millis));
        expect(key, Expect::Any, Change::Put { document: document("m"), ttl })
    };
    let writes =
        vec![mortal("/later", 30), mortal("/sooner", 10), mortal("/kept", 5), mortal("/never", 3_600_000)];
    store.commit([writes, vec![put("/kept", "k")]].concat()).await.unwrap();

    let mut watch = store.watch("", 5).await.unwrap();
    let (first, second) = (next_event(&mut watch).await, next_event(&mut watch).await);
    assert!(first.deleted && second.deleted);
    assert_eq!((&*first.entry.key, text(&first.entry)), ("/sooner", "m@6."));
    assert_eq!(&*second.entry.key, "/later");
    assert_eq!(store.count("").await.unwrap(), 2);
}

async fn reads_see_whole_commits_while_others_write(store: Arc<dyn Store>) {
    store.commit(vec![put("/a", "0"), put("/b", "0")]).await.unwrap();
    let write = async {
        for i in 1..200 {
            store.commit(vec![put("/a", &i.to_string()), put("/b", &i.to_string())]).await.unwrap();
        }
    };
    let read = async {
        for _ in 0..200 {
            let page = store.list(Range::default()).await.unwrap();
            let [a, b] = &page.entries[..] else { panic!("{page:?}") };
            assert_eq!((a.modified + 1, &a.index), (b.modified, &b.index));
            assert_eq!(page.revision, b.modified);
        }
    };
    futures::join!(write, read, read_again(&*store));
}

async fn read_again(store: &dyn Store) {
    while store.revision() < 400 {
        let a = store.get("/a", None).await.unwrap().unwrap();
        let b = store.get("/b", Some(a.modified + 1)).await.unwrap().unwrap();
        assert_eq!(a.index, b.index);
    }
}

async fn a_closed_store_refuses_everything_and_ends_its_watches(store: Arc<dyn Store>) {
    let mut watch = store.watch("", 0).await.unwrap();
    store.close().await;
    assert!(watch.next().await.is_none());
    assert!(matches!(store.get("/a", None).await, Err(Error::Closed)));
    assert!(matches!(store.commit(vec![put("/a", "a")]).await, Err(Error::Closed)));
    assert!(matches!(store.watch("", 0).await.err(), Some(Error::Closed)));
    store.close().await;
}
