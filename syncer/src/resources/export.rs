//! Services of the virtual cluster under names that the host, and other virtual clusters, know them by.
//!
//! In the namespace of the virtual cluster the exported Service selects the tenant's pods itself. In any other, and for
//! Services whose endpoints the tenant writes, the endpoints are those of the virtual Service.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Endpoints, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::{Api, ResourceExt};

use super::general::holds;
use super::mirror::{applied, stamp};
use super::service::is_external_name;
use crate::cache::Cache;
use crate::context::{Context, MANAGER, Namespaced, delete_params, gone};
use crate::error::{Error, Result};
use crate::labels::{
    EXPORTED_BY, OBJECT_KIND, OBJECT_NAME, OBJECT_NAMESPACE, OBJECT_UID, ObjectKey, host_annotations,
};
use crate::names::digest;
use crate::queue::Outcome;

/// What has been exported into one namespace of the host.
#[derive(Debug)]
pub(crate) struct Exported {
    pub namespace: String,
    pub services: Cache<PartialObjectMeta<Service>>,
}

/// The namespaces of the host that Services are exported into.
pub(crate) fn sides(own: &str, exports: &[crate::rules::Export]) -> Vec<Exported> {
    let mut sides: Vec<Exported> = Vec::new();
    for export in exports {
        let namespace = export.place(own).namespace;
        if sides.iter().all(|side| side.namespace != namespace) {
            sides.push(Exported { namespace, services: Cache::default() });
        }
    }
    sides
}

/// The label value by which exports of this virtual cluster are told from those of all others on the host.
pub(crate) fn exporter(cx: &Context) -> String {
    let config = &cx.translator.config;
    format!("{}-{}", config.cluster, digest(&[&config.host_namespace, &config.cluster], 12))
}

/// The virtual Service that a host object was exported for.
pub(crate) fn origin(cx: &Context, metadata: &ObjectMeta) -> Option<ObjectKey> {
    let is_ours = metadata.labels.as_ref()?.get(EXPORTED_BY)? == &exporter(cx);
    let annotations = metadata.annotations.as_ref().filter(|_| is_ours)?;
    Some(ObjectKey::new(annotations.get(OBJECT_NAMESPACE)?, annotations.get(OBJECT_NAME)?))
}

/// Whether a Service is exported.
pub(crate) fn is_wanted(cx: &Context, key: &ObjectKey) -> bool {
    cx.translator.config.rules.exports.iter().any(|export| export.service == *key)
}

/// Brings all exports of one Service in step.
pub(crate) async fn reconcile(cx: &Context, key: &ObjectKey) -> Result<Outcome> {
    let config = &cx.translator.config;
    let service = cx.virtual_object::<Service>(key).await?;
    let service = service.filter(|service| service.metadata.deletion_timestamp.is_none());
    let wanted = config.rules.exports.iter().filter(|export| export.service == *key && service.is_some());
    let places: Vec<ObjectKey> = wanted.map(|export| export.place(&config.host_namespace)).collect();

    for side in &cx.exports {
        for found in side.services.all() {
            let place = ObjectKey::of(&found.metadata);
            if origin(cx, &found.metadata).as_ref() == Some(key) && !places.contains(&place) {
                withdraw::<Service>(cx, key, &place).await?;
                withdraw::<Endpoints>(cx, key, &place).await?;
            }
        }
    }
    let Some(service) = service else { return Ok(Outcome::Done) };
    for place in &places {
        let mut exported = to_host(cx, &service, place);
        let by_host = exported.spec.as_ref().is_some_and(|spec| spec.selector.is_some());
        put(cx, key, place, &mut exported).await?;
        if by_host || is_external_name(&service) {
            // The host computes endpoints of its own, of the same name.
            continue;
        }
        let endpoints = cx.virtual_object::<Endpoints>(key).await?;
        put(cx, key, place, &mut endpoints_to_host(cx, &service, endpoints, place)).await?;
    }
    Ok(Outcome::Done)
}

