//! Groups that other servers answer for
//! (<https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/>).
//!
//! ```text
//! store ──watch──► availability ──► Aggregation: Remote per APIService with a service
//!                                        │
//! request ──authn, authz──► find ── proxy ──TLS, X-Remote-*──► endpoint of the service
//! ```

pub mod availability;
pub mod client;
pub mod discovery;
pub mod front_proxy;
pub mod metrics;
pub mod openapi;
pub mod proxy;
pub mod registration;
mod status;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::Value;

use self::client::Client;
use crate::{
    metadata,
    outbound::trust::Identity,
    registry::access::{at, get, int_at, list_at, of_type, opt_int, str_at},
};

/// The group and version of an APIService that a Service answers for.
#[derive(Debug)]
pub struct Remote {
    /// The API group; empty for core.
    pub group: String,
    /// The version.
    pub version: String,
    /// The namespace of the Service.
    pub namespace: String,
    /// The Service's name.
    pub service: String,
    /// The Service's port.
    pub port: i64,
    /// `spec.groupPriorityMinimum`
    pub group_priority: i64,
    /// `spec.versionPriority`
    pub version_priority: i64,
    /// Whether it is answered by whoever runs the pods, and the Service does not exist.
    pub hosted: bool,
    /// `spec`, to see whether it has changed.
    spec: Value,
    available: AtomicBool,
    /// The `APIResourceList` that it last answered with.
    resources: RwLock<Option<Arc<Value>>>,
    /// Its OpenAPI documents, as far as they were asked for.
    documents: openapi::Documents,
    client: Client,
}

impl Remote {
    fn read(object: &Value, identity: Option<&Identity>) -> Option<Self> {
        let spec = at(object, "/spec");
        let service = get(spec, "/service")?;
        let (namespace, name) = (str_at(service, "/namespace"), str_at(service, "/name"));
        Some(Self {
            group: str_at(spec, "/group").into(),
            version: str_at(spec, "/version").into(),
            namespace: namespace.into(),
            service: name.into(),
            port: opt_int(service, "/port").unwrap_or(443),
            group_priority: int_at(spec, "/groupPriorityMinimum"),
            version_priority: int_at(spec, "/versionPriority"),
            hosted: metrics::is_hosted(object),
            available: AtomicBool::new(is_available(object)),
            resources: RwLock::default(),
            documents: openapi::Documents::default(),
            client: Client::new(spec, format!("{name}.{namespace}.svc"), identity),
            spec: spec.clone(),
        })
    }

    /// Whether the last check found it to be.
    pub fn is_available(&self) -> bool {
        self.available.load(Ordering::Acquire)
    }

    /// Where its own discovery is.
    pub fn path(&self) -> String {
        match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        }
    }

    /// What it has last said to serve.
    pub fn resources(&self) -> Option<Arc<Value>> {
        self.resources.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests go by the check itself, which is ahead of what is stored about it.
    fn set_available(&self, available: bool) {
        self.available.store(available, Ordering::Release);
    }

    fn set_resources(&self, resources: Option<Arc<Value>>) {
        *self.resources.write().unwrap_or_else(PoisonError::into_inner) = resources;
    }
}

fn is_available(object: &Value) -> bool {
    let condition = of_type(list_at(object, "/status/conditions"), "Available");
    condition.is_some_and(|condition| str_at(condition, "/status") == "True")
}

type Remotes = BTreeMap<String, Arc<Remote>>;

/// All remote groups and versions, by the name of their APIService.
#[derive(Default)]
pub struct Aggregation {
    identity: OnceLock<Identity>,
    remotes: RwLock<Arc<Remotes>>,
}

impl Aggregation {
    /// The remote groups and versions.
    pub fn remotes(&self) -> Arc<Remotes> {
        self.remotes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who answers for a path, if it is not this server.
    pub fn find(&self, path: &str) -> Option<Arc<Remote>> {
        let remotes = self.remotes();
        if remotes.is_empty() {
            return None;
        }
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        let (group, version) = match segments.next()? {
            "api" => ("", segments.next()?),
            "apis" => (segments.next()?, segments.next()?),
            _ => return None,
        };
        remotes.get(&format!("{version}.{group}")).cloned()
    }

    /// Whether a remote server answers for a version of the group.
    pub fn has_group(&self, group: &str) -> bool {
        self.remotes().values().any(|remote| remote.group == group)
    }

    /// Whether a Service answers for anything.
    fn has_services(&self) -> bool {
        self.remotes().values().any(|remote| !remote.hosted)
    }

    /// What the server shows to remote ones; only the first one counts.
    pub fn set_identity(&self, identity: Identity) {
        // It is set once, by whoever starts the server.
        let _ = self.identity.set(identity);
    }

    /// Takes over an APIService; true if it is remote and not what it was.
    fn put(&self, object: &Value) -> bool {
        let name = metadata::name(object);
        if let Some(known) = self.remotes().get(name)
            && known.spec == *at(object, "/spec")
            && known.hosted == metrics::is_hosted(object)
        {
            return false;
        }
        match Remote::read(object, self.identity.get()) {
            Some(remote) => {
                self.change(|remotes| remotes.insert(name.into(), Arc::new(remote)));
                true
            }
            None => {
                self.remove(name);
                false
            }
        }
    }

    fn remove(&self, name: &str) {
        if self.remotes().contains_key(name) {
            self.change(|remotes| remotes.remove(name));
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut Remotes) -> R) {
        let mut remotes = self.remotes.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = remotes.as_ref().clone();
        change(&mut next);
        *remotes = Arc::new(next);
    }
}
