//! From the host to the virtual cluster. The host owns the whole object: what a tenant changes is put back.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use kube::core::TypeMeta;
use serde_json::Value;

use super::super::mirror::{ROOT_CA, applied, stamp};
use super::super::tune::tuned_by_rule;
use super::services;
use super::{General, Shape, delete, document, holds, write_status};
use crate::context::Context;
use crate::error::{Error, Result, is_conflict, is_invalid, is_not_found};
use crate::labels::{FROM_HOST, HOST_OBJECT, MANAGED, ObjectKey, VIRTUAL_CLUSTER, host_annotations, is_ours};
use crate::queue::Outcome;
use crate::rules::catalogue::Place;
use crate::rules::{ENDPOINTS, Rule, SERVICES};

const SERVICE_ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";

/// Where a host object appears in the virtual cluster.
pub(crate) fn targets(cx: &Context, general: &General, host: &ObjectKey) -> Vec<ObjectKey> {
    let own = &cx.translator.config.host_namespace;
    match general.shape.get().map(|shape| shape.place) {
        Some(Place::Cluster) => vec![ObjectKey::new("", host.name.clone())],
        Some(Place::Namespaced) => {
            general.rule.mappings.iter().filter_map(|mapping| mapping.target(own, host)).collect()
        }
        None => Vec::new(),
    }
}

/// The host object that appears at `key`: the first that the mappings name and that exists.
fn source(
    cx: &Context,
    general: &General,
    shape: &Shape,
    key: &ObjectKey,
) -> Option<std::sync::Arc<DynamicObject>> {
    let own = &cx.translator.config.host_namespace;
    if shape.place == Place::Cluster {
        return general.host(key).filter(|object| is_visible(object));
    }
    let places = general.rule.mappings.iter().filter_map(|mapping| mapping.source(own, key));
    places.filter_map(|place| general.host(&place)).find(|object| is_visible(object))
}

/// Whether a host object may be shown: not what belongs to a virtual cluster already, nor keys and tokens.
fn is_visible(object: &DynamicObject) -> bool {
    let is_labelled =
        |key: &str| object.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(key));
    let is_token = object.data.get("type").and_then(Value::as_str) == Some(SERVICE_ACCOUNT_TOKEN);
    !is_labelled(VIRTUAL_CLUSTER)
        && !is_labelled(MANAGED)
        && !is_token
        && object.metadata.name.as_deref() != Some(ROOT_CA)
        && object.metadata.deletion_timestamp.is_none()
}

/// Brings one object in step.
pub(super) async fn reconcile(cx: &Context, general: &General, key: &ObjectKey) -> Result<Outcome> {
    let shape = general.shape()?;
    let api = general.api(&cx.virtual_client, &key.namespace)?;
    let live = general.virtual_side.get(key);

    let Some(host) = source(cx, general, shape, key) else {
        if let Some(live) = live.filter(|live| live.metadata.deletion_timestamp.is_none()) {
            delete(&api, &live.metadata).await.map_err(Error::Virtual)?;
        }
        return Ok(Outcome::Done);
    };
    let Some(wanted) = wanted(cx, &general.rule, shape, &host, key)? else {
        if let Some(live) = live {
            delete(&api, &live.metadata).await.map_err(Error::Virtual)?;
        }
        return Ok(Outcome::Done);
    };
    let written = match live {
        Some(live) if is_same(&live, &wanted) => live,
        Some(live) => {
            let mut next = wanted;
            next.metadata.resource_version.clone_from(&live.metadata.resource_version);
            next.metadata.uid.clone_from(&live.metadata.uid);
            match api.replace(&key.name, &Context::post_params(), &next).await {
                Ok(written) => std::sync::Arc::new(written),
                Err(error) if is_conflict(&error) || is_not_found(&error) => return Ok(Outcome::Done),
                Err(error) if is_invalid(&error) => {
                    // A field that cannot change did; the deletion event brings us back to make it anew.
                    delete(&api, &live.metadata).await.map_err(Error::Virtual)?;
                    return Ok(Outcome::Done);
                }
                Err(error) => return Err(Error::Virtual(error)),
            }
        }
        None => match api.create(&Context::post_params(), &wanted).await {
            Ok(written) => std::sync::Arc::new(written),
            Err(error) if is_conflict(&error) => return conflict(&api, key).await,
            Err(error) if is_not_found(&error) => {
                return Err(Error::Waiting("the namespace of an object of the host"));
            }
            Err(error) => return Err(Error::Virtual(error)),
        },
    };
    let shown = shown(&general.rule, &host.data);
    if let Some(status) = shown.get("status").filter(|_| shape.has_status)
        && written.data.get("status") != Some(status)
    {
        write_status(&api, &key.name, status).await.map_err(Error::Virtual)?;
    }
    Ok(Outcome::Done)
}

