//! API Priority and Fairness: a flood by one user keeps nobody else from being served
//! (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/>).
//!
//! ```text
//!  request ─► FlowSchema ─► priority level ─► seat ─────► served
//!             (schema)       (level)           └ queues ─┘  (queues)
//! ```
//!
//! As long as there are seats, a request costs two short locks. Every request takes one seat until its answer
//! begins. Unused seats are lent at once, not every ten seconds.

pub mod defaults;
mod level;
mod queues;
mod schema;
mod state;
pub mod upkeep;

#[cfg(test)]
mod tests;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderValue, StatusCode, header};
use serde_json::Value;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use self::{level::Configuration, schema::Schema, state::State};
use crate::{body::Response, follow::Follower, metadata, request_info::RequestInfo, respond, user::User};

/// The group of its objects.
pub const GROUP: &str = "flowcontrol.apiserver.k8s.io";

/// How many requests run at once by default: `--max-requests-inflight` and
/// `--max-mutating-requests-inflight`.
pub const SEATS: usize = 400 + 200;

/// How long a request waits at most: a quarter of the longest that it may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A request that waits is told its seat.
type Waiter = oneshot::Sender<Seat>;

/// The limiter; clones share it.
#[derive(Clone, Debug)]
pub struct FlowControl(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    started: Instant,
    /// Told of every change of an object.
    changed: Notify,
}

impl Follower for FlowControl {
    fn group(&self) -> &'static str {
        GROUP
    }

    fn resources(&self) -> &'static [&'static str] {
        &["flowschemas", "prioritylevelconfigurations"]
    }

    fn reset(&self, resource: &'static str, objects: Vec<Value>) {
        let mut state = self.lock();
        if resource == "flowschemas" {
            state.schemas =
                objects.iter().map(|o| (metadata::name(o).into(), Arc::new(Schema::parse(o)))).collect();
        } else {
            state.levels =
                objects.iter().map(|o| (metadata::name(o).into(), Configuration::parse(o))).collect();
        }
        state.rebuild();
        self.0.changed.notify_one();
    }

    fn put(&self, resource: &'static str, object: &Value) {
        let mut state = self.lock();
        let name = metadata::name(object).to_owned();
        if resource == "flowschemas" {
            state.schemas.insert(name, Arc::new(Schema::parse(object)));
        } else {
            state.levels.insert(name, Configuration::parse(object));
        }
        state.rebuild();
        self.0.changed.notify_one();
    }

    fn remove(&self, resource: &'static str, object: &Value) {
        let mut state = self.lock();
        if resource == "flowschemas" {
            state.schemas.remove(metadata::name(object));
        } else {
            state.levels.remove(metadata::name(object));
        }
        state.rebuild();
        self.0.changed.notify_one();
    }
}

/// Where a request belongs, as its answer says.
#[derive(Clone, Debug)]
pub struct Class {
    schema: HeaderValue,
    level: HeaderValue,
}

impl Class {
    /// Says in an answer what its request was taken for.
    pub fn mark(self, response: &mut Response) {
        let headers = response.headers_mut();
        headers.insert("x-kubernetes-pf-flowschema-uid", self.schema);
        headers.insert("x-kubernetes-pf-prioritylevel-uid", self.level);
    }
}

/// The right to run, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    control: FlowControl,
    level: usize,
    /// Where the request waited, and when it went on.
    queue: Option<(usize, f64)>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.control.leave(self.level, self.queue);
    }
}

/// What a level is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests that run.
    pub executing: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Seats of its own.
    pub seats: usize,
}

/// What a waiting request knows.
enum Entry {
    Admitted(Option<Seat>),
    Waiting(oneshot::Receiver<Seat>, Arc<Schema>),
    Refused,
}

impl FlowControl {
    /// A limiter with so many seats, and the objects without which there is none.
    pub fn new(seats: usize) -> Self {
        let state = State::new(seats);
        Self(Arc::new(Shared { state: Mutex::new(state), started: Instant::now(), changed: Notify::new() }))
    }

