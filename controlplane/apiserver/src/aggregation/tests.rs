//! Servers of other groups that really listen, behind a server in memory.

mod openapi;
mod registration;

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{StreamExt, channel::mpsc};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tower::Service;

use crate::{
    body::{self, Body, BoxError, Response},
    custom::tests::Fixture,
    listener::{self, TlsFiles},
    pki::Authority,
    user::User,
};

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const GROUP: &str = "/apis/metrics.example.com/v1beta1";

type Lines = Mutex<Option<mpsc::UnboundedReceiver<Result<Bytes, BoxError>>>>;

/// The server of `metrics.example.com`.
struct Extension {
    port: u16,
    bundle: String,
    seen: Arc<Mutex<Vec<http::Request<()>>>>,
    lines: mpsc::UnboundedSender<Result<Bytes, BoxError>>,
    task: JoinHandle<()>,
}

impl Drop for Extension {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Extension {
    /// Starts a server that lets in only whom the fixture's authority of front proxies has signed.
    async fn start(fixture: &Fixture) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path()).unwrap();
        let made = authority.serving(&["ext.default.svc".to_owned()], &[]).unwrap();
        let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
        let (_, map) = fixture.get(path).await;
        let client_ca = map["data"]["requestheader-client-ca-file"].as_str().unwrap().to_owned();
        let files = TlsFiles { client_ca, ..made };
        let acceptor = TlsAcceptor::from(listener::tls(&files).unwrap());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (lines, receiver) = mpsc::unbounded();
        let watched: Arc<Lines> = Arc::new(Mutex::new(Some(receiver)));
        let requests = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let known = stream.get_ref().1.peer_certificates().is_some();
                let (requests, watched) = (requests.clone(), watched.clone());
                let service = service_fn(move |request: http::Request<Incoming>| {
                    let (requests, watched) = (requests.clone(), watched.clone());
                    async move { Ok::<_, Infallible>(answer(request, known, &requests, &watched).await) }
                });
                tokio::spawn(async move {
                    let builder = Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { port, bundle: STANDARD.encode(&authority.certificate), seen, lines, task }
    }

    /// The last request that was not the aggregator's own.
    fn last(&self) -> http::Request<()> {
        let seen = self.seen.lock().unwrap();
        let own = |r: &&http::Request<()>| r.headers()["x-remote-user"] != "system:kube-aggregator";
        seen.iter().rfind(own).cloned().unwrap()
    }
}

async fn answer(
    mut request: http::Request<Incoming>,
    known: bool,
    requests: &Mutex<Vec<http::Request<()>>>,
    watched: &Lines,
) -> Response {
    let mut seen = http::Request::new(());
    *seen.uri_mut() = request.uri().clone();
    *seen.method_mut() = request.method().clone();
    *seen.headers_mut() = request.headers().clone();
    requests.lock().unwrap().push(seen);
    let json = |value: Value| crate::respond::bytes(StatusCode::OK, "application/json", value.to_string());
    if !known {
        return crate::respond::text(StatusCode::UNAUTHORIZED, "who is it?");
    }
    match (request.uri().path(), request.uri().query()) {
        (GROUP, _) => json(json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "metrics.example.com/v1beta1",
            "resources": [
                {"name": "pods", "singularName": "pod", "namespaced": true, "kind": "PodMetrics", "verbs": ["get", "list"], "shortNames": ["pm"]},
                {"name": "pods/status", "singularName": "", "namespaced": true, "kind": "PodMetrics", "verbs": ["get"]},
            ],
        })),
        ("/openapi/v3", _) => json(json!({"paths": {
            "apis/metrics.example.com/v1beta1":
                {"serverRelativeURL": "/openapi/v3/apis/metrics.example.com/v1beta1?hash=1"},
            "version": {"serverRelativeURL": "/openapi/v3/version?hash=2"},
        }})),
        ("/openapi/v3/apis/metrics.example.com/v1beta1", _) => {
            json(json!({"openapi": "3.0.0", "info": "metrics"}))
        }
        ("/openapi/v2", _) if request.headers().contains_key("if-none-match") => {
            http::Response::builder().status(304).body(body::empty()).unwrap()
        }
        ("/openapi/v2", _) => {
            const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
            let metadata = json!({"$ref": format!("#/definitions/{OBJECT_META}")});
            let mut answer = json(json!({
                "swagger": "2.0",
                "paths": {
                    format!("{GROUP}/pods"): {"get": {"responses": {"200": {
                        "description": "OK", "schema": {"$ref": "#/definitions/PodMetrics"},
                    }}}},
                    "/apis/": {"get": {"description": "another"}},
                },
                "definitions": {
                    "PodMetrics": {"type": "object", "properties": {"metadata": metadata}},
                    OBJECT_META: {"type": "object", "description": "another"},
                    "Stranger": {"type": "object"},
                },
            }));
            answer.headers_mut().insert("etag", http::HeaderValue::from_static("\"1\""));
            answer
        }
        (_, Some("watch=true")) => {
            let lines = watched.lock().unwrap().take().unwrap();
            http::Response::new(body::stream(lines))
        }
        (path, _) if path.ends_with("/away") => {
            let away = http::Response::builder().status(302).header("location", "https://example.com/");
            away.body(body::empty()).unwrap()
        }
        (path, _) if path.ends_with("/echo") => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrade.await.unwrap());
                let mut bytes = [0; 4];
                stream.read_exact(&mut bytes).await.unwrap();
                bytes.reverse();
                stream.write_all(&bytes).await.unwrap();
            });
            let switching = http::Response::builder().status(101).header("connection", "upgrade");
            switching.header("upgrade", "echo").body(body::empty()).unwrap()
        }
        _ => {
            let method = request.method().to_string();
            let sent = request.into_body().collect().await.unwrap().to_bytes();
            json(json!({"method": method, "sent": String::from_utf8_lossy(&sent)}))
        }
    }
}

