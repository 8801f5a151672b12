//! Services: the host object gives them addresses and carries their traffic.
//!
//! | field                                                     | owner                                        |
//! |-----------------------------------------------------------|----------------------------------------------|
//! | spec, labels, annotations                                 | virtual                                      |
//! | `clusterIP(s)`, `ipFamilies`, `ipFamilyPolicy`            | host where the virtual one is empty          |
//! | `ports[].nodePort`, `healthCheckNodePort`                 | host where the virtual one is empty          |
//! | `status.loadBalancer`                                     | host                                         |
//! | `externalIPs`                                             | dropped, unless allowed by the configuration |
//!
//! Services of type ExternalName are DNS alone and have no host object.

use std::time::Duration;

use k8s_openapi::api::core::v1::{LoadBalancerStatus, Service, ServiceSpec, ServiceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::mirror::{applied, refuse_foreign, stamp};
use super::tune::tuned;
use crate::context::{Context, Kind, Task};
use crate::error::{Error, Result, is_conflict, is_invalid, is_not_found};
use crate::labels::{ObjectKey, Translator};
use crate::queue::Outcome;

/// Brings one Service in step.
pub(crate) async fn reconcile(cx: &Context, key: &ObjectKey) -> Result<Outcome> {
    if is_hosts(key) {
        return super::kubernetes_service::reconcile(cx).await;
    }
    let task = Task { kind: Kind::Service, key: key.clone() };
    let live = cx.host_side.services.get(&cx.host_key(key));
    let mut service = cx.virtual_side.services.get(key);
    if service.is_none() && live.is_some() {
        if let Some(wait) = cx.pending.remaining(key) {
            return Ok(Outcome::After(wait));
        }
        service = cx.virtual_object(key).await?.map(std::sync::Arc::new);
    }

    let Some(service) = service.filter(|service| !is_external_name(service)) else {
        cx.unsettle(&task);
        if let Some(live) = live.filter(|live| live.metadata.deletion_timestamp.is_none()) {
            cx.delete_host::<Service>(&live.metadata, None).await?;
        }
        return Ok(Outcome::Done);
    };
    if live.as_ref().is_some_and(|live| live.metadata.deletion_timestamp.is_some()) {
        // The host's finalizers run; the deletion event brings us back.
        return Ok(Outcome::Done);
    }

    let desired = to_host(&cx.translator, &service);
    let mut desired = tuned(cx, Kind::Service, &*service, desired)?;
    if live.is_none() {
        refuse_foreign::<Service>(cx, Kind::Service, key).await?;
    }
    let stamp = stamp(&mut desired);
    let host = match live {
        Some(live)
            if applied(&live.metadata) == Some(stamp.as_str()) && !cx.is_unsettled(&task, &live.metadata) =>
        {
            live
        }
        live => {
            let written = apply(cx, desired, live.as_deref()).await?;
            cx.settle(task, written.metadata.resource_version.clone());
            std::sync::Arc::new(written)
        }
    };
    report(cx, key, &service, &host).await
}

/// Whether a Service leads to the control plane, so that it has no host object of its own: the API server's and that of
/// DNS.
pub(crate) fn is_hosts(key: &ObjectKey) -> bool {
    matches!(
        (key.namespace.as_str(), key.name.as_str()),
        ("default", "kubernetes") | ("kube-system", "kube-dns")
    )
}

/// Whether a Service is an alias in DNS and nothing else.
pub(crate) fn is_external_name(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName")
}

/// The host Service of a virtual one.
pub(crate) fn to_host(translator: &Translator, service: &Service) -> Service {
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let mut spec = service.spec.clone().unwrap_or_default();
    if let Some(selector) = spec.selector.take().filter(|selector| !selector.is_empty()) {
        let mut selector = translator.labels(Some(&selector));
        selector.extend(translator.scope(namespace));
        spec.selector = Some(selector);
    }
    if !translator.config.external_ips {
        spec.external_ips = None;
    }
    spec.cluster_ip = spec.cluster_ip.filter(|ip| !ip.is_empty());
    Service { metadata: translator.metadata("Service", &service.metadata), spec: Some(spec), status: None }
}

/// Applies a host Service. An address the host cannot give (taken, out of its range, or the live object has
/// another) is left to the host; [`report`] then renumbers the virtual Service.
async fn apply(cx: &Context, mut desired: Service, live: Option<&Service>) -> Result<Service> {
    match cx.apply(&desired).await {
        Err(Error::Host(error)) if is_invalid(&error) && has_address(&desired) => {
            let Some(spec) = &mut desired.spec else { return Err(Error::Host(error)) };
            let given = live.and_then(|live| live.spec.as_ref());
            if given.and_then(|given| given.cluster_ip.as_ref()) == spec.cluster_ip.as_ref() {
                return Err(Error::Host(error));
            }
            spec.cluster_ip = given.and_then(|given| given.cluster_ip.clone());
            spec.cluster_ips = given.and_then(|given| given.cluster_ips.clone());
            cx.apply(&desired).await
        }
        result => result,
    }
}

fn has_address(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()).is_some_and(|ip| ip != "None")
}

