//! Keeping the default objects as they should be, and saying of each FlowSchema whether its level exists
//! (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#maintenance-of-the-mandatory-and-suggested-configuration-objects>).

use std::time::Duration;

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    GROUP,
    defaults::{self, AUTOUPDATE, MANDATORY},
};
use crate::{
    bootstrap, documents, metadata,
    registry::access::{at, list_at, of_type, str_at},
    server::{Server, builtin},
    status::ApiError,
    user::User,
};

/// Who writes the default objects.
pub const PRODUCER: &str = "api-priority-and-fairness-config-producer-v1";

/// Who writes the statuses of FlowSchemas.
const CONSUMER: &str = "api-priority-and-fairness-config-consumer-v1";

/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// The default objects as the bootstrap creates them: nothing is left to do about them.
pub fn bootstrap() -> Result<Vec<(crate::resource::Definition, Value)>, ApiError> {
    let now = Timestamp::now();
    let complete = |mut object: Value| {
        if object["kind"] == "FlowSchema" {
            let mut condition = judge(&object, true);
            condition["lastTransitionTime"] = metadata::time(now).into();
            object["status"] = json!({"conditions": [condition]});
        }
        Ok((builtin(GROUP, plural(&object))?, object))
    };
    defaults::all().into_iter().map(complete).collect()
}

/// The part of the status in the managed fields of a new FlowSchema.
pub fn status_fields() -> Value {
    let fields = json!({
        ".": {}, "f:lastTransitionTime": {}, "f:message": {}, "f:reason": {}, "f:status": {}, "f:type": {},
    });
    json!({
        "manager": CONSUMER,
        "operation": "Apply",
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "time": metadata::time(Timestamp::now()),
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:status": {"f:conditions": {"k:{\"type\":\"Dangling\"}": fields}}},
        "subresource": "status",
    })
}