fn api_service(extension: &Extension) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.example.com"},
        "spec": {
            "group": "metrics.example.com", "version": "v1beta1",
            "groupPriorityMinimum": 100, "versionPriority": 100,
            "caBundle": extension.bundle,
            "service": {"namespace": "default", "name": "ext"},
        },
    })
}

/// Waits for this reason of the condition, and returns the condition.
async fn until_reason(fixture: &Fixture, reason: &str) -> Value {
    let path = format!("{SERVICES}/v1beta1.metrics.example.com");
    let found = fixture.until(&path, |_, body| body["status"]["conditions"][0]["reason"] == reason).await;
    found["status"]["conditions"][0].clone()
}

async fn create_service(fixture: &Fixture) {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "ext"},
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": 8443}]}});
    fixture.create("/api/v1/namespaces/default/services", &service).await;
}

/// The API takes no addresses of this machine; whoever runs pods there writes them to the store.
async fn create_slice(fixture: &Fixture, port: u16, ready: bool) {
    let mut slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "ext-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "ext"}},
        "ports": [{"name": "https", "port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": ready}}],
    });
    let definition = crate::server::builtin("discovery.k8s.io", "endpointslices").unwrap();
    let document = crate::stored::encode(&mut slice, &definition).unwrap();
    let write = vkube_store::Write {
        key: definition.key("default", "ext-1"),
        expect: vkube_store::Expect::Any,
        change: vkube_store::Change::Put { document, ttl: None },
    };
    fixture.0.server.store().commit(vec![write]).await.unwrap();
}

/// A fixture with an extension that is available.
async fn available() -> (Fixture, Extension) {
    let fixture = Fixture::start().await;
    let extension = Extension::start(&fixture).await;
    create_service(&fixture).await;
    create_slice(&fixture, extension.port, true).await;
    fixture.create(SERVICES, &api_service(&extension)).await;
    until_reason(&fixture, "Passed").await;
    (fixture, extension)
}

