//! Several stores over one schema of PostgreSQL: what replicas of a control plane rely on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use vkube_store::postgres::{Address, Pem};
use vkube_store::{
    Change, Document, Entry, Error, Expect, Options, PostgresStore, Range, Revision, Signal, Store, Watch,
    Write,
};

mod common;

/// Longer than any look at the log, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

const TASKS: u64 = 4;
const ROUNDS: u64 = 40;

fn address(server: &common::Server, schema: &str) -> Address {
    Address::parse(&server.url(), None, &Pem::default(), schema).unwrap()
}

async fn open(server: &common::Server, schema: &str) -> Arc<PostgresStore> {
    PostgresStore::open(address(server, schema), Options::default()).await.unwrap()
}

fn write(key: &str, expect: Expect, text: &str, ttl: Option<Duration>) -> Write {
    let document = Document { bytes: Bytes::from(text.to_owned()), revision_at: None, index: Bytes::new() };
    Write { key: key.to_owned(), expect, change: Change::Put { document, ttl } }
}

fn put(key: &str, text: &str) -> Write {
    write(key, Expect::Any, text, None)
}

fn number(entry: &Entry) -> u64 {
    std::str::from_utf8(&entry.value).unwrap().parse().unwrap()
}

/// The revisions of the events that come until the watch has come this far.
async fn revisions(watch: &mut Watch, to: Revision) -> Vec<Revision> {
    let mut seen = Vec::new();
    while seen.last() < Some(&to) {
        match tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().expect("the watch goes on") {
            Signal::Event(event) => seen.push(event.revision),
            Signal::Progress(_) => {}
        }
    }
    seen
}