/// The name is taken: by our own object that was not seen yet, or by one of the tenant's, which stays theirs.
async fn conflict(api: &kube::Api<DynamicObject>, key: &ObjectKey) -> Result<Outcome> {
    let found = api.get_metadata_opt(&key.name).await.map_err(Error::Virtual)?;
    let is_ours =
        |metadata: &ObjectMeta| metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(FROM_HOST));
    match found {
        Some(found) if !is_ours(&found.metadata) => Err(Error::Foreign(key.name.clone())),
        _ => Ok(Outcome::Done),
    }
}

/// What the host has, without what it does not show.
fn shown(rule: &Rule, data: &Value) -> Value {
    let mut shown = data.clone();
    for path in &rule.hidden {
        path.remove(&mut shown);
    }
    shown
}

/// The virtual object that shows `host`; `None` if there is nothing to show.
fn wanted(
    cx: &Context,
    rule: &Rule,
    shape: &Shape,
    host: &DynamicObject,
    key: &ObjectKey,
) -> Result<Option<DynamicObject>> {
    let from = ObjectKey::of(&host.metadata);
    let labels = host.metadata.labels.iter().flatten().filter(|(key, _)| !is_ours(key));
    let mut labels: BTreeMap<String, String> =
        labels.map(|(key, value)| (key.clone(), value.clone())).collect();
    labels.insert(FROM_HOST.into(), "true".into());
    let mut annotations = host_annotations(host.metadata.annotations.as_ref());
    annotations.insert(HOST_OBJECT.into(), from.to_string());
    let mut object = DynamicObject {
        types: Some(TypeMeta { api_version: shape.api.api_version.clone(), kind: shape.api.kind.clone() }),
        metadata: ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        data: shown(rule, &host.data),
    };
    if let Value::Object(fields) = &mut object.data {
        for field in ["apiVersion", "kind", "metadata", "status"] {
            fields.remove(field);
        }
    }
    match rule.resource.as_str() {
        SERVICES => services::show_service(&mut object.data),
        ENDPOINTS => match services::source(cx, &from) {
            Some(service) => services::show_endpoints(&service, &mut object.data),
            None => return Ok(None),
        },
        _ => {}
    }
    for path in &rule.dropped {
        path.remove(&mut object.data);
    }
    let mut object = tuned_by_rule(&rule.patches, &document(host), object)?;
    stamp(&mut object);
    Ok(Some(object))
}

/// Whether the live object is what is wanted: nothing is missing, and nothing was added but what a server fills in.
fn is_same(live: &DynamicObject, wanted: &DynamicObject) -> bool {
    let maps = |object: &DynamicObject| (object.metadata.labels.clone(), object.metadata.annotations.clone());
    applied(&live.metadata) == applied(&wanted.metadata)
        && maps(live) == maps(wanted)
        && holds(&live.data, &wanted.data)
        && adds_no_entry(&live.data, &wanted.data)
}

/// The maps of ConfigMaps and Secrets have no defaults, so an entry more is a tenant's.
fn adds_no_entry(live: &Value, wanted: &Value) -> bool {
    ["data", "binaryData"].iter().all(|field| {
        let size =
            |value: &Value| value.get(field).and_then(Value::as_object).map_or(0, serde_json::Map::len);
        size(live) == size(wanted)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn keys_tokens_and_other_clusters_objects_stay_on_the_host() {
        let named = |metadata: Value| object(json!({ "metadata": metadata, "type": "Opaque" }));
        assert!(is_visible(&named(json!({ "name": "a" }))));
        assert!(!is_visible(&named(json!({ "name": "a", "labels": { "vkube.dev/managed": "true" } }))));
        assert!(!is_visible(&named(json!({ "name": "a", "labels": { "vkube.dev/virtual-cluster": "x" } }))));
        assert!(!is_visible(&named(json!({ "name": "kube-root-ca.crt" }))));
        let token = json!({ "metadata": { "name": "t" }, "type": "kubernetes.io/service-account-token" });
        assert!(!is_visible(&object(token)));
    }

    #[test]
    fn an_entry_that_a_tenant_added_is_a_difference() {
        let live = |data: Value| object(json!({ "metadata": { "name": "a" }, "data": data }));
        assert!(is_same(&live(json!({ "a": "1" })), &live(json!({ "a": "1" }))));
        assert!(!is_same(&live(json!({ "a": "1", "b": "2" })), &live(json!({ "a": "1" }))));
        assert!(!is_same(&live(json!({ "a": "2" })), &live(json!({ "a": "1" }))));
    }
}
