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
    let mut response = Response::new(forward::full(
        r#"{"kind":"Status","message":"pods \"web-x-shop-x-demo\" is not running in tenant","details":{"name":"web-x-shop-x-demo"}}"#,
    ));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// The virtual API server's handler in front of the host.
async fn front() -> SocketAddr {
    let host = serve(host).await;
    let mut config = kube::Config::new(format!("http://{host}").parse().unwrap());
    config.default_namespace = "tenant".into();
    let client = kube::Client::try_from(config).unwrap();
    let context =
        Arc::new(Context::new(Translator::new(Config::new("demo", "tenant")), client.clone(), client));

    let pod = |yaml: &str| -> Pod { serde_saphyr::from_str(yaml).unwrap() };
    let web = "{metadata: {name: web, namespace: shop, uid: u1}, spec: {containers: [{name: app}]}}";
    let pending = "{metadata: {name: pending, namespace: shop, uid: u2}, spec: {containers: [{name: app}]}}";
    context.virtual_side.pods.apply(Event::Apply(pod(web)));
    context.virtual_side.pods.apply(Event::Apply(pod(pending)));
    context.host_side.pods.apply(Event::Apply(pod(
        "{metadata: {name: web-x-shop-x-demo, namespace: tenant, annotations: {vkube.dev/object-uid: u1}}, \
         spec: {nodeName: n1, containers: [{name: app}, {name: injected}]}}",
    )));

    let hypervisor = Arc::new(Hypervisor::new(context));
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
