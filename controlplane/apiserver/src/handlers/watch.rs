//! Watches: a stream of what happens to objects
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>).

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use rand::Rng;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep, sleep_until};
use vkube_store::{Entry, Event, Range, Signal};

use super::{call::Call, list};
use crate::{
    body::{self, BoxError, Response},
    codec,
    custom::webhook,
    field::{Errors, Path},
    negotiation::{Encoding, Target},
    options::unsigned,
    representation,
    resource::Definition,
    selectors::Selection,
    status::{ApiError, GroupResource},
};

/// How often an otherwise silent watch tells its client how far it has come.
const BOOKMARK_PERIOD: Duration = Duration::from_mins(1);

/// Where a watch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// With the present state as synthetic events; a bookmark may mark their end. The state has come at least this far.
    Initial { not_before: u64 },
    /// With the first event to come.
    Now,
    /// After a revision.
    After(u64),
}

/// Answers a watch.
pub async fn watch(call: &Call) -> Result<Response, ApiError> {
    if call.accepted.encoding == Encoding::Yaml {
        return Err(ApiError::not_acceptable(
            "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch",
        ));
    }
    let selection = list::selection(call)?;
    if matches!(call.accepted.target, Target::Table(_)) {
        representation::check(call, "", true)?;
    }
    let timeout =
        call.query.integer("timeoutSeconds")?.and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0);
    let timeout = timeout.unwrap_or_else(|| rand::rng().random_range(1800..3600));
    let start = start(call)?;
    let bookmarks = call.query.flag("allowWatchBookmarks");
    let store = call.server.store();
    let prefix = list::prefix(call);

    let mut initial = Vec::new();
    let after;
    match start {
        Start::Initial { not_before } => {
            let newest = if not_before == 0 { 0 } else { store.newest().await? };
            // Only who waits for the end of what there is at first asks how new that is.
            if not_before > newest && bookmarks {
                return refuse(call, &ApiError::too_large_revision(not_before, newest));
            }
            let page = store.list(Range { prefix: prefix.clone(), ..Range::default() }).await?;
            after = page.revision;
            initial = page.entries;
            initial.retain(|entry| list::selects(call, &selection, entry));
            webhook::bring_entries(call, &mut initial).await?;
        }
        Start::Now => after = store.newest().await?,
        Start::After(revision) => after = revision,
    }
    let oldest = match &call.definition {
        Definition::Custom(custom) => custom.since,
        Definition::Builtin(_) => 0,
    };
    let watch = if after < oldest {
        Err(vkube_store::Error::Compacted { requested: after, oldest })
    } else {
        store.watch(&prefix, after).await
    };
    let signals = match watch {
        Ok(signals) => signals,
        Err(vkube_store::Error::Future { .. }) => {
            // The real server waits for the revision; nothing can come before it does.
            return stream_response(
                call,
                stream::pending().take_until(tokio::time::sleep(Duration::from_secs(timeout))),
            );
        }
        Err(error) => return refuse(call, &error.into()),
    };

    let mut encoder = Encoder::new(call);
    let mut first = Vec::with_capacity(initial.len() + 1);
    for entry in &initial {
        first.push(encoder.entry("ADDED", entry));
    }
    if bookmarks && matches!(start, Start::Initial { .. }) {
        first.push(encoder.bookmark(after, true));
    }
    drop(initial);
    let deadline = Instant::now() + Duration::from_secs(timeout);
    // A stream moves its state with each event, and there are as many streams as there are idle watches.
    let state = Box::new(Watching {
        encoder,
        selection,
        signals,
        bookmarks,
        seen: after,
        bookmarked: after,
        next_bookmark: Instant::now() + BOOKMARK_PERIOD,
        deadline,
        timer: Box::pin(sleep_until(deadline)),
    });
    let rest =
        stream::unfold(state, |mut state| async move { state.next().await.map(|frame| (frame, state)) });
    stream_response(call, stream::iter(first).chain(rest))
}

