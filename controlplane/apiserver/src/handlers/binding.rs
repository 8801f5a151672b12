//! Binding a pod to a node: what a scheduler does.

use serde_json::{Value, json};

use super::{call::Call, call::read_body, write};
use crate::{
    admission::Operation,
    body::{Request, Response},
    documents::{self, Expected},
    field::{Errors, Path},
    metadata,
    options::WriteOptions,
    registry::Resource,
    resource::Definition,
    respond,
    status::{ApiError, GroupResource},
};

/// Binds the pod that the path (or the binding itself) names.
pub async fn bind(call: &mut Call, request: &mut Request) -> Result<Response, ApiError> {
    let options = WriteOptions::read(&call.query, &call.user_agent, "CreateOptions", false)?;
    let body = read_body(request).await?;
    let expected = Expected::part("v1", "Binding", "io.k8s.api.core.v1")?;
    let validation = options.field_validation;
    let mut binding = documents::read_as(call, request.headers(), &body, validation, &expected)?;
    write::check_namespace(call, &mut binding)?;
    if call.definition.is("", "bindings") {
        let pods = Resource::find("", "v1", "pods").ok_or_else(|| ApiError::internal("no pods"))?;
        call.definition = Definition::Builtin(pods);
        call.info.resource = "pods".into();
        call.info.name = metadata::name(&binding).into();
    } else if metadata::name(&binding) != call.info.name {
        return Err(ApiError::bad_request("name in URL does not match name in Binding object"));
    }
    call.info.subresource = "binding".into();
    write::admit_given(call, Operation::Create, &mut binding, options.dry_run).await?;
    let text =
        |pointer: &str| binding.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, node) = (text("/target/kind"), text("/target/name"));
    let mut errors = Errors::default();
    let target = Path::new("target");
    if !matches!(kind.as_str(), "" | "Node") {
        errors.not_supported(&target.child("kind"), &kind.as_str().into(), &["Node", "<empty>"]);
    }
    if node.is_empty() {
        errors.required(&target.child("name"), "");
    }
    if !errors.is_empty() {
        let mut lines: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        lines.dedup();
        let message = if lines.len() == 1 { lines.remove(0) } else { format!("[{}]", lines.join(", ")) };
        return Err(ApiError::unknown(message));
    }
    if call.info.name.is_empty() {
        return Err(ApiError::bad_request("Name parameter required."));
    }
    let uid = metadata::text(&binding, "uid").to_owned();
    let labels = binding.pointer("/metadata/labels").cloned();
    let annotations = binding.pointer("/metadata/annotations").cloned();
    // Nobody comes to own what the server itself writes.
    let write_options = write::Options { dry_run: options.dry_run, manager: String::new() };
    write::update(call, &write_options, |call, live| {
        let pod = live.ok_or_else(|| call.not_found())?;
        let conflict = |why: String| {
            let resource = GroupResource { group: "", resource: "pods/binding" };
            Err(ApiError::conflict(resource, &call.info.name, &why))
        };
        let (resource, found) = (call.definition.group_resource(), metadata::text(pod, "uid"));
        if !uid.is_empty() && uid != found {
            return Err(ApiError::another_uid(resource, &call.info.name, &call.key(), &uid, found));
        }
        if metadata::is_terminating(pod) {
            return conflict(format!(
                "pod {} is being deleted, cannot be assigned to a host",
                call.info.name
            ));
        }
        if let Some(bound) = pod.pointer("/spec/nodeName").and_then(Value::as_str).filter(|n| !n.is_empty()) {
            return conflict(format!("pod {} is already assigned to node {bound:?}", call.info.name));
        }
        if pod.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|g| !g.is_empty()) {
            return conflict(format!("pod {} has non-empty .spec.schedulingGates", call.info.name));
        }
        Ok(bound(pod, &node, labels.as_ref(), annotations.as_ref(), call.now))
    })
    .await?;
    Ok(respond::done(call.accepted.encoding, &call.warnings))
}

fn bound(
    pod: &Value,
    node: &str,
    labels: Option<&Value>,
    annotations: Option<&Value>,
    now: jiff::Timestamp,
) -> Value {
    let mut pod = pod.clone();
    pod["spec"]["nodeName"] = node.into();
    for (field, added) in [("labels", labels), ("annotations", annotations)] {
        for (key, value) in added.and_then(Value::as_object).into_iter().flatten() {
            pod["metadata"][field][key] = value.clone();
        }
    }
    let scheduled = json!({
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": null,
        "lastTransitionTime": metadata::time(now),
    });
    set_condition(&mut pod, scheduled);
    pod
}

/// Sets a condition of an object: in place of the one of its type, whose time stays if its status does.
pub fn set_condition(pod: &mut Value, mut condition: Value) {
    if !pod["status"]["conditions"].is_array() {
        pod["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = pod["status"]["conditions"].as_array_mut() else { return };
    match conditions.iter_mut().find(|c| c["type"] == condition["type"]) {
        Some(found) => {
            if found["status"] == condition["status"] {
                condition["lastTransitionTime"] = found["lastTransitionTime"].take();
            }
            *found = condition;
        }
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Request, StatusCode, header};
    use tower::Service as _;

    use super::*;
    use crate::{body, custom::tests::Fixture, user::User};

    const DEFAULT: &str = "/api/v1/namespaces/default";

    #[tokio::test]
    async fn what_is_asked_of_a_pod_or_an_account_is_read_as_strictly_as_an_object() {
        let server = Fixture::start().await;
        server.create(&format!("{DEFAULT}/serviceaccounts"), &json!({"metadata": {"name": "default"}})).await;
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        server.create(&format!("{DEFAULT}/pods"), &json!({"metadata": {"name": "p"}, "spec": spec})).await;
        for (path, named) in
            [("pods/p/eviction", "p"), ("pods/p/binding", "p"), ("serviceaccounts/default/token", "default")]
        {
            let path = format!("{DEFAULT}/{path}?dryRun=All");
            let document =
                |metadata: Value| json!({"metadata": metadata, "target": {"name": "n"}, "spec": {}});
            let elsewhere = document(json!({"name": named, "namespace": "other"}));
            let (status, body) = server.call(Method::POST, &path, &elsewhere).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body}");
            assert!(body["message"].as_str().unwrap().starts_with("the namespace of the provided object"));

            let mut strange = document(json!({"name": named}));
            strange["strange"] = 1.into();
            let strict = format!("{path}&fieldValidation=Strict");
            let (status, body) = server.call(Method::POST, &strict, &strange).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body}");

            let request = Request::post(&path).body(body::full(strange.to_string())).unwrap();
            let response = server.0.server.service(User::component("test")).call(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::CREATED, "{path}");
            let mut warnings = response.headers().get_all(header::WARNING).iter();
            let strange = "unknown field \\\"strange\\\"";
            assert!(warnings.any(|one| one.to_str().unwrap().contains(strange)), "{path}");
        }
        for path in ["pods/p/eviction", "pods/p/binding", "bindings"] {
            let nameless = json!({"target": {"name": "n"}});
            let (status, body) = server.call(Method::POST, &format!("{DEFAULT}/{path}"), &nameless).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body}");
        }
        server.0.stop().await;
    }
}
