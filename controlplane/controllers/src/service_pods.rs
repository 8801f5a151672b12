//! How the pods of a service become addresses and ports; shared by endpoints and endpoint slices.

use k8s_openapi::api::core::v1::{ContainerPort, ObjectReference, Pod, PodSpec, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::sync::Arc;

use crate::informers::Informer;
use crate::pods;
use crate::queue::{Key, Queue};
use crate::selectors::{Labels, contains_all};

/// Marks endpoints of services without a cluster IP.
pub(crate) const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
/// When the cause of the last change happened.
pub(crate) const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// An IP family, by the name that services and slices use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// As in `ipFamilies` and `addressType`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// The family of an address.
    pub fn of(address: &str) -> Self {
        if address.contains(':') { Self::V6 } else { Self::V4 }
    }
}

/// Queues services whose selector matches a pod that changes, and services that change themselves.
pub(crate) fn wake_services(services: &Informer<Service>, pods: &Informer<Pod>, queue: &Queue<Key>) {
    let own = queue.clone();
    services.subscribe(move |change| {
        if let Some(service) = change.new.as_ref().or(change.old.as_ref()) {
            own.add(Key::of(&**service));
        }
    });
    let (services, queue) = (services.clone(), queue.clone());
    pods.subscribe(move |change| {
        let versions = [&change.old, &change.new];
        let pods: Vec<&Arc<Pod>> = versions.into_iter().flatten().collect();
        let Some(pod) = pods.first() else { return };
        for service in services.list(pod.metadata.namespace.as_deref().unwrap_or_default()) {
            let selects =
                |selector| pods.iter().any(|pod| contains_all(pod.metadata.labels.as_ref(), selector));
            if selector(&service).is_some_and(selects) {
                queue.add(Key::of(&*service));
            }
        }
    });
}

/// The selector of a service whose endpoints are ours to keep.
pub(crate) fn selector(service: &Service) -> Option<&Labels> {
    let spec = service.spec.as_ref()?;
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
    (spec.type_.as_deref() != Some("ExternalName")).then_some(selector)
}

/// Whether the service has no cluster IP.
pub(crate) fn is_headless(service: &Service) -> bool {
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()).unwrap_or_default();
    address.is_empty() || address == "None"
}

/// Whether pods that are not ready shall be used as well.
pub(crate) fn takes_unready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

/// The families that the service is reached by, its primary one first.
pub(crate) fn families(service: &Service) -> Vec<Family> {
    let spec = service.spec.clone().unwrap_or_default();
    let named = spec.ip_families.unwrap_or_default();
    let named: Vec<_> =
        named.iter().map(|family| if family == "IPv6" { Family::V6 } else { Family::V4 }).collect();
    if !named.is_empty() {
        return named;
    }
    let address = spec.cluster_ip.unwrap_or_default();
    vec![Family::of(&address)]
}

/// The pod's address in `family`; `None` for a pod that has ended or has no address yet.
pub(crate) fn address(pod: &Pod, family: Family) -> Option<String> {
    if pods::is_finished(pod) {
        return None;
    }
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|one| &one.ip).chain(&status.pod_ip);
    all.into_iter().find(|ip| !ip.is_empty() && Family::of(ip) == family).cloned()
}

/// The ports of the service that the pod has, with the pod's port numbers.
pub(crate) fn ports<'a>(service: &'a Service, pod: &Pod) -> Vec<(&'a ServicePort, i32)> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports.filter_map(|port| Some((port, target(port, pod.spec.as_ref()?)?))).collect()
}

fn target(port: &ServicePort, spec: &PodSpec) -> Option<i32> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let sidecars = spec.init_containers.iter().flatten();
            let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
            let protocol = |protocol: &Option<String>| protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            let wanted = |candidate: &&ContainerPort| {
                candidate.name.as_ref() == Some(name)
                    && protocol(&candidate.protocol) == protocol(&port.protocol)
            };
            let mut all =
                spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
            all.find(wanted).map(|found| found.container_port)
        }
    }
}

/// The host name that the pod has within the service's domain.
pub(crate) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let hostname = spec.hostname.clone().filter(|hostname| !hostname.is_empty())?;
    (spec.subdomain.is_some() && spec.subdomain == service.metadata.name).then_some(hostname)
}

/// The node that the pod runs on.
pub(crate) fn node_name(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.node_name.clone().filter(|node| !node.is_empty())
}

/// How endpoints name the pod behind them.
pub(crate) fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// When the newest cause for the present endpoints happened: the service was made, or a pod changed its readiness.
pub(crate) fn trigger_time(service: &Service, pods: &[Arc<Pod>]) -> Option<String> {
    let readiness = pods.iter().filter_map(|pod| {
        let conditions = pod.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == "Ready")?.last_transition_time.clone()
    });
    readiness.chain(service.metadata.creation_timestamp.clone()).max().map(|at| at.0.to_string())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Container, PodIP, ServiceSpec};

    use super::*;
    use crate::pods::tests::running;

    fn service(target: Option<IntOrString>, protocol: &str) -> Service {
        let port = ServicePort {
            port: 80,
            target_port: target,
            protocol: Some(protocol.into()),
            ..ServicePort::default()
        };
        Service {
            spec: Some(ServiceSpec { ports: Some(vec![port]), ..ServiceSpec::default() }),
            ..Service::default()
        }
    }

    fn container(port: &str, number: i32, sidecar: bool) -> Container {
        let port =
            ContainerPort { name: Some(port.into()), container_port: number, ..ContainerPort::default() };
        Container {
            ports: Some(vec![port]),
            restart_policy: sidecar.then(|| "Always".into()),
            ..Container::default()
        }
    }

    #[test]
    fn a_target_port_is_a_number_or_the_name_of_a_port_of_that_protocol() {
        let mut pod = running("a");
        let spec = pod.spec.as_mut().unwrap();
        spec.containers = vec![container("http", 8080, false)];
        spec.init_containers = Some(vec![container("init", 1, false), container("mesh", 15000, true)]);
        let named = |name: &str| Some(IntOrString::String(name.into()));
        for (service, expected) in [
            (service(None, "TCP"), Some(80)),
            (service(Some(IntOrString::Int(9090)), "TCP"), Some(9090)),
            (service(named("http"), "TCP"), Some(8080)),
            (service(named("http"), "UDP"), None),
            (service(named("mesh"), "TCP"), Some(15000)),
            (service(named("init"), "TCP"), None),
        ] {
            assert_eq!(ports(&service, &pod).first().map(|(_, number)| *number), expected, "{service:?}");
        }
    }

    #[test]
    fn a_pod_has_one_address_a_family_until_it_ends() {
        let mut pod = running("a");
        let status = pod.status.as_mut().unwrap();
        status.pod_ip = Some("10.0.0.1".into());
        status.pod_ips = Some(["10.0.0.1", "fd00::1"].map(|ip| PodIP { ip: ip.into() }).to_vec());
        assert_eq!(address(&pod, Family::V4).as_deref(), Some("10.0.0.1"));
        assert_eq!(address(&pod, Family::V6).as_deref(), Some("fd00::1"));
        pod.status.as_mut().unwrap().phase = Some("Succeeded".into());
        assert_eq!(address(&pod, Family::V4), None);
    }
}