fn to_host(cx: &Context, service: &Service, place: &ObjectKey) -> Service {
    let translator = &cx.translator;
    let spec = service.spec.clone().unwrap_or_default();
    let is_headless = spec.cluster_ip.as_deref() == Some("None");
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let selector = spec.selector.filter(|selector| !selector.is_empty());
    let selector =
        selector.filter(|_| place.namespace == translator.host_namespace(namespace)).map(|selector| {
            let mut selector = translator.labels(Some(&selector));
            selector.extend(translator.scope(namespace));
            selector
        });
    let ports = spec.ports.into_iter().flatten().map(|port| ServicePort { node_port: None, ..port });
    let spec = if is_external_name(service) {
        ServiceSpec { type_: spec.type_, external_name: spec.external_name, ..ServiceSpec::default() }
    } else {
        ServiceSpec {
            type_: Some("ClusterIP".into()),
            cluster_ip: is_headless.then(|| "None".into()),
            publish_not_ready_addresses: spec.publish_not_ready_addresses,
            ports: Some(ports.collect()),
            selector,
            ..ServiceSpec::default()
        }
    };
    Service { metadata: metadata(cx, service, place), spec: Some(spec), status: None }
}

fn endpoints_to_host(
    cx: &Context,
    service: &Service,
    endpoints: Option<Endpoints>,
    place: &ObjectKey,
) -> Endpoints {
    let mut subsets = endpoints.and_then(|endpoints| endpoints.subsets).unwrap_or_default();
    for subset in &mut subsets {
        let addresses = subset.addresses.iter_mut().chain(subset.not_ready_addresses.iter_mut()).flatten();
        for address in addresses {
            // Pods and nodes by their virtual names mean nothing there.
            address.target_ref = None;
            address.node_name = None;
        }
    }
    Endpoints { metadata: metadata(cx, service, place), subsets: Some(subsets) }
}

fn metadata(cx: &Context, service: &Service, place: &ObjectKey) -> ObjectMeta {
    let mut labels = cx.translator.labels(service.metadata.labels.as_ref());
    labels.insert(EXPORTED_BY.into(), exporter(cx));
    let mut annotations = host_annotations(service.metadata.annotations.as_ref());
    let key = ObjectKey::of(&service.metadata);
    let whose: BTreeMap<String, String> = [
        (OBJECT_KIND, "Service".to_owned()),
        (OBJECT_NAMESPACE, key.namespace),
        (OBJECT_NAME, key.name),
        (OBJECT_UID, service.uid().unwrap_or_default()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    annotations.extend(whose);
    let is_own = place.namespace == cx.translator.config.host_namespace;
    ObjectMeta {
        name: Some(place.name.clone()),
        namespace: Some(place.namespace.clone()),
        labels: Some(labels),
        annotations: Some(annotations),
        owner_references: cx.translator.config.owner.clone().filter(|_| is_own).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// Writes an export, unless it stands there already or the name is somebody else's.
async fn put<K: Namespaced>(cx: &Context, key: &ObjectKey, place: &ObjectKey, wanted: &mut K) -> Result<()> {
    let api: Api<K> = Api::namespaced(cx.host_client.clone(), &place.namespace);
    let live = api.get_opt(&place.name).await.map_err(Error::Host)?;
    if live.as_ref().is_some_and(|live| origin(cx, live.meta()).as_ref() != Some(key)) {
        return Err(Error::Foreign(place.name.clone()));
    }
    let stamp = stamp(wanted);
    let same = |live: &K| {
        let (live, wanted) = (serde_json::to_value(live), serde_json::to_value(&*wanted));
        matches!((live, wanted), (Ok(live), Ok(wanted)) if holds(&live, &wanted))
    };
    if live.is_some_and(|live| applied(live.meta()) == Some(stamp.as_str()) && same(&live)) {
        return Ok(());
    }
    let params = PatchParams::apply(MANAGER).force();
    api.patch(&place.name, &params, &Patch::Apply(&*wanted)).await.map(drop).map_err(Error::Host)
}

async fn withdraw<K: Namespaced>(cx: &Context, key: &ObjectKey, place: &ObjectKey) -> Result<()> {
    let api: Api<K> = Api::namespaced(cx.host_client.clone(), &place.namespace);
    let live = api.get_metadata_opt(&place.name).await.map_err(Error::Host)?;
    let Some(live) = live.filter(|live| origin(cx, &live.metadata).as_ref() == Some(key)) else {
        return Ok(());
    };
    let deleted = api.delete(&place.name, &delete_params(live.metadata.uid.clone(), None)).await;
    gone(deleted.map(drop)).map_err(Error::Host)
}
