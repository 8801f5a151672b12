use k8s_openapi::api::core::v1::Pod;

use super::address::{Address, container, join, split};

fn pod() -> Pod {
    serde_saphyr::from_str(
        "{metadata: {name: web}, spec: {containers: [{name: app}, {name: log}], initContainers: [{name: setup}]}}",
    )
    .unwrap()
}

#[test]
fn the_container_in_the_query_replaces_any_other() {
    let address = Address {
        namespace: "tenant",
        resource: "pods",
        name: "web-x-shop-x-demo",
        subresource: "log",
        rest: "",
    };
    assert_eq!(
        address.uri(Some("follow=true&container=other"), Some("app")).to_string(),
        "/api/v1/namespaces/tenant/pods/web-x-shop-x-demo/log?follow=true&container=app"
    );
}

#[test]
fn commands_keep_their_order_and_spaces() {
    let address = Address { namespace: "t", resource: "pods", name: "p", subresource: "exec", rest: "" };
    assert_eq!(
        address.uri(Some("command=sh&command=-c&command=echo%20a%26b&stdout=true"), Some("app")).to_string(),
        "/api/v1/namespaces/t/pods/p/exec?command=sh&command=-c&command=echo+a%26b&stdout=true&container=app"
    );
}

#[test]
fn paths_below_proxy_are_kept() {
    let address = Address {
        namespace: "t",
        resource: "services",
        name: "https:s:1",
        subresource: "proxy",
        rest: "/a b/",
    };
    assert_eq!(
        address.uri(Some("x=1"), None).to_string(),
        "/api/v1/namespaces/t/services/https:s:1/proxy/a%20b/?x=1"
    );
}

#[test]
fn containers_of_the_virtual_pod_are_reachable() {
    assert_eq!(container(&pod(), Some("container=setup")).unwrap(), "setup");
}

#[test]
fn containers_that_the_host_injected_are_not() {
    let refusal = container(&pod(), Some("container=istio-proxy")).unwrap_err();
    assert_eq!(refusal.code, 400);
    assert_eq!(refusal.message, "container istio-proxy is not valid for pod web");
}

#[test]
fn one_of_several_containers_has_to_be_named() {
    let refusal = container(&pod(), None).unwrap_err();
    assert_eq!(
        refusal.message,
        "a container name must be specified for pod web, choose one of: [app log] or one of the init containers: [setup]"
    );
}

#[test]
fn proxied_names_carry_scheme_and_port() {
    for name in ["https:web:443", "web:http", "web", "https:web:"] {
        let (scheme, plain, port) = split(name);
        assert_eq!(plain, "web");
        assert_eq!(join(scheme, plain, port), name);
    }
}

mod streams;
