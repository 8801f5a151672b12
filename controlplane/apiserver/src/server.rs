//! The API server: its parts, and the `tower::Service` that it is.

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{Method, header};
use http_body_util::{BodyExt, Full};
use ipnet::IpNet;
use serde_json::Value;
use tower::Service;
use vkube_store::Store;

use crate::{
    admission::Chain,
    aggregation::Aggregation,
    audit::Audit,
    authentication::Authenticators,
    authorization::Authorizer,
    block::Blocked,
    body::{Body, BoxError, Request, Response},
    catalog::Catalog,
    connect::Connector,
    flow_control::FlowControl,
    health::Progress,
    impersonation::LastModes,
    metrics::Counters,
    outbound::refusal,
    pipeline,
    rbac::authorizer::Rbac,
    registry::Resource,
    resource::Definition,
    service_allocation::Allocator,
    snapshot::Shelf,
    status::ApiError,
    stored,
    user::User,
};

/// The parts of a server.
pub struct Parts {
    /// Where objects are kept.
    pub store: Arc<dyn Store>,
    /// Who is who.
    pub authenticators: Authenticators,
    /// Who may do what.
    pub authorizers: Vec<Box<dyn Authorizer>>,
    /// The roles and bindings, if RBAC is among the authorizers.
    pub rbac: Option<Rbac>,
    /// Which requests run, and which wait.
    pub flow_control: FlowControl,
    /// What is told of requests; nothing without a policy.
    pub audit: Option<Arc<Audit>>,
    /// Where the time of the last request of a user from outside is noted, in seconds since 1970.
    pub activity: Option<Arc<AtomicI64>>,
    /// What objects must be like.
    pub admission: Chain,
    /// Where streams to pods, nodes and services go; without one they are refused.
    pub connector: Option<Arc<dyn Connector>>,
    /// Where Services get their addresses from.
    pub allocator: Arc<dyn Allocator>,
    /// Whether the server has the `kubernetes` Service and the range of cluster IPs to itself; in a
    /// virtual cluster the syncer brings them from the host.
    pub own_services: bool,
    /// The address that clients are told to use (`serverAddressByClientCIDRs`).
    pub advertise_address: String,
    /// The range of cluster IPs.
    pub service_range: IpNet,
    /// Writes that are refused to whoever comes from outside the process.
    pub blocked: Blocked,
    /// Where snapshots are kept; nowhere without a directory.
    pub snapshots: Option<Shelf>,
}

/// A running API server; clones share it.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

/// What [`Server`] shares.
pub struct Inner {
    /// The parts.
    pub parts: Parts,
    /// What is served.
    pub catalog: Catalog,
    /// What other servers serve.
    pub aggregation: Aggregation,
    /// How users act as others.
    pub impersonation: LastModes,
    /// What the server counts about itself.
    pub counters: Counters,
    /// What it has come to.
    pub progress: Progress,
}

impl std::ops::Deref for Server {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        Self {
            inner: Arc::new(Inner {
                parts,
                catalog: Catalog::default(),
                aggregation: Aggregation::default(),
                impersonation: LastModes::default(),
                counters: Counters::default(),
                progress: Progress::default(),
            }),
        }
    }

    /// Notes that a user has asked for something.
    pub fn note(&self, user: &User) {
        if let Some(activity) = self.inner.parts.activity.as_ref().filter(|_| user.is_from_outside()) {
            activity.store(jiff::Timestamp::now().as_second(), Ordering::Relaxed);
        }
    }

    /// The server as a service for calls from within the process, which all come from `user`.
    pub fn service(&self, user: User) -> InProcess {
        InProcess { server: self.clone(), user: Arc::new(user) }
    }

    /// Answers one request.
    pub fn respond(&self, request: Request) -> BoxFuture<'static, Response> {
        let server = self.clone();
        Box::pin(async move { pipeline::serve(&server, request).await })
    }

    /// The store.
    pub fn store(&self) -> &dyn Store {
        self.parts.store.as_ref()
    }

    /// An object of a built-in resource, by the resource's group and plural, at its stored version.
    pub async fn find(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, ApiError> {
        let definition = builtin(group, plural)?;
        let entry = self.store().get(&definition.key(namespace, name), None).await?;
        entry.as_ref().map(stored::decode).transpose()
    }

    /// All objects of a built-in resource, in one namespace or (empty) in all.
    pub async fn find_all(&self, group: &str, plural: &str, namespace: &str) -> Result<Vec<Value>, ApiError> {
        let definition = builtin(group, plural)?;
        let mut prefix = definition.prefix();
        if definition.namespaced() && !namespace.is_empty() {
            prefix.push_str(namespace);
            prefix.push('/');
        }
        let page = self.store().list(vkube_store::Range { prefix, ..Default::default() }).await?;
        page.entries.iter().map(stored::decode).collect()
    }
}

/// A built-in resource at the version that is stored.
pub fn builtin(group: &str, plural: &str) -> Result<Definition, ApiError> {
    crate::registry::RESOURCES
        .iter()
        .find(|r| r.group == group && r.plural == plural && r.stored_as.is_none())
        .map(|r: &'static Resource| Definition::Builtin(r))
        .ok_or_else(|| ApiError::internal(format!("no resource {plural}.{group}")))
}

/// The address that a request came from.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

/// The server for calls from within the process.
#[derive(Clone, Debug)]
pub struct InProcess {
    server: Server,
    user: Arc<User>,
}

impl InProcess {
    /// Sends a change whose answer is of no interest, unless it is an error; without `body` if that is null.
    pub async fn change(
        &mut self,
        method: Method,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<(), ApiError> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header(header::CONTENT_TYPE, content_type).body(Full::new(body));
        let Ok(response) = self.call(request.map_err(ApiError::internal)?).await;
        let code = response.status();
        if code.is_success() {
            return Ok(());
        }
        let answer = response.into_body().collect().await.map_err(ApiError::internal)?.to_bytes();
        Err(ApiError::new(code, "", refusal::shown(code, &answer)))
    }
}

impl<B> Service<http::Request<B>> for InProcess
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let server = self.server.clone();
        let mut request: Request = request.map(|b| -> Body { b.map_err(Into::into).boxed_unsync() });
        request.extensions_mut().insert(self.user.clone());
        Box::pin(server.respond(request).map(Ok))
    }
}
