//! Streams through real connections: client → our handler → a host that plays the API server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vkube_watch::Event;

use super::super::{Body, Hypervisor, StreamTarget, forward};
use crate::config::Config;
use crate::context::Context;
use crate::labels::Translator;

/// Serves every connection with `answer`.
async fn serve<F, A>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                let _ = connection.with_upgrades().await;
            });
        }
    });
    address
}

/// A host that echoes upgraded streams in upper case, follows logs, and has trouble otherwise.
async fn host(mut request: Request<Incoming>) -> Response<Body> {
    assert!(request.headers().get(header::AUTHORIZATION).is_none(), "the tenant's credentials stay with us");
    let path = request.uri().path_and_query().unwrap().to_string();
    if request.headers().contains_key(header::UPGRADE) {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            let mut bytes = [0; 64];
            while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                let upper = bytes[..length].to_ascii_uppercase();
                stream.write_all(&upper).await.unwrap();
            }
        });
        let mut response = Response::new(forward::full(""));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        for name in [header::UPGRADE, header::CONNECTION] {
            response.headers_mut().insert(name.clone(), request.headers()[name].clone());
        }
        return response;
    }
    if path == "/api/v1/namespaces/tenant/pods/web-x-shop-x-demo/log?follow=true&container=app" {
        return Response::new(forward::full("line one\nline two\n"));
    }
    if let Some(rest) = path.strip_prefix("/api/v1/nodes/n1/proxy/") {
        return Response::new(forward::full(kubelet(rest.split('?').next().unwrap())));
    }
    let mut response = Response::new(forward::full(
        r#"{"kind":"Status","message":"pods \"web-x-shop-x-demo\" is not running in tenant","details":{"name":"web-x-shop-x-demo"}}"#,
    ));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// A kubelet with a pod of ours, which has an injected container and a claim, and one of somebody else's.
fn kubelet(path: &str) -> String {
    let own = r#"namespace="tenant",pod="web-x-shop-x-demo""#;
    match path {
        "metrics/cadvisor" => [
            "# TYPE cpu counter".to_owned(),
            "machine_cpu_cores 16".to_owned(),
            format!("cpu{{container=\"app\",{own},id=\"a\\\"}}b\"}} 1 1700"),
            format!("cpu{{container=\"injected\",{own}}} 2"),
            r#"cpu{container="app",namespace="tenant",pod="web-x-shop-x-other"} 3"#.to_owned(),
            r#"cpu{container="",namespace="",pod="",id="/"} 4"#.to_owned(),
            r#"bytes{namespace="tenant",persistentvolumeclaim="data-x-shop-x-demo"} 5"#.to_owned(),
            r#"bytes{namespace="tenant",persistentvolumeclaim="data-x-shop-x-other"} 6"#.to_owned(),
        ]
        .join("\n"),
        "stats/summary" => {
            let pod = |name: &str| {
                serde_json::json!({
                    "podRef": { "name": name, "namespace": "tenant", "uid": "host" },
                    "containers": [{ "name": "app" }, { "name": "injected" }],
                    "volume": [{ "pvcRef": { "name": "data-x-shop-x-demo", "namespace": "tenant" } }],
                })
            };
            let pods = [pod("web-x-shop-x-demo"), pod("web-x-shop-x-other")];
            serde_json::json!({ "node": { "nodeName": "n1", "cpu": {} }, "pods": pods }).to_string()
        }
        other => panic!("{other} is not to be asked"),
    }
}

/// The streams of a virtual cluster in front of the host.
async fn hypervisor() -> Arc<Hypervisor> {
    let host = serve(host).await;
    let mut config = kube::Config::new(format!("http://{host}").parse().unwrap());
    config.default_namespace = "tenant".into();
    let client = kube::Client::try_from(config).unwrap();
    let context =
        Arc::new(Context::new(Translator::new(Config::new("demo", "tenant")), client.clone(), client));

    let pod = |yaml: &str| -> Pod { serde_saphyr::from_str(yaml).unwrap() };
    let web =
        "{metadata: {name: web, namespace: shop, uid: u1}, spec: {nodeName: n1, containers: [{name: app}]}}";
    let pending = "{metadata: {name: pending, namespace: shop, uid: u2}, spec: {containers: [{name: app}]}}";
    context.virtual_side.pods.apply(Event::Apply(pod(web)));
    context.virtual_side.pods.apply(Event::Apply(pod(pending)));
    context.host_side.pods.apply(Event::Apply(pod(
        "{metadata: {name: web-x-shop-x-demo, namespace: tenant, labels: {vkube.dev/virtual-cluster: demo}, \
         annotations: {vkube.dev/object-kind: Pod, vkube.dev/object-namespace: shop, \
         vkube.dev/object-name: web, vkube.dev/object-uid: u1}}, \
         spec: {nodeName: n1, containers: [{name: app}, {name: injected}]}}",
    )));
    context.host_side.claims.apply(Event::Apply(
        serde_saphyr::from_str(
            "{metadata: {name: data-x-shop-x-demo, namespace: tenant, labels: {vkube.dev/virtual-cluster: demo}, \
             annotations: {vkube.dev/object-kind: PersistentVolumeClaim, vkube.dev/object-namespace: shop, \
             vkube.dev/object-name: data}}}",
        )
        .unwrap(),
    ));
    context.virtual_side.nodes.apply(Event::Apply(
        serde_saphyr::from_str("{metadata: {name: n1, labels: {vkube.dev/node: synthetic}}}").unwrap(),
    ));
    Arc::new(Hypervisor::new(context))
}

