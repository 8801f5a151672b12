//! Kills a writing process again and again, and looks at what it has left.
//!
//! The child reports each acknowledged commit on its standard output; the parent kills it after some random
//! number of them, opens the file and compares.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use rand::Rng as _;
use vkube_store::{
    Change, Document, Entry, Expect, Options, Range, Revision, Signal, SqliteStore, Store, Write,
};

const FILE: &str = "VKUBE_STORE_CRASH_FILE";
const ROUNDS: usize = 15;
const TASKS: usize = 8;

/// Little history, so that it is being forgotten while the process is killed.
const OPTIONS: Options = Options { revisions: 300, history: std::time::Duration::from_secs(300), readers: 1 };

/// One acknowledged commit: the revisions of a task's counter and of the two keys written with it.
#[derive(Clone, Copy, Debug)]
struct Ack {
    task: usize,
    count: u64,
    revisions: [Revision; 3],
}

fn put(key: String, count: u64, expect: Expect) -> Write {
    let text = format!("{count} at ");
    let revision_at = Some(text.len() as u32);
    let document = Document { bytes: Bytes::from(text), revision_at, index: Bytes::new() };
    Write { key, expect, change: Change::Put { document, ttl: None } }
}

fn counter(task: usize) -> String {
    format!("/counter/{task}")
}

fn pair(task: usize, count: u64) -> [String; 2] {
    ["a", "b"].map(|name| format!("/pair/{task}/{count:08}/{name}"))
}

/// Reads `<count> at <revision>`.
fn count(entry: &Entry) -> u64 {
    let text = std::str::from_utf8(&entry.value).unwrap();
    let (count, revision) = text.split_once(" at ").unwrap();
    assert_eq!(revision.parse(), Ok(entry.modified), "a document carries its own revision");
    count.parse().unwrap()
}

#[test]
#[ignore = "runs as the child of the other test"]
fn writes_until_it_is_killed() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let store = SqliteStore::open(Path::new(&file), OPTIONS).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    runtime.block_on(async {
        let tasks = (0..TASKS).map(|task| tokio::spawn(write_and_report(Arc::clone(&store), task)));
        futures::future::join_all(tasks).await;
    });
}

/// Counts on from where the counter stands.
async fn write_and_report(store: Arc<SqliteStore>, task: usize) {
    let current = store.get(&counter(task), None).await.unwrap();
    let mut next = current.as_ref().map_or(0, |entry| count(entry) + 1);
    let mut expect = current.map_or(Expect::Absent, |entry| Expect::Modified(entry.modified));
    loop {
        let [a, b] = pair(task, next);
        let writes = vec![
            put(a, next, Expect::Absent),
            put(counter(task), next, expect),
            put(b, next, Expect::Absent),
        ];
        let revisions = store.commit(writes).await.unwrap();
        println!("ack {task} {next} {} {} {}.", revisions[0], revisions[1], revisions[2]);
        expect = Expect::Modified(revisions[1]);
        next += 1;
    }
}

fn spawn(file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writes_until_it_is_killed", "--ignored", "--nocapture"])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What the child acknowledged until it was killed; a last line that is cut off counts for nothing.
fn run_and_kill(file: &Path, after: usize) -> Vec<Ack> {
    let mut child = spawn(file);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut acks = Vec::new();
    if after == 0 {
        child.kill().unwrap();
    }
    for line in lines {
        acks.extend(parse(&line));
        if acks.len() == after {
            child.kill().unwrap();
        }
    }
    assert_eq!(child.wait().unwrap().signal(), Some(9), "it would have gone on");
    assert!(acks.len() >= after);
    acks
}

fn parse(line: &str) -> Option<Ack> {
    // The test harness may have begun the line.
    let (_, ack) = line.split_once("ack ")?;
    let numbers: Vec<u64> = ack.strip_suffix('.')?.split(' ').map(|n| n.parse().unwrap()).collect();
    let [task, count, a, counter, b] = numbers[..] else { return None };
    Some(Ack { task: task as usize, count, revisions: [a, counter, b] })
}

#[tokio::test]
async fn a_killed_store_loses_nothing_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store.db");
    let mut acks = Vec::new();
    let mut newest = 0;

    for _ in 0..ROUNDS {
        let after = rand::rng().random_range(0..200);
        let latest = run_and_kill(&file, after);
        for ack in &latest {
            assert!(ack.revisions[0] > newest, "{ack:?} goes back behind {newest}");
        }
        acks.extend(latest);

        let store = SqliteStore::open(&file, OPTIONS).unwrap();
        assert!(store.revision() >= newest);
        newest = store.revision();
        check_state(&store, &acks).await;
        check_events(&store, &acks).await;
        store.close().await;
    }
}

/// Everything acknowledged is there; what is there beyond that is whole.
async fn check_state(store: &SqliteStore, acks: &[Ack]) {
    let page = store.list(Range::default()).await.unwrap();
    let state: BTreeMap<String, Entry> = page.entries.into_iter().map(|e| (e.key.clone(), e)).collect();

    for ack in acks {
        let [a, b] = pair(ack.task, ack.count);
        assert_eq!(state[&a].modified, ack.revisions[0]);
        assert_eq!(state[&b].modified, ack.revisions[2]);
        assert!(count(&state[&counter(ack.task)]) >= ack.count);
    }

    let mut expected = 0;
    for task in 0..TASKS {
        let Some(last) = state.get(&counter(task)) else { continue };
        let commits = count(last) + 1;
        for count in 0..commits {
            let [a, b] = pair(task, count).map(|key| state[&key].modified);
            assert_eq!(a + 2, b, "the writes of one commit stand together");
        }
        let acknowledged = acks.iter().filter(|ack| ack.task == task).count() as u64;
        // A task has one commit under way, so each kill leaves at most one without an answer.
        assert!(commits <= acknowledged + ROUNDS as u64);
        expected += 1 + 2 * commits;
    }
    assert_eq!(state.len() as u64, expected, "there is nothing of a commit that did not happen");
}

/// The log has each revision once, and each acknowledged write at the revision that was told.
async fn check_events(store: &SqliteStore, acks: &[Ack]) {
    let oldest = store.revision().saturating_sub(OPTIONS.revisions);
    let mut watch = store.watch("", oldest).await.unwrap();
    let mut counters = BTreeMap::new();
    for revision in oldest + 1..=store.revision() {
        let Some(Signal::Event(event)) = watch.next().await else {
            unreachable!("event {revision} is missing")
        };
        assert_eq!((event.revision, event.deleted), (revision, false));
        let is_counter = event.entry.key.starts_with("/counter/");
        assert_eq!(event.previous.is_some(), is_counter && count(&event.entry) > 0);
        if let Some(previous) = &event.previous {
            assert_eq!(count(&event.entry), count(previous) + 1);
        }
        if is_counter {
            counters.insert(revision, event);
        }
    }
    for ack in acks.iter().filter(|ack| ack.revisions[1] > oldest) {
        let event = &counters[&ack.revisions[1]];
        assert_eq!((&event.entry.key, count(&event.entry)), (&counter(ack.task), ack.count));
    }
}