fn start(call: &Call) -> Result<Start, ApiError> {
    let (version, matching) = (call.query.get("resourceVersion"), call.query.get("resourceVersionMatch"));
    let send = call.query.has("sendInitialEvents").then(|| call.query.flag("sendInitialEvents"));
    let mut errors = Errors::default();
    let path = Path::new("resourceVersionMatch");
    if send.is_some() && matching != "NotOlderThan" {
        errors.forbidden(&path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    }
    if send.is_none() && !matching.is_empty() {
        errors.forbidden(
            &path,
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        );
    }
    if !matches!(matching, "" | "NotOlderThan") {
        errors.not_supported(&path, &matching.into(), &["NotOlderThan"]);
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid(
            GroupResource { group: "meta.k8s.io", resource: "ListOptions" },
            "",
            &errors,
        ));
    }
    let revision: u64 = if version.is_empty() {
        0
    } else {
        unsigned(version)
            .map_err(|why| ApiError::unknown(format!("resourceVersion: Invalid value: {version:?}: {why}")))?
    };
    Ok(match (send, revision) {
        (Some(true), not_before) | (None, not_before @ 0) => Start::Initial { not_before },
        (Some(false), 0) => Start::Now,
        (_, revision) => Start::After(revision),
    })
}

/// Tells what is wrong as the only event, since a watch has begun once its parameters have been read.
fn refuse(call: &Call, error: &ApiError) -> Result<Response, ApiError> {
    let frame = Encoder::new(call).frame("ERROR", &error.to_value())?;
    stream_response(call, stream::iter([Ok(frame)]))
}

type Frame = Result<Bytes, BoxError>;

fn stream_response(
    call: &Call,
    frames: impl Stream<Item = Frame> + Send + 'static,
) -> Result<Response, ApiError> {
    let media_type = match call.accepted.encoding {
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        _ => "application/json",
    };
    let mut response = Response::new(body::stream(frames));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(response)
}

struct Watching {
    encoder: Encoder,
    selection: Selection,
    signals: vkube_store::Watch,
    bookmarks: bool,
    /// Up to here the client has seen everything, or need not.
    seen: u64,
    /// The last revision that the client was told.
    bookmarked: u64,
    next_bookmark: Instant,
    deadline: Instant,
    /// Ends at the earlier of the two or before, so that it need not be set with each event.
    timer: Pin<Box<Sleep>>,
}

impl Watching {
    async fn next(&mut self) -> Option<Frame> {
        loop {
            // A bookmark is due only when there is progress to tell, so an idle watch never wakes.
            let due = self.bookmarks && self.seen > self.bookmarked;
            let wake = if due { self.next_bookmark.min(self.deadline) } else { self.deadline };
            if self.timer.deadline() > wake {
                self.timer.as_mut().reset(wake);
            }
            tokio::select! {
                biased;
                signal = self.signals.next() => match signal? {
                    Signal::Progress(revision) => self.seen = revision,
                    Signal::Event(event) => {
                        let revision = event.revision;
                        self.seen = revision;
                        let frame = if webhook::is_asked(&self.encoder.call.definition) {
                            match Box::pin(brought(&self.encoder.call, event)).await {
                                Ok(event) => self.event(&event),
                                Err(error) => Some(Err(error.into())),
                            }
                        } else {
                            self.event(&event)
                        };
                        if let Some(frame) = frame {
                            self.bookmarked = revision;
                            self.next_bookmark = Instant::now() + BOOKMARK_PERIOD;
                            return Some(frame);
                        }
                    }
                },
                () = &mut self.timer => {
                    let now = Instant::now();
                    if now >= self.deadline {
                        return None;
                    }
                    if now < wake {
                        self.timer.as_mut().reset(wake);
                        continue;
                    }
                    self.bookmarked = self.seen;
                    self.next_bookmark = now + BOOKMARK_PERIOD;
                    return Some(self.encoder.bookmark(self.seen, false));
                }
            }
        }
    }

