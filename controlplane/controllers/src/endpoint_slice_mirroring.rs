//! Endpoint slice mirroring: endpoints that people write by hand, as slices, which is what proxies read.
//!
//! Mirrored are the endpoints of services without a selector; not those marked with
//! `endpointslice.kubernetes.io/skip-mirror`, nor locks of old leader elections.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::join3;
use k8s_openapi::api::core::v1::{EndpointAddress, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DeleteParams;

use crate::Context;
use crate::api::Error;
use crate::events::{Note, Recorder};
use crate::informers::Informer;
use crate::ownership::controller_reference;
use crate::queue::{Key, Queue};
use crate::service_pods::{Family, TRIGGER_TIME};
use crate::slices::{MANAGED_BY, SERVICE_NAME, SliceChanges, label};

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Most addresses that are mirrored of a subset.
const CAPACITY: usize = 1000;

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let mirror = Mirror {
        endpoints: context.informers.of(),
        services: context.informers.of(),
        slices: context.informers.of(),
        recorder: context.recorder.named("endpoint-slice-mirroring-controller"),
    };
    let queue = context.queue("endpoint_slice_mirroring");
    mirror.subscribe(&queue);
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = join3(mirror.endpoints.synced(), mirror.services.synced(), mirror.slices.synced()) => {}
        }
        queue.run(5, &shutdown, |key| mirror.reconcile(key)).await;
    }
}

struct Mirror {
    endpoints: Informer<Endpoints>,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    recorder: Recorder,
}

fn is_ours(slice: &EndpointSlice) -> bool {
    label(slice, MANAGED_BY) == Some(MANAGER)
}

/// Whether the endpoints want to be mirrored.
fn is_mirrored(endpoints: &Endpoints) -> bool {
    let meta = &endpoints.metadata;
    let skipped = meta.labels.as_ref().and_then(|labels| labels.get(SKIP)).is_some_and(|skip| skip == "true");
    let is_lock = meta.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LEADER));
    !skipped && !is_lock
}

/// Whether the service leaves its endpoints to its owner.
fn is_selectorless(service: &Service) -> bool {
    service.spec.as_ref().is_none_or(|spec| spec.selector.as_ref().is_none_or(BTreeMap::is_empty))
}

/// The mirror image of endpoints.
#[derive(Debug, Default, PartialEq)]
struct Image {
    groups: Vec<Group>,
    invalid: usize,
    skipped: usize,
}

/// Endpoints with the same ports and family.
#[derive(Debug, PartialEq)]
struct Group {
    family: Family,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
}

fn image(endpoints: &Endpoints) -> Image {
    let mut image = Image::default();
    for subset in endpoints.subsets.iter().flatten() {
        let ports: Vec<EndpointPort> = subset
            .ports
            .iter()
            .flatten()
            .map(|port| EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(port.port),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
                app_protocol: port.app_protocol.clone(),
            })
            .collect();
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let unready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        let mut added = 0;
        for (address, ready) in ready.chain(unready) {
            if added >= CAPACITY {
                image.skipped += 1;
            } else if let Ok(ip) = address.ip.parse::<IpAddr>() {
                image.add(&ports, endpoint(address, ip, ready), ip);
                added += 1;
            } else {
                image.invalid += 1;
                image.skipped += 1;
            }
        }
    }
    image
}

impl Image {
    fn add(&mut self, ports: &[EndpointPort], endpoint: Endpoint, ip: IpAddr) {
        let family = if ip.is_ipv6() { Family::V6 } else { Family::V4 };
        let group = self.groups.iter_mut().find(|group| group.family == family && group.ports == ports);
        match group {
            None => self.groups.push(Group { family, ports: ports.to_vec(), endpoints: vec![endpoint] }),
            Some(group) if group.endpoints.contains(&endpoint) => {}
            Some(group) => group.endpoints.push(endpoint),
        }
    }
}

