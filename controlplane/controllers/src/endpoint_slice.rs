//! The endpoint slice controller: the endpoints of a service, at most a hundred a slice.
//!
//! A slice holds endpoints of one address family with the same ports. What is in a slice stays there as long as it
//! lives, so that one pod's change rewrites one slice; new endpoints fill free places first. Hints follow the traffic
//! distribution of the service, or its topology mode ([`topology`]).

mod topology;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::future::{join, join3};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::Context;
use crate::api::Error;
use crate::events::{Note, Recorder};
use crate::informers::Informer;
use crate::ownership::{controller_of, controller_reference};
use crate::pods;
use crate::queue::{Key, Queue};
use crate::selectors::{Labels, contains_all};
use crate::service_pods::{
    Family, HEADLESS_LABEL, TRIGGER_TIME, address, families, hostname, is_headless, node_name, ports,
    reference, selector, takes_unready, trigger_time, wake_services,
};
use crate::slices::{MANAGED_BY, SERVICE_NAME, SliceChanges, label};

const MANAGER: &str = "endpointslice-controller.k8s.io";
const ZONE: &str = "topology.kubernetes.io/zone";
/// Most endpoints in a slice.
const CAPACITY: usize = 100;

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let controller = Controller {
        services: context.informers.of(),
        pods: context.informers.of(),
        nodes: context.informers.of(),
        slices: context.informers.of(),
        recorder: context.recorder.named("endpoint-slice-controller"),
    };
    let queue = context.queue("endpoint_slice");
    wake_services(&controller.services, &controller.pods, &queue);
    controller.wake_on_slices(&queue);
    controller.wake_on_zones(&queue);
    let shutdown = context.shutdown.clone();
    async move {
        let synced = join(
            join3(controller.services.synced(), controller.pods.synced(), controller.slices.synced()),
            controller.nodes.synced(),
        );
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = synced => {}
        }
        queue.run(5, &shutdown, |key| controller.reconcile(key)).await;
    }
}

struct Controller {
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    slices: Informer<EndpointSlice>,
    recorder: Recorder,
}

impl Controller {
    fn wake_on_slices(&self, queue: &Queue<Key>) {
        let queue = queue.clone();
        self.slices.subscribe(move |change| {
            for slice in [&change.old, &change.new].into_iter().flatten().filter(|slice| is_ours(slice)) {
                if let Some(service) = label(slice, SERVICE_NAME) {
                    queue.add(Key::new(slice.metadata.namespace.as_deref().unwrap_or_default(), service));
                }
            }
        });
    }

