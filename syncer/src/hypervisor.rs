//! Streams of pods: logs, exec, attach, port-forward, proxy.
//!
//! The virtual API server has no kubelets to ask. It hands the request over as it came, authorised, and here it
//! is addressed to the host pod and sent to the host's API server with our own credentials. Nothing of the
//! stream's protocol is understood: after "switching protocols" bytes are copied both ways, be they WebSocket
//! or SPDY.
//!
//! What a tenant may reach is decided by the virtual pod: only containers of its spec, not those the host
//! injected. Errors come back in virtual names.

mod address;
mod forward;
mod kubelet;
mod metrics;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::address::Address;
pub use self::metrics::MetricsError;
use crate::context::Context;
use crate::labels::{ObjectKey, virtual_uid};
use crate::resources::pod;
use crate::sanitise::Sanitiser;

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of streamed requests and responses.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// To what a stream is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamTarget {
    /// `pods`, `services` or `nodes`.
    pub resource: String,
    /// The virtual namespace; empty for nodes.
    pub namespace: String,
    /// The virtual name; for `proxy` it may be `scheme:name:port`.
    pub name: String,
    /// `log`, `exec`, `attach`, `portforward` or `proxy`.
    pub subresource: String,
    /// The path below `proxy`.
    pub rest: String,
}

/// Opens streams to pods on the host.
pub struct Hypervisor {
    context: Arc<Context>,
    tunnels: TaskTracker,
    open: CancellationToken,
    _close_on_drop: DropGuard,
}

impl Hypervisor {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        let open = CancellationToken::new();
        Self { context, tunnels: TaskTracker::new(), _close_on_drop: open.clone().drop_guard(), open }
    }

    /// Answers a request for a stream. The request's upgrade, if it asks for one, is taken from it.
    pub async fn connect(&self, target: &StreamTarget, request: Request<Body>) -> Response<Body> {
        // Boxed, so that callers need not prove anew that it may cross threads.
        let opening: BoxFuture<'_, Result<Response<Body>, Refusal>> = Box::pin(self.open(target, request));
        match opening.await {
            Ok(response) => response,
            Err(refusal) => refusal.into_response(),
        }
    }

    /// The `PodMetrics` of a virtual namespace, or (empty) of all, as the host has measured them.
    pub async fn pod_metrics(&self, namespace: &str) -> Result<Vec<Value>, MetricsError> {
        self.require_metrics()?;
        metrics::pods(&self.context, namespace).await
    }

    /// The `NodeMetrics` of the nodes that the tenant sees.
    pub async fn node_metrics(&self) -> Result<Vec<Value>, MetricsError> {
        self.require_metrics()?;
        metrics::nodes(&self.context).await
    }

    fn require_metrics(&self) -> Result<(), MetricsError> {
        if self.context.translator.config.rules.metrics { Ok(()) } else { Err(MetricsError::Off) }
    }

    async fn open(&self, target: &StreamTarget, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let cx = &*self.context;
        let (scheme, name, port) = address::split(&target.name);
        let key = ObjectKey::new(target.namespace.clone(), name);
        let sanitiser;
        let mut container = None;
        let pod;
        match target.resource.as_str() {
            "pods" => {
                pod = self.pod(&key).await?;
                if matches!(target.subresource.as_str(), "log" | "exec" | "attach") {
                    container = Some(address::container(&pod, request.uri().query())?);
                }
                self.require_host(&key, &pod)?;
                sanitiser = pod::sanitiser(&cx.translator, &pod);
            }
            "services" => {
                if cx.virtual_side.services.get(&key).is_none() {
                    return Err(Refusal::not_found("services", name));
                }
                sanitiser = Sanitiser::new(&cx.translator, &target.namespace).knows(name);
            }
            "nodes" => return kubelet::answer(self, target, request).await,
            other => {
                return Err(Refusal::bad_request(format!("{other} have no streams in a virtual cluster")));
            }
        }

        let address = Address {
            namespace: &cx.translator.host_namespace(&key.namespace),
            resource: &target.resource,
            name: &address::join(scheme, &cx.translator.names.host(&key.namespace, &key.name), port),
            subresource: &target.subresource,
            rest: &target.rest,
        };
        let uri = address.uri(request.uri().query(), container.as_deref());
        let virtual_path = Address { namespace: &target.namespace, name: &target.name, ..address }.path();
        let paths = forward::Paths { host: address.path(), visible: virtual_path };
        let tunnels = forward::Tunnels { tracker: &self.tunnels, open: &self.open };
        forward::forward(&cx.host_client, uri, request, &paths, &sanitiser, tunnels).await
    }

    async fn pod(&self, key: &ObjectKey) -> Result<Arc<Pod>, Refusal> {
        if let Some(pod) = self.context.virtual_side.pods.get(key) {
            return Ok(pod);
        }
        let pod = self.context.virtual_object::<Pod>(key).await.map_err(|error| {
            tracing::warn!(pod = %key, %error, "cannot read a pod for its stream");
            Refusal::unavailable()
        })?;
        pod.map(Arc::new).ok_or_else(|| Refusal::not_found("pods", &key.name))
    }

    fn require_host(&self, key: &ObjectKey, pod: &Pod) -> Result<(), Refusal> {
        let host = self.context.host_side.pods.get(&self.context.host_key(key));
        let is_there = host.is_some_and(|host| {
            virtual_uid(&host.metadata) == pod.metadata.uid.as_deref()
                && host.spec.as_ref().and_then(|spec| spec.node_name.as_ref()).is_some()
        });
        if is_there {
            return Ok(());
        }
        Err(Refusal::bad_request(format!("pod {} does not have a host assigned", key.name)))
    }
}

/// A request that was not sent to the host.
#[derive(Debug, PartialEq)]
struct Refusal {
    code: u16,
    reason: &'static str,
    message: String,
}

impl Refusal {
    fn not_found(resource: &str, name: &str) -> Self {
        Self { code: 404, reason: "NotFound", message: format!("{resource} \"{name}\" not found") }
    }

    fn bad_request(message: impl Into<String>) -> Self {
        Self { code: 400, reason: "BadRequest", message: message.into() }
    }

    fn too_large() -> Self {
        let message = "the request body is too large to be proxied".into();
        Self { code: 413, reason: "RequestEntityTooLarge", message }
    }

    fn unavailable() -> Self {
        let message = "the host cluster cannot be reached".into();
        Self { code: 503, reason: "ServiceUnavailable", message }
    }

    fn into_response(self) -> Response<Body> {
        let status = serde_json::json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        let mut response = Response::new(forward::full(status.to_string()));
        *response.status_mut() =
            http::StatusCode::from_u16(self.code).unwrap_or(http::StatusCode::BAD_GATEWAY);
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert(http::header::CONTENT_TYPE, json);
        response
    }
}
