//! Events that another server is told
//! (<https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/#webhook-backend>).
//!
//! In batches nobody waits for that server: what does not fit into the buffer is lost, and said to be.
//! Otherwise a request goes on when the server has its events.

use std::{num::NonZeroUsize, path::PathBuf, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use serde_json::Value;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{event::Event, policy::Stage};
use crate::outbound::{
    kubeconfig::{self, Remote},
    refusal, review,
};

/// How long the server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long what is left may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(10);

/// When events are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Later, several at once.
    Batch(Batch),
    /// Before the request goes on.
    Blocking {
        /// A request that cannot be told is refused.
        strict: bool,
    },
}

/// What the flags `--audit-webhook-batch-*` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// How many events wait at most.
    pub buffer: NonZeroUsize,
    /// How many are sent at once.
    pub max_size: NonZeroUsize,
    /// How long they wait for others.
    pub max_wait: Duration,
}

/// What the flags `--audit-webhook-*` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The kubeconfig that leads to the server.
    pub config_file: PathBuf,
    /// When events are sent.
    pub mode: Mode,
    /// How long the server is left alone after its first failure.
    pub initial_backoff: Duration,
}

/// An event in JSON.
type Text = Box<str>;

/// Whether an event is kept, as soon as that is known.
pub type Kept = BoxFuture<'static, bool>;

/// Tells another server.
#[derive(Debug)]
pub struct Webhook {
    sender: Arc<Sender>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Buffer(mpsc::Sender<Text>),
    Direct { strict: bool },
}

/// Sends the batches of a webhook.
#[derive(Debug)]
pub struct Batches {
    sender: Arc<Sender>,
    events: mpsc::Receiver<Text>,
    batch: Batch,
    /// What is to be sent next.
    pending: Vec<Text>,
}

#[derive(Debug)]
struct Sender {
    remote: Remote,
    backoff: Duration,
}

impl Webhook {
    /// A way to the server; batches are to be sent by a task.
    pub fn new(options: &Options) -> Result<(Self, Option<Batches>), kubeconfig::Error> {
        let remote = Remote::load(&options.config_file)?;
        let sender = Arc::new(Sender { remote, backoff: options.initial_backoff });
        Ok(match options.mode {
            Mode::Blocking { strict } => (Self { sender, way: Way::Direct { strict } }, None),
            Mode::Batch(batch) => {
                let (buffer, events) = mpsc::channel(batch.buffer.get());
                let batches = Batches { sender: sender.clone(), events, batch, pending: Vec::new() };
                (Self { sender, way: Way::Buffer(buffer) }, Some(batches))
            }
        })
    }

    /// Tells an event; nothing is to be waited for in batches.
    pub fn tell(&self, event: &Event) -> Option<Kept> {
        let text = text(event)?;
        match &self.way {
            Way::Buffer(buffer) => {
                if let Err(TrySendError::Full(_)) = buffer.try_send(text) {
                    tracing::error!("an audit event is lost: audit buffer queue blocked");
                }
                None
            }
            Way::Direct { strict } => {
                // Only what is told first can keep a request from happening.
                let matters = *strict && event.stage == Stage::RequestReceived;
                let sender = self.sender.clone();
                Some(async move { sender.send(&[text]).await || !matters }.boxed())
            }
        }
    }
}

/// An event as an item of a list, which does not say what it is.
fn text(event: &Event) -> Option<Text> {
    let mut document = serde_json::to_value(event).unwrap_or_default();
    let fields = document.as_object_mut()?;
    fields.remove("kind");
    fields.remove("apiVersion");
    Some(Value::Object(std::mem::take(fields)).to_string().into())
}

impl Sender {
    /// Sends events; they are lost if the server does not take them.
    async fn send(&self, events: &[Text]) -> bool {
        let list = format!(
            r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{{}},"items":[{}]}}"#,
            events.join(",")
        );
        let why = match review::insist(&self.remote, &Bytes::from(list), PATIENCE, self.backoff).await {
            Ok(answer) if answer.status().is_success() => return true,
            Ok(answer) => refusal::shown(answer.status(), answer.body()),
            Err(why) => why,
        };
        tracing::error!(why, count = events.len(), "audit events are lost");
        false
    }
}

impl Batches {
    /// Sends what comes until `shutdown`, and then what is left.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                more = self.collect() => if !more { return },
            }
            self.send(&shutdown).await;
            self.pending.clear();
        }
        if timeout(FAREWELL, self.send_rest()).await.is_err() {
            let count = self.pending.len() + self.events.len();
            tracing::error!(count, "audit events are lost");
        }
    }

    /// Waits for the next batch; false when there is none to come. Nothing is lost when the wait is given up.
    async fn collect(&mut self) -> bool {
        let max = self.batch.max_size.get();
        self.events.recv_many(&mut self.pending, max).await;
        let until = Instant::now() + self.batch.max_wait;
        while !self.pending.is_empty() && self.pending.len() < max {
            let room = max - self.pending.len();
            match timeout_at(until, self.events.recv_many(&mut self.pending, room)).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        !self.pending.is_empty()
    }

    async fn send(&self, shutdown: &CancellationToken) {
        let mut sending = pin!(self.sender.send(&self.pending));
        tokio::select! {
            _ = &mut sending => {}
            () = shutdown.cancelled() => {
                if timeout(FAREWELL, sending).await.is_err() {
                    tracing::error!(count = self.pending.len(), "audit events are lost");
                }
            }
        }
    }

    async fn send_rest(&mut self) {
        loop {
            while self.pending.len() < self.batch.max_size.get()
                && let Ok(event) = self.events.try_recv()
            {
                self.pending.push(event);
            }
            if self.pending.is_empty() {
                return;
            }
            self.sender.send(&self.pending).await;
            self.pending.clear();
        }
    }
}