async fn report(cx: &Context, key: &ObjectKey, service: &Service, host: &Service) -> Result<Outcome> {
    let empty = ServiceSpec::default();
    let (spec, given) = (service.spec.as_ref().unwrap_or(&empty), host.spec.as_ref().unwrap_or(&empty));
    if is_renumbered(spec, given) {
        return renumber(cx, key, service, given).await;
    }

    let api = cx.virtual_api::<Service>(&key.namespace);
    let mut current = service.clone();
    let adopted = adopt(spec, given);
    if adopted != *spec {
        current.spec = Some(adopted);
        match api.replace(&key.name, &Context::post_params(), &current).await {
            Ok(written) => current = written,
            Err(error) if is_conflict(&error) || is_not_found(&error) => return Ok(Outcome::Done),
            Err(error) => return Err(Error::Virtual(error)),
        }
    }
    let status = status(service, host);
    if load_balancer(current.status.as_ref()) != load_balancer(Some(&status)) {
        current.status = Some(status);
        match api.replace_status(&key.name, &Context::post_params(), &current).await {
            Err(error) if !is_conflict(&error) && !is_not_found(&error) => return Err(Error::Virtual(error)),
            _ => {}
        }
    }
    Ok(Outcome::Done)
}

fn is_renumbered(spec: &ServiceSpec, given: &ServiceSpec) -> bool {
    match (spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty()), given.cluster_ip.as_deref()) {
        (Some(here), Some(there)) if !there.is_empty() => here != there,
        _ => false,
    }
}

/// Fills what the tenant left open with what the host chose.
pub(crate) fn adopt(spec: &ServiceSpec, given: &ServiceSpec) -> ServiceSpec {
    let mut spec = spec.clone();
    if spec.cluster_ip.as_deref().unwrap_or_default().is_empty() {
        spec.cluster_ip.clone_from(&given.cluster_ip);
        spec.cluster_ips.clone_from(&given.cluster_ips);
        spec.ip_families.clone_from(&given.ip_families);
        spec.ip_family_policy.clone_from(&given.ip_family_policy);
    }
    if matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer")) {
        for port in spec.ports.iter_mut().flatten().filter(|port| port.node_port.unwrap_or(0) == 0) {
            let same = given.ports.iter().flatten().find(|other| {
                other.port == port.port
                    && protocol(other.protocol.as_ref()) == protocol(port.protocol.as_ref())
            });
            port.node_port = same.and_then(|other| other.node_port).filter(|port| *port != 0);
        }
        if spec.health_check_node_port.unwrap_or(0) == 0 {
            spec.health_check_node_port = given.health_check_node_port.filter(|port| *port != 0);
        }
    }
    spec
}

fn protocol(protocol: Option<&String>) -> &str {
    protocol.map_or("TCP", String::as_str)
}

fn status(service: &Service, host: &Service) -> ServiceStatus {
    let is_balanced = service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
    let load_balancer = host.status.as_ref().and_then(|status| status.load_balancer.clone());
    ServiceStatus {
        conditions: service.status.as_ref().and_then(|status| status.conditions.clone()),
        load_balancer: Some(load_balancer.filter(|_| is_balanced).unwrap_or_default()),
    }
}

