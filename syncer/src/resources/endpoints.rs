//! Endpoints of Services without a selector, whose addresses the tenant writes.
//!
//! The host makes EndpointSlices of them by itself, as the virtual cluster does.

use k8s_openapi::api::core::v1::{EndpointAddress, Endpoints, ObjectReference, Service};

use super::mirror::{mirror, mirrored};
use super::service::is_hosts;
use crate::context::{Context, Kind};
use crate::error::Result;
use crate::labels::{ObjectKey, Translator};
use crate::queue::Outcome;

/// Brings the Endpoints of one Service in step.
pub(crate) async fn reconcile(cx: &Context, key: &ObjectKey) -> Result<Outcome> {
    let service = cx.virtual_side.services.get(key);
    let is_synced = service.is_some_and(|service| has_manual_endpoints(key, &service));
    let object = if is_synced { cx.virtual_object::<Endpoints>(key).await? } else { None };
    let desired = mirrored(cx, Kind::Endpoints, object, to_host)?;
    mirror(cx, Kind::Endpoints, key, &cx.host_side.endpoints, desired).await
}

/// Whether the tenant writes a Service's endpoints. With a selector, each side computes its own.
pub(super) fn has_manual_endpoints(key: &ObjectKey, service: &Service) -> bool {
    let Some(spec) = service.spec.as_ref().filter(|_| !is_hosts(key)) else { return false };
    let is_external = spec.type_.as_deref() == Some("ExternalName");
    !is_external && spec.selector.as_ref().is_none_or(std::collections::BTreeMap::is_empty)
}

fn to_host(translator: &Translator, mut object: Endpoints) -> Endpoints {
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    for subset in object.subsets.iter_mut().flatten() {
        let addresses = subset.addresses.iter_mut().chain(subset.not_ready_addresses.iter_mut()).flatten();
        for address in addresses {
            translate_address(translator, &namespace, address);
        }
    }
    Endpoints { metadata: translator.metadata("Endpoints", &object.metadata), subsets: object.subsets }
}

fn translate_address(translator: &Translator, namespace: &str, address: &mut EndpointAddress) {
    address.target_ref =
        address.target_ref.take().and_then(|target| to_host_pod(translator, namespace, &target));
}

/// A reference to a virtual pod as one to its host pod; references to other kinds mean nothing on the host.
pub(super) fn to_host_pod(
    translator: &Translator,
    namespace: &str,
    target: &ObjectReference,
) -> Option<ObjectReference> {
    if target.kind.as_deref() != Some("Pod") {
        return None;
    }
    let namespace = target.namespace.as_deref().unwrap_or(namespace);
    Some(ObjectReference {
        kind: Some("Pod".into()),
        name: Some(translator.names.host(namespace, target.name.as_deref()?)),
        namespace: Some(translator.host_namespace(namespace)),
        ..ObjectReference::default()
    })
}
