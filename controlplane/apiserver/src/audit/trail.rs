//! The trail of one request: what is told of it at which stage.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::Value;
use tokio::runtime::Handle;

use super::{
    Audit,
    event::{Event, Status},
    head::{AUDIT_ID, Head},
    policy::{Level, Stage, Verdict},
    webhook::Kept,
};
use crate::{
    authorization::Attributes,
    body::{self, Request, Response},
    codec::yaml,
    request_info::RequestInfo,
    user::User,
};

tokio::task_local! {
    /// The trail of the request that the task answers.
    static CURRENT: Arc<Mutex<Trail>>;
}

struct Trail {
    audit: Arc<Audit>,
    head: Option<Head>,
    /// What is told, as soon as it is known whether something is.
    told: Option<(Event, Verdict)>,
    /// Whether the request may take as long as the client likes.
    lasts: bool,
    /// Whether nobody knows who it is from.
    refused: bool,
    /// Whether another server answers it.
    is_passed_on: bool,
    /// What has been told, and is to be waited for.
    owed: Vec<Kept>,
}

impl Trail {
    fn begin(&mut self, attributes: &Attributes<'_>, user: Option<&User>) {
        let Some(verdict) = self.audit.policy.of(attributes, user).cloned() else { return };
        let Some(head) = self.head.take() else { return };
        self.told = Some((Event::new(head, verdict.level, attributes, user), verdict));
    }

    fn tell(&mut self, stage: Stage) {
        let Some((event, verdict)) = &mut self.told else { return };
        event.stage = stage;
        if stage != Stage::RequestReceived {
            event.stage_timestamp = Timestamp::now();
        }
        if !verdict.omitted.contains(&stage) {
            self.owed.extend(self.audit.tell(event));
        }
    }

    fn wants_answer(&self) -> bool {
        self.told.as_ref().is_some_and(|(event, _)| {
            event.level >= Level::RequestResponse && event.response_object.is_none()
        })
    }

    /// Notes an answer: its status if it is one, and the whole of it where it is to be told.
    fn answered(&mut self, document: &Value, code: u16) {
        let Some((event, verdict)) = &mut self.told else { return };
        if document["kind"] == "Status" && document["apiVersion"] == "v1" {
            event.response_status = Some(Status::of(document, code));
        }
        if event.level >= Level::RequestResponse && document["kind"].is_string() {
            event.response_object = Some(shown(document, verdict));
        }
    }
}

fn lock(trail: &Mutex<Trail>) -> MutexGuard<'_, Trail> {
    trail.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something with the trail of the request that this task answers, if there is one.
fn with<T>(act: impl FnOnce(&mut Trail) -> T) -> Option<T> {
    CURRENT.try_with(|trail| act(&mut lock(trail))).ok()
}

/// Notes who a request is from, and tells that it has come.
pub fn authenticated(attributes: &Attributes<'_>, info: &RequestInfo) {
    with(|trail| {
        trail.lasts = info.is_lasting();
        trail.begin(attributes, Some(attributes.user));
        trail.tell(Stage::RequestReceived);
    });
}

/// Waits until what is told of the request is kept, where that is to be waited for; false if the request must
/// not go on.
pub async fn settled() -> bool {
    let Ok(trail) = CURRENT.try_with(Clone::clone) else { return true };
    settle(&trail).await
}

async fn settle(trail: &Mutex<Trail>) -> bool {
    let owed = std::mem::take(&mut lock(trail).owed);
    let mut kept = true;
    for event in owed {
        kept &= event.await;
    }
    kept
}

/// Notes that nobody knows who a request is from.
pub fn refused(info: &RequestInfo) {
    with(|trail| {
        trail.refused = true;
        let nobody = User::default();
        trail.begin(&Attributes::of(&nobody, info), None);
    });
}

/// Notes that another server answers the request: what it answers is its own to tell.
pub fn passed_on() {
    with(|trail| trail.is_passed_on = true);
}

/// Notes whom a request acts as.
pub fn acts_as(user: &User, constraint: Option<&'static str>) {
    with(|trail| {
        if let Some((event, _)) = &mut trail.told {
            event.act_as(user, constraint);
        }
    });
}

/// Whether anything is told of the request.
pub fn is_on() -> bool {
    with(|trail| trail.told.is_some()).unwrap_or(false)
}

/// Notes what somebody who deals with the request has to say. What is said first stays.
pub fn annotate(key: &str, value: impl FnOnce() -> String) {
    annotate_from(Level::Metadata, key, value);
}

/// The same, where at least so much is told.
pub fn annotate_from(level: Level, key: &str, value: impl FnOnce() -> String) {
    with(|trail| {
        let Some((event, _)) = trail.told.as_mut().filter(|(event, _)| event.level >= level) else { return };
        if event.annotations.contains_key(key) {
            let id = &event.audit_id;
            tracing::debug!(key, id, "an audit annotation was there already");
        } else {
            event.annotations.insert(key.into(), value());
        }
    });
}