async fn send(fixture: &Fixture, user: User, request: http::Request<Body>) -> Response {
    fixture.0.server.service(user).call(request).await.unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn requests_of_every_verb_reach_the_extension_in_the_name_of_the_user() {
    let (fixture, extension) = available().await;
    let mut user = User::component("alice");
    user.uid = "u1".into();
    user.extra.insert("example.com/team".into(), vec!["a".into(), "b".into()]);
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let request = http::Request::builder()
            .method(method.clone())
            .uri(format!("{GROUP}/namespaces/default/pods/x?dryRun=All"))
            .header("x-remote-user", "mallory")
            .header("x-remote-group", "evil")
            .header("x-remote-extra-evil", "1")
            .header("authorization", "Bearer secret")
            .body(body::full("{}"))
            .unwrap();
        let response = send(&fixture, user.clone(), request).await;
        assert_eq!(response.status(), StatusCode::OK);
        let answer: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(answer, json!({"method": method.as_str(), "sent": "{}"}));
        let seen = extension.last();
        assert_eq!(
            seen.uri().path_and_query().unwrap(),
            &*format!("{GROUP}/namespaces/default/pods/x?dryRun=All")
        );
        let all = |name: &str| -> Vec<&str> {
            seen.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
        };
        assert_eq!(all("x-remote-user"), ["alice"]);
        assert_eq!(all("x-remote-uid"), ["u1"]);
        assert_eq!(all("x-remote-group"), ["system:masters", "system:authenticated"]);
        assert_eq!(all("x-remote-extra-example.com%2fteam"), ["a", "b"]);
        assert!(all("authorization").is_empty() && all("x-remote-extra-evil").is_empty());
    }
    fixture.0.stop().await;
}

#[tokio::test]
async fn a_watch_comes_line_by_line() {
    let (fixture, extension) = available().await;
    let request = http::Request::get(format!("{GROUP}/pods?watch=true")).body(body::empty()).unwrap();
    let mut chunks = send(&fixture, User::component("test"), request).await.into_body().into_data_stream();
    for line in ["one\n", "two\n"] {
        extension.lines.unbounded_send(Ok(line.into())).unwrap();
        assert_eq!(chunks.next().await.unwrap().unwrap(), line);
    }
    extension.lines.close_channel();
    // The end of the stream may be a frame of its own, without bytes.
    let rest: Vec<_> = chunks.map(Result::unwrap).collect().await;
    assert!(rest.iter().all(Bytes::is_empty));
    fixture.0.stop().await;
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways() {
    let (fixture, _extension) = available().await;
    let (mut ours, theirs) = tokio::io::duplex(1024);
    let server = fixture.0.server.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let mut server = server.service(User::component("test"));
        async move { server.call(request).await }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(theirs), service);
    tokio::spawn(async move { connection.with_upgrades().await.unwrap() });
    let head =
        format!("GET {GROUP}/echo HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n");
    ours.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(ours.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    ours.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    ours.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"gnip");
    drop(ours);
    fixture.0.stop().await;
}

#[tokio::test]
async fn the_condition_says_what_is_missing_and_nothing_is_served_until_then() {
    let fixture = Fixture::start().await;
    let extension = Extension::start(&fixture).await;
    fixture.create(SERVICES, &api_service(&extension)).await;
    let found = until_reason(&fixture, "ServiceNotFound").await;
    assert_eq!(found["message"], "service/ext in \"default\" is not present");
    let request = http::Request::get(format!("{GROUP}/pods")).body(body::empty()).unwrap();
    let response = send(&fixture, User::component("test"), request).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(text(response).await, "service unavailable\n");
    create_service(&fixture).await;
    let found = until_reason(&fixture, "EndpointsNotFound").await;
    assert_eq!(found["message"], "cannot find endpointslices for service/ext in \"default\"");
    create_slice(&fixture, extension.port, false).await;
    let found = until_reason(&fixture, "MissingEndpoints").await;
    let message = "endpointslices for service/ext in \"default\" have no addresses with port name \"https\"";
    assert_eq!(found["message"], message);
    create_slice(&fixture, 1, true).await;
    let found = until_reason(&fixture, "FailedDiscoveryCheck").await;
    let message = format!(
        "failing or missing response from https://127.0.0.1:1{GROUP}: Get \"https://127.0.0.1:1{GROUP}\": dial tcp 127.0.0.1:1: connect: connection refused"
    );
    assert_eq!((&found["message"], &found["status"]), (&json!(message), &json!("False")));
    create_slice(&fixture, extension.port, true).await;
    let found = until_reason(&fixture, "Passed").await;
    assert_eq!((&found["message"], &found["status"]), (&json!("all checks passed"), &json!("True")));
    fixture.0.stop().await;
}