/// Counts one key up, against everybody else who does.
async fn count_up(store: Arc<PostgresStore>) -> u64 {
    let mut conflicts = 0;
    let mut done = 0;
    while done < ROUNDS {
        let current = store.get("/counter", None).await.unwrap().unwrap();
        let next = (number(&current) + 1).to_string();
        let expect = Expect::Modified(current.modified);
        match store.commit(vec![write("/counter", expect, &next, None)]).await {
            Ok(_) => done += 1,
            Err(Error::Conflict { .. }) => conflicts += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    conflicts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_is_lost_and_every_watch_sees_all_in_one_order() {
    let Some(server) = common::shared() else { return };
    let schema = server.schema();
    let stores = [open(server, &schema).await, open(server, &schema).await, open(server, &schema).await];
    stores[0].commit(vec![put("/counter", "0")]).await.unwrap();
    let mut watches = Vec::new();
    for store in &stores {
        watches.push(store.watch("", 0).await.unwrap());
    }
    let counting = (0..TASKS).flat_map(|_| &stores).map(|store| tokio::spawn(count_up(Arc::clone(store))));
    for task in futures::future::join_all(counting).await {
        task.unwrap();
    }
    let writes = TASKS * ROUNDS * stores.len() as u64;
    for (store, watch) in stores.iter().zip(&mut watches) {
        assert_eq!(number(&store.get("/counter", None).await.unwrap().unwrap()), writes);
        assert_eq!(store.newest().await.unwrap(), writes + 1);
        assert_eq!(revisions(watch, writes + 1).await, (1..=writes + 1).collect::<Vec<_>>());
        assert!(store.revision() > writes);
    }
}

#[tokio::test]
async fn what_one_has_told_the_other_can_be_asked_about_at_once() {
    let Some(server) = common::shared() else { return };
    let schema = server.schema();
    let (one, other) = (open(server, &schema).await, open(server, &schema).await);
    for i in 0..20 {
        let revision = one.commit(vec![put("/a", &i.to_string())]).await.unwrap()[0];
        assert_eq!(number(&other.get("/a", Some(revision)).await.unwrap().unwrap()), i);
        let mut watch = other.watch("/a", revision - 1).await.unwrap();
        assert_eq!(revisions(&mut watch, revision).await, [revision]);
        drop(other.watch("/a", revision).await.unwrap());
        assert!(matches!(other.watch("/a", revision + 1).await.err(), Some(Error::Future { .. })));
    }
}

#[tokio::test]
async fn a_commit_is_in_the_ring_of_its_replica_when_it_returns() {
    let Some(server) = common::shared() else { return };
    let schema = server.schema();
    let (one, other) = (open(server, &schema).await, open(server, &schema).await);
    for _ in 0..20 {
        for store in [&one, &other] {
            let revision = store.commit(vec![put("/a", "0")]).await.unwrap()[0];
            assert_eq!(store.revision(), revision);
        }
    }
}

#[tokio::test]
async fn replicas_agree_on_what_has_been_forgotten() {
    let Some(server) = common::shared() else { return };
    let schema = server.schema();
    let (one, other) = (open(server, &schema).await, open(server, &schema).await);
    for i in 0..30 {
        one.commit(vec![put("/a", &i.to_string())]).await.unwrap();
    }
    let (first, second) = tokio::join!(one.compact(20), other.compact(25));
    first.unwrap();
    second.unwrap();
    for store in [&one, &other] {
        let refused = store.list(Range { at: Some(24), ..Range::default() }).await;
        assert!(matches!(refused, Err(Error::Compacted { oldest: 25, .. })), "{refused:?}");
        assert_eq!(number(&store.get("/a", Some(25)).await.unwrap().unwrap()), 24);
    }
    let mut watch = other.watch("", 24).await.unwrap();
    assert_eq!(revisions(&mut watch, 30).await, (25..=30).collect::<Vec<_>>());
}

#[tokio::test]
async fn history_beyond_its_bounds_is_forgotten_while_replicas_write() {
    let Some(server) = common::shared() else { return };
    let options = Options { revisions: 100, ..Options::default() };
    let schema = server.schema();
    let one = PostgresStore::open(address(server, &schema), options).await.unwrap();
    let other = PostgresStore::open(address(server, &schema), options).await.unwrap();
    let forgotten = async {
        loop {
            one.commit((0..50).map(|i| put("/a", &i.to_string())).collect()).await.unwrap();
            let newest =
                other.commit((0..50).map(|i| put("/b", &i.to_string())).collect()).await.unwrap()[49];
            if newest > 1000 && matches!(other.get("/a", Some(500)).await, Err(Error::Compacted { .. })) {
                break newest;
            }
        }
    };
    let newest = tokio::time::timeout(PATIENCE, forgotten).await.unwrap();
    let page = one.list(Range { at: Some(newest), ..Range::default() }).await.unwrap();
    assert_eq!(page.entries.len(), 2);
}

#[tokio::test]
async fn a_key_expires_though_the_replica_that_set_it_is_gone() {
    let Some(server) = common::shared() else { return };
    let schema = server.schema();
    let (one, other) = (open(server, &schema).await, open(server, &schema).await);
    let mut watch = other.watch("", 0).await.unwrap();
    one.commit(vec![write("/a", Expect::Any, "0", Some(Duration::from_millis(50)))]).await.unwrap();
    one.close().await;
    assert_eq!(revisions(&mut watch, 2).await, [1, 2]);
    assert_eq!(other.get("/a", None).await.unwrap(), None);
}

#[tokio::test]
async fn schemas_of_one_database_know_nothing_of_each_other() {
    let Some(server) = common::shared() else { return };
    let (schema, another) = (server.schema(), server.schema());
    let (one, other) = (open(server, &schema).await, open(server, &another).await);
    one.commit(vec![put("/a", "1")]).await.unwrap();
    assert_eq!((other.count("").await.unwrap(), other.newest().await.unwrap()), (0, 0));
    one.close().await;
    PostgresStore::remove(&address(server, &schema)).await.unwrap();
    PostgresStore::remove(&address(server, &schema)).await.unwrap();
    assert_eq!(open(server, &schema).await.revision(), 0);
    assert_eq!(other.commit(vec![put("/a", "1")]).await.unwrap(), [1]);
}

#[tokio::test]
async fn a_schema_with_an_owner_is_refused_to_others_until_it_is_released() {
    let Some(server) = common::shared() else { return };
    let schema = server.schema();
    let of = |owner: &str| address(server, &schema).of(Some(owner.to_owned()));
    let together = futures::future::join_all(
        (0..4).map(|_| async { PostgresStore::open(of("first"), Options::default()).await.unwrap() }),
    );
    let one = together.await.remove(0);
    one.commit(vec![put("/a", "1")]).await.unwrap();
    let refused = PostgresStore::open(of("second"), Options::default()).await.err().unwrap();
    let told = std::error::Error::source(&refused).unwrap().to_string();
    assert!(matches!(refused, Error::Database(_)) && told.contains("another cluster, first"), "{told}");
    assert_eq!(PostgresStore::claim(&of("second"), "second").await.unwrap().as_deref(), Some("first"));
    assert_eq!(PostgresStore::claim(&of("first"), "first").await.unwrap(), None);
    // Who says nothing of an owner is asked for none, such as one that was started before there were marks.
    assert_eq!(open(server, &schema).await.revision(), 1);

    PostgresStore::release(&of("second"), "second").await.unwrap();
    assert_eq!(PostgresStore::claim(&of("second"), "second").await.unwrap().as_deref(), Some("first"));
    PostgresStore::release(&of("first"), "first").await.unwrap();
    let second = PostgresStore::open(of("second"), Options::default()).await.unwrap();
    assert_eq!(second.revision(), 1, "with all that is in it");
    PostgresStore::release(&address(server, &server.schema()), "nobody").await.unwrap();
}

#[tokio::test]
async fn two_clusters_that_claim_a_schema_at_once_do_not_both_get_it() {
    let Some(server) = common::shared() else { return };
    let schema = server.schema();
    let address = address(server, &schema);
    let owners = ["a", "b", "c", "d"];
    let claims = owners.map(|owner| PostgresStore::claim(&address, owner));
    let refused =
        futures::future::join_all(claims).await.into_iter().filter(|claim| claim.as_ref().unwrap().is_some());
    assert_eq!(refused.count(), owners.len() - 1);
}

#[tokio::test]
async fn replicas_that_start_together_make_one_schema() {
    let Some(server) = common::shared() else { return };
    let schema = server.schema();
    let stores = futures::future::join_all((0..4).map(|_| open(server, &schema))).await;
    let commits = stores.iter().map(|store| store.commit(vec![put("/a", "0")]));
    let mut revisions: Vec<Revision> =
        futures::future::join_all(commits).await.into_iter().flat_map(Result::unwrap).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, [1, 2, 3, 4]);
}

#[tokio::test]
async fn refuses_a_schema_of_a_newer_version() {
    let Some(server) = common::shared() else { return };
    let schema = server.schema();
    open(server, &schema).await.close().await;
    server.run(&format!("UPDATE {schema}.state SET version = 99"));
    let refused = PostgresStore::open(address(server, &schema), Options::default()).await.err().unwrap();
    let Error::Database(cause) = refused else { panic!("{refused}") };
    assert_eq!(cause.to_string(), format!("the schema {schema} has version 99, this program knows 1"));
}

#[tokio::test]
async fn broken_connections_are_replaced_and_watches_go_on() {
    let Some(server) = common::start() else { return };
    let schema = server.schema();
    let store = open(&server, &schema).await;
    let mut watch = store.watch("", 0).await.unwrap();
    for revision in 1..=5 {
        store.commit(vec![put("/a", "0")]).await.unwrap();
        server.run(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
             WHERE application_name = 'vkube' AND pid <> pg_backend_pid()",
        );
        assert_eq!(store.get("/a", None).await.unwrap().unwrap().modified, revision);
        assert_eq!(revisions(&mut watch, revision).await, [revision]);
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_said_to_be_and_found_again() {
    let Some(server) = common::start() else { return };
    let schema = server.schema();
    let store = open(&server, &schema).await;
    store.commit(vec![put("/a", "0")]).await.unwrap();
    let mut watch = store.watch("", 1).await.unwrap();
    server.stop();
    let failed = store.commit(vec![put("/a", "1")]).await;
    assert!(matches!(failed, Err(Error::Unavailable(_))), "{failed:?}");
    let failed = store.get("/a", None).await;
    assert!(matches!(failed, Err(Error::Unavailable(_))), "{failed:?}");
    wait_for(|| !store.is_available()).await;
    server.restart();
    wait_for(|| store.is_available()).await;
    assert_eq!(store.commit(vec![put("/a", "2")]).await.unwrap(), [2]);
    assert_eq!(revisions(&mut watch, 2).await, [2]);
}

async fn wait_for(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

const CHILD: &str = "VKUBE_STORE_REPLICA";

#[test]
#[ignore = "runs as the child of the other test"]
fn writes_pairs_until_it_is_killed() {
    let Ok(place) = std::env::var(CHILD) else { return };
    let (url, schema) = place.split_once('|').unwrap();
    let address = Address::parse(url, None, &Pem::default(), schema).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = PostgresStore::open(address, Options::default()).await.unwrap();
        for i in 0_u64.. {
            let text = i.to_string();
            let pair = vec![put("/pair/a", &text), put("/pair/b", &text)];
            println!("ack {}.", store.commit(pair).await.unwrap()[1]);
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_killed_while_it_writes_holds_up_nobody_and_leaves_whole_commits() {
    let Some(server) = common::shared() else { return };
    let schema = server.schema();
    let store = open(server, &schema).await;
    let mut watch = store.watch("", 0).await.unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_pairs_until_it_is_killed", "--ignored", "--nocapture"])
            .env(CHILD, format!("{}|{schema}", server.url()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut acks = lines.filter_map(|line| {
            let (_, ack) = line.split_once("ack ")?;
            ack.strip_suffix('.')?.parse::<Revision>().ok()
        });
        acknowledged.extend(acks.by_ref().take(20 + 7 * round));
        child.kill().unwrap();
        acknowledged.extend(acks);
        child.wait().unwrap();
        store.commit(vec![put("/own", "0")]).await.unwrap();
    }
    let newest = store.newest().await.unwrap();
    assert_eq!(revisions(&mut watch, newest).await, (1..=newest).collect::<Vec<_>>());
    let mut again = store.watch("/pair/", 0).await.unwrap();
    let [a, b] = ["/pair/a", "/pair/b"].map(|key| store.get(key, None));
    let (a, b) = tokio::join!(a, b);
    assert_eq!(a.unwrap().unwrap().modified + 1, b.unwrap().unwrap().modified);
    let pairs = revisions(&mut again, *acknowledged.last().unwrap()).await;
    assert!(acknowledged.iter().all(|revision| pairs.contains(revision)));
}