fn endpoint(address: &EndpointAddress, ip: IpAddr, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

/// Compares the image with the slices there are; slices of no further use are used again before new ones are
/// made.
fn plan(endpoints: &Endpoints, image: Image, slices: &[Arc<EndpointSlice>]) -> SliceChanges {
    let mut plan = SliceChanges::default();
    let mut spare: Vec<Arc<EndpointSlice>> = slices.to_vec();
    let mut homeless = Vec::new();
    for group in image.groups {
        let same = |slice: &Arc<EndpointSlice>| {
            slice.address_type == group.family.name()
                && slice.ports.clone().unwrap_or_default() == group.ports
        };
        match spare.iter().position(same) {
            Some(index) => {
                let old = spare.remove(index);
                plan.update.push((old.clone(), build(endpoints, group, Some(&old))));
            }
            None => homeless.push(group),
        }
    }
    for group in homeless {
        // The family of a slice is for life.
        match spare.iter().position(|slice| slice.address_type == group.family.name()) {
            Some(index) => {
                let old = spare.remove(index);
                plan.update.push((old.clone(), build(endpoints, group, Some(&old))));
            }
            None if endpoints.metadata.deletion_timestamp.is_none() => {
                plan.create.push(build(endpoints, group, None));
            }
            None => {}
        }
    }
    plan.update.retain(|(old, new)| **old != *new);
    plan.delete = spare;
    plan
}

fn build(endpoints: &Endpoints, group: Group, old: Option<&EndpointSlice>) -> EndpointSlice {
    let meta = &endpoints.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let mut labels = meta.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), name.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut annotations = meta.annotations.clone().unwrap_or_default();
    annotations.remove(TRIGGER_TIME);
    let metadata = match old {
        Some(old) => old.metadata.clone(),
        None => ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: meta.namespace.clone(),
            ..ObjectMeta::default()
        },
    };
    EndpointSlice {
        metadata: ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
            owner_references: Some(vec![controller_reference(endpoints)]),
            ..metadata
        },
        address_type: group.family.name().to_owned(),
        endpoints: Some(group.endpoints),
        ports: Some(group.ports),
    }
}