    /// What this client sees of an event, given its selectors: objects enter and leave a selection.
    fn event(&mut self, event: &Event) -> Option<Frame> {
        let selects = |entry: &Entry| list::selects(&self.encoder.call, &self.selection, entry);
        let before = event.previous.as_ref().is_some_and(selects);
        let now = !event.deleted && selects(&event.entry);
        match (before, now) {
            (false, false) => None,
            (false, true) => Some(self.encoder.entry("ADDED", &event.entry)),
            (true, true) => Some(self.encoder.entry("MODIFIED", &event.entry)),
            (true, false) if event.deleted => Some(self.encoder.entry("DELETED", &event.entry)),
            // It left the selection: the client sees its last selected state, at the event's revision.
            (true, false) => event
                .previous
                .as_ref()
                .map(|previous| self.encoder.at_revision("DELETED", previous, event.revision)),
        }
    }
}

/// An event with its objects at the version that the client asked for, to which a webhook brings them.
async fn brought(call: &Call, event: Arc<Event>) -> Result<Event, ApiError> {
    let mut event = Arc::unwrap_or_clone(event);
    webhook::bring_entries(call, std::slice::from_mut(&mut event.entry)).await?;
    webhook::bring_entries(call, event.previous.as_mut_slice()).await?;
    Ok(event)
}

/// Turns entries into frames of the stream.
struct Encoder {
    call: Call,
    columns_sent: bool,
}

impl Encoder {
    fn new(call: &Call) -> Self {
        Self { call: call.shared(), columns_sent: false }
    }

    fn entry(&mut self, kind: &str, entry: &Entry) -> Frame {
        let plain = self.call.accepted.target == Target::Object
            && self.call.accepted.encoding != Encoding::Protobuf
            && !self.call.definition.is_converted();
        if plain {
            let mut frame = Vec::with_capacity(entry.value.len() + 32);
            frame.extend_from_slice(b"{\"type\":\"");
            frame.extend_from_slice(kind.as_bytes());
            frame.extend_from_slice(b"\",\"object\":");
            frame.extend_from_slice(&entry.value);
            frame.extend_from_slice(b"}\n");
            return Ok(frame.into());
        }
        let object = representation::object(&self.call, entry)?;
        self.object(kind, &object)
    }

    fn at_revision(&mut self, kind: &str, entry: &Entry, revision: u64) -> Frame {
        let mut object = representation::object(&self.call, entry)?;
        crate::metadata::set(&mut object, "resourceVersion", revision.to_string());
        self.object(kind, &object)
    }

    fn object(&mut self, kind: &str, object: &Value) -> Frame {
        let columns = !std::mem::replace(&mut self.columns_sent, true);
        let object = representation::transformed(&self.call, object, columns);
        Ok(self.frame(kind, &object)?)
    }

    fn bookmark(&mut self, revision: u64, initial_events_end: bool) -> Frame {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if let Some(map) = metadata.as_object_mut() {
            map.remove("creationTimestamp");
        }
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({
            "kind": self.call.definition.kind(),
            "apiVersion": self.call.definition.api_version(),
            "metadata": metadata,
        });
        if matches!(self.call.accepted.target, Target::Table(_)) {
            let columns = !std::mem::replace(&mut self.columns_sent, true);
            let table = representation::empty_table(&self.call, revision, &object, columns);
            return Ok(self.frame("BOOKMARK", &table)?);
        }
        let object = representation::transformed(&self.call, &object, false);
        Ok(self.frame("BOOKMARK", &object)?)
    }

    fn frame(&mut self, kind: &str, object: &Value) -> Result<Bytes, ApiError> {
        let ty = match self.call.accepted.target {
            Target::Object => self.call.definition.ty().ok(),
            _ => representation::metadata_type(&self.call, "PartialObjectMetadata"),
        };
        codec::watch_frame(kind, object, self.call.accepted.encoding, ty)
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::Value;

    use super::*;
    use crate::custom::tests::Fixture;

    #[tokio::test]
    async fn a_state_of_the_future_is_not_told() {
        let server = Fixture::start().await;
        let path = "/api/v1/namespaces/default/configmaps?watch=true&sendInitialEvents=true&timeoutSeconds=1\
                    &resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=99999999";
        let (status, event) = server.call(Method::GET, path, &Value::Null).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!((&event["type"], &event["object"]["code"]), (&"ERROR".into(), &504.into()), "{event}");
        server.0.stop().await;
    }
}
