//! The task behind APIServices: knows the remote ones, checks whether they answer and asks what they serve.
//!
//! Services and endpoints are watched only while there are remote APIServices.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream, stream::SelectAll};
use serde_json::Value;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use vkube_store::{Event, Range, Signal};

use super::{
    Remote, discovery, registration,
    status::{self, Verdict},
};
use crate::{
    metadata,
    outbound::resolve,
    registry::access::{has, list_at, of_type, str_at},
    server::{Server, builtin},
    status::ApiError,
    stored,
};

/// How often what did not change is checked again.
const AGAIN: Duration = Duration::from_secs(30);

/// The first delay after a failed check; it doubles until [`AGAIN`].
const BACKOFF: Duration = Duration::from_millis(5);

/// How long to wait after the store has failed.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    ApiServices,
    Services,
    Slices,
}

impl Source {
    fn resource(self) -> (&'static str, &'static str) {
        match self {
            Self::ApiServices => ("apiregistration.k8s.io", "apiservices"),
            Self::Services => ("", "services"),
            Self::Slices => ("discovery.k8s.io", "endpointslices"),
        }
    }
}

/// Nothing is the end of a watch.
type Changes = SelectAll<stream::BoxStream<'static, (Source, Option<Signal>)>>;

/// The task's state.
pub struct Controller {
    server: Server,
    changes: Changes,
    /// Whether services and endpoints are watched.
    wide: bool,
    checks: JoinSet<()>,
    running: HashMap<String, AbortHandle>,
}

impl Controller {
    /// Reads all APIServices; when this returns, requests find the remote ones.
    pub async fn start(server: &Server) -> Result<Self, ApiError> {
        let mut controller = Self {
            server: server.clone(),
            changes: SelectAll::new(),
            wide: false,
            checks: JoinSet::new(),
            running: HashMap::new(),
        };
        let objects = controller.open().await?;
        registration::forget_old(server, &objects).await?;
        Ok(controller)
    }