impl Mirror {
    fn subscribe(&self, queue: &Queue<Key>) {
        let own = queue.clone();
        self.endpoints.subscribe(move |change| {
            if let Some(endpoints) = change.new.as_ref().or(change.old.as_ref()) {
                own.add(Key::of(&**endpoints));
            }
        });
        let own = queue.clone();
        self.services.subscribe(move |change| {
            let selectorless = |service: &Arc<Service>| is_selectorless(service);
            if change.old.as_ref().map(selectorless) != change.new.as_ref().map(selectorless)
                && let Some(service) = change.new.as_ref().or(change.old.as_ref())
            {
                own.add(Key::of(&**service));
            }
        });
        let own = queue.clone();
        self.slices.subscribe(move |change| {
            for slice in [&change.old, &change.new].into_iter().flatten().filter(|slice| is_ours(slice)) {
                if let Some(name) = label(slice, SERVICE_NAME) {
                    own.add(Key::new(slice.metadata.namespace.as_deref().unwrap_or_default(), name));
                }
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        let mut slices = self.slices.list(&key.namespace);
        slices.retain(|slice| is_ours(slice) && label(slice, SERVICE_NAME) == Some(&key.name));
        let endpoints = self.endpoints.get(&key.namespace, &key.name).filter(|one| is_mirrored(one));
        let service = self.services.get(&key.namespace, &key.name).filter(|one| is_selectorless(one));
        let (Some(endpoints), Some(_)) = (endpoints, service) else {
            for slice in slices {
                self.slices.delete(&slice, DeleteParams::default()).await?;
            }
            return Ok(());
        };
        let image = image(&endpoints);
        self.warn(&endpoints, &image);
        match plan(&endpoints, image, &slices).write(&self.slices).await {
            Err(error) if error.is_namespace_terminating() => Ok(()),
            outcome => outcome,
        }
    }

    fn warn(&self, endpoints: &Endpoints, image: &Image) {
        if image.invalid > 0 {
            let message =
                format!("Skipped {} invalid IP addresses when mirroring to EndpointSlices", image.invalid);
            self.recorder.tell(endpoints, Note::warning("InvalidIPAddress", message));
        }
        if image.skipped > image.invalid {
            let message = format!(
                "A max of {CAPACITY} addresses can be mirrored to EndpointSlices per Endpoints subset. {} \
                 addresses were skipped",
                image.skipped
            );
            self.recorder.tell(endpoints, Note::warning("TooManyAddressesToMirror", message));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn endpoints(subsets: Value) -> Endpoints {
        serde_json::from_value(json!({
            "metadata": {
                "name": "db", "namespace": "shop", "uid": "1", "labels": {"team": "a"},
                "annotations": {"note": "x", TRIGGER_TIME: "then"},
            },
            "subsets": subsets,
        }))
        .unwrap()
    }

    fn subset(ips: &[&str], port: i32) -> Value {
        let addresses: Vec<_> = ips.iter().map(|ip| json!({"ip": ip})).collect();
        json!({"addresses": addresses, "ports": [{"port": port, "protocol": "TCP"}]})
    }

    fn created(endpoints: &Endpoints) -> Vec<Arc<EndpointSlice>> {
        plan(endpoints, image(endpoints), &[]).create.into_iter().map(Arc::new).collect()
    }

    #[test]
    fn each_family_and_set_of_ports_has_a_slice() {
        let endpoints = endpoints(json!([
            subset(&["10.0.0.1", "fd00::1"], 80),
            subset(&["10.0.0.2"], 80),
            subset(&["10.0.0.3"], 81),
        ]));
        let slices = created(&endpoints);
        let shown: Vec<_> = slices
            .iter()
            .map(|slice| (slice.address_type.as_str(), slice.endpoints.as_ref().map_or(0, Vec::len)))
            .collect();
        assert_eq!(shown, [("IPv4", 2), ("IPv6", 1), ("IPv4", 1)]);
        let meta = &slices[0].metadata;
        assert_eq!(meta.generate_name.as_deref(), Some("db-"));
        assert_eq!(json!(meta.labels), json!({"team": "a", SERVICE_NAME: "db", MANAGED_BY: MANAGER}));
        assert_eq!(json!(meta.annotations), json!({"note": "x"}));
        assert_eq!(meta.owner_references.as_ref().unwrap()[0].kind, "Endpoints");
        assert_eq!(
            plan(&endpoints, image(&endpoints), &slices),
            SliceChanges::default(),
            "nothing is left to do"
        );
    }

    #[test]
    fn addresses_that_are_not_ready_say_so() {
        let unready = json!([{"notReadyAddresses": [{"ip": "10.0.0.1", "nodeName": "n"}]}]);
        let image = image(&endpoints(unready));
        let endpoint = &image.groups[0].endpoints[0];
        assert_eq!(endpoint.conditions.as_ref().unwrap().ready, Some(false));
        assert_eq!(endpoint.node_name.as_deref(), Some("n"));
    }

    #[test]
    fn what_cannot_be_mirrored_is_counted() {
        let many: Vec<String> = (0..1003).map(|n| format!("10.0.{}.{}", n / 250, n % 250)).collect();
        let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
        many.insert(0, "nonsense");
        let image = image(&endpoints(json!([subset(&many, 80)])));
        assert_eq!((image.invalid, image.skipped), (1, 4));
        assert_eq!(image.groups[0].endpoints.len(), CAPACITY);
    }

    #[test]
    fn a_slice_of_other_ports_is_used_again() {
        let before = created(&endpoints(json!([subset(&["10.0.0.1"], 80)])));
        let after = endpoints(json!([subset(&["10.0.0.1"], 81)]));
        let plan = plan(&after, image(&after), &before);
        assert_eq!((plan.create.len(), plan.update.len(), plan.delete.len()), (0, 1, 0));
        assert_eq!(plan.update[0].1.ports.as_ref().unwrap()[0].port, Some(81));
        let none = endpoints(json!([]));
        assert_eq!(super::plan(&none, image(&none), &before).delete, before);
    }

    #[test]
    fn locks_and_marked_endpoints_are_not_mirrored() {
        let plain = endpoints(json!([]));
        assert!(is_mirrored(&plain));
        let mut marked = plain.clone();
        marked.metadata.labels = Some([(SKIP.to_owned(), "true".to_owned())].into());
        let mut lock = plain;
        lock.metadata.annotations = Some([(LEADER.to_owned(), "{}".to_owned())].into());
        assert!(!is_mirrored(&marked) && !is_mirrored(&lock));
    }
}
