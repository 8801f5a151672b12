//! The endpoints controller: the addresses of a service's pods, in the older form.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join3;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DeleteParams;

use crate::Context;
use crate::api::Error;
use crate::events::{Note, Recorder};
use crate::informers::Informer;
use crate::pods;
use crate::queue::Key;
use crate::selectors::contains_all;
use crate::service_pods::{
    Family, HEADLESS_LABEL, TRIGGER_TIME, address, families, hostname, is_headless, node_name, ports,
    reference, selector, takes_unready, trigger_time, wake_services,
};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Most addresses in one object; clients that need more read slices.
const CAPACITY: usize = 1000;

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let controller = Controller {
        services: context.informers.of(),
        pods: context.informers.of(),
        endpoints: context.informers.of(),
        recorder: context.recorder.named("endpoint-controller"),
    };
    let queue = context.queue("endpoint");
    wake_services(&controller.services, &controller.pods, &queue);
    // Endpoints that someone deletes or edits are restored; those whose service is gone are deleted.
    controller.endpoints.subscribe({
        let queue = queue.clone();
        move |change| {
            if let Some(endpoints) = change.new.as_ref().or(change.old.as_ref()) {
                queue.add(Key::of(&**endpoints));
            }
        }
    });
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = join3(controller.services.synced(), controller.pods.synced(), controller.endpoints.synced()) => {}
        }
        queue.run(5, &shutdown, |key| controller.reconcile(key)).await;
    }
}

struct Controller {
    services: Informer<Service>,
    pods: Informer<Pod>,
    endpoints: Informer<Endpoints>,
    recorder: Recorder,
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        let current = self.endpoints.get(&key.namespace, &key.name);
        let Some(service) = self.services.get(&key.namespace, &key.name) else {
            // Only our own: endpoints may be used without a service, for example as a lock.
            return match current.filter(|current| is_ours(current)) {
                Some(orphan) => self.endpoints.delete(&orphan, DeleteParams::default()).await,
                None => Ok(()),
            };
        };
        let Some(selector) = selector(&service) else { return Ok(()) };
        let mut pods = self.pods.list(&key.namespace);
        pods.retain(|pod| contains_all(pod.metadata.labels.as_ref(), selector));

        let Some(wanted) = plan(&service, &pods, current.as_deref()) else { return Ok(()) };
        let (verb, outcome) = match &current {
            Some(current) => ("update", self.endpoints.update(current, &wanted).await),
            None => ("create", self.endpoints.create(&wanted).await.map(drop)),
        };
        match outcome {
            Err(error) if error.is_namespace_terminating() => Ok(()),
            Err(error) if error.is_conflict() || error.is_already_exists() => Err(error),
            Err(error) => {
                let reason =
                    if verb == "update" { "FailedToUpdateEndpoint" } else { "FailedToCreateEndpoint" };
                let message = format!("Failed to {verb} endpoint {key}: {}", error.message());
                self.recorder.tell(&*service, Note::warning(reason, message));
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }
}

fn is_ours(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|manager| manager == "endpoint-controller")
}

/// The endpoints as they shall be; `None` if they are.
fn plan(service: &Service, pods: &[Arc<Pod>], current: Option<&Endpoints>) -> Option<Endpoints> {
    let (subsets, truncated) = truncate(subsets(service, pods));
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS_LABEL);
    if is_headless(service) {
        labels.insert(HEADLESS_LABEL.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), "endpoint-controller".to_owned());
    let subsets = Some(subsets).filter(|subsets| !subsets.is_empty());

    let mut wanted = current.cloned().unwrap_or_else(|| Endpoints {
        metadata: ObjectMeta {
            namespace: service.metadata.namespace.clone(),
            name: service.metadata.name.clone(),
            ..ObjectMeta::default()
        },
        subsets: None,
    });
    let annotations = wanted.metadata.annotations.get_or_insert_default();
    let was_truncated = annotations.contains_key(OVER_CAPACITY);
    let had = current.map(|current| current.subsets.clone().filter(|subsets| !subsets.is_empty()));
    if had.as_ref() == Some(&subsets)
        && wanted.metadata.labels.as_ref() == Some(&labels)
        && was_truncated == truncated
    {
        return None;
    }
    annotations.remove(OVER_CAPACITY);
    if truncated {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    }
    annotations.extend(trigger_time(service, pods).map(|at| (TRIGGER_TIME.to_owned(), at)));
    wanted.metadata.labels = Some(labels);
    wanted.subsets = subsets;
    Some(wanted)
}

