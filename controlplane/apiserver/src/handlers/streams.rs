//! Streams: logs, exec, attach, port-forward and proxies, handed to whoever runs the pods.

use serde_json::Value;

use super::call::Call;
use crate::{
    body::{self, Request, Response},
    connect::Target,
    metadata,
    status::ApiError,
    stored,
};

/// Opens a stream.
pub async fn connect(call: &Call, request: &mut Request) -> Result<Response, ApiError> {
    let plain = plain_name(&call.info.name);
    let key = call.definition.key(call.namespace(), plain);
    let entry = call.server.store().get(&key, None).await?.ok_or_else(|| call.not_found())?;
    let object = stored::decode(&entry)?;
    if call.definition.is("", "pods") && call.info.subresource != "proxy" {
        check_container(call, &object)?;
    }
    let Some(connector) = &call.server.parts.connector else {
        return Err(ApiError::unavailable("no node serves streams of this cluster"));
    };
    let target = Target {
        resource: call.info.resource.clone(),
        namespace: call.namespace().to_owned(),
        name: call.info.name.clone(),
        subresource: call.info.subresource.clone(),
        rest: call.info.rest.clone(),
        user: call.user.clone(),
        object,
    };
    let request = std::mem::replace(request, Request::new(body::empty()));
    connector.connect(target, request).await
}

/// Services are proxied as `[scheme:]name[:port]`.
fn plain_name(name: &str) -> &str {
    match name.split(':').collect::<Vec<_>>().as_slice() {
        [name] | [name, _] | [_, name, _] => name,
        _ => name,
    }
}

fn check_container(call: &Call, pod: &Value) -> Result<(), ApiError> {
    let name = metadata::name(pod);
    let all = |field: &str| -> Vec<&str> {
        let list = pod.pointer(&format!("/spec/{field}")).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|c| c.get("name").and_then(Value::as_str)).collect()
    };
    let (containers, init, ephemeral) =
        (all("containers"), all("initContainers"), all("ephemeralContainers"));
    let asked = call.query.get("container");
    let annotated = pod
        .pointer("/metadata/annotations/kubectl.kubernetes.io~1default-container")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if call.info.subresource == "portforward" {
        return Ok(());
    }
    if asked.is_empty() {
        if containers.len() <= 1 || containers.contains(&annotated) {
            return Ok(());
        }
        let mut choices = format!("choose one of: [{}]", containers.join(" "));
        if !init.is_empty() {
            choices.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
        }
        return Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {name}, {choices}"
        )));
    }
    if containers.contains(&asked) || init.contains(&asked) || ephemeral.contains(&asked) {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("container {asked} is not valid for pod {name}")))
}
