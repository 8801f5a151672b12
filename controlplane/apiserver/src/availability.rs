//! The task behind APIServices: says which of them can be used
//! (<https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/>).
//!
//! This server answers for its own groups only and forwards nothing, so an APIService that names a Service
//! is never available; its condition tells why.

use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use vkube_store::{Change, Entry, Expect, Range, Signal, Watch, Write};

use crate::{
    handlers::binding::set_condition,
    managed_fields::{self, Request, Reset},
    registry::access::{has, int_at, list_at, of_type, str_at},
    resource::Definition,
    server::{Server, builtin},
    status::ApiError,
    stored,
};

/// How long to wait after the store has failed.
const RETRY: Duration = Duration::from_secs(1);

/// Judges API services until `shutdown`.
pub async fn run(server: Server, shutdown: CancellationToken) {
    loop {
        let result = tokio::select! {
            () = shutdown.cancelled() => return,
            result = follow(&server) => result,
        };
        if let Err(error) = result {
            tracing::error!(%error, "cannot follow API services; reading all again");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

/// Judges the present state and then every change, until the watch ends.
async fn follow(server: &Server) -> Result<(), ApiError> {
    let definition = builtin("apiregistration.k8s.io", "apiservices")?;
    let prefix = definition.prefix();
    let page = server.store().list(Range { prefix: prefix.clone(), ..Range::default() }).await?;
    for entry in &page.entries {
        judge(server, &definition, entry).await?;
    }
    let mut events: Watch = server.store().watch(&prefix, page.revision).await?;
    while let Some(signal) = events.next().await {
        if let Signal::Event(event) = signal
            && !event.deleted
        {
            judge(server, &definition, &event.entry).await?;
        }
    }
    Ok(())
}

/// Brings the condition of an API service up to date. If somebody else wrote in between, there is another
/// event to come.
async fn judge(server: &Server, definition: &Definition, entry: &Entry) -> Result<(), ApiError> {
    let old = stored::decode(entry)?;
    let (namespace, name) = (str_at(&old, "/spec/service/namespace"), str_at(&old, "/spec/service/name"));
    let target =
        if has(&old, "/spec/service") { server.find("", "services", namespace, name).await? } else { None };
    let (status, reason, message) = availability(&old, target.as_ref());
    let known = of_type(list_at(&old, "/status/conditions"), "Available");
    if known.is_some_and(|c| str_at(c, "/status") == status && str_at(c, "/reason") == reason) {
        return Ok(());
    }
    let now = Timestamp::now();
    let mut new = old.clone();
    let condition = json!({
        "type": "Available",
        "status": status,
        "lastTransitionTime": crate::metadata::time(now),
        "reason": reason,
        "message": message,
    });
    set_condition(&mut new, condition);
    let api_version = definition.api_version();
    let request = Request {
        manager: "kube-apiserver",
        api_version: &api_version,
        kind: definition.kind(),
        subresource: "status",
        ty: definition.ty()?,
        now,
        reset: &Reset::Fields(&["spec"]),
        convert: None,
    };
    managed_fields::on_update(Some(&old), &mut new, &request);
    let change = Change::Put { document: stored::encode(&new, definition)?, ttl: None };
    let write = Write { key: entry.key.clone(), expect: Expect::Modified(entry.modified), change };
    match server.store().commit(vec![write]).await {
        Ok(_) | Err(vkube_store::Error::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Status, reason and message of the condition, given the Service that an API service names, if it exists.
fn availability(api_service: &Value, target: Option<&Value>) -> (&'static str, &'static str, String) {
    if !has(api_service, "/spec/service") {
        return ("True", "Local", "Local APIServices are always available".into());
    }
    let (namespace, name) =
        (str_at(api_service, "/spec/service/namespace"), str_at(api_service, "/spec/service/name"));
    let port = int_at(api_service, "/spec/service/port");
    let Some(target) = target else {
        return ("False", "ServiceNotFound", format!("service/{name} in {namespace:?} is not present"));
    };
    if !list_at(target, "/spec/ports").iter().any(|p| int_at(p, "/port") == port) {
        let message = format!("service/{name} in {namespace:?} is not listening on port {port}");
        return ("False", "ServicePortError", message);
    }
    ("False", "FailedDiscoveryCheck", "this server does not forward requests to other API servers".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_answers_itself_is_available() {
        let local = json!({"spec": {"group": "apps", "version": "v1"}});
        assert_eq!(availability(&local, None).0, "True");
        let remote = json!({"spec": {"service": {"namespace": "n", "name": "s", "port": 443}}});
        let (status, reason, message) = availability(&remote, None);
        assert_eq!((status, reason), ("False", "ServiceNotFound"));
        assert_eq!(message, "service/s in \"n\" is not present");
        let service = json!({"spec": {"ports": [{"port": 80}]}});
        assert_eq!(availability(&remote, Some(&service)).1, "ServicePortError");
        let service = json!({"spec": {"ports": [{"port": 443}]}});
        assert_eq!(availability(&remote, Some(&service)).1, "FailedDiscoveryCheck");
    }
}
