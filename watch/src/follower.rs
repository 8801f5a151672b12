//! Sessions one after the other, as one sequence of events that never ends.
//!
//! A session starts with a streamed list (`sendInitialEvents`), or with a paged list where the server has no such
//! thing, and goes on from the last version it saw. `410 Gone` starts over with a list.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt};
use rand::Rng;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::frame::{Frame, Page};
use crate::{Event, Source};

/// A watch ends by itself within these seconds and is then resumed, so that none outlives a dead connection for long.
const SESSION_SECONDS: std::ops::Range<u32> = 1800..3600;
/// How long after its end the server may still be silent before the connection counts as dead.
const GRACE: Duration = Duration::from_secs(30);
/// Longest pause between attempts while the server refuses.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Shortest pause between attempts.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// A clean end sooner than this is treated as a refusal, lest a server that always hangs up be hammered.
const SHORT_SESSION: Duration = Duration::from_secs(1);
/// Objects a page of a list; bounds the memory that a start takes.
const PAGE: u32 = 200;

/// Follows one collection.
pub struct Follower {
    source: Source,
    state: State,
    /// The version to go on from; `None` before the first complete list.
    resume: Option<String>,
    /// Whether the server may know streamed lists.
    streaming: bool,
    pause: Duration,
    /// Whether the last attempt told anything or ended as it should.
    fruitful: bool,
}

enum State {
    /// No request is under way.
    Idle,
    /// A paged list: objects not yet told, and where the next page begins.
    Listing { items: VecDeque<Box<RawValue>>, next: Next },
    /// A watch.
    Watching(Watch),
}

enum Next {
    Page(Option<String>),
    Done(String),
}

struct Watch {
    lines: Pin<Box<dyn AsyncBufRead + Send>>,
    line: String,
    since: Instant,
    dead: Instant,
    /// Whether this is still the streamed list.
    listing: bool,
}

type Text = Event<Box<RawValue>>;

impl Follower {
    /// Follows `source`, from [`Self::next`] on.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            state: State::Idle,
            resume: None,
            streaming: true,
            pause: Duration::ZERO,
            fruitful: true,
        }
    }

    /// The next event, however long it takes; failures are logged, waited out and tried again.
    ///
    /// An object that cannot be read as a `T` is skipped with a warning, lest it hide all others.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Event<T> {
        loop {
            match self.next_text().await.try_map(|text| serde_json::from_str(text.get())) {
                Ok(event) => return event,
                Err(error) => {
                    tracing::warn!(path = self.source.path(), %error, "skipped an unreadable object");
                }
            }
        }
    }

    /// As [`Self::next`], for whoever reads the object's JSON text otherwise.
    pub async fn next_text(&mut self) -> Text {
        loop {
            match self.step().await {
                Ok(Some(event)) => {
                    self.pause = Duration::ZERO;
                    return event;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(path = self.source.path(), %error, "watch interrupted");
                    self.learn(&error);
                    self.state = State::Idle;
                    self.fruitful = false;
                }
            }
        }
    }

    /// One step; `None` if it told nothing.
    async fn step(&mut self) -> Result<Option<Text>, kube::Error> {
        match &mut self.state {
            State::Idle => self.begin().await,
            State::Listing { items, next } => {
                if let Some(object) = items.pop_front() {
                    return Ok(Some(Event::Apply(object)));
                }
                match next {
                    Next::Done(version) => {
                        let version = std::mem::take(version);
                        self.resume = Some(version.clone());
                        self.state = State::Idle;
                        self.fruitful = true;
                        Ok(Some(Event::Listed(version)))
                    }
                    Next::Page(token) => {
                        let request = self.source.list(PAGE, token.as_deref())?;
                        self.state = page(self.source.client.clone(), request).await?;
                        Ok(None)
                    }
                }
            }
            State::Watching(watch) => {
                watch.line.clear();
                let read = watch.lines.read_line(&mut watch.line);
                match tokio::time::timeout_at(watch.dead, read).await {
                    Ok(Ok(0)) | Err(_) => {
                        self.fruitful = watch.since.elapsed() >= SHORT_SESSION;
                        self.state = State::Idle;
                        Ok(None)
                    }
                    Ok(Ok(_)) => self.take_line(),
                    Ok(Err(error)) => Err(kube::Error::ReadEvents(error)),
                }
            }
        }
    }

    /// Starts a list or a watch, after a pause if the last attempt was in vain.
    async fn begin(&mut self) -> Result<Option<Text>, kube::Error> {
        if !std::mem::replace(&mut self.fruitful, true) {
            self.pause = (self.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
            tokio::time::sleep(self.pause).await;
        }
        if self.resume.is_none() && !self.streaming {
            self.state = State::Listing { items: VecDeque::new(), next: Next::Page(None) };
            return Ok(Some(Event::Restart));
        }
        let seconds = rand::rng().random_range(SESSION_SECONDS);
        let request = self.source.watch(seconds, self.resume.as_deref())?;
        let lines = Box::pin(self.source.client.request_stream(request).await?);
        let since = Instant::now();
        let dead = since + Duration::from_secs(u64::from(seconds)) + GRACE;
        let listing = self.resume.is_none();
        self.state = State::Watching(Watch { lines, line: String::new(), since, dead, listing });
        Ok(listing.then_some(Event::Restart))
    }

    fn take_line(&mut self) -> Result<Option<Text>, kube::Error> {
        let State::Watching(watch) = &mut self.state else { return Ok(None) };
        if watch.line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let frame = match Frame::parse(&watch.line) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::warn!(path = self.source.path(), %error, "skipped an unreadable event");
                return Ok(None);
            }
        };
        let (event, version) = match frame {
            Frame::Apply { object, version } => (Event::Apply(object), version),
            Frame::Delete { object, version } => (Event::Delete(object), version),
            Frame::Bookmark { version, ends_list } => {
                if ends_list {
                    watch.listing = false;
                }
                if !watch.listing {
                    self.resume = Some(version.clone());
                }
                return Ok(ends_list.then_some(Event::Listed(version)));
            }
            Frame::Error(status) => return Err(kube::Error::Api(status)),
        };
        if !watch.listing && version.is_some() {
            self.resume = version;
        }
        Ok(Some(event))
    }

    /// Learns from a refusal what to do differently next time.
    fn learn(&mut self, error: &kube::Error) {
        let kube::Error::Api(status) = error else { return };
        match status.code {
            410 => self.resume = None,
            400 | 422 if self.resume.is_none() => self.streaming = false,
            _ => {}
        }
    }
}

/// Reads a page of a list.
async fn page(client: kube::Client, request: http::Request<Vec<u8>>) -> Result<State, kube::Error> {
    let text = client.request_text(request).await?;
    let page: Page = serde_json::from_str(&text).map_err(kube::Error::SerdeError)?;
    let next = match page.metadata.continue_.filter(|token| !token.is_empty()) {
        Some(token) => Next::Page(Some(token)),
        None => Next::Done(page.metadata.resource_version.unwrap_or_default()),
    };
    Ok(State::Listing { items: page.items.into(), next })
}

#[cfg(test)]
mod tests;
