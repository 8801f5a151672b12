use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;

use super::{
    Line, Output,
    read::{self, Filter, Options},
    write::{self, Log},
};

async fn mk_log(text: &str) -> (tempfile::TempDir, Log) {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::create(dir.path().join("c.log")).unwrap();
    log.keep(Output::Stdout, text.as_bytes()).await;
    (dir, log)
}

async fn read_all(log: &Log, options: Options) -> String {
    let stream = read::open(log.path(), options, Some(log.progress())).await.unwrap();
    let chunks: Vec<Bytes> = stream.collect().await;
    String::from_utf8(chunks.concat()).unwrap()
}

#[test]
fn a_line_reads_back_as_it_was_written() {
    let line = Line { time: "2026-01-02T03:04:05.1Z", output: "stderr", full: true, text: b"a b  c" };
    let mut kept = Vec::new();
    line.append(&mut kept);
    assert_eq!(kept, b"2026-01-02T03:04:05.1Z stderr F a b  c\n");
    assert_eq!(Line::parse(&kept[..kept.len() - 1]), Some(line));
}

#[test]
fn a_long_line_is_kept_in_parts_and_read_as_one() {
    let text = "x".repeat(40_000);
    let mut pending = format!("{text}\n").into_bytes();
    let kept = write::frame(&mut pending, Output::Stdout, true);
    let mut filter = Filter::new(Options { timestamps: true, ..Options::default() });
    let out = String::from_utf8(filter.take(&kept)).unwrap();
    let (time, rest) = out.split_once(' ').unwrap();
    assert!(time.parse::<Timestamp>().is_ok());
    assert_eq!(rest, format!("{text}\n"));
}

#[tokio::test]
async fn gives_everything_the_end_or_a_bounded_part() {
    let (_dir, log) = mk_log("one\ntwo\nthree\nrest").await;
    assert_eq!(read_all(&log, Options::default()).await, "one\ntwo\nthree\nrest\n");
    assert_eq!(read_all(&log, Options { tail: Some(2), ..Options::default() }).await, "three\nrest\n");
    assert_eq!(read_all(&log, Options { tail: Some(0), ..Options::default() }).await, "");
    assert_eq!(read_all(&log, Options { tail: Some(99), ..Options::default() }).await.lines().count(), 4);
    assert_eq!(read_all(&log, Options { limit: Some(5), ..Options::default() }).await, "one\nt");
    let stderr = Options { output: Some("stderr".into()), ..Options::default() };
    assert_eq!(read_all(&log, stderr).await, "");
}

#[tokio::test]
async fn following_gives_later_lines_and_ends_with_the_container() {
    let (_dir, log) = mk_log("first\n").await;
    let options = Options { follow: true, ..Options::default() };
    let mut stream = Box::pin(read::open(log.path(), options, Some(log.progress())).await.unwrap());
    assert_eq!(stream.next().await.unwrap(), "first\n");
    log.keep(Output::Stderr, &b"second\n"[..]).await;
    assert_eq!(stream.next().await.unwrap(), "second\n");
    log.close();
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_new_run_keeps_the_log_of_the_one_before() {
    let (dir, log) = mk_log("old\n").await;
    let next = Log::create(log.path().to_owned()).unwrap();
    next.note("new").await;
    assert_eq!(read_all(&next, Options::default()).await, "new\n");
    let previous = std::fs::read_to_string(write::previous(&dir.path().join("c.log"))).unwrap();
    assert!(previous.ends_with("stdout F old\n"));
}

#[test]
fn reads_the_parameters_of_a_request() {
    let now: Timestamp = "2026-01-02T00:01:00Z".parse().unwrap();
    let options =
        Options::parse("follow=true&tailLines=5&sinceSeconds=60&timestamps=true&container=c", now).unwrap();
    assert_eq!(
        options,
        Options {
            follow: true,
            tail: Some(5),
            since: Some("2026-01-02T00:00:00Z".parse().unwrap()),
            timestamps: true,
            ..Options::default()
        }
    );
    assert!(Options::parse("tailLines=x", now).is_err());
}
