//! The syncer itself: starts the watches, then works off the queue.
//!
//! Nothing is reconciled before every cache is complete: a host object that has not been listed yet would look
//! as if it had vanished, and its virtual pod would be finished.

mod by_rule;
mod copies;
mod watches;

pub(crate) use by_rule::{RETRY, enter};

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::allocation::ServiceAllocator;
use crate::config::Config;
use crate::context::{Context, Kind, Task};
use crate::dns::Zone;
use crate::error::Error;
use crate::hypervisor::Hypervisor;
use crate::labels::Translator;
use crate::ledger;
use crate::queue::Outcome;
use crate::resources::{self, event, pod};
use crate::sanitise::Sanitiser;
use crate::spaces;
use crate::watch::Outstanding;

/// Objects worked on at once. Each waits for API servers most of its time; more would only burden the host.
const WORKERS: usize = 16;

/// How often a replica whose turn it is not forgets what it need not do any more.
const TIDY: Duration = Duration::from_secs(300);

/// Keeps one virtual cluster and its host namespace in step.
pub struct Syncer {
    context: Arc<Context>,
    outstanding: Outstanding,
    reported: Mutex<HashMap<Task, String>>,
    is_synchronising: AtomicBool,
}

impl Syncer {
    /// A syncer between `virtual_client` and `host_client`. The host client must not time out reads: pods' streams
    /// may be silent for as long as they like.
    pub fn new(virtual_client: Client, host_client: Client, config: Config) -> Self {
        let context = Arc::new(Context::new(Translator::new(config), virtual_client, host_client));
        let (outstanding, _) = watch::channel(usize::MAX);
        Self { context, outstanding, reported: Mutex::default(), is_synchronising: AtomicBool::new(false) }
    }

    /// The hook by which the virtual API server gets addresses for Services.
    pub fn allocator(&self) -> ServiceAllocator {
        ServiceAllocator::new(self.context.clone())
    }

    /// The way to the streams of pods: logs, exec, attach, port-forward, proxy.
    pub fn hypervisor(&self) -> Hypervisor {
        Hypervisor::new(self.context.clone())
    }

    /// The virtual cluster's names, for its DNS server.
    pub fn zone(&self) -> Zone {
        Zone::new(self.context.clone(), self.outstanding.subscribe())
    }

    /// Whether all caches have been filled, so that pods are synchronised and names resolved.
    pub fn is_ready(&self) -> bool {
        *self.outstanding.borrow() == 0
    }

    /// Waits until [`Syncer::is_ready`].
    pub async fn ready(&self) {
        let mut outstanding = self.outstanding.subscribe();
        // The sender lives as long as we do, so waiting cannot fail.
        let _ = outstanding.wait_for(|outstanding| *outstanding == 0).await;
    }

    /// Runs until `shutdown`, as the only one of its virtual cluster.
    pub async fn run(&self, shutdown: CancellationToken) {
        tokio::join!(self.follow(shutdown.clone()), self.synchronise(shutdown));
    }

    /// Fills the caches until `shutdown`, so that names are resolved, streams find their pods, and Services get addresses.
    /// Every replica does.
    pub async fn follow(&self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = all(self.watches()) => {}
            () = self.forget_what_is_gone(), if self.context.translator.config.is_replicated => {}
        }
    }

    /// What a replica would do if it were its turn gathers for the day it is. What has come and gone in the meantime would
    /// gather for ever.
    async fn forget_what_is_gone(&self) {
        let cx = &*self.context;
        loop {
            tokio::time::sleep(TIDY).await;
            if !self.is_synchronising.load(Ordering::Relaxed) {
                cx.queue.retain(|task| cx.may_exist(task));
            }
        }
    }

    /// Brings both sides in step until `shutdown`, by what [`Syncer::follow`] sees. One replica at a time does.
    pub async fn synchronise(&self, shutdown: CancellationToken) {
        let cx = &*self.context;
        self.is_synchronising.store(true, Ordering::Relaxed);
        let watches = all(self.optional_watches());
        let work = async {
            self.ready().await;
            tracing::info!("caches are complete, synchronising");
            let workers: FuturesUnordered<_> = (0..WORKERS).map(|_| self.work()).collect();
            futures::future::join(workers.collect::<Vec<()>>(), spaces::ask(cx)).await;
        };
        let tell = self.all_events();
        tokio::select! {
            () = shutdown.cancelled() => {}
            ((), (), (), ()) = futures::future::join4(watches, tell, work, ledger::open(cx)) => {}
        }
    }

    async fn work(&self) {
        let cx = &*self.context;
        loop {
            let task = cx.queue.next().await;
            // Boxed, so that an idle worker is small.
            let result = Box::pin(resources::reconcile(cx, &task)).await;
            let outcome = match result {
                Ok(outcome) => {
                    self.reported().remove(&task);
                    outcome
                }
                Err(error) => {
                    self.report(&task, &error).await;
                    Outcome::Failed
                }
            };
            cx.queue.finish(task, outcome);
        }
    }

    /// Tells the tenant of a failure, once for each different message.
    async fn report(&self, task: &Task, error: &Error) {
        let cx = &*self.context;
        if error.is_transient() {
            tracing::debug!(kind = cx.named(task.kind).1, object = %task.key, %error, "trying again");
            return;
        }
        let text = error.status().map_or_else(|| error.to_string(), |status| status.message.clone());
        let mut sanitiser = Sanitiser::new(&cx.translator, &task.key.namespace).knows(&task.key.name);
        let virtual_pod = cx.virtual_side.pods.get(&task.key).filter(|_| task.kind == Kind::Pod);
        if let Some(pod) = &virtual_pod {
            sanitiser = pod::sanitiser(&cx.translator, pod);
        }
        let message = sanitiser.clean(&text);
        if self.reported().insert(task.clone(), message.clone()).as_ref() == Some(&message) {
            return;
        }
        tracing::warn!(kind = cx.named(task.kind).1, object = %task.key, %error, "cannot synchronise");
        if let Err(error) = event::report(cx, task.kind, &task.key, &message).await {
            tracing::debug!(%error, "cannot write an event");
        }
    }

    fn reported(&self) -> std::sync::MutexGuard<'_, HashMap<Task, String>> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does all of it at once.
async fn all(jobs: Vec<watches::Job<'_>>) {
    let mut jobs: FuturesUnordered<_> = jobs.into_iter().collect();
    while jobs.next().await.is_some() {}
}
