//! What the SQLite store promises of its file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tempfile::TempDir;
use vkube_store::{Change, Document, Error, Expect, Options, Range, Signal, SqliteStore, Store, Write};

fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    (directory, path)
}

fn put(key: &str, ttl: Option<Duration>) -> Write {
    let document = Document { bytes: Bytes::from_static(b"v"), revision_at: Some(1), index: Bytes::new() };
    Write { key: key.to_owned(), expect: Expect::Any, change: Change::Put { document, ttl } }
}

fn delete(key: &str) -> Write {
    Write { key: key.to_owned(), expect: Expect::Any, change: Change::Delete { last: None } }
}

#[tokio::test]
async fn goes_on_where_it_was_closed() {
    let (_directory, path) = directory();
    let store = SqliteStore::open(&path, Options::default()).unwrap();
    store.commit(vec![put("/a", None), put("/b", None), delete("/b")]).await.unwrap();
    store.compact(2).await.unwrap();
    store.close().await;

    let store = SqliteStore::open(&path, Options::default()).unwrap();
    assert_eq!(store.revision(), 3);
    assert_eq!(store.get("/a", None).await.unwrap().unwrap().value, "v1");
    assert!(matches!(store.get("/a", Some(1)).await, Err(Error::Compacted { oldest: 2, .. })));
    let mut watch = store.watch("", 2).await.unwrap();
    assert!(matches!(watch.next().await, Some(Signal::Event(event)) if event.deleted));
}

#[tokio::test]
async fn never_gives_a_revision_twice_even_if_nothing_is_left() {
    let (_directory, path) = directory();
    for round in 0..3 {
        let store = SqliteStore::open(&path, Options::default()).unwrap();
        let revisions = store.commit(vec![put("/a", None), delete("/a")]).await.unwrap();
        assert_eq!(revisions, [2 * round + 1, 2 * round + 2]);
        store.compact(store.revision()).await.unwrap();
        assert_eq!(store.list(Range::default()).await.unwrap().entries, []);
    }
}

#[tokio::test]
async fn keys_expire_after_a_restart() {
    let (_directory, path) = directory();
    let store = SqliteStore::open(&path, Options::default()).unwrap();
    store.commit(vec![put("/a", Some(Duration::from_millis(20)))]).await.unwrap();
    store.close().await;

    let store = SqliteStore::open(&path, Options::default()).unwrap();
    let mut watch = store.watch("/a", 1).await.unwrap();
    assert!(matches!(watch.next().await, Some(Signal::Event(event)) if event.deleted && event.revision == 2));
}

#[tokio::test]
async fn forgets_history_while_it_writes() {
    let (_directory, path) = directory();
    let store = SqliteStore::open(&path, Options { revisions: 10, ..Options::default() }).unwrap();
    for _ in 0..100 {
        store.commit(vec![put("/a", None)]).await.unwrap();
    }
    assert!(store.get("/a", Some(90)).await.unwrap().is_some());
    let refused = store.get("/a", Some(89)).await;
    assert!(matches!(refused, Err(Error::Compacted { oldest: 90, .. })), "{refused:?}");
}

#[tokio::test]
async fn refuses_a_file_that_another_store_has_open() {
    let (_directory, path) = directory();
    let store = SqliteStore::open(&path, Options::default()).unwrap();
    assert!(matches!(SqliteStore::open(&path, Options::default()), Err(Error::Database(_))));
    drop(store);
    SqliteStore::open(&path, Options::default()).unwrap();
}

#[tokio::test]
async fn refuses_a_file_of_a_newer_version() {
    let (_directory, path) = directory();
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteStore::open(&path, Options::default()).err().unwrap();
    let Error::Database(cause) = error else { panic!("{error}") };
    assert_eq!(cause.to_string(), "the file has schema version 99, this program knows 1");
}
