//! EndpointSlices that tenants write for Services without a selector.
//!
//! Slices made by controllers stay where they are: those for selectors are computed on each side, those mirrored
//! from Endpoints are mirrored on the host from the Endpoints synced there.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use super::endpoints::{has_manual_endpoints, to_host_pod};
use super::mirror::{mirror, mirrored};
use crate::context::{Context, Kind};
use crate::error::Result;
use crate::labels::{ObjectKey, Translator};
use crate::queue::Outcome;

/// The label that names a slice's Service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLERS: [&str; 2] =
    ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];

/// Brings one EndpointSlice in step.
pub(crate) async fn reconcile(cx: &Context, key: &ObjectKey) -> Result<Outcome> {
    let slice = cx.virtual_side.endpoint_slices.get(key).filter(|slice| is_synced(cx, key, slice));
    let slice = slice.map(|slice| (*slice).clone());
    let desired = mirrored(cx, Kind::EndpointSlice, slice, |translator, slice| to_host(translator, &slice))?;
    mirror(cx, Kind::EndpointSlice, key, &cx.host_side.endpoint_slices, desired).await
}

/// The slices of a Service.
pub(crate) fn of_service(cx: &Context, service: &ObjectKey) -> Vec<ObjectKey> {
    let slices = cx.virtual_side.endpoint_slices.namespace(&service.namespace);
    let of_it = slices.iter().filter(|slice| slice.labels().get(SERVICE_NAME) == Some(&service.name));
    of_it.map(|slice| ObjectKey::of(&slice.metadata)).collect()
}

fn is_synced(cx: &Context, key: &ObjectKey, slice: &EndpointSlice) -> bool {
    if slice.labels().get(MANAGED_BY).is_some_and(|manager| CONTROLLERS.contains(&manager.as_str())) {
        return false;
    }
    let Some(service) = slice.labels().get(SERVICE_NAME) else { return false };
    let key = ObjectKey::new(key.namespace.clone(), service.clone());
    cx.virtual_side.services.get(&key).is_some_and(|service| has_manual_endpoints(&key, &service))
}

fn to_host(translator: &Translator, slice: &EndpointSlice) -> EndpointSlice {
    let namespace = slice.metadata.namespace.clone().unwrap_or_default();
    let mut metadata = translator.metadata("EndpointSlice", &slice.metadata);
    let labels = metadata.labels.get_or_insert_default();
    if let Some(service) = slice.labels().get(SERVICE_NAME) {
        labels.insert(SERVICE_NAME.into(), translator.names.host(&namespace, service));
    }
    labels.insert(MANAGED_BY.into(), crate::context::MANAGER.into());

    let mut host = EndpointSlice { metadata, ..slice.clone() };
    for endpoint in host.endpoints.iter_mut().flatten() {
        let target = endpoint.target_ref.take();
        endpoint.target_ref = target.and_then(|target| to_host_pod(translator, &namespace, &target));
    }
    host
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_slice_follows_its_service_and_pods() {
        let slice: EndpointSlice = serde_saphyr::from_str(
            r"
            metadata:
              name: legacy-1
              namespace: shop
              labels: {kubernetes.io/service-name: legacy}
            addressType: IPv4
            endpoints:
            - addresses: [192.0.2.7]
              targetRef: {kind: Pod, name: web-0, namespace: shop, uid: u}
            - addresses: [192.0.2.8]
              targetRef: {kind: Thing, name: other}
            ports: [{port: 80}]
            ",
        )
        .unwrap();
        let host = to_host(&Translator::new(Config::new("demo", "tenant")), &slice);
        assert_eq!(host.labels()[SERVICE_NAME], "legacy-x-shop-x-demo");
        assert_eq!(host.ports, slice.ports);
        let endpoints = host.endpoints.unwrap();
        let target = endpoints[0].target_ref.as_ref().unwrap();
        assert_eq!(target.name.as_deref(), Some("web-0-x-shop-x-demo"));
        assert_eq!(target.uid, None);
        assert_eq!(endpoints[1].target_ref, None);
    }
}
