//! `metrics.k8s.io/v1beta1` without a metrics-server: whoever runs the pods has the figures
//! (<https://kubernetes.io/docs/tasks/debug/debug-cluster/resource-metrics-pipeline/>).
//!
//! An APIService that was brought from the host says that it is so; its Service does not exist. Requests for the
//! group are answered here, in the form that metrics-server has for them.

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    body::Response,
    connect::MetricsOf,
    metadata,
    negotiation::Encoding,
    options::Query,
    registry::access::{at, str_at},
    request_info::RequestInfo,
    respond,
    selectors::labels::LabelSelector,
    server::Server,
    status::{ApiError, GroupResource},
};

/// The group that is answered.
pub const GROUP: &str = "metrics.k8s.io";

const VERSION: &str = "metrics.k8s.io/v1beta1";

/// The label of what comes from the host.
const FROM_HOST: &str = "/metadata/labels/vkube.dev~1from-host";

/// Whether the APIService says that whoever runs the pods answers.
pub fn is_hosted(object: &Value) -> bool {
    let marked = object.pointer(FROM_HOST).and_then(Value::as_str);
    str_at(object, "/spec/group") == GROUP && marked == Some("true")
}

/// What is served, as discovery shows it.
pub fn resources() -> Value {
    let resource = |name: &str, kind: &str, namespaced: bool| {
        let verbs = ["get", "list"];
        json!({"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": verbs})
    };
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": VERSION,
        "resources": [resource("nodes", "NodeMetrics", false), resource("pods", "PodMetrics", true)],
    })
}

/// Answers a request that may be made.
pub async fn answer(server: &Server, info: &RequestInfo, query: &Query) -> Result<Response, ApiError> {
    if !info.is_resource {
        return Ok(document(&resources()));
    }
    if !info.subresource.is_empty() {
        return Err(ApiError::no_such_resource());
    }
    if !matches!(info.verb.as_str(), "get" | "list") {
        return Err(ApiError::method_not_allowed());
    }
    let (of, kind) = match info.resource.as_str() {
        "pods" => (MetricsOf::Pods { namespace: info.namespace.clone() }, "PodMetrics"),
        "nodes" => (MetricsOf::Nodes, "NodeMetrics"),
        _ => return Err(ApiError::no_such_resource()),
    };
    let labels = LabelSelector::parse(query.get("labelSelector"))
        .map_err(|why| ApiError::bad_request(format!("unable to parse requirement: {why}")))?;
    let Some(connector) = &server.parts.connector else {
        return Err(ApiError::unavailable("no node measures pods of this cluster"));
    };
    let mut items = connector.metrics(of).await?;
    if info.name.is_empty() {
        items.retain(|item| {
            let all = at(item, "/metadata/labels");
            labels.matches(|key| all.get(key).and_then(Value::as_str))
        });
        let list =
            json!({"kind": format!("{kind}List"), "apiVersion": VERSION, "metadata": {}, "items": items});
        return Ok(document(&list));
    }
    let found = items.into_iter().find(|item| metadata::name(item) == info.name);
    let mut found = found.ok_or_else(|| {
        ApiError::not_found(GroupResource { group: GROUP, resource: &info.resource }, &info.name)
    })?;
    found["kind"] = kind.into();
    found["apiVersion"] = VERSION.into();
    Ok(document(&found))
}

fn document(document: &Value) -> Response {
    respond::document(StatusCode::OK, document, Encoding::Json, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_from_the_host_is_answered_here() {
        let service =
            |labels: Value, group: &str| json!({"metadata": {"labels": labels}, "spec": {"group": group}});
        let hosted = json!({"vkube.dev/from-host": "true"});
        assert!(is_hosted(&service(hosted.clone(), GROUP)));
        assert!(!is_hosted(&service(json!({}), GROUP)));
        assert!(!is_hosted(&service(hosted, "custom.metrics.k8s.io")));
    }
}
