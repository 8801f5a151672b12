//! Follows a collection for ever: everything there is, then each change.
//!
//! A session starts with a streamed list (`sendInitialEvents`), or with a paged list where the server has no such
//! thing, and goes on from the last version it saw. `410 Gone` starts over with a list.

use std::time::Duration;

use futures::TryStreamExt;
use http::Method;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::WatchEvent;
use kube::{Client, Resource};
use rand::Rng;
use serde::de::DeserializeOwned;

use crate::api::{METADATA, METADATA_LIST, Page, request};

/// A watch ends by itself within these seconds and is then resumed, so that none outlives a dead connection for long.
const SESSION_SECONDS: std::ops::Range<u32> = 1800..3600;
/// Longest pause between attempts while the server refuses.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A clean end sooner than this is treated as a refusal, lest a server that always hangs up be hammered.
const SHORT_SESSION: Duration = Duration::from_secs(1);

/// What following a collection tells.
pub(crate) enum Event<T> {
    /// Everything there is follows, up to `Listed`.
    Restart,
    /// An object that exists.
    Apply(T),
    /// An object that existed until now.
    Delete(T),
    /// Everything there was at this version has been told.
    Listed(String),
}

/// What to follow.
pub(crate) struct Source {
    pub client: Client,
    /// The URL of the collection.
    pub path: String,
    /// A field selector, or empty.
    pub fields: String,
    /// Whether metadata is enough.
    pub metadata: bool,
}

/// Something with a version.
pub(crate) trait Versioned {
    /// The object's metadata version.
    fn version(&self) -> Option<&str>;
}

impl<K: Resource> Versioned for K {
    fn version(&self) -> Option<&str> {
        let meta: &ObjectMeta = self.meta();
        meta.resource_version.as_deref()
    }
}

/// Tells `sink` everything about the collection, and never ends.
pub(crate) async fn follow<T: DeserializeOwned + Clone + Versioned>(
    source: Source,
    mut sink: impl FnMut(Event<T>),
) {
    let mut session = Session { source, resume: None, streaming: true, pause: Duration::ZERO };
    loop {
        let start = tokio::time::Instant::now();
        let outcome = session.run(&mut sink).await;
        if let Err(error) = &outcome {
            tracing::debug!(path = session.source.path, %error, "watch interrupted");
        }
        if outcome.is_ok() && start.elapsed() >= SHORT_SESSION {
            session.pause = Duration::ZERO;
        } else {
            session.pause = (session.pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE);
            tokio::time::sleep(session.pause).await;
        }
    }
}

struct Session {
    source: Source,
    /// The version to go on from; `None` before the first complete list.
    resume: Option<String>,
    /// Whether the server may know streamed lists.
    streaming: bool,
    pause: Duration,
}

impl Session {
    /// One request's worth of watching.
    async fn run<T: DeserializeOwned + Clone + Versioned>(
        &mut self,
        sink: &mut impl FnMut(Event<T>),
    ) -> Result<(), kube::Error> {
        let mut listing = false;
        if self.resume.is_none() {
            sink(Event::Restart);
            if self.streaming {
                listing = true;
            } else {
                let version = self.list(sink).await?;
                sink(Event::Listed(version.clone()));
                self.resume = Some(version);
            }
        }

        let seconds = rand::rng().random_range(SESSION_SECONDS);
        let from = match &self.resume {
            Some(version) => format!("resourceVersion={version}"),
            None => "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=".to_owned(),
        };
        let query = format!("watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&{from}");
        let events = self.source.client.request_events::<T>(self.request(&query, METADATA)?).await;
        let events = events.inspect_err(|error| self.refused(error))?;
        // Long after the server should have ended the watch, the connection is dead.
        let dead = Duration::from_secs(u64::from(seconds) + 30);

        let watching = async {
            futures::pin_mut!(events);
            loop {
                let event = match events.try_next().await {
                    Ok(Some(event)) => event,
                    Ok(None) => return Ok(()),
                    // One object that cannot be read must not hide all others.
                    Err(error) if is_unreadable(&error) => {
                        tracing::warn!(path = self.source.path, %error, "skipped an unreadable object");
                        continue;
                    }
                    Err(error) => {
                        self.refused(&error);
                        return Err(error);
                    }
                };
                self.pause = Duration::ZERO;
                match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        self.advance(&object, listing);
                        sink(Event::Apply(object));
                    }
                    WatchEvent::Deleted(object) => {
                        self.advance(&object, listing);
                        sink(Event::Delete(object));
                    }
                    WatchEvent::Bookmark(bookmark) => {
                        let meta = bookmark.metadata;
                        if meta.annotations.get("k8s.io/initial-events-end").is_some_and(|end| end == "true")
                        {
                            listing = false;
                            sink(Event::Listed(meta.resource_version.clone()));
                        }
                        if !listing {
                            self.resume = Some(meta.resource_version);
                        }
                    }
                    WatchEvent::Error(status) => {
                        let error = kube::Error::Api(status);
                        self.refused(&error);
                        return Err(error);
                    }
                }
            }
        };
        tokio::time::timeout(dead, watching).await.unwrap_or(Ok(()))
    }

    /// Tells everything there is, page by page; returns its version.
    async fn list<T: DeserializeOwned>(
        &mut self,
        sink: &mut impl FnMut(Event<T>),
    ) -> Result<String, kube::Error> {
        let mut query = "limit=500".to_owned();
        loop {
            let page = self.source.client.request::<Page<T>>(self.request(&query, METADATA_LIST)?).await;
            let page = page.inspect_err(|error| self.refused(error))?;
            for object in page.items {
                sink(Event::Apply(object));
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => query = format!("limit=500&continue={}", escape(&token)),
                None => return Ok(page.metadata.resource_version.unwrap_or_default()),
            }
        }
    }

    fn request(&self, query: &str, accept: &str) -> Result<http::Request<Vec<u8>>, kube::Error> {
        let accept = if self.source.metadata { accept } else { "application/json" };
        let mut path = format!("{}?{query}", self.source.path);
        if !self.source.fields.is_empty() {
            path.push_str("&fieldSelector=");
            path.push_str(&escape(&self.source.fields));
        }
        request(Method::GET, &path, accept, "application/json", Vec::new())
            .map_err(|error| kube::Error::Service(Box::new(error)))
    }

    fn advance(&mut self, object: &impl Versioned, listing: bool) {
        if !listing && let Some(version) = object.version() {
            self.resume = Some(version.to_owned());
        }
    }

    /// Learns from a refusal what to do differently next time.
    fn refused(&mut self, error: &kube::Error) {
        let kube::Error::Api(status) = error else { return };
        match status.code {
            410 => self.resume = None,
            400 | 422 if self.resume.is_none() => self.streaming = false,
            _ => {}
        }
    }
}

/// Whether a line of the stream could not be read; the client may take such a line for a status without a code.
fn is_unreadable(error: &kube::Error) -> bool {
    match error {
        kube::Error::SerdeError(_) => true,
        kube::Error::Api(status) => status.code == 0 && status.reason.is_empty(),
        _ => false,
    }
}

/// Percent-encodes all but unreserved characters.
fn escape(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests;
