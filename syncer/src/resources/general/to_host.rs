//! From the virtual cluster to the host. All but the status is the virtual side's.

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::TypeMeta;
use serde_json::Value;

use super::super::mirror::{applied, refuse_foreign_in, stamp};
use super::super::tune::tuned_by_rule;
use super::{General, Shape, delete, document, grants, holds, write_status};
use crate::context::{Context, Kind, MANAGER, Task};
use crate::error::{Error, Result};
use crate::labels::{APPLIED, FROM_HOST, ObjectKey, virtual_uid};
use crate::queue::Outcome;
use crate::resources::persistent_volume_claim;
use crate::rules::references::Named;
use crate::rules::selector::chooses;
use crate::rules::{Direction, Rule};
use crate::sanitise::Sanitiser;

/// The annotation by which a storage class is the default.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Brings one object in step.
pub(super) async fn reconcile(cx: &Context, general: &General, task: &Task) -> Result<Outcome> {
    let (rule, shape, key) = (&general.rule, general.shape()?, &task.key);
    let host_key = host_key(cx, key);
    let live = general.host(&host_key);
    let live =
        live.filter(|live| cx.translator.origin(&shape.api.kind, &live.metadata).as_ref() == Some(key));
    let host = general.api(&cx.host_client, &host_key.namespace)?;

    let mut object = general.virtual_side.get(key);
    if object.is_none() && live.is_some() {
        // Absence in the cache may only mean that it lags.
        let api = general.api(&cx.virtual_client, &key.namespace)?;
        let found = api.get_opt(&key.name).await.map_err(Error::Virtual)?;
        object = found
            .filter(|object| chooses(&rule.selector, object.metadata.labels.as_ref()))
            .map(std::sync::Arc::new);
    }
    let object = object.filter(|object| object.metadata.deletion_timestamp.is_none() && is_tenants(object));
    let Some(object) = object else {
        if let Some(live) = live.filter(|live| live.metadata.deletion_timestamp.is_none()) {
            delete(&host, &live.metadata).await.map_err(Error::Host)?;
        }
        return Ok(Outcome::Done);
    };
    if let Some(live) = &live {
        if live.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Done);
        }
        if virtual_uid(&live.metadata) != object.metadata.uid.as_deref() {
            // Made for an earlier object of the name; its deletion event brings us back.
            delete(&host, &live.metadata).await.map_err(Error::Host)?;
            return Ok(Outcome::Done);
        }
    }

    require_class(cx, rule, &object)?;
    grants::check(cx, rule, &object).await?;
    let mut desired = desired(cx, rule, shape, &object)?;
    if key.namespace.is_empty() {
        desired.metadata.owner_references = Some(vec![cx.namespace_owner().await?]);
    }
    let stamp = desired.metadata.annotations.as_ref().and_then(|all| all.get(APPLIED)).map(String::as_str);
    let current = live
        .as_ref()
        .filter(|live| applied(&live.metadata) == stamp && holds(&document(live), &document(&desired)));
    let written = match current {
        Some(current) => std::sync::Arc::clone(current),
        None => {
            if live.is_none() {
                refuse_foreign_in(cx, &host, &shape.api.kind, host_key.name.clone(), key).await?;
            }
            let params = PatchParams::apply(MANAGER).force();
            let written = host.patch(&host_key.name, &params, &Patch::Apply(&desired)).await;
            std::sync::Arc::new(written.map_err(Error::Host)?)
        }
    };
    if shape.has_status {
        report(cx, general, &object, &written).await?;
    }
    Ok(Outcome::Done)
}

/// The place on the host of a virtual object.
fn host_key(cx: &Context, key: &ObjectKey) -> ObjectKey {
    let namespace =
        if key.namespace.is_empty() { String::new() } else { cx.translator.host_namespace(&key.namespace) };
    ObjectKey::new(namespace, cx.translator.host_name(key))
}

/// The ConfigMaps and Secrets that an object needs on the host.
pub(crate) fn needs(rule: &Rule, object: &DynamicObject) -> Vec<Task> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let named = rule.references.iter().flat_map(|reference| reference.names(namespace, &object.data));
    let task = |named: Named| match named.kind.as_str() {
        "ConfigMap" => Some(Task { kind: Kind::ConfigMap, key: named.key }),
        "Secret" => Some(Task { kind: Kind::Secret, key: named.key }),
        _ => None,
    };
    named.filter_map(task).collect()
}