    /// Waits for a seat. The class is absent for requests that are not counted; an error is the refusal.
    pub async fn admit(
        &self,
        user: &User,
        info: &RequestInfo,
    ) -> (Option<Class>, Result<Option<Seat>, Box<Response>>) {
        if info.is_lasting() && info.verb != "watch" {
            return (None, Ok(None));
        }
        let (class, entry) = self.enter(user, info);
        let admitted = match entry {
            Entry::Admitted(seat) => Ok(seat),
            Entry::Refused => Err(Box::new(too_many_requests())),
            Entry::Waiting(seat, schema) => match tokio::time::timeout(PATIENCE, seat).await {
                Ok(Ok(seat)) => Ok(Some(seat)),
                Ok(Err(_)) | Err(_) => {
                    self.lock().count_refusal(&schema, "time-out");
                    Err(Box::new(too_many_requests()))
                }
            },
        };
        (class, admitted)
    }

    fn enter(&self, user: &User, info: &RequestInfo) -> (Option<Class>, Entry) {
        let now = self.now();
        let mut guard = self.lock();
        let state = &mut *guard;
        let found = state.order.iter().find(|(schema, _)| schema.matches(user, info));
        let Some((schema, index)) = found.map(|(schema, index)| (schema.clone(), *index)) else {
            return (None, Entry::Admitted(None));
        };
        let Some(configuration) = &state.work[index].configuration else {
            return (None, Entry::Admitted(None));
        };
        let class = Some(Class { schema: schema.uid.clone(), level: configuration.uid.clone() });
        if configuration.exempt {
            return (class, Entry::Admitted(None));
        }
        let spare = if state.work[index].is_full() { state.spare() } else { 0 };
        if state.work[index].take(spare) {
            let seat = Seat { control: self.clone(), level: index, queue: None };
            return (class, Entry::Admitted(Some(seat)));
        }
        let mut hasher = DefaultHasher::new();
        (&schema.name, schema.flow(user, info)).hash(&mut hasher);
        let (waiter, seat) = oneshot::channel();
        match state.work[index].wait(waiter, hasher.finish(), Waiter::is_closed, now) {
            Ok(()) => (class, Entry::Waiting(seat, schema)),
            Err((_, why)) => {
                state.count_refusal(&schema, why);
                (class, Entry::Refused)
            }
        }
    }

    fn leave(&self, level: usize, queue: Option<(usize, f64)>) {
        let now = self.now();
        let mut unwanted = Vec::new();
        let mut guard = self.lock();
        let state = &mut *guard;
        state.work[level].leave(queue.map(|(index, since)| (index, now - since)), now);
        // Its own requests first: a seat that was lent comes home.
        let others = (0..state.work.len()).filter(|other| *other != level);
        for index in std::iter::once(level).chain(others) {
            while state.work[index].waiting() > 0 {
                let spare = state.spare();
                let Some((queue, waiter)) = state.work[index].next(spare, now) else { break };
                if waiter.is_closed() {
                    state.work[index].leave(Some((queue, 0.0)), now);
                    continue;
                }
                let seat = Seat { control: self.clone(), level: index, queue: Some((queue, now)) };
                // Who gave up just now passes its seat on, once nothing is locked.
                unwanted.extend(waiter.send(seat).err());
            }
        }
        drop(guard);
        drop(unwanted);
    }

    fn now(&self) -> f64 {
        self.0.started.elapsed().as_secs_f64()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until an object has changed.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Shows `visit` each level by name.
    pub fn each_level(&self, mut visit: impl FnMut(&str, Load)) {
        for level in &self.lock().work {
            if let Some(configuration) = &level.configuration {
                let (executing, waiting) = (level.executing(), level.waiting());
                visit(&configuration.name, Load { executing, waiting, seats: level.seats });
            }
        }
    }

    /// Shows `visit` how often requests of a schema and level were refused, and why.
    pub fn each_refusal(&self, mut visit: impl FnMut(&str, &str, &str, u64)) {
        for ((schema, level, why), count) in &self.lock().refused {
            visit(schema, level, why, *count);
        }
    }
}

fn too_many_requests() -> Response {
    const TEXT: &str = "Too many requests, please try again later.\n";
    let mut response = respond::text(StatusCode::TOO_MANY_REQUESTS, TEXT);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
