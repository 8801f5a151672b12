//! The streams of pods: logs, exec, attach, port-forward and proxies, as a kubelet serves them.
//!
//! ```text
//!  request ─► which subresource ─► logs ─────────────────────────► body of chunks
//!                               ├► exec, attach ─► session ◄─pipes─► WebSocket or SPDY/3.1
//!                               ├► portforward ──► TCP ◄──────────► SPDY/3.1, that in a WebSocket, or WebSocket
//!                               └► proxy ────────► HTTP to the pod or Service
//! ```

mod forward;
mod handshake;
mod logs;
mod proxy;
mod session;
mod spdy;
mod terminal;
mod transport;

use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use tokio_util::task::TaskTracker;
use vkube_apiserver::{
    body::{Request, Response},
    connect::{Connector, Target},
    status::ApiError,
};

use crate::node::{Node, context::PodContext};
use handshake::Upgrade;
use session::{Session, Wants};

/// Serves the streams of the pods of a sandbox.
#[derive(Clone, Default)]
pub struct Streams {
    /// Set once the nodes exist: they need the API server that this serves.
    nodes: Arc<OnceLock<Vec<Arc<Node>>>>,
    connections: TaskTracker,
}

impl Streams {
    /// Sets the nodes whose pods are served; only the first call counts.
    pub fn set_nodes(&self, nodes: Vec<Arc<Node>>) {
        if self.nodes.set(nodes).is_err() {
            tracing::error!("the nodes behind the streams were set twice");
        }
    }

    fn pod(&self, target: &Target) -> Result<Arc<PodContext>, ApiError> {
        let mut nodes = self.nodes.get().into_iter().flatten();
        nodes.find_map(|node| node.pod(&target.namespace, &target.name)).ok_or_else(|| {
            ApiError::bad_request(format!("pod {} does not have a host assigned", target.name))
        })
    }

    async fn pod_stream(&self, target: Target, request: Request) -> Result<Response, ApiError> {
        let pod = self.pod(&target)?;
        match target.subresource.as_str() {
            "log" => logs::serve(&pod, request.uri().query().unwrap_or_default()).await,
            "exec" => {
                let (wants, argv) = (Wants::exec(&request), session::command(&request));
                let container = container(&pod, &request);
                let session = Session::exec(pod, &container, argv, wants)?;
                self.run_session(request, session)
            }
            "attach" => {
                let container = container(&pod, &request);
                let session = Session::attach(pod, &container, Wants::attach(&request))?;
                self.run_session(request, session)
            }
            "portforward" => {
                let ports = forward::ports(request.uri().query().unwrap_or_default());
                let (response, upgrade) = Upgrade::forward(request)?;
                let ip = pod.ip;
                self.connections.spawn(async move {
                    if let Err(error) = forward::serve(upgrade, ip, ports).await {
                        tracing::debug!(%error, "port-forward ended");
                    }
                });
                Ok(response)
            }
            other => Err(ApiError::bad_request(format!("pods have no stream {other:?}"))),
        }
    }

    fn run_session(&self, request: Request, session: Session) -> Result<Response, ApiError> {
        let (response, upgrade) = Upgrade::session(request)?;
        self.connections.spawn(async move {
            if let Err(error) = transport::serve(upgrade, session).await {
                tracing::debug!(%error, "session ended");
            }
        });
        Ok(response)
    }
}

impl Connector for Streams {
    fn connect(&self, target: Target, request: Request) -> BoxFuture<'static, Result<Response, ApiError>> {
        let streams = self.clone();
        Box::pin(async move {
            match (target.resource.as_str(), target.subresource.as_str()) {
                ("pods", "proxy") => {
                    let (scheme, name, port) = proxy::parts(&target.name);
                    let named = Target { name: name.to_owned(), ..target.clone() };
                    let ip = streams.pod(&named)?.ip;
                    proxy::to_pod(&target, scheme, port, ip, request).await
                }
                ("pods", _) => streams.pod_stream(target, request).await,
                ("services", "proxy") => proxy::to_service(&target, request).await,
                (resource, subresource) => {
                    Err(ApiError::bad_request(format!("the sandbox serves no {subresource} of {resource}")))
                }
            }
        })
    }
}

/// The container that a request means.
fn container(pod: &PodContext, request: &Request) -> String {
    let query = request.uri().query().unwrap_or_default();
    let asked = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "container");
    let asked = asked.map(|(_, value)| value.into_owned()).filter(|name| !name.is_empty());
    asked.unwrap_or_else(|| default_container(pod))
}

/// The container that is meant when none is named.
fn default_container(pod: &PodContext) -> String {
    let pod = pod.pod();
    let annotations = pod.metadata.annotations.as_ref();
    let annotated =
        annotations.and_then(|annotations| annotations.get("kubectl.kubernetes.io/default-container"));
    let first = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    annotated.cloned().or_else(|| first.map(|container| container.name.clone())).unwrap_or_default()
}