/// The virtual API server's handler in front of the host.
async fn front() -> SocketAddr {
    let hypervisor = hypervisor().await;
    serve(move |request: Request<Incoming>| {
        let hypervisor = hypervisor.clone();
        async move {
            let parts: Vec<&str> = request.uri().path().split('/').collect();
            let target = StreamTarget {
                resource: "pods".into(),
                namespace: "shop".into(),
                name: parts[1].into(),
                subresource: parts[2].into(),
                rest: String::new(),
            };
            let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            hypervisor.connect(&target, request).await
        }
    })
    .await
}

async fn exchange(address: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.replace('\n', "\r\n").as_bytes()).await.unwrap();
    stream
}

async fn read_all(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn upgraded_streams_flow_both_ways_whatever_they_speak() {
    let address = front().await;
    for protocol in ["SPDY/3.1", "websocket"] {
        let head = format!(
            "POST /web/exec?command=sh HTTP/1.1\nHost: x\nAuthorization: Bearer tenant\nConnection: Upgrade\n\
             Upgrade: {protocol}\n\n"
        );
        let mut stream = exchange(address, &head).await;
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(head.contains(protocol), "{head}");

        for said in ["hello", "and again"] {
            stream.write_all(said.as_bytes()).await.unwrap();
            let mut echo = vec![0; said.len()];
            stream.read_exact(&mut echo).await.unwrap();
            assert_eq!(String::from_utf8(echo).unwrap(), said.to_uppercase());
        }
    }
}

#[tokio::test]
async fn logs_come_from_the_host_pod() {
    let address = front().await;
    let stream = exchange(address, "GET /web/log?follow=true HTTP/1.1\nHost: x\nConnection: close\n\n").await;
    let text = read_all(stream).await;
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("line one\nline two\n"), "{text}");
}

#[tokio::test]
async fn injected_containers_are_out_of_reach() {
    let address = front().await;
    let stream =
        exchange(address, "GET /web/log?container=injected HTTP/1.1\nHost: x\nConnection: close\n\n").await;
    let text = read_all(stream).await;
    assert!(
        text.starts_with("HTTP/1.1 400") && text.contains("container injected is not valid for pod web"),
        "{text}"
    );
}

#[tokio::test]
async fn errors_of_the_host_name_the_virtual_pod() {
    let address = front().await;
    let stream = exchange(address, "GET /web/attach HTTP/1.1\nHost: x\nConnection: close\n\n").await;
    let text = read_all(stream).await;
    assert!(text.starts_with("HTTP/1.1 500"), "{text}");
    assert!(text.contains(r#"pods \"web\" is not running in shop"#), "{text}");
    assert!(!text.contains("-x-"), "{text}");
}

#[tokio::test]
async fn a_pod_without_a_node_has_no_streams() {
    let address = front().await;
    let stream = exchange(address, "GET /pending/log HTTP/1.1\nHost: x\nConnection: close\n\n").await;
    let text = read_all(stream).await;
    assert!(text.contains("pod pending does not have a host assigned"), "{text}");
}

/// What a node answers to a path.
async fn node(path: &str) -> String {
    let target = StreamTarget {
        resource: "nodes".into(),
        name: "n1".into(),
        subresource: "proxy".into(),
        rest: path.into(),
        ..StreamTarget::default()
    };
    let request = Request::get("/?follow=true").body(forward::full("")).unwrap();
    let response = hypervisor().await.connect(&target, request).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn l5_a_nodes_logs_of_an_own_container_are_the_host_pods() {
    assert_eq!(node("containerLogs/shop/web/app").await, "line one\nline two\n");
}

#[tokio::test]
async fn a_nodes_figures_are_of_own_pods_and_claims_in_their_own_names() {
    let text = node("metrics/cadvisor").await;
    let expected = [
        "# TYPE cpu counter",
        r#"cpu{container="app",namespace="shop",pod="web",id="a\"}b"} 1 1700"#,
        r#"bytes{namespace="shop",persistentvolumeclaim="data"} 5"#,
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);

    let summary: serde_json::Value = serde_json::from_str(&node("stats/summary").await).unwrap();
    let expected = serde_json::json!({
        "node": { "nodeName": "n1" },
        "pods": [{
            "podRef": { "name": "web", "namespace": "shop", "uid": "u1" },
            "containers": [{ "name": "app" }],
            "volume": [{ "pvcRef": { "name": "data", "namespace": "shop" } }],
        }],
    });
    assert_eq!(summary, expected);
}
