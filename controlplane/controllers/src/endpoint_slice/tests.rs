use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::*;
use crate::pods::tests::running;

fn service(change: impl FnOnce(&mut ServiceSpec)) -> Service {
    let port = ServicePort { name: Some("http".into()), port: 80, ..ServicePort::default() };
    let mut spec = ServiceSpec {
        cluster_ip: Some("10.96.0.9".into()),
        ports: Some(vec![port]),
        ip_families: Some(vec!["IPv4".into()]),
        ..ServiceSpec::default()
    };
    change(&mut spec);
    let metadata = ObjectMeta {
        name: Some("web".into()),
        namespace: Some("default".into()),
        uid: Some("service".into()),
        labels: Some([("team".to_owned(), "shop".to_owned())].into()),
        ..ObjectMeta::default()
    };
    Service { metadata, spec: Some(spec), status: None }
}

fn pod(number: usize, change: impl FnOnce(&mut Pod)) -> Arc<Pod> {
    let mut pod = running(&format!("p{number:03}"));
    pod.status.as_mut().unwrap().pod_ip = Some(format!("10.0.{}.{}", number / 200, number % 200));
    change(&mut pod);
    Arc::new(pod)
}

fn pods(count: usize) -> Vec<Arc<Pod>> {
    (0..count).map(|number| pod(number, |_| {})).collect()
}

/// The slices after `plan`, named as a server would.
fn apply(slices: &[Arc<EndpointSlice>], plan: Plan) -> Vec<Arc<EndpointSlice>> {
    let mut after: Vec<_> =
        slices.iter().filter(|slice| !plan.changes.delete.contains(slice)).cloned().collect();
    for (old, new) in plan.changes.update {
        let slot = after.iter_mut().find(|slice| **slice == old).unwrap();
        *slot = Arc::new(new);
    }
    for mut slice in plan.changes.create {
        slice.metadata.name = Some(format!("web-{}", after.len()));
        after.push(Arc::new(slice));
    }
    after
}

fn sizes(slices: &[Arc<EndpointSlice>]) -> Vec<usize> {
    slices.iter().map(|slice| slice.endpoints.as_ref().map_or(0, Vec::len)).collect()
}

fn fill(service: &Service, pods: &[Arc<Pod>], slices: &[Arc<EndpointSlice>]) -> Vec<Arc<EndpointSlice>> {
    apply(slices, plan(service, pods, &Nodes::default(), slices))
}

