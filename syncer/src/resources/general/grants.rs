//! References from one virtual namespace into another.
//!
//! On the host all of them would be in one namespace, where nothing keeps them apart; so the virtual cluster's own
//! rules are looked after here. A reference across namespaces needs a ReferenceGrant in the one it leads to, as the
//! Gateway API has it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use serde_json::Value;

use super::api_resource;
use crate::context::Context;
use crate::error::{Error, Result, is_not_found};
use crate::labels::{FROM_HOST, ObjectKey};
use crate::rules::Rule;
use crate::rules::references::Named;
use crate::rules::selector::chooses;

const GROUP: &str = "gateway.networking.k8s.io";

/// Refuses an object that refers to another namespace without leave.
pub(super) async fn check(cx: &Context, rule: &Rule, object: &DynamicObject) -> Result<()> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let named = rule.references.iter().flat_map(|reference| reference.names(namespace, &object.data));
    if namespace.is_empty() {
        // Whoever may write for the whole cluster needs no namespace's leave.
        return Ok(());
    }
    for named in named.filter(|named| named.key.namespace != namespace) {
        if named.kind == "Gateway" {
            admits(cx, namespace, &named).await?;
            continue;
        }
        let grants = grants(cx, &named.key.namespace).await?;
        let (group, kind) = object.types.as_ref().map_or(("", ""), |types| {
            (types.api_version.split_once('/').map_or("", |(group, _)| group), types.kind.as_str())
        });
        if !grants.iter().any(|grant| allows(grant, group, kind, namespace, &named)) {
            return Err(Error::Unsupported(format!(
                "{} {} is in another namespace, and no ReferenceGrant there allows to refer to it",
                named.kind, named.key
            )));
        }
    }
    Ok(())
}

/// Whether a Gateway lets routes of a namespace in, by its own listeners (`allowedRoutes`).
async fn admits(cx: &Context, namespace: &str, gateway: &Named) -> Result<()> {
    let resource = api_resource(GROUP, "v1", "Gateway", "gateways");
    let api: Api<DynamicObject> =
        Api::namespaced_with(cx.virtual_client.clone(), &gateway.key.namespace, &resource);
    let found = api.get_opt(&gateway.key.name).await.map_err(Error::Virtual)?;
    let labels = cx.virtual_side.namespaces.get(&ObjectKey::new("", namespace));
    let labels = labels.as_ref().and_then(|namespace| namespace.metadata.labels.as_ref());
    let is_let_in = found.is_some_and(|found| {
        // Whom the host lets in, the host decides.
        let is_hosts = found.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(FROM_HOST));
        let listeners = found.data["spec"]["listeners"].as_array().cloned().unwrap_or_default();
        is_hosts || listeners.iter().any(|listener| lets_in(listener, labels))
    });
    if is_let_in {
        return Ok(());
    }
    Err(Error::Unsupported(format!("Gateway {} does not let routes of this namespace in", gateway.key)))
}

/// Whether a listener lets in routes of other namespaces that have these labels.
fn lets_in(listener: &Value, labels: Option<&BTreeMap<String, String>>) -> bool {
    let from = &listener["allowedRoutes"]["namespaces"];
    match from["from"].as_str() {
        Some("All") => true,
        Some("Selector") => serde_json::from_value::<LabelSelector>(from["selector"].clone())
            .is_ok_and(|selector| chooses(&selector, labels)),
        _ => false,
    }
}

async fn grants(cx: &Context, namespace: &str) -> Result<Vec<Value>> {
    for version in ["v1", "v1beta1"] {
        let resource = api_resource(GROUP, version, "ReferenceGrant", "referencegrants");
        let api: Api<DynamicObject> = Api::namespaced_with(cx.virtual_client.clone(), namespace, &resource);
        match api.list(&ListParams::default()).await {
            Ok(list) => return Ok(list.items.into_iter().map(|item| item.data).collect()),
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(Error::Virtual(error)),
        }
    }
    Ok(Vec::new())
}

/// Whether a grant lets objects of a kind and namespace refer to what is named.
fn allows(grant: &Value, group: &str, kind: &str, namespace: &str, named: &Named) -> bool {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let list = |field: &str| grant["spec"][field].as_array().cloned().unwrap_or_default();
    let from = list("from").iter().any(|from| {
        text(from, "group") == group && text(from, "kind") == kind && text(from, "namespace") == namespace
    });
    let to = list("to").iter().any(|to| {
        let name = text(to, "name");
        text(to, "group") == named.group
            && text(to, "kind") == named.kind
            && (name.is_empty() || name == named.key.name)
    });
    from && to
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gateway_says_whose_routes_it_takes() {
        let labels: BTreeMap<String, String> = [("team".to_owned(), "a".to_owned())].into();
        let listener = |namespaces: Value| json!({ "allowedRoutes": { "namespaces": namespaces } });
        assert!(lets_in(&listener(json!({ "from": "All" })), None));
        assert!(!lets_in(&listener(json!({ "from": "Same" })), Some(&labels)));
        assert!(!lets_in(&json!({}), Some(&labels)));
        let by_team = |team: &str| {
            listener(json!({ "from": "Selector", "selector": { "matchLabels": { "team": team } } }))
        };
        assert!(lets_in(&by_team("a"), Some(&labels)));
        assert!(!lets_in(&by_team("b"), Some(&labels)));
    }

    #[test]
    fn a_grant_speaks_of_kinds_namespaces_and_maybe_a_name() {
        let grant = json!({ "spec": {
            "from": [{ "group": GROUP, "kind": "HTTPRoute", "namespace": "shop" }],
            "to": [{ "group": "", "kind": "Service", "name": "api" }],
        }});
        let service = |name: &str| Named {
            group: String::new(),
            kind: "Service".into(),
            key: ObjectKey::new("backend", name),
        };
        assert!(allows(&grant, GROUP, "HTTPRoute", "shop", &service("api")));
        assert!(!allows(&grant, GROUP, "HTTPRoute", "other", &service("api")));
        assert!(!allows(&grant, GROUP, "TLSRoute", "shop", &service("api")));
        assert!(!allows(&grant, GROUP, "HTTPRoute", "shop", &service("db")));
    }
}