fn load_balancer(status: Option<&ServiceStatus>) -> LoadBalancerStatus {
    status.and_then(|status| status.load_balancer.clone()).unwrap_or_default()
}

/// Gives a virtual Service the address its host Service has. Addresses are immutable, so it is made anew; this
/// happens when a cluster moved to another host, never in daily life.
async fn renumber(cx: &Context, key: &ObjectKey, service: &Service, given: &ServiceSpec) -> Result<Outcome> {
    tracing::info!(service = %key, "making a service anew with the address the host has for it");
    let guard = cx.pending.hold(key);
    let open =
        ServiceSpec { cluster_ip: None, cluster_ips: None, ..service.spec.clone().unwrap_or_default() };
    let replacement = Service {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels: service.metadata.labels.clone(),
            annotations: service.metadata.annotations.clone(),
            owner_references: service.metadata.owner_references.clone(),
            ..ObjectMeta::default()
        },
        spec: Some(adopt(&open, given)),
        status: None,
    };
    cx.delete_virtual::<Service>(&service.metadata, None).await?;
    let api = cx.virtual_api::<Service>(&key.namespace);
    api.create(&Context::post_params(), &replacement).await.map_err(Error::Virtual)?;
    drop(guard);
    Ok(Outcome::After(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn service(yaml: &str) -> Service {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn translator() -> Translator {
        Translator::new(Config::new("demo", "tenant"))
    }

    #[test]
    fn a_selector_is_limited_to_the_virtual_namespace() {
        let virtual_service = service(
            "{metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{port: 80}]}}",
        );
        let spec = to_host(&translator(), &virtual_service).spec.unwrap();
        let selector = spec.selector.unwrap();
        assert_eq!(selector["app"], "web");
        assert_eq!(selector["vkube.dev/virtual-namespace"], "shop");
        assert_eq!(selector["vkube.dev/virtual-cluster"], "demo");
    }

    #[test]
    fn a_service_without_selector_stays_without() {
        let virtual_service = service("{metadata: {name: db, namespace: shop}, spec: {selector: {}}}");
        assert_eq!(to_host(&translator(), &virtual_service).spec.unwrap().selector, None);
    }

    #[test]
    fn external_ips_need_permission() {
        let virtual_service =
            service("{metadata: {name: a, namespace: b}, spec: {externalIPs: [192.0.2.1]}}");
        assert_eq!(to_host(&translator(), &virtual_service).spec.unwrap().external_ips, None);
        let mut open = translator();
        open.config.external_ips = true;
        assert!(to_host(&open, &virtual_service).spec.unwrap().external_ips.is_some());
    }

    #[test]
    fn what_the_tenant_left_open_comes_from_the_host() {
        let open = service(
            "{spec: {type: NodePort, ports: [{port: 80}, {port: 53, protocol: UDP, nodePort: 30053}]}}",
        );
        let given = service(
            "{spec: {clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9], ports: [{port: 80, protocol: TCP, nodePort: 31080}, \
             {port: 53, protocol: UDP, nodePort: 30053}]}}",
        );
        let adopted = adopt(&open.spec.unwrap(), &given.spec.unwrap());
        assert_eq!(adopted.cluster_ip.as_deref(), Some("10.96.0.9"));
        let ports: Vec<_> = adopted.ports.unwrap().iter().map(|port| port.node_port.unwrap()).collect();
        assert_eq!(ports, [31080, 30053]);
    }

    #[test]
    fn what_the_tenant_chose_stays() {
        let chosen = service("{spec: {clusterIP: None, ports: [{port: 80}]}}").spec.unwrap();
        let given =
            service("{spec: {clusterIP: None, clusterIPs: [None], ports: [{port: 80}]}}").spec.unwrap();
        assert_eq!(adopt(&chosen, &given), chosen);
    }

    #[test]
    fn only_load_balancers_report_their_address() {
        let host = service("{status: {loadBalancer: {ingress: [{ip: 192.0.2.9}]}}}");
        let balanced = status(&service("{spec: {type: LoadBalancer}}"), &host);
        assert!(balanced.load_balancer.unwrap().ingress.is_some());
        let plain = status(&service("{spec: {type: ClusterIP}}"), &host);
        assert_eq!(plain.load_balancer.unwrap().ingress, None);
    }
}
