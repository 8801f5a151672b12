//! Streams: logs, exec, attach, port-forward and proxies, handed to whoever runs the pods.

use http::StatusCode;
use serde_json::{Value, json};

use super::{call::Call, log_options, write::admit_given};
use crate::{
    admission::Operation,
    body::{self, Request, Response},
    connect::Target,
    metadata,
    status::ApiError,
    stored,
};

/// Opens a stream.
pub async fn connect(call: &mut Call, request: &mut Request) -> Result<Response, ApiError> {
    if let Some(mut options) = connect_options(call) {
        admit_given(call, Operation::Connect, &mut options, false).await?;
    }
    let is_log = call.info.subresource == "log";
    if is_log {
        log_options::check(&call.query, &call.info.name)?;
    }
    let plain = plain_name(&call.info.name);
    let key = call.definition.key(call.namespace(), plain);
    let entry = call.server.store().get(&key, None).await?.ok_or_else(|| call.not_found())?;
    let object = stored::decode(&entry)?;
    if call.definition.is("", "pods") && call.info.subresource != "proxy" {
        check_container(call, &object)?;
        let node = object.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
        if node.is_empty() && is_log {
            let mut nothing = Response::new(body::empty());
            *nothing.status_mut() = StatusCode::NO_CONTENT;
            return Ok(nothing);
        }
        if node.is_empty() {
            let why = format!("pod {} does not have a host assigned", call.info.name);
            return Err(ApiError::bad_request(why));
        }
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

/// The options of a stream as an object, which is what is admitted; logs are only read.
fn connect_options(call: &Call) -> Option<Value> {
    let subresource = call.definition.subresource(&call.info.subresource)?;
    let mut options = json!({"kind": subresource.kind, "apiVersion": "v1"});
    match subresource.name {
        "exec" | "attach" => {
            for flag in ["stdin", "stdout", "stderr", "tty"] {
                if call.query.flag(flag) {
                    options[flag] = true.into();
                }
            }
            let (container, command) = (call.query.get("container"), call.query.all("command"));
            if !container.is_empty() {
                options["container"] = container.into();
            }
            if !command.is_empty() {
                options["command"] = command.into();
            }
        }
        "portforward" => {
            let ports = call.query.all("ports").iter().flat_map(|ports| ports.split(','));
            let ports: Vec<i32> = ports.filter_map(|port| port.parse().ok()).collect();
            if !ports.is_empty() {
                options["ports"] = ports.into();
            }
        }
        "proxy" => {
            let path = if call.info.rest.is_empty() { call.query.get("path") } else { &call.info.rest };
            if !path.is_empty() {
                options["path"] = path.into();
            }
        }
        _ => return None,
    }
    Some(options)
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