/// Whether an object is the tenant's own, and does not stand for one of the host's.
fn is_tenants(object: &DynamicObject) -> bool {
    let metadata = &object.metadata;
    let is_hosts = metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(FROM_HOST));
    let is_made =
        metadata.annotations.as_ref().is_some_and(|all| all.contains_key(persistent_volume_claim::CLAIM));
    !is_hosts && !is_made
}

/// Refuses an object of a class that the host does not show.
fn require_class(cx: &Context, rule: &Rule, object: &DynamicObject) -> Result<()> {
    let Some((path, classes, called)) = rule.known.and_then(|known| known.class) else { return Ok(()) };
    let pointer = format!("/{}", path.replace('.', "/"));
    match object.data.pointer(&pointer).and_then(Value::as_str) {
        Some(class) if !cx.offers(classes, class)? => {
            Err(Error::Unsupported(format!("the host offers no {called} {class:?}")))
        }
        _ => Ok(()),
    }
}

/// Where on the host something is that came from there.
fn imported(cx: &Context, named: &Named) -> Option<ObjectKey> {
    let own = &cx.translator.config.host_namespace;
    let mut shown = cx.rules.iter().filter(|general| {
        general.rule.direction == Direction::FromHost
            && general.shape.get().is_some_and(|shape| shape.api.kind == named.kind)
    });
    shown.find_map(|general| general.source(own, &named.key))
}

/// The host object of a virtual one.
fn desired(cx: &Context, rule: &Rule, shape: &Shape, object: &DynamicObject) -> Result<DynamicObject> {
    let translator = &cx.translator;
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(at) = rule.refused.iter().position(|path| path.exists(&object.data)) {
        let field = rule.known.and_then(|known| known.refused.get(at)).copied().unwrap_or_default();
        return Err(Error::Unsupported(format!("{field} cannot be used in a virtual cluster")));
    }
    let mut host = DynamicObject {
        types: Some(TypeMeta { api_version: shape.api.api_version.clone(), kind: shape.api.kind.clone() }),
        metadata: translator.metadata(&shape.api.kind, &object.metadata),
        data: object.data.clone(),
    };
    if let Value::Object(fields) = &mut host.data {
        fields.remove("status");
    }
    // What is the default of a tenant is not the host's.
    host.metadata.annotations.get_or_insert_default().remove(DEFAULT_CLASS);
    for path in &rule.dropped {
        path.remove(&mut host.data);
    }
    for reference in &rule.references {
        reference.rename(translator, namespace, &mut host.data, &|named| imported(cx, named));
    }
    let mut host = tuned_by_rule(&rule.patches, &document(object), host)?;
    stamp(&mut host);
    Ok(host)
}

/// Shows the host's status in the virtual cluster, in its names.
async fn report(cx: &Context, general: &General, object: &DynamicObject, host: &DynamicObject) -> Result<()> {
    let Some(status) = host.data.get("status") else { return Ok(()) };
    let key = ObjectKey::of(&object.metadata);
    let mut sanitiser = Sanitiser::new(&cx.translator, &key.namespace).knows(&key.name);
    for reference in &general.rule.references {
        for named in reference.names(&key.namespace, &object.data) {
            let host = imported(cx, &named).unwrap_or_else(|| named.host_key(&cx.translator));
            sanitiser = sanitiser.knows_as(host.name, &named.key.name);
        }
    }
    let mut status = status.clone();
    // Pods by their virtual identity.
    let host_namespace = host.metadata.namespace.clone().unwrap_or_default();
    let pod_key = |name: &str| ObjectKey::new(host_namespace.clone(), name);
    for user in status.get_mut("reservedFor").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(pod) = user["name"].as_str().and_then(|name| cx.pod_behind(&pod_key(name))) {
            user["name"] = pod.metadata.name.clone().into();
            user["uid"] = pod.metadata.uid.clone().into();
        }
    }
    sanitiser.clean_document(&mut status);
    if object.data.get("status") == Some(&status) {
        return Ok(());
    }
    let api = general.api(&cx.virtual_client, &key.namespace)?;
    write_status(&api, &key.name, &status).await.map_err(Error::Virtual)
}