    fn wake_on_zones(&self, queue: &Queue<Key>) {
        let (queue, services) = (queue.clone(), self.services.clone());
        self.nodes.subscribe(move |change| {
            let (old, new) = (change.old.as_deref(), change.new.as_deref());
            let moved = old.and_then(zone) != new.and_then(zone);
            let grown = old.and_then(topology::capacity) != new.and_then(topology::capacity);
            for service in services.all() {
                if moved || (grown && topology::is_automatic(&service)) {
                    queue.add(Key::of(&*service));
                }
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        // The slices of a service that is gone go with it, by garbage collection.
        let Some(service) = self.services.get(&key.namespace, &key.name) else { return Ok(()) };
        let Some(selector) = selector(&service).filter(|_| service.metadata.deletion_timestamp.is_none())
        else {
            return Ok(());
        };
        let mut pods = self.pods.list(&key.namespace);
        pods.retain(|pod| contains_all(pod.metadata.labels.as_ref(), selector));
        let mut slices = self.slices.list(&key.namespace);
        slices.retain(|slice| {
            is_ours(slice)
                && label(slice, SERVICE_NAME) == Some(&key.name)
                && slice.metadata.deletion_timestamp.is_none()
        });

        let zones: Zones = pods
            .iter()
            .filter_map(|pod| node_name(pod))
            .filter_map(|node| Some((zone(self.nodes.get("", &node)?.as_ref())?.to_owned(), node)))
            .map(|(zone, node)| (node, zone))
            .collect();
        let shares = topology::is_automatic(&service).then(|| topology::shares(&self.nodes.all()));
        let plan = plan(&service, &pods, &Nodes { zones, shares: shares.flatten() }, &slices);
        for note in &plan.notes {
            self.recorder.tell(&*service, note.clone());
        }
        match plan.changes.write(&self.slices).await {
            Err(error) if error.is_namespace_terminating() => Ok(()),
            Err(error) if !error.is_transient() => {
                let message =
                    format!("Error updating Endpoint Slices for Service {key}: {}", error.message());
                self.recorder.tell(&*service, Note::warning("FailedToUpdateEndpointSlices", message));
                Err(error)
            }
            outcome => outcome,
        }
    }
}

/// Zones by node name.
type Zones = HashMap<String, String>;

/// What endpoints depend on of nodes.
#[derive(Debug, Default)]
struct Nodes {
    zones: Zones,
    /// The zones' shares of all CPUs, for services whose endpoints are divided by them.
    shares: topology::Shares,
}

fn is_ours(slice: &EndpointSlice) -> bool {
    label(slice, MANAGED_BY) == Some(MANAGER)
}

fn zone(node: &Node) -> Option<&str> {
    node.metadata.labels.as_ref()?.get(ZONE).map(String::as_str)
}

/// What to do about a service's slices.
#[derive(Debug, Default, PartialEq)]
struct Plan {
    changes: SliceChanges,
    notes: Vec<Note>,
}

/// Compares the slices of a service with its pods.
fn plan(service: &Service, pods: &[Arc<Pod>], nodes: &Nodes, slices: &[Arc<EndpointSlice>]) -> Plan {
    let mut plan = Plan::default();
    let labels = labels(service);
    let families = families(service);
    for family in &families {
        let mut existing: Vec<_> =
            slices.iter().filter(|slice| slice.address_type == family.name()).cloned().collect();
        existing.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        let mut layout = Layout::default();
        let mut groups = wanted(service, pods, &nodes.zones, *family);
        let note = divide(service, &mut groups, &nodes.shares, *family, &existing);
        for (ports, endpoints) in groups {
            layout.place(&ports, endpoints, &mut existing);
        }
        layout.spare = existing;
        let writes = plan.changes.create.len() + plan.changes.update.len();
        layout.settle(service, *family, &labels, &mut plan.changes);
        if plan.changes.create.len() + plan.changes.update.len() > writes {
            plan.notes.extend(note);
        }
    }
    let foreign =
        |slice: &&Arc<EndpointSlice>| !families.iter().any(|family| family.name() == slice.address_type);
    plan.changes.delete.extend(slices.iter().filter(foreign).cloned());

    if let Some(at) = trigger_time(service, pods) {
        let changed = plan.changes.update.iter_mut().map(|(_, slice)| slice).chain(&mut plan.changes.create);
        for slice in changed {
            slice.metadata.annotations.get_or_insert_default().insert(TRIGGER_TIME.to_owned(), at.clone());
        }
    }
    plan
}

/// Divides the endpoints of a family among zones, if the service asks for it; says so when that begins or fails.
fn divide(
    service: &Service,
    groups: &mut [(Ports, Vec<Endpoint>)],
    shares: &topology::Shares,
    family: Family,
    existing: &[Arc<EndpointSlice>],
) -> Option<Note> {
    if !topology::is_automatic(service) {
        return None;
    }
    let mut all: Vec<&mut Endpoint> = groups.iter_mut().flat_map(|(_, endpoints)| endpoints).collect();
    let outcome = topology::hint(&mut all, shares);
    let mut before = existing.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    let had_hints = before.any(|endpoint| endpoint.hints.is_some());
    match outcome {
        Ok(()) if had_hints => None,
        Ok(()) => {
            let message = format!("Topology Aware Hints has been enabled, addressType: {}", family.name());
            Some(Note::normal("TopologyAwareHintsEnabled", message))
        }
        Err(why) => Some(Note::warning("TopologyAwareHintsDisabled", why.message(family))),
    }
}

fn labels(service: &Service) -> Labels {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS_LABEL);
    if is_headless(service) {
        labels.insert(HEADLESS_LABEL.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

type Ports = Vec<EndpointPort>;

/// The endpoints there should be, by their ports; at least one group, if an empty one.
fn wanted(
    service: &Service,
    pods: &[Arc<Pod>],
    zones: &Zones,
    family: Family,
) -> Vec<(Ports, Vec<Endpoint>)> {
    let mut groups: Vec<(Ports, Vec<Endpoint>)> = Vec::new();
    for pod in pods {
        let Some(ip) = address(pod, family) else { continue };
        let ports: Ports = ports(service, pod)
            .into_iter()
            .map(|(port, number)| EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(number),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
                app_protocol: port.app_protocol.clone(),
            })
            .collect();
        let endpoint = endpoint(service, pod, ip, zones);
        match groups.iter_mut().find(|(same, _)| *same == ports) {
            Some((_, endpoints)) => endpoints.push(endpoint),
            None => groups.push((ports, vec![endpoint])),
        }
    }
    if groups.is_empty() {
        groups.push((Vec::new(), Vec::new()));
    }
    groups
}

fn endpoint(service: &Service, pod: &Pod, ip: String, zones: &Zones) -> Endpoint {
    let (serving, terminating) = (pods::is_ready(pod), pods::is_terminating(pod));
    let ready = takes_unready(service) || (serving && !terminating);
    let node_name = node_name(pod);
    let zone = node_name.as_ref().and_then(|node| zones.get(node)).cloned();
    Endpoint {
        addresses: vec![ip],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(service, pod),
        hints: hints(service, ready, node_name.as_ref(), zone.as_ref()),
        node_name,
        target_ref: Some(reference(pod)),
        zone,
        deprecated_topology: None,
    }
}

/// Who should prefer the endpoint, as the service's traffic distribution asks.
fn hints(
    service: &Service,
    ready: bool,
    node: Option<&String>,
    zone: Option<&String>,
) -> Option<EndpointHints> {
    let distribution = service.spec.as_ref()?.traffic_distribution.as_deref().filter(|_| ready)?;
    let for_nodes =
        node.filter(|_| distribution == "PreferSameNode").map(|name| vec![ForNode { name: name.clone() }]);
    let zonal = matches!(distribution, "PreferClose" | "PreferSameZone" | "PreferSameNode");
    let for_zones = zone.filter(|_| zonal).map(|name| vec![ForZone { name: name.clone() }]);
    (for_nodes.is_some() || for_zones.is_some()).then_some(EndpointHints { for_nodes, for_zones })
}

/// Which endpoints go into which slice.
#[derive(Default)]
struct Layout {
    /// Existing slices with their new content.
    kept: Vec<(Arc<EndpointSlice>, Ports, Vec<Endpoint>)>,
    fresh: Vec<(Ports, Vec<Endpoint>)>,
    /// Existing slices of no further use as they are.
    spare: Vec<Arc<EndpointSlice>>,
}

impl Layout {
    /// Places the endpoints of one set of ports, using up the slices of `existing` that have those ports.
    fn place(&mut self, ports: &Ports, endpoints: Vec<Endpoint>, existing: &mut Vec<Arc<EndpointSlice>>) {
        let identity = |endpoint: &Endpoint| {
            let uid = endpoint.target_ref.as_ref().and_then(|reference| reference.uid.clone());
            (uid, endpoint.addresses.clone())
        };
        let mut left: BTreeMap<_, _> =
            endpoints.into_iter().map(|endpoint| (identity(&endpoint), endpoint)).collect();
        let (same, others) =
            existing.drain(..).partition(|slice| slice.ports.clone().unwrap_or_default() == *ports);
        *existing = others;

        let same: Vec<Arc<EndpointSlice>> = same;
        let mut filled: Vec<_> = same
            .into_iter()
            .map(|slice| {
                let stay = slice.endpoints.iter().flatten().filter_map(|old| left.remove(&identity(old)));
                let stay: Vec<_> = stay.collect();
                (slice, stay)
            })
            .collect();
        let mut left = left.into_values();
        for (_, endpoints) in &mut filled {
            endpoints.extend(left.by_ref().take(CAPACITY.saturating_sub(endpoints.len())));
        }
        let mut left: Vec<_> = left.collect();

        // A service without endpoints keeps one empty slice; otherwise empty ones go.
        let all_empty = left.is_empty() && filled.iter().all(|(_, endpoints)| endpoints.is_empty());
        let placeholder = all_empty && ports.is_empty() && self.is_empty();
        if placeholder && filled.is_empty() {
            self.fresh.push((ports.clone(), Vec::new()));
        }
        for (index, (slice, endpoints)) in filled.into_iter().enumerate() {
            if endpoints.is_empty() && !(placeholder && index == 0) {
                existing.push(slice);
            } else {
                self.kept.push((slice, ports.clone(), endpoints));
            }
        }
        while !left.is_empty() {
            let rest = left.split_off(left.len().min(CAPACITY));
            self.fresh.push((ports.clone(), std::mem::replace(&mut left, rest)));
        }
    }

    fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.fresh.is_empty()
    }

    /// Turns the layout into writes; a slice of no use is given new content rather than replaced.
    fn settle(mut self, service: &Service, family: Family, labels: &Labels, changes: &mut SliceChanges) {
        let owned = |slice: &EndpointSlice| {
            controller_of(&slice.metadata)
                .is_some_and(|owner| Some(&owner.uid) == service.metadata.uid.as_ref())
        };
        while let Some(index) =
            self.spare.iter().position(|slice| owned(slice)).filter(|_| !self.fresh.is_empty())
        {
            let slice = self.spare.swap_remove(index);
            let (ports, endpoints) = self.fresh.remove(0);
            self.kept.push((slice, ports, endpoints));
        }
        for (old, ports, endpoints) in self.kept {
            let mut new = EndpointSlice::clone(&old);
            new.metadata.labels = Some(labels.clone());
            if new.ports.clone().unwrap_or_default() != ports {
                new.ports = Some(ports);
            }
            if new.endpoints.clone().unwrap_or_default() != endpoints {
                new.endpoints = Some(endpoints);
            }
            if new != *old {
                changes.update.push((old, new));
            }
        }
        for (ports, endpoints) in self.fresh {
            changes.create.push(EndpointSlice {
                metadata: ObjectMeta {
                    namespace: service.metadata.namespace.clone(),
                    generate_name: service.metadata.name.as_ref().map(|name| format!("{name}-")),
                    labels: Some(labels.clone()),
                    owner_references: Some(vec![controller_reference(service)]),
                    ..ObjectMeta::default()
                },
                address_type: family.name().to_owned(),
                ports: Some(ports),
                endpoints: Some(endpoints),
            });
        }
        changes.delete.extend(self.spare);
    }
}

#[cfg(test)]
mod tests;