type Addresses = Vec<(EndpointAddress, bool)>;

/// Addresses grouped so that all of a group have the same ports.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let family = families(service).first().copied().unwrap_or(Family::V4);
    let takes_unready = takes_unready(service);
    let portless = service.spec.as_ref().is_none_or(|spec| spec.ports.as_ref().is_none_or(Vec::is_empty));

    // First who has a port, then which ports are had by the same ones.
    let mut by_port: Vec<(Option<EndpointPort>, Addresses)> = Vec::new();
    for pod in pods.iter().filter(|pod| takes_unready || !pods::is_terminating(pod)) {
        let Some(ip) = address(pod, family) else { continue };
        let ready = takes_unready || pods::is_ready(pod);
        let address = EndpointAddress {
            ip,
            hostname: hostname(service, pod),
            node_name: node_name(pod),
            target_ref: Some(reference(pod)),
        };
        let mut keys: Vec<_> = ports(service, pod)
            .into_iter()
            .map(|(port, number)| {
                Some(EndpointPort {
                    name: port.name.clone().filter(|name| !name.is_empty()),
                    port: number,
                    protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
                    app_protocol: port.app_protocol.clone(),
                })
            })
            .collect();
        if portless && is_headless(service) {
            keys.push(None);
        }
        for key in keys {
            match by_port.iter_mut().find(|(port, _)| *port == key) {
                Some((_, addresses)) => addresses.push((address.clone(), ready)),
                None => by_port.push((key, vec![(address.clone(), ready)])),
            }
        }
    }

    let mut groups: Vec<(Addresses, Vec<EndpointPort>)> = Vec::new();
    for (port, addresses) in by_port {
        match groups.iter_mut().find(|(same, _)| *same == addresses) {
            Some((_, ports)) => ports.extend(port),
            None => groups.push((addresses, port.into_iter().collect())),
        }
    }
    groups.into_iter().map(|(addresses, ports)| subset(addresses, ports)).collect()
}

