//! Events of the host about the tenant's objects, told in the virtual cluster. The host owns them.
//!
//! Events are not cached: each one is translated as it passes and written under a name that follows from the
//! host's, so telling it again after a restart changes nothing.

use k8s_openapi::api::core::v1::{Event, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::context::{Context, Kind};
use crate::error::{Error, Result, is_conflict, is_not_found};
use crate::labels::{ObjectKey, virtual_uid};
use crate::names::digest;
use crate::resources::pod;
use crate::rules::Direction;
use crate::sanitise::Sanitiser;

/// Host annotation of events that are told in any case.
const FORCE_SYNC: &str = "vkube.dev/force-sync";

/// Where events are told that are about nothing of the tenant's.
const ELSEWHERE: &str = "default";

/// The virtual object an event is about.
struct Subject {
    key: ObjectKey,
    uid: Option<String>,
    pod: Option<std::sync::Arc<Pod>>,
}

/// Tells one host event in the virtual cluster, if it is about one of its objects.
pub(crate) async fn forward(cx: &Context, event: &Event) -> Result<()> {
    let (namespace, told) = match subject(cx, &event.involved_object) {
        Some(subject) => (subject.key.namespace.clone(), translate(cx, event, &subject)),
        None if is_forced(event) => (ELSEWHERE.to_owned(), untranslated(event)),
        None => return Ok(()),
    };
    let api = cx.virtual_api::<Event>(&namespace);
    match api.create(&Context::post_params(), &told).await {
        Ok(_) => Ok(()),
        Err(error) if is_conflict(&error) => {
            let name = told.name_any();
            let Some(known) = api.get_opt(&name).await.map_err(Error::Virtual)? else { return Ok(()) };
            if known.count == told.count && known.series == told.series && known.message == told.message {
                return Ok(());
            }
            let metadata = ObjectMeta { resource_version: known.resource_version(), ..told.metadata.clone() };
            let repeated = Event { metadata, ..told };
            match api.replace(&name, &Context::post_params(), &repeated).await {
                Err(error) if !is_conflict(&error) && !is_not_found(&error) => Err(Error::Virtual(error)),
                _ => Ok(()),
            }
        }
        // The namespace is going or gone.
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(()),
        Err(error) => Err(Error::Virtual(error)),
    }
}

/// Whether the host wants an event to be told although it is about nothing that the tenant has.
fn is_forced(event: &Event) -> bool {
    event.annotations().get(FORCE_SYNC).is_some_and(|value| value == "true")
}

/// An event that is told as the host has it.
fn untranslated(event: &Event) -> Event {
    let metadata = ObjectMeta {
        name: Some(event.name_any()),
        namespace: Some(ELSEWHERE.into()),
        ..ObjectMeta::default()
    };
    let involved = ObjectReference {
        namespace: Some(ELSEWHERE.into()),
        resource_version: None,
        uid: None,
        ..event.involved_object.clone()
    };
    Event { metadata, involved_object: involved, related: None, ..event.clone() }
}

fn subject(cx: &Context, involved: &ObjectReference) -> Option<Subject> {
    let (kind, name) = (involved.kind.as_deref()?, involved.name.as_deref()?);
    let namespace = involved.namespace.as_deref()?;
    let mapped = cx.translator.virtual_namespace(namespace);
    if mapped.is_none() && namespace != cx.translator.config.host_namespace {
        return None;
    }
    let host_key = ObjectKey::new(namespace, name);
    let host = &cx.host_side;
    let by_rule = || {
        let of_kind = cx.rules.iter().filter(|general| {
            general.rule.direction == Direction::ToHost
                && general.shape.get().is_some_and(|shape| shape.api.kind == kind)
        });
        of_kind.filter_map(|general| general.host(&host_key)).map(|object| object.metadata.clone()).next()
    };
    let metadata = match kind {
        "Pod" => host.pods.get(&host_key).map(|object| object.metadata.clone()),
        "Service" => host.services.get(&host_key).map(|object| object.metadata.clone()),
        "PersistentVolumeClaim" => host.claims.get(&host_key).map(|object| object.metadata.clone()),
        "ConfigMap" => host.config_maps.get(&host_key).map(|object| object.metadata.clone()),
        "Secret" => host.secrets.get(&host_key).map(|object| object.metadata.clone()),
        "Endpoints" => host.endpoints.get(&host_key).map(|object| object.metadata.clone()),
        "EndpointSlice" => host.endpoint_slices.get(&host_key).map(|object| object.metadata.clone()),
        "Ingress" => host.ingresses.get(&host_key).map(|object| object.metadata.clone()),
        "NetworkPolicy" => host.network_policies.get(&host_key).map(|object| object.metadata.clone()),
        "PodDisruptionBudget" => host.disruption_budgets.get(&host_key).map(|object| object.metadata.clone()),
        _ => by_rule(),
    };
    let (key, uid) = match metadata {
        Some(metadata) => (cx.translator.origin(kind, &metadata)?, virtual_uid(&metadata).map(str::to_owned)),
        // The object may be gone before its last event, or the event here before its object.
        None => match mapped {
            Some(namespace) => (ObjectKey::new(namespace, name), None),
            None => {
                let (namespace, name) = cx.translator.names.parse(name)?;
                (ObjectKey::new(namespace, name), None)
            }
        },
    };
    let pod = (kind == "Pod").then(|| cx.virtual_side.pods.get(&key)).flatten();
    Some(Subject { uid: uid.or_else(|| pod.as_ref()?.metadata.uid.clone()), key, pod })
}

fn translate(cx: &Context, event: &Event, subject: &Subject) -> Event {
    let namespace = &subject.key.namespace;
    let sanitiser = match &subject.pod {
        Some(pod) => pod::sanitiser(&cx.translator, pod),
        None => Sanitiser::new(&cx.translator, namespace).knows(&subject.key.name),
    };
    let involved = ObjectReference {
        name: Some(subject.key.name.clone()),
        namespace: Some(namespace.clone()),
        uid: subject.uid.clone(),
        resource_version: None,
        ..event.involved_object.clone()
    };
    Event {
        metadata: ObjectMeta {
            name: Some(name(event, subject)),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: involved,
        message: event.message.as_deref().map(|message| sanitiser.clean(message)),
        related: None,
        ..event.clone()
    }
}

/// `<object>.<suffix>` of the host becomes `<virtual object>.<suffix>`; any other name a digest of itself.
fn name(event: &Event, subject: &Subject) -> String {
    let host = event.name_any();
    let involved = event.involved_object.name.as_deref().unwrap_or_default();
    let suffix = host.strip_prefix(involved).and_then(|rest| rest.strip_prefix('.'));
    let suffix = suffix.map_or_else(|| digest(&[&host], 16), str::to_owned);
    format!("{}.{suffix}", subject.key.name)
}

/// Reports a failed synchronisation where the tenant looks for it.
pub(crate) async fn report(cx: &Context, kind: Kind, key: &ObjectKey, message: &str) -> Result<()> {
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::now());
    let uid = match kind {
        Kind::Pod => cx.virtual_side.pods.get(key).and_then(|pod| pod.metadata.uid.clone()),
        Kind::Service | Kind::Export => {
            cx.virtual_side.services.get(key).and_then(|service| service.metadata.uid.clone())
        }
        _ => None,
    };
    let (api_version, kind) = cx.named(kind);
    let namespace = if key.namespace.is_empty() { "default" } else { &key.namespace };
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{}", key.name, digest(&[&kind, message, &now.0.to_string()], 16))),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(api_version),
            kind: Some(kind),
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            uid,
            ..ObjectReference::default()
        },
        reason: Some("SyncError".into()),
        message: Some(message.to_owned()),
        type_: Some("Warning".into()),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        source: Some(k8s_openapi::api::core::v1::EventSource {
            component: Some(crate::context::MANAGER.into()),
            host: None,
        }),
        reporting_component: Some(crate::context::MANAGER.into()),
        ..Event::default()
    };
    let api = cx.virtual_api::<Event>(namespace);
    api.create(&Context::post_params(), &event).await.map(drop).map_err(Error::Virtual)
}