#[tokio::test]
async fn discovery_shows_the_group_until_its_api_service_is_gone() {
    let (fixture, _extension) = available().await;
    let (_, groups) = fixture.get("/apis").await;
    let last = groups["groups"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["name"], "metrics.example.com");
    assert_eq!(last["preferredVersion"]["groupVersion"], "metrics.example.com/v1beta1");
    let (_, list) = fixture.get(GROUP).await;
    assert_eq!(list["resources"][0]["name"], "pods");
    let (_, group) = fixture.get("/apis/metrics.example.com").await;
    assert_eq!(group["kind"], "APIGroup");
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let request = http::Request::get("/apis").header("accept", accept).body(body::empty()).unwrap();
    let response = send(&fixture, User::component("test"), request).await;
    let found: Value = serde_json::from_str(&text(response).await).unwrap();
    let last = found["items"].as_array().unwrap().last().unwrap();
    let kind = json!({"group": "metrics.example.com", "version": "v1beta1", "kind": "PodMetrics"});
    assert_eq!(
        last["versions"],
        json!([{
            "version": "v1beta1", "freshness": "Current",
            "resources": [{
                "resource": "pods", "responseKind": kind, "scope": "Namespaced", "singularResource": "pod",
                "verbs": ["get", "list"], "shortNames": ["pm"],
                "subresources": [{"subresource": "status", "responseKind": kind, "verbs": ["get"]}],
            }],
        }])
    );
    let path = format!("{SERVICES}/v1beta1.metrics.example.com");
    assert_eq!(fixture.call(Method::DELETE, &path, &Value::Null).await.0, StatusCode::OK);
    fixture.until(GROUP, |status, _| status == StatusCode::NOT_FOUND).await;
    fixture.0.stop().await;
}

#[tokio::test]
async fn an_api_service_without_a_service_is_local() {
    let fixture = Fixture::start().await;
    let service = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.example.com"},
        "spec": {"group": "metrics.example.com", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100},
    });
    fixture.create(SERVICES, &service).await;
    assert_eq!(until_reason(&fixture, "Local").await["status"], "True");
    fixture.0.stop().await;
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_and_a_redirection_are_refused() {
    let (fixture, _extension) = available().await;
    let get = |path: String| http::Request::get(path).body(body::empty()).unwrap();
    let response = send(&fixture, User::component("test"), get(format!("{GROUP}/away"))).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert!(text(response).await.starts_with("the backend attempted to redirect this request"));
    let other = Extension::start(&fixture).await;
    let path = format!("{SERVICES}/v1beta1.metrics.example.com");
    let patch = json!({"spec": {"caBundle": other.bundle}});
    assert_eq!(fixture.call(Method::PATCH, &path, &patch).await.0, StatusCode::OK);
    loop {
        let response = send(&fixture, User::component("test"), get(format!("{GROUP}/pods"))).await;
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            let why = text(response).await;
            let unknown =
                "tls: failed to verify certificate: x509: certificate signed by unknown authority\n";
            assert_eq!(why, unknown);
            break;
        }
        tokio::task::yield_now().await;
    }
    fixture.0.stop().await;
}

#[tokio::test]
async fn the_front_proxy_certificate_is_of_the_published_authority() {
    let fixture = Fixture::start().await;
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let (_, map) = fixture.get(path).await;
    assert_eq!(map["data"]["requestheader-allowed-names"], "[\"front-proxy-client\"]");
    assert_eq!(map["data"]["requestheader-username-headers"], "[\"X-Remote-User\"]");
    let pem = map["data"]["requestheader-client-ca-file"].as_str().unwrap();
    let authority = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let (_, authority) = x509_parser::parse_x509_certificate(&authority).unwrap();
    let certificate = &fixture.0.server.aggregation.identity.get().unwrap().certificate;
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).unwrap();
    assert_eq!(certificate.issuer(), authority.subject());
    assert_eq!(certificate.subject().to_string(), "CN=front-proxy-client");
    fixture.0.stop().await;
}