fn subset(addresses: Addresses, ports: Vec<EndpointPort>) -> EndpointSubset {
    // Sorted, so that the order of pods in the cache never shows.
    let mut sorted: BTreeMap<(String, Option<String>), (EndpointAddress, bool)> = BTreeMap::new();
    for (address, ready) in addresses {
        let uid = address.target_ref.as_ref().and_then(|reference| reference.uid.clone());
        sorted.insert((address.ip.clone(), uid), (address, ready));
    }
    let (ready, not): (Vec<_>, Vec<_>) = sorted.into_values().partition(|(_, ready)| *ready);
    let list = |addresses: Vec<(EndpointAddress, bool)>| {
        let addresses: Vec<_> = addresses.into_iter().map(|(address, _)| address).collect();
        (!addresses.is_empty()).then_some(addresses)
    };
    EndpointSubset {
        addresses: list(ready),
        not_ready_addresses: list(not),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

/// Cuts down to the capacity, keeping ready addresses first; says whether anything was cut.
fn truncate(mut subsets: Vec<EndpointSubset>) -> (Vec<EndpointSubset>, bool) {
    let mut room = CAPACITY;
    let mut cut = false;
    let mut take = |addresses: &mut Option<Vec<EndpointAddress>>| {
        let Some(list) = addresses else { return };
        cut |= list.len() > room;
        list.truncate(room);
        room -= list.len();
        if list.is_empty() {
            *addresses = None;
        }
    };
    for subset in &mut subsets {
        take(&mut subset.addresses);
    }
    for subset in &mut subsets {
        take(&mut subset.not_ready_addresses);
    }
    subsets.retain(|subset| subset.addresses.is_some() || subset.not_ready_addresses.is_some());
    (subsets, cut)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::pods::tests::running;

    fn service(change: impl FnOnce(&mut ServiceSpec)) -> Service {
        let port =
            |name: &str, port: i32| ServicePort { name: Some(name.into()), port, ..ServicePort::default() };
        let mut spec = ServiceSpec {
            cluster_ip: Some("10.96.0.9".into()),
            ports: Some(vec![port("http", 80), port("https", 443)]),
            ..ServiceSpec::default()
        };
        change(&mut spec);
        let metadata =
            ObjectMeta { name: Some("web".into()), namespace: Some("default".into()), ..Default::default() };
        Service { metadata, spec: Some(spec), status: None }
    }

    fn pod(name: &str, ip: &str, change: impl FnOnce(&mut Pod)) -> Arc<Pod> {
        let mut pod = running(name);
        pod.status.as_mut().unwrap().pod_ip = Some(ip.into());
        change(&mut pod);
        Arc::new(pod)
    }

    fn ips(addresses: Option<&Vec<EndpointAddress>>) -> Vec<&str> {
        addresses.into_iter().flatten().map(|address| &*address.ip).collect()
    }

    fn pods() -> Vec<Arc<Pod>> {
        vec![
            pod("b", "10.0.0.2", |_| {}),
            pod("a", "10.0.0.1", |_| {}),
            pod("unready", "10.0.0.3", |pod| pod.status.as_mut().unwrap().conditions = None),
            pod("going", "10.0.0.4", |pod| {
                pod.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
            }),
            pod("ended", "10.0.0.5", |pod| pod.status.as_mut().unwrap().phase = Some("Failed".into())),
        ]
    }

    #[test]
    fn ready_and_unready_addresses_are_told_apart_and_the_going_are_left_out() {
        let endpoints = plan(&service(|_| {}), &pods(), None).unwrap();
        let subsets = endpoints.subsets.unwrap();
        assert_eq!(subsets.len(), 1);
        assert_eq!(ips(subsets[0].addresses.as_ref()), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(ips(subsets[0].not_ready_addresses.as_ref()), ["10.0.0.3"]);
        assert_eq!(subsets[0].ports.as_ref().unwrap().len(), 2);
    }

    #[test]
    fn publishing_not_ready_addresses_takes_all_that_run() {
        let endpoints =
            plan(&service(|spec| spec.publish_not_ready_addresses = Some(true)), &pods(), None).unwrap();
        assert_eq!(ips(endpoints.subsets.unwrap()[0].addresses.as_ref()).len(), 4);
    }

    #[test]
    fn a_headless_service_is_labelled_and_needs_no_ports() {
        let headless = service(|spec| (spec.cluster_ip, spec.ports) = (Some("None".into()), None));
        let endpoints = plan(&headless, &pods(), None).unwrap();
        assert!(endpoints.metadata.labels.unwrap().contains_key(HEADLESS_LABEL));
        let subsets = endpoints.subsets.unwrap();
        assert_eq!(subsets[0].ports, None);
        assert_eq!(ips(subsets[0].addresses.as_ref()).len(), 2);
    }

    #[test]
    fn current_endpoints_are_left_alone_and_edits_undone() {
        let service = service(|_| {});
        let wanted = plan(&service, &pods(), None).unwrap();
        assert_eq!(plan(&service, &pods(), Some(&wanted)), None);
        let mut edited = wanted.clone();
        edited.subsets = None;
        assert_eq!(plan(&service, &pods(), Some(&edited)), Some(wanted));
    }

    #[test]
    fn a_service_without_pods_has_empty_endpoints() {
        assert_eq!(plan(&service(|_| {}), &[], None).unwrap().subsets, None);
    }

    #[test]
    fn addresses_beyond_the_capacity_are_cut_and_that_is_said() {
        let many: Vec<_> = (0..1005)
            .map(|n| pod(&format!("p{n}"), &format!("10.0.{}.{}", n / 250, n % 250), |_| {}))
            .collect();
        let endpoints = plan(&service(|_| {}), &many, None).unwrap();
        assert_eq!(ips(endpoints.subsets.unwrap()[0].addresses.as_ref()).len(), CAPACITY);
        assert_eq!(endpoints.metadata.annotations.unwrap()[OVER_CAPACITY], "truncated");
    }
}
