//! References from one virtual namespace into another.
//!
//! On the host all of them would be in one namespace, where nothing keeps them apart; so the virtual cluster's own
//! rules are looked after here. A reference across namespaces needs a ReferenceGrant in the one it leads to, as the
//! Gateway API has it.

use kube::Api;
use kube::api::{DynamicObject, ListParams};
use serde_json::Value;

use super::api_resource;
use crate::context::Context;
use crate::error::{Error, Result, is_not_found};
use crate::rules::Rule;
use crate::rules::references::Named;

const GROUP: &str = "gateway.networking.k8s.io";

/// Refuses an object that refers to another namespace without leave.
pub(super) async fn check(cx: &Context, rule: &Rule, object: &DynamicObject) -> Result<()> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let named = rule.references.iter().flat_map(|reference| reference.names(namespace, &object.data));
    for named in named.filter(|named| named.key.namespace != namespace) {
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
    use crate::labels::ObjectKey;

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