/// Looks after the objects whenever one has changed, until `shutdown`.
pub async fn run(server: Server, shutdown: CancellationToken) {
    loop {
        let wait = match tend(&server).await {
            Ok(()) => Duration::MAX,
            Err(error) if shutdown.is_cancelled() => return tracing::debug!(%error, "stopped"),
            Err(error) => {
                tracing::error!(%error, "cannot look after flow control");
                RETRY
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = server.parts.flow_control.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn tend(server: &Server) -> Result<(), ApiError> {
    let levels = server.find_all(GROUP, "prioritylevelconfigurations", "").await?;
    let schemas = server.find_all(GROUP, "flowschemas", "").await?;
    let defaults = defaults::all();
    let find = |wanted: &Value| {
        let objects = if wanted["kind"] == "FlowSchema" { &schemas } else { &levels };
        objects.iter().find(|object| metadata::name(object) == metadata::name(wanted))
    };
    let missing = defaults.iter().any(|wanted| find(wanted).is_none());
    if missing {
        bootstrap::ensure(server, bootstrap()?).await?;
    }
    for wanted in &defaults {
        let Some(object) = find(wanted) else { continue };
        let definition = builtin(GROUP, plural(wanted))?;
        if let Some(change) = correction(object, &documents::finish(&definition, wanted.clone())?) {
            let path = format!("{}?fieldManager={PRODUCER}", path(object, ""));
            send(server, Method::PATCH, &path, "application/merge-patch+json", &change).await?;
        }
    }
    for object in schemas.iter().chain(&levels).filter(|object| is_superseded(object, &defaults)) {
        send(server, Method::DELETE, &path(object, ""), "application/json", &Value::Null).await?;
    }
    for schema in &schemas {
        let level = str_at(schema, "/spec/priorityLevelConfiguration/name");
        let exists = levels.iter().any(|object| metadata::name(object) == level);
        if let Some(condition) = transition(schema, judge(schema, exists)) {
            let path = format!("{}?fieldManager={CONSUMER}&force=true", path(schema, "/status"));
            let applied = json!({
                "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
                "kind": "FlowSchema",
                "metadata": {"name": metadata::name(schema)},
                "status": {"conditions": [condition]},
            });
            send(server, Method::PATCH, &path, "application/apply-patch+yaml", &applied).await?;
        }
    }
    Ok(())
}

fn plural(object: &Value) -> &'static str {
    if object["kind"] == "FlowSchema" { "flowschemas" } else { "prioritylevelconfigurations" }
}

fn path(object: &Value, subresource: &str) -> String {
    format!("/apis/{GROUP}/v1/{}/{}{subresource}", plural(object), metadata::name(object))
}

fn autoupdate(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][AUTOUPDATE].as_str()
}

/// What is to be changed of an object that has a default. Users may take over those that are not mandatory.
fn correction(object: &Value, wanted: &Value) -> Option<Value> {
    let mandatory = MANDATORY.contains(&metadata::name(wanted));
    let annotation = autoupdate(object);
    let ours =
        mandatory || annotation.map_or_else(|| metadata::generation(object) == 1, |value| value == "true");
    let note = if ours { "true" } else { "false" };
    let noted = annotation == Some(note) || (annotation.is_some() && !ours);
    let kept = !ours || at(object, "/spec") == at(wanted, "/spec");
    if noted && kept {
        return None;
    }
    let mut change = json!({"metadata": {
        "annotations": {AUTOUPDATE: note},
        "resourceVersion": metadata::text(object, "resourceVersion"),
    }});
    if !kept {
        change["spec"] = replaced(at(object, "/spec"), at(wanted, "/spec"));
    }
    Some(change)
}

/// The merge patch that leaves nothing of `old` which is not in `new`.
fn replaced(old: &Value, new: &Value) -> Value {
    let mut patch = new.clone();
    if let (Some(old), Some(patch)) = (old.as_object(), patch.as_object_mut()) {
        for (field, value) in old {
            let entry = patch.entry(field.as_str()).or_insert(Value::Null);
            if entry.is_object() {
                *entry = replaced(value, entry);
            }
        }
    }
    patch
}

/// Whether it is a default of an earlier version that no user has taken over.
fn is_superseded(object: &Value, defaults: &[Value]) -> bool {
    autoupdate(object) == Some("true")
        && !defaults.iter().any(|wanted| {
            wanted["kind"] == object["kind"] && metadata::name(wanted) == metadata::name(object)
        })
}

/// What the condition `Dangling` should say, without its time.
fn judge(schema: &Value, exists: bool) -> Value {
    let level = str_at(schema, "/spec/priorityLevelConfiguration/name");
    let about = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
    let (status, reason, rest) = if exists {
        ("False", "Found", "and it exists")
    } else {
        ("True", "NotFound", "but there is no such object")
    };
    json!({"type": "Dangling", "status": status, "reason": reason, "message": format!("{about} {rest}")})
}

/// The condition to write, if it does not say so already.
fn transition(schema: &Value, mut wanted: Value) -> Option<Value> {
    let known = of_type(list_at(schema, "/status/conditions"), "Dangling");
    let same = |field: &str| known.is_some_and(|known| known[field] == wanted[field]);
    if ["status", "reason", "message"].into_iter().all(same) {
        return None;
    }
    let since =
        known.filter(|known| known["status"] == wanted["status"]).map(|k| k["lastTransitionTime"].clone());
    wanted["lastTransitionTime"] = since.unwrap_or_else(|| metadata::time(Timestamp::now()).into());
    Some(wanted)
}

/// A call as any client's; that somebody else was faster is no failure: the change brings us back.
async fn send(
    server: &Server,
    method: Method,
    path: &str,
    content_type: &str,
    body: &Value,
) -> Result<(), ApiError> {
    let mut service = server.service(User::component("system:apiserver"));
    match service.change(method, path, content_type, body).await {
        Err(error) if !matches!(error.code, StatusCode::NOT_FOUND | StatusCode::CONFLICT) => Err(error),
        _ => Ok(()),
    }
}
