//! What of a kubelet can be reached through a node of the virtual cluster: the tenant's own pods.
//!
//! | path                                               | answer                                            |
//! |----------------------------------------------------|---------------------------------------------------|
//! | `healthz`                                          | from here: the node is shown, so it is kept alive |
//! | `pods`, `runningpods`                              | from here: the virtual pods on the node           |
//! | `containerLogs/<namespace>/<pod>/<container>`      | the host pod's log                                |
//! | `metrics`, `metrics/{cadvisor,probes,resource}`    | the host's, of own pods, in virtual names         |
//! | `stats/summary`                                    | the host's, of own pods, in virtual names         |
//!
//! All else is refused. The host's kubelet is only asked for what it alone knows, which takes the right to proxy to
//! nodes there (`nodes/proxy`); without it the refusal of the host is the answer.

mod samples;

use http::{Method, Request, Response, StatusCode, header};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{Body, Hypervisor, Refusal, StreamTarget, address, forward};
use crate::config::NodeSync;
use crate::labels::ObjectKey;
use crate::resources::node;
use crate::sanitise::Sanitiser;

/// The kubelet's port; there is nothing else of the node's to be reached.
const PORT: &str = "10250";

/// The longest answer of a kubelet that is filtered; it is held in memory.
const ANSWER: usize = 32 * 1024 * 1024;

/// Answers a request to a node.
pub(super) async fn answer(
    hypervisor: &Hypervisor,
    target: &StreamTarget,
    request: Request<Body>,
) -> Result<Response<Body>, Refusal> {
    let cx = &*hypervisor.context;
    let (_, name, port) = address::split(&target.name);
    let shown = cx.virtual_side.nodes.get(&ObjectKey::new("", name));
    if !shown.is_some_and(|shown| node::is_kept(&shown.metadata)) {
        return Err(Refusal::not_found("nodes", name));
    }
    let is_kubelet = port.is_none_or(|port| port == PORT);
    if request.method() != Method::GET || !is_kubelet {
        return Err(out_of_reach(name));
    }
    let path: Vec<&str> = target.rest.split('/').filter(|part| !part.is_empty()).collect();
    match path.as_slice() {
        ["healthz", ..] => Ok(answered("text/plain; charset=utf-8", "ok")),
        ["pods"] => Ok(list(hypervisor, name, |pod| serde_json::to_value(pod).unwrap_or_default())),
        ["runningpods"] => Ok(list(hypervisor, name, running)),
        ["containerLogs", namespace, pod, container] => {
            let key = ObjectKey::new(*namespace, *pod);
            log(hypervisor, name, &key, container, request).await
        }
        ["metrics"] | ["metrics", "cadvisor" | "probes" | "resource"] => {
            let text = ask(hypervisor, name, &path.join("/"), request.uri().query()).await?;
            let text = text.map(|text| samples::own(cx, &text, shows_machine(hypervisor)));
            Ok(text.unwrap_or_else(|refused| *refused))
        }
        ["stats", "summary"] => {
            let text = ask(hypervisor, name, "stats/summary", request.uri().query()).await?;
            let text = text.map(|text| {
                let summary: Value = serde_json::from_slice(&text).unwrap_or_default();
                let own = samples::own_summary(cx, summary, shows_machine(hypervisor));
                answered("application/json", own.to_string())
            });
            Ok(text.unwrap_or_else(|refused| *refused))
        }
        _ => Err(out_of_reach(name)),
    }
}

/// Whether the tenant may know how the machine itself fares: not if its nodes are made up.
fn shows_machine(hypervisor: &Hypervisor) -> bool {
    matches!(hypervisor.context.translator.config.nodes, NodeSync::Used | NodeSync::Selected(_))
}

fn out_of_reach(node: &str) -> Refusal {
    let why = "only the pods of this virtual cluster can be reached through its nodes";
    Refusal { code: 403, reason: "Forbidden", message: format!("nodes {node:?} is forbidden: {why}") }
}

fn answered(kind: &'static str, text: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(forward::full(text));
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

/// The virtual pods on a node, as the kubelet lists them.
fn list(hypervisor: &Hypervisor, node: &str, show: impl Fn(&Pod) -> Value) -> Response<Body> {
    let pods = hypervisor.context.virtual_side.pods.all();
    let items: Vec<Value> = pods
        .iter()
        .filter(|pod| node::of(pod) == Some(node))
        .map(|pod| show(pod))
        .filter(|v| !v.is_null())
        .collect();
    let list = json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items });
    answered("application/json", list.to_string())
}

/// A pod as the container runtime knows it; nothing if it does not run.
fn running(pod: &Pod) -> Value {
    let is_running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    let Some(spec) = pod.spec.as_ref().filter(|_| is_running) else { return Value::Null };
    let containers: Vec<Value> = spec
        .containers
        .iter()
        .map(|container| json!({ "name": container.name, "image": container.image, "resources": {} }))
        .collect();
    let metadata = &pod.metadata;
    json!({
        "metadata": { "name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid },
        "spec": { "containers": containers },
        "status": {},
    })
}

async fn log(
    hypervisor: &Hypervisor,
    node: &str,
    key: &ObjectKey,
    container: &str,
    request: Request<Body>,
) -> Result<Response<Body>, Refusal> {
    let pod = hypervisor.context.virtual_side.pods.get(key);
    let pod = pod.filter(|pod| node::of(pod) == Some(node)).ok_or_else(|| out_of_reach(node))?;
    if !crate::resources::pod::containers(&pod).contains(&container) {
        return Err(out_of_reach(node));
    }
    let target = StreamTarget {
        resource: "pods".into(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        subresource: "log".into(),
        rest: String::new(),
    };
    let (mut parts, body) = request.into_parts();
    let query = address::with_container(parts.uri.query().unwrap_or_default(), container);
    parts.uri = http::uri::PathAndQuery::try_from(format!("/?{query}"))
        .map(http::Uri::from)
        .map_err(|_| Refusal::bad_request("the query cannot be read"))?;
    Box::pin(hypervisor.open(&target, Request::from_parts(parts, body))).await
}

/// What the host's kubelet says; its refusal is an answer too.
async fn ask(
    hypervisor: &Hypervisor,
    node: &str,
    rest: &str,
    query: Option<&str>,
) -> Result<Result<bytes::Bytes, Box<Response<Body>>>, Refusal> {
    let cx = &*hypervisor.context;
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let asked = Request::get(format!("/api/v1/nodes/{node}/proxy/{rest}{query}"));
    let asked = asked.body(kube::client::Body::empty()).map_err(|_| Refusal::unavailable())?;
    let response = cx.host_client.send(asked).await.map_err(|error| {
        tracing::warn!(%error, node, "cannot ask a kubelet of the host");
        Refusal::unavailable()
    })?;
    if response.status() != StatusCode::OK {
        let sanitiser = Sanitiser::new(&cx.translator, "");
        return Ok(Err(Box::new(forward::sanitised(response, &sanitiser).await)));
    }
    let body = forward::collect(response.into_body(), ANSWER).await.ok_or_else(Refusal::unavailable)?;
    Ok(Ok(body))
}