    /// Follows them until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut clock = tokio::time::interval(AGAIN);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        clock.tick().await;
        loop {
            let result = tokio::select! {
                () = shutdown.cancelled() => return,
                Some(_) = self.checks.join_next() => Ok(()),
                change = self.changes.next() => self.observe(change).await,
                _ = clock.tick(), if self.wide => {
                    self.check_where(|_| true);
                    Ok(())
                }
            };
            if let Err(error) = result {
                tracing::error!(%error, "cannot follow API services; reading all again");
                self.changes = SelectAll::new();
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => {}
                }
            }
        }
    }

    /// Takes the present state as it is and watches from there.
    async fn open(&mut self) -> Result<Vec<Value>, ApiError> {
        self.changes = SelectAll::new();
        let objects = self.watch(Source::ApiServices).await?;
        let remotes = self.server.aggregation.remotes();
        for gone in remotes.keys().filter(|name| !objects.iter().any(|o| metadata::name(o) == **name)) {
            self.server.aggregation.remove(gone);
        }
        self.wide = false;
        for object in &objects {
            self.take(object).await?;
        }
        self.widen().await?;
        self.check_where(|_| true);
        Ok(objects)
    }

    /// Watches services and endpoints if, and only if, they matter.
    async fn widen(&mut self) -> Result<(), ApiError> {
        if self.wide || !self.server.aggregation.has_services() {
            return Ok(());
        }
        self.watch(Source::Services).await?;
        self.watch(Source::Slices).await?;
        self.wide = true;
        Ok(())
    }

    async fn watch(&mut self, source: Source) -> Result<Vec<Value>, ApiError> {
        let (group, plural) = source.resource();
        let prefix = builtin(group, plural)?.prefix();
        let store = self.server.store();
        // Of services and endpoints it only matters that they change.
        let limit = usize::from(source != Source::ApiServices);
        let page = store.list(Range { prefix: prefix.clone(), limit, ..Range::default() }).await?;
        let signals = store.watch(&prefix, page.revision).await?;
        let signals = signals.map(Some).chain(stream::once(std::future::ready(None)));
        self.changes.push(signals.map(move |signal| (source, signal)).boxed());
        page.entries.iter().map(stored::decode).collect()
    }

    async fn observe(&mut self, change: Option<(Source, Option<Signal>)>) -> Result<(), ApiError> {
        match change {
            Some((source, Some(Signal::Event(event)))) => self.event(source, &event).await,
            Some((_, Some(Signal::Progress(_)))) => Ok(()),
            // A watch that falls behind ends, and nobody knows what it has missed.
            Some((_, None)) | None => self.open().await.map(drop),
        }
    }

    async fn event(&mut self, source: Source, event: &Event) -> Result<(), ApiError> {
        let object = stored::decode(&event.entry)?;
        match source {
            Source::ApiServices if event.deleted => {
                let name = metadata::name(&object);
                self.server.aggregation.remove(name);
                if let Some(check) = self.running.remove(name) {
                    check.abort();
                }
                registration::sync(&self.server, name).await?;
                if self.wide && !self.server.aggregation.has_services() {
                    self.open().await?;
                }
                Ok(())
            }
            Source::ApiServices => {
                if self.take(&object).await? {
                    self.widen().await?;
                    let name = metadata::name(&object);
                    if let Some(remote) = self.server.aggregation.remotes().get(name) {
                        self.check(name, remote);
                    }
                }
                Ok(())
            }
            Source::Services => {
                self.check_service(metadata::namespace(&object), metadata::name(&object));
                Ok(())
            }
            Source::Slices => {
                if let Some(service) = resolve::service_of(&object) {
                    self.check_service(metadata::namespace(&object), service);
                }
                Ok(())
            }
        }
    }

    /// Takes over an APIService; true if it is to be checked.
    async fn take(&mut self, object: &Value) -> Result<bool, ApiError> {
        let changed = self.server.aggregation.put(object);
        let name = metadata::name(object);
        registration::sync(&self.server, name).await?;
        if !has(object, "/spec/service") {
            if let Some(check) = self.running.remove(name) {
                check.abort();
            }
            let condition = of_type(list_at(object, "/status/conditions"), "Available");
            if condition.is_none_or(|c| str_at(c, "/reason") != "Local" || str_at(c, "/status") != "True") {
                status::write(&self.server, name, &Verdict::local()).await?;
            }
        }
        Ok(changed)
    }

    fn check_service(&mut self, namespace: &str, name: &str) {
        self.check_where(|remote| remote.namespace == namespace && remote.service == name);
    }

    fn check_where(&mut self, meant: impl Fn(&Remote) -> bool) {
        for (name, remote) in self.server.aggregation.remotes().iter().filter(|(_, remote)| meant(remote)) {
            self.check(name, remote);
        }
    }

    /// Checks now, whatever check is under way.
    fn check(&mut self, name: &str, remote: &Arc<Remote>) {
        let check = check(self.server.clone(), name.to_owned(), remote.clone());
        if let Some(old) = self.running.insert(name.into(), self.checks.spawn(check)) {
            old.abort();
        }
    }
}

/// Checks until there is an answer that only an event can change.
async fn check(server: Server, name: String, remote: Arc<Remote>) {
    let mut delay = BACKOFF;
    loop {
        let verdict = status::judge(&server, &remote).await;
        if verdict.status == "True" {
            // What it serves is known before anybody is told that it is available.
            discovery::refresh(&server, &remote).await;
        }
        remote.set_available(verdict.status == "True");
        let written = status::write(&server, &name, &verdict).await;
        if let Err(error) = &written {
            tracing::error!(%error, name, "cannot write the status of an API service");
        }
        if written.is_ok() && !verdict.must_be_retried() {
            return;
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(AGAIN);
    }
}
