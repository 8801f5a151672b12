//! What group commit gains, and what a list costs: `cargo bench -p vkube-store`; with the address of a PostgreSQL database in
//! `VKUBE_STORE`, there.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use vkube_store::postgres::{Address, Pem};
use vkube_store::{
    Change, Document, Expect, Options, PostgresStore, Range, Signal, SqliteStore, Store, Write,
};

const OBJECTS: usize = 5_000;
const OBJECT_SIZE: usize = 1024;
const MEASURED: Duration = Duration::from_secs(2);

fn main() {
    // `cargo test --all-targets` runs benches too, without this flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        commits().await;
        lists().await;
    });
}

/// A new store, and what keeps its file.
async fn store(name: &str) -> (Arc<dyn Store>, Option<tempfile::TempDir>) {
    if let Ok(url) = std::env::var("VKUBE_STORE") {
        let address = Address::parse(&url, None, &Pem::default(), name).unwrap();
        PostgresStore::remove(&address).await.unwrap();
        return (PostgresStore::open(address, Options::default()).await.unwrap(), None);
    }
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("store.db"), Options::default()).unwrap();
    (store, Some(directory))
}

fn put(key: String) -> Write {
    let document = Document {
        bytes: Bytes::from(vec![b'x'; OBJECT_SIZE]),
        revision_at: Some(16),
        index: Bytes::from_static(b"app=web"),
    };
    Write { key, expect: Expect::Any, change: Change::Put { document, ttl: None } }
}

/// A lone writer pays one fsync a commit, so the ratio is how many commits share one.
async fn commits() {
    println!("{:>8} {:>12} {:>14} {:>8}", "writers", "commits/s", "mean latency", "ratio");
    let mut alone = None;
    for writers in [1, 4, 16, 64, 256] {
        let (store, _directory) = store(&format!("bench_{writers}")).await;
        let start = Instant::now();
        let counts =
            join_all((0..writers).map(|writer| tokio::spawn(write(Arc::clone(&store), writer)))).await;
        let elapsed = start.elapsed();

        let commits: u32 = counts.into_iter().map(Result::unwrap).sum();
        let rate = f64::from(commits) / elapsed.as_secs_f64();
        let ratio = rate / *alone.get_or_insert(rate);
        println!("{writers:>8} {rate:>12.0} {:>14.2?} {ratio:>8.1}", elapsed * writers / commits);
        store.close().await;
    }
}

async fn write(store: Arc<dyn Store>, writer: u32) -> u32 {
    let start = Instant::now();
    let mut commits = 0;
    while start.elapsed() < MEASURED {
        store.commit(vec![put(format!("/pods/{writer}/{}", commits % 100))]).await.unwrap();
        commits += 1;
    }
    commits
}

async fn lists() {
    let (store, _directory) = store("bench_lists").await;
    store.commit((0..OBJECTS).map(|i| put(format!("/pods/{i:05}"))).collect()).await.unwrap();
    let before = store.revision();
    store.commit((0..OBJECTS).map(|i| put(format!("/pods/{i:05}"))).collect()).await.unwrap();

    let pods = |at, limit| Range { prefix: "/pods/".to_owned(), after: None, limit, at };
    for (what, range) in [
        ("list the newest state", pods(None, 0)),
        ("list an older state", pods(Some(before), 0)),
        ("list a page of 500", pods(None, 500)),
        ("list an older page of 500", pods(Some(before), 500)),
    ] {
        measure(what, async || drop(store.list(range.clone()).await.unwrap())).await;
    }
    measure("get one key", async || drop(store.get("/pods/02500", None).await.unwrap())).await;
    measure("count", async || assert_eq!(store.count("/pods/").await.unwrap(), OBJECTS as u64)).await;
    measure("watch 5,000 past events", async || {
        let watch = store.watch("/pods/", before).await.unwrap();
        let events = watch.filter(|signal| std::future::ready(matches!(signal, Signal::Event(_))));
        assert_eq!(events.take(OBJECTS).count().await, OBJECTS);
    })
    .await;
}

async fn measure(what: &str, run: impl AsyncFn()) {
    const RUNS: u32 = 20;
    run().await;
    let start = Instant::now();
    for _ in 0..RUNS {
        run().await;
    }
    println!("{what:>28} {:>12.2?}", start.elapsed() / RUNS);
}