#[test]
fn a_slice_is_labelled_owned_and_named_after_its_service() {
    let slices = fill(&service(|_| {}), &pods(1), &[]);
    let slice = &slices[0];
    let expected = [(SERVICE_NAME, "web"), (MANAGED_BY, MANAGER), ("team", "shop")];
    assert_eq!(
        slice.metadata.labels,
        Some(expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
    );
    assert_eq!(slice.metadata.generate_name.as_deref(), Some("web-"));
    assert_eq!(slice.metadata.owner_references.as_ref().unwrap()[0].uid, "service");
    assert_eq!(slice.address_type, "IPv4");
    let endpoint = &slice.endpoints.as_ref().unwrap()[0];
    assert_eq!(endpoint.addresses, ["10.0.0.0"]);
    assert_eq!(endpoint.target_ref.as_ref().unwrap().name.as_deref(), Some("p000"));
}

#[test]
fn a_headless_service_is_labelled_as_such() {
    let slices = fill(&service(|spec| spec.cluster_ip = Some("None".into())), &pods(1), &[]);
    assert!(slices[0].metadata.labels.as_ref().unwrap().contains_key(HEADLESS_LABEL));
}

#[test]
fn conditions_tell_ready_serving_and_terminating_apart() {
    let unready = |pod: &mut Pod| pod.status.as_mut().unwrap().conditions = None;
    let going = |pod: &mut Pod| pod.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    let conditions = |service: &Service, pod: Arc<Pod>| {
        let slices = fill(service, &[pod], &[]);
        let conditions = slices[0].endpoints.as_ref().unwrap()[0].conditions.clone().unwrap();
        (conditions.ready.unwrap(), conditions.serving.unwrap(), conditions.terminating.unwrap())
    };
    let plain = service(|_| {});
    let eager = service(|spec| spec.publish_not_ready_addresses = Some(true));
    assert_eq!(conditions(&plain, pod(0, |_| {})), (true, true, false));
    assert_eq!(conditions(&plain, pod(0, unready)), (false, false, false));
    assert_eq!(conditions(&plain, pod(0, going)), (false, true, true));
    assert_eq!(conditions(&eager, pod(0, unready)), (true, false, false));
}

#[test]
fn slices_hold_a_hundred_endpoints_and_free_places_are_filled_first() {
    let service = service(|_| {});
    let all = pods(260);
    let slices = fill(&service, &all, &[]);
    assert_eq!(sizes(&slices), [100, 100, 60]);
    let slices = fill(&service, &all[5..], &slices);
    assert_eq!(sizes(&slices).iter().sum::<usize>(), 255);
    let touched = plan(&service, &all[5..], &Nodes::default(), &slices);
    assert_eq!(touched, Plan::default(), "a second look changes nothing");
    let slices = fill(&service, &all, &slices);
    assert_eq!(sizes(&slices).iter().sum::<usize>(), 260);
    assert_eq!(slices.len(), 3);
}

#[test]
fn one_changed_pod_rewrites_one_slice() {
    let service = service(|_| {});
    let mut all = pods(150);
    let slices = fill(&service, &all, &[]);
    all[120] = pod(120, |pod| pod.status.as_mut().unwrap().conditions = None);
    let plan = plan(&service, &all, &Nodes::default(), &slices);
    assert_eq!((plan.changes.update.len(), plan.changes.create.len(), plan.changes.delete.len()), (1, 0, 0));
}

#[test]
fn a_service_without_endpoints_keeps_one_empty_slice() {
    let service = service(|_| {});
    let empty = fill(&service, &[], &[]);
    assert_eq!(sizes(&empty), [0]);
    assert_eq!(plan(&service, &[], &Nodes::default(), &empty), Plan::default());
    let filled = fill(&service, &pods(150), &empty);
    assert_eq!(sizes(&filled), [100, 50]);
    let emptied = fill(&service, &[], &filled);
    assert_eq!(sizes(&emptied), [0]);
}

#[test]
fn pods_with_other_ports_get_a_slice_of_their_own() {
    use k8s_openapi::api::core::v1::{Container, ContainerPort};
    let named = service(|spec| {
        spec.ports.as_mut().unwrap()[0].target_port = Some(IntOrString::String("http".into()));
    });
    let with_port = |number: usize, port: i32| {
        pod(number, |pod| {
            let port =
                ContainerPort { name: Some("http".into()), container_port: port, ..ContainerPort::default() };
            let container = Container { ports: Some(vec![port]), ..Container::default() };
            pod.spec.as_mut().unwrap().containers = vec![container];
        })
    };
    let slices = fill(&named, &[with_port(0, 80), with_port(1, 8080), with_port(2, 80)], &[]);
    let mut ports: Vec<_> =
        slices.iter().map(|slice| slice.ports.as_ref().unwrap()[0].port.unwrap()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [80, 8080]);
    assert_eq!(sizes(&slices), [2, 1]);
}

#[test]
fn a_change_of_ports_reuses_the_slice() {
    let slices = fill(&service(|_| {}), &pods(3), &[]);
    let moved = service(|spec| spec.ports.as_mut().unwrap()[0].target_port = Some(IntOrString::Int(9090)));
    let plan = plan(&moved, &pods(3), &Nodes::default(), &slices);
    assert_eq!((plan.changes.update.len(), plan.changes.create.len(), plan.changes.delete.len()), (1, 0, 0));
    assert_eq!(plan.changes.update[0].1.ports.as_ref().unwrap()[0].port, Some(9090));
}

#[test]
fn each_ip_family_has_its_slices() {
    use k8s_openapi::api::core::v1::PodIP;
    let dual = service(|spec| spec.ip_families = Some(vec!["IPv4".into(), "IPv6".into()]));
    let both = pod(1, |pod| {
        let ips = ["10.0.0.1", "fd00::1"].map(|ip| PodIP { ip: ip.into() });
        pod.status.as_mut().unwrap().pod_ips = Some(ips.to_vec());
    });
    let slices = fill(&dual, std::slice::from_ref(&both), &[]);
    let types: Vec<_> = slices.iter().map(|slice| &*slice.address_type).collect();
    assert_eq!(types, ["IPv4", "IPv6"]);
    let single = fill(&service(|_| {}), &[both], &slices);
    assert_eq!(single.len(), 1);
}

#[test]
fn traffic_distribution_becomes_hints_for_zones_and_nodes() {
    let zones: Zones = [("node".to_owned(), "a".to_owned())].into();
    let nodes = Nodes { zones, shares: None };
    let hints = |distribution: &str| {
        let service = service(|spec| spec.traffic_distribution = Some(distribution.into()));
        let plan = plan(&service, &pods(1), &nodes, &[]);
        let endpoint = plan.changes.create[0].endpoints.as_ref().unwrap()[0].clone();
        assert_eq!(endpoint.zone.as_deref(), Some("a"));
        let hints = endpoint.hints.unwrap_or_default();
        (hints.for_zones.map_or(0, |zones| zones.len()), hints.for_nodes.map_or(0, |nodes| nodes.len()))
    };
    assert_eq!(hints(""), (0, 0));
    assert_eq!(hints("PreferClose"), (1, 0));
    assert_eq!(hints("PreferSameZone"), (1, 0));
    assert_eq!(hints("PreferSameNode"), (1, 1));
}

#[test]
fn endpoints_are_divided_among_zones_if_the_service_asks_for_it() {
    let mut service = service(|_| {});
    let mode = ("service.kubernetes.io/topology-mode".to_owned(), "Auto".to_owned());
    service.metadata.annotations = Some([mode].into());
    let zones: Zones = [("node".to_owned(), "a".to_owned())].into();
    let shares = Some([("a".to_owned(), 0.5), ("b".to_owned(), 0.5)].into());
    let nodes = Nodes { zones, shares };
    let hinted = plan(&service, &pods(4), &nodes, &[]);
    assert_eq!(hinted.notes[0].reason, "TopologyAwareHintsEnabled");
    let slices = apply(&[], hinted);
    let zone = |endpoint: &Endpoint| endpoint.hints.clone()?.for_zones?.pop().map(|zone| zone.name);
    let zones: Vec<_> = slices[0].endpoints.iter().flatten().filter_map(zone).collect();
    assert_eq!(zones.iter().filter(|zone| *zone == "b").count(), 2);
    assert_eq!(plan(&service, &pods(4), &nodes, &slices), Plan::default(), "nothing is left to do");

    let disabled = plan(&service, &pods(1), &nodes, &slices);
    assert_eq!(disabled.notes[0].reason, "TopologyAwareHintsDisabled");
    let slices = apply(&slices, disabled);
    assert!(slices[0].endpoints.iter().flatten().all(|endpoint| endpoint.hints.is_none()));
}