/// Notes what came with the request.
pub fn request_object(object: &Value) {
    with(|trail| {
        let Some((event, verdict)) = &mut trail.told else { return };
        if let Some(reference) = &mut event.object_ref {
            reference.learn(object);
        }
        if event.level >= Level::Request {
            event.request_object = Some(shown(object, verdict));
        }
    });
}

/// Notes the patch that came with the request.
pub fn request_patch(patch: &[u8]) {
    with(|trail| {
        let Some((event, _)) = trail.told.as_mut().filter(|(event, _)| event.level >= Level::Request) else {
            return;
        };
        let document = serde_json::from_slice(patch).ok();
        event.request_object = document.or_else(|| yaml::read(patch).ok().map(|(document, _)| document));
    });
}

/// Notes the options of a deletion, which say nothing of the object.
pub fn request_options(options: &Value) {
    with(|trail| {
        if let Some((event, _)) = trail.told.as_mut().filter(|(event, _)| event.level >= Level::Request) {
            event.request_object = Some(options.clone());
        }
    });
}

/// Notes an answer that is not sent in JSON.
pub fn response_object(document: &Value) {
    with(|trail| trail.answered(document, 0));
}

/// A document as it is told.
fn shown(document: &Value, verdict: &Verdict) -> Value {
    let mut shown = document.clone();
    if verdict.without_managed_fields {
        let rows = shown.get_mut("rows").and_then(Value::as_array_mut);
        rows.into_iter().flatten().filter_map(|row| row.get_mut("object")).for_each(forget_managers);
        let items = shown.get_mut("items").and_then(Value::as_array_mut);
        items.into_iter().flatten().for_each(forget_managers);
        forget_managers(&mut shown);
    }
    shown
}

fn forget_managers(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// Follows a request until it is answered.
pub async fn follow<F>(audit: Arc<Audit>, request: Request, answer: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let head = Head::of(&request);
    let id = HeaderValue::from_str(&head.id);
    let trail = Arc::new(Mutex::new(Trail {
        audit,
        head: Some(head),
        told: None,
        lasts: false,
        refused: false,
        is_passed_on: false,
        owed: Vec::new(),
    }));
    let guard = Guard(Some(trail.clone()));
    let mut response = CURRENT.scope(trail.clone(), answer(request)).await;
    if let Ok(id) = id {
        response.headers_mut().insert(AUDIT_ID, id);
    }
    let response = finish(&trail, response, guard).await;
    settle(&trail).await;
    response
}

/// Tells what came of a request.
async fn finish(trail: &Arc<Mutex<Trail>>, response: Response, mut guard: Guard) -> Response {
    let code = response.status().as_u16();
    let (lasts, refused, reads) = {
        let mut trail = lock(trail);
        if trail.told.is_none() {
            guard.0 = None;
            return response;
        }
        let status = trail.told.as_mut().and_then(|(event, _)| event.response_status.as_mut());
        let is_known = status.map(|status| status.code = code).is_some();
        let lasts = trail.lasts && response.status().is_success() || code == 101;
        // Those that succeed are looked at only where they are told, but for deletions: they answer a status.
        let reads = !lasts
            && !trail.is_passed_on
            && is_json(response.headers())
            && !is_known
            && (code >= 400 || trail.wants_answer() || deletes(&trail));
        (lasts, trail.refused, reads)
    };
    let mut response = response;
    if reads {
        let (head, body) = response.into_parts();
        // Whatever the server answers itself is there already.
        let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        if let Ok(document) = serde_json::from_slice::<Value>(&bytes) {
            lock(trail).answered(&document, code);
        }
        response = Response::from_parts(head, body::full(bytes));
    }
    {
        let mut trail = lock(trail);
        if let Some((event, _)) = &mut trail.told {
            event.response_status.get_or_insert_default().code = code;
        }
        if refused {
            trail.tell(Stage::ResponseStarted);
            guard.0 = None;
            return response;
        }
        if !lasts {
            trail.tell(Stage::ResponseComplete);
            guard.0 = None;
            return response;
        }
        trail.tell(Stage::ResponseStarted);
    }
    let (head, body) = response.into_parts();
    Response::from_parts(head, body::with(body, guard))
}

fn deletes(trail: &Trail) -> bool {
    trail.told.as_ref().is_some_and(|(event, _)| event.is_deletion())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/json") && !headers.contains_key(header::CONTENT_ENCODING)
}

/// Tells the end of a request, however it comes.
struct Guard(Option<Arc<Mutex<Trail>>>);

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(trail) = &self.0 else { return };
        let mut trail = lock(trail);
        let panicked = std::thread::panicking();
        if let Some((event, _)) = &mut trail.told {
            let status = event.response_status.get_or_insert_default();
            if panicked {
                *status = Status::panicked();
            } else if status.code == 0 {
                *status = Status::closed_early();
            }
        }
        trail.tell(if panicked { Stage::Panic } else { Stage::ResponseComplete });
        let owed = std::mem::take(&mut trail.owed);
        if let Ok(runtime) = Handle::try_current()
            && !owed.is_empty()
        {
            // The request is over, so nobody is left to wait.
            runtime.spawn(futures::future::join_all(owed));
        }
    }
}
