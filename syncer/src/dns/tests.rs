use hickory_proto::rr::{Name, RecordType};
use vkube_watch::Event;

use super::zone::{Answer, View};
use crate::context::VirtualCaches;

fn caches() -> VirtualCaches {
    let caches = VirtualCaches::default();
    for yaml in [
        "{metadata: {name: kubernetes, namespace: default}, spec: {clusterIP: 10.96.0.1, ports: [{name: https, port: 443}]}}",
        "{metadata: {name: web, namespace: shop}, spec: {clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, 'fd00::7'], \
         ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]}}",
        "{metadata: {name: db, namespace: shop}, spec: {clusterIP: None, ports: [{name: sql, port: 5432}]}}",
        "{metadata: {name: many, namespace: shop}, spec: {clusterIP: None}}",
        "{metadata: {name: out, namespace: shop}, spec: {type: ExternalName, externalName: example.com}}",
        "{metadata: {name: near, namespace: shop}, spec: {type: ExternalName, externalName: web.shop.svc.cluster.local}}",
    ] {
        caches.services.apply(Event::Apply(serde_saphyr::from_str(yaml).unwrap()));
    }
    caches.endpoint_slices.apply(Event::Apply(
        serde_saphyr::from_str(
            r"
            metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
            addressType: IPv4
            endpoints:
            - {addresses: [10.1.0.5], hostname: db-0, conditions: {ready: true}}
            - {addresses: [10.1.0.6], conditions: {ready: true}}
            - {addresses: [10.1.0.9], hostname: db-2, conditions: {ready: false}}
            ports: [{name: sql, port: 5432, protocol: TCP}]
            ",
        )
        .unwrap(),
    ));
    let many: Vec<String> = (0..60).map(|at| format!("{{addresses: [10.2.0.{at}]}}")).collect();
    let slice = format!(
        "{{metadata: {{name: many-1, namespace: shop, labels: {{kubernetes.io/service-name: many}}}}, \
         addressType: IPv4, endpoints: [{}]}}",
        many.join(", ")
    );
    caches.endpoint_slices.apply(Event::Apply(serde_saphyr::from_str(&slice).unwrap()));
    caches.pods.apply(Event::Apply(
        serde_saphyr::from_str(
            "{metadata: {name: q-1, namespace: shop}, spec: {hostname: querier, subdomain: none, containers: []}, \
             status: {podIPs: [{ip: 10.1.0.8}]}}",
        )
        .unwrap(),
    ));
    caches.namespaces.apply(Event::Apply(serde_saphyr::from_str("{metadata: {name: shop}}").unwrap()));
    caches
}

fn ask(name: &str, kind: RecordType) -> Answer {
    let caches = caches();
    View { caches: &caches, domain: "cluster.local" }.answer(&Name::from_ascii(name).unwrap(), kind)
}

fn data(name: &str, kind: RecordType) -> Vec<String> {
    match ask(name, kind) {
        Answer::Records { answers, .. } => answers.iter().map(|record| record.data.to_string()).collect(),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn services_resolve_to_their_cluster_ips() {
    assert_eq!(data("web.shop.svc.cluster.local.", RecordType::A), ["10.96.0.7"]);
    assert_eq!(data("WEB.shop.svc.cluster.local.", RecordType::AAAA), ["fd00::7"]);
    assert_eq!(data("kubernetes.default.svc.cluster.local.", RecordType::A), ["10.96.0.1"]);
}

#[test]
fn headless_services_resolve_to_their_ready_endpoints() {
    assert_eq!(data("db.shop.svc.cluster.local.", RecordType::A), ["10.1.0.5", "10.1.0.6"]);
}

#[test]
fn endpoints_have_names_of_their_own() {
    assert_eq!(data("db-0.db.shop.svc.cluster.local.", RecordType::A), ["10.1.0.5"]);
    assert_eq!(data("10-1-0-6.db.shop.svc.cluster.local.", RecordType::A), ["10.1.0.6"]);
    assert_eq!(ask("db-2.db.shop.svc.cluster.local.", RecordType::A), Answer::Unknown, "not ready");
}

#[test]
fn a_pod_finds_itself_under_its_subdomain_even_without_a_service() {
    assert_eq!(data("querier.none.shop.svc.cluster.local.", RecordType::A), ["10.1.0.8"]);
    assert_eq!(ask("other.none.shop.svc.cluster.local.", RecordType::A), Answer::Unknown);
    assert_eq!(ask("none.shop.svc.cluster.local.", RecordType::A), Answer::Unknown);
}

#[test]
fn ports_resolve_to_service_records() {
    assert_eq!(
        data("_http._tcp.web.shop.svc.cluster.local.", RecordType::SRV),
        ["0 100 80 web.shop.svc.cluster.local."]
    );
    assert_eq!(
        data("_sql._tcp.db.shop.svc.cluster.local.", RecordType::SRV),
        ["0 50 5432 db-0.db.shop.svc.cluster.local.", "0 50 5432 10-1-0-6.db.shop.svc.cluster.local."]
    );
    assert_eq!(ask("_dns._tcp.web.shop.svc.cluster.local.", RecordType::SRV), Answer::Unknown);
}

#[test]
fn service_records_bring_addresses_along() {
    let Answer::Records { additionals, .. } = ask("_http._tcp.web.shop.svc.cluster.local.", RecordType::SRV)
    else {
        panic!("no records")
    };
    assert_eq!(additionals.len(), 2);
}

#[test]
fn pods_resolve_by_their_dashed_address() {
    assert_eq!(data("10-1-2-3.shop.pod.cluster.local.", RecordType::A), ["10.1.2.3"]);
    assert_eq!(ask("10-1-2-3.nowhere.pod.cluster.local.", RecordType::A), Answer::Unknown);
}

#[test]
fn addresses_resolve_back() {
    assert_eq!(data("7.0.96.10.in-addr.arpa.", RecordType::PTR), ["web.shop.svc.cluster.local."]);
    assert_eq!(data("5.0.1.10.in-addr.arpa.", RecordType::PTR), ["db-0.db.shop.svc.cluster.local."]);
    let v6 = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.";
    assert_eq!(data(v6, RecordType::PTR), ["web.shop.svc.cluster.local."]);
    assert_eq!(ask("8.8.8.8.in-addr.arpa.", RecordType::PTR), Answer::Foreign);
}

#[test]
fn external_names_are_aliases() {
    let Answer::Alias { target, .. } = ask("out.shop.svc.cluster.local.", RecordType::A) else {
        panic!("no alias")
    };
    assert_eq!(target.to_ascii(), "example.com.");
}

#[test]
fn existing_names_without_such_records_are_not_unknown() {
    assert!(data("web.shop.svc.cluster.local.", RecordType::MX).is_empty());
    assert!(data("shop.svc.cluster.local.", RecordType::A).is_empty());
    assert!(data("svc.cluster.local.", RecordType::A).is_empty());
    assert!(data("cluster.local.", RecordType::A).is_empty());
}

#[test]
fn unknown_names_are_unknown_and_others_foreign() {
    assert_eq!(ask("nope.shop.svc.cluster.local.", RecordType::A), Answer::Unknown);
    assert_eq!(ask("www.example.com.shop.svc.cluster.local.", RecordType::A), Answer::Unknown);
    assert_eq!(ask("example.com.", RecordType::A), Answer::Foreign);
    assert_eq!(ask("xcluster.local.", RecordType::A), Answer::Foreign);
}

mod wire;
