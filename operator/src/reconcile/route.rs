//! The TLSRoute of a cluster that a Gateway of the host exposes.
//!
//! The Gateway API comes with the host's gateway, or not at all, so it is looked for when it is needed; and since a watch
//! of what may not exist cannot be kept, acceptance by a Gateway is polled.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::DynamicObject;
use vkube_crds::ExposeType;

use super::Stop;
use super::steps::Attempt;
use crate::apply::Host;
use crate::build::{self, GATEWAY_GROUP, TLS_ROUTE};
use crate::conditions::Check;
use crate::error::Error;
use crate::names::Identity;
use crate::reason::Reason;

/// Between looks at a route that no Gateway has accepted yet.
pub(super) const POLL: Duration = Duration::from_secs(10);

/// Applies the route if the cluster asks for one and removes it if it no longer does. Returns what is amiss.
pub(super) async fn ensure(attempt: &Attempt<'_>) -> Result<Option<Check>, Stop> {
    let (host, identity) = (&attempt.context.host, &attempt.identity);
    if attempt.settings.expose.type_ != ExposeType::Gateway {
        // A cluster that was never reached from outside has no route to remove.
        if attempt.was_exposed() {
            remove(host, identity).await?;
        }
        return Ok(None);
    }
    let Some(version) = served_version(host).await? else {
        let message = format!("the host does not serve {} of {GATEWAY_GROUP}", TLS_ROUTE.1);
        return Ok(Some(Check::Failed(Reason::GatewayApiMissing, message)));
    };
    let Some(route) = build::tls_route(identity, &attempt.settings, &version) else { return Ok(None) };
    let applied = attempt.apply(route).await?;
    let live = attempt.ours(applied)?;
    Ok(refusal(&live).map(|why| Check::Failed(Reason::EndpointPending, why)))
}

/// Removes the route, where there may be one.
pub async fn remove(host: &Host, identity: &Identity) -> Result<(), Error> {
    match served_version(host).await? {
        Some(version) => host.remove(&build::tls_route_key(identity, &version), identity).await,
        None => Ok(()),
    }
}

/// The version in which the host serves TLSRoutes.
async fn served_version(host: &Host) -> Result<Option<String>, Error> {
    host.served_version(GATEWAY_GROUP, TLS_ROUTE.1).await
}

/// Why no Gateway carries the route yet; `None` if one does.
fn refusal(route: &DynamicObject) -> Option<String> {
    let parents = route.data.pointer("/status/parents").and_then(|parents| parents.as_array());
    let mut why = "no Gateway has accepted the TLSRoute yet".to_owned();
    for parent in parents.into_iter().flatten() {
        let conditions: Vec<Condition> = parent
            .get("conditions")
            .and_then(|list| serde_json::from_value(list.clone()).ok())
            .unwrap_or_default();
        match conditions.into_iter().find(|condition| condition.type_ == "Accepted") {
            Some(accepted) if accepted.status == "True" => return None,
            Some(refused) => {
                let name =
                    parent.pointer("/parentRef/name").and_then(|name| name.as_str()).unwrap_or_default();
                why = format!("Gateway {name}: {}: {}", refused.reason, refused.message);
            }
            None => {}
        }
    }
    Some(why)
}

#[cfg(test)]
mod tests {
    use kube::core::{ApiResource, GroupVersionKind};
    use serde_json::{Value, json};

    use super::*;

    fn mk(parents: &Value) -> DynamicObject {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GATEWAY_GROUP, "v1", "TLSRoute"));
        DynamicObject { data: json!({"status": {"parents": parents}}), ..DynamicObject::new("x", &resource) }
    }

    fn parent(status: &str) -> Value {
        json!({"parentRef": {"name": "edge"}, "conditions": [{"type": "Accepted", "status": status,
            "reason": "NotAllowedByListeners", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
    }

    #[test]
    fn one_gateway_that_carries_the_route_is_enough() {
        assert_eq!(refusal(&mk(&json!([parent("False"), parent("True")]))), None);
    }

    #[test]
    fn a_gateway_tells_why_it_refuses() {
        let why = refusal(&mk(&json!([parent("False")]))).unwrap();
        assert_eq!(why, "Gateway edge: NotAllowedByListeners: m");
        assert!(refusal(&mk(&json!([]))).unwrap().contains("yet"));
    }
}
