//! Webhooks that really listen, against a server in memory.

mod conversion;

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use tower::Service;

use crate::{
    body,
    custom::tests::Fixture,
    listener::{self, TlsFiles},
    pki::Authority,
    user::User,
};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A webhook that listens on a port of this machine.
struct Hook {
    port: u16,
    bundle: String,
    /// The reviews that came.
    seen: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a hook answers to a request: the response without its uid.
type Answers = fn(&Value) -> Value;

impl Hook {
    async fn start(answers: Answers) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path()).unwrap();
        let names = ["hook.default.svc".to_owned()];
        let files = authority.serving(&names, &[Ipv4Addr::LOCALHOST.into()]).unwrap();
        Self::serving(&files, answers).await
    }

    /// Serves with these files; their `client_ca` is the bundle.
    async fn serving(files: &TlsFiles, answers: Answers) -> Self {
        let acceptor = TlsAcceptor::from(listener::tls(files).unwrap());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reviews = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not trust this server ends the handshake.
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let reviews = reviews.clone();
                let service = service_fn(move |request: http::Request<Incoming>| {
                    let reviews = reviews.clone();
                    async move {
                        let asked = request.uri().to_string();
                        assert!(
                            matches!(asked.as_str(), "/review?timeout=10s" | "/review?timeout=30s"),
                            "{asked}"
                        );
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let review: Value = serde_json::from_slice(&body).unwrap();
                        let mut response = answers(&review["request"]);
                        response["uid"] = review["request"]["uid"].clone();
                        let answer = json!({
                            "apiVersion": review["apiVersion"], "kind": review["kind"], "response": response,
                        });
                        reviews.lock().unwrap().push(review);
                        Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from(answer.to_string()))))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { port, bundle: STANDARD.encode(&files.client_ca), seen, task }
    }

    fn at_url(&self) -> Value {
        json!({"url": format!("https://127.0.0.1:{}/review", self.port), "caBundle": self.bundle})
    }

    fn last(&self) -> Value {
        self.seen.lock().unwrap().last().cloned().unwrap()
    }
}

/// A configuration with one webhook about config maps; `with` changes the webhook.
fn configuration(kind: &str, name: &str, client: Value, with: Value) -> Value {
    let mut webhook = json!({
        "name": format!("{name}.example.com"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": client,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}],
    });
    for (field, value) in with.as_object().unwrap() {
        webhook[field] = value.clone();
    }
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": format!("{kind}WebhookConfiguration"),
        "metadata": {"name": name}, "webhooks": [webhook],
    })
}

async fn configure(fixture: &Fixture, kind: &str, name: &str, client: Value, with: Value) {
    let path = format!("{GROUP}/{}webhookconfigurations", kind.to_lowercase());
    fixture.create(&path, &configuration(kind, name, client, with)).await;
}

fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// Asks without storing until the answer is the expected one.
async fn dry_until(fixture: &Fixture, object: &Value, met: impl Fn(StatusCode, &Value) -> bool) -> Value {
    loop {
        let (status, body) = fixture.call(Method::POST, &format!("{MAPS}?dryRun=All"), object).await;
        if met(status, &body) {
            return body;
        }
        tokio::task::yield_now().await;
    }
}

fn consent(_: &Value) -> Value {
    json!({"allowed": true})
}

fn refuse_bad(request: &Value) -> Value {
    if request["object"]["data"]["bad"].is_null() {
        return json!({"allowed": true, "warnings": ["looks strange"]});
    }
    json!({"allowed": false, "status": {
        "message": "bad data", "reason": "Teapot", "code": 418, "details": {"causes": [{"field": "data.bad", "reason": "Odd"}]},
    }})
}

fn add(path: &str, value: &Value) -> Value {
    let patch = json!([{"op": "add", "path": path, "value": value}]);
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch.to_string())})
}

#[tokio::test]
async fn a_refusal_is_told_in_the_webhooks_own_words() {
    let (fixture, hook) = (Fixture::start().await, Hook::start(refuse_bad).await);
    configure(&fixture, "Validating", "v", hook.at_url(), json!({})).await;
    let body =
        dry_until(&fixture, &map("x", json!({"bad": "1"})), |status, _| status.is_client_error()).await;
    assert_eq!(body["message"], "admission webhook \"v.example.com\" denied the request: bad data");
    assert_eq!((&body["reason"], &body["code"]), (&json!("Teapot"), &json!(418)));
    assert_eq!(body["details"]["causes"], json!([{"field": "data.bad", "reason": "Odd"}]));
    fixture.0.stop().await;
}

#[tokio::test]
async fn a_webhook_sees_the_request_and_its_warnings_reach_the_client() {
    let (fixture, hook) = (Fixture::start().await, Hook::start(refuse_bad).await);
    configure(&fixture, "Validating", "v", hook.at_url(), json!({})).await;
    dry_until(&fixture, &map("x", json!({"bad": "1"})), |status, _| status.is_client_error()).await;
    fixture.create(MAPS, &map("x", json!({"a": "1"}))).await;
    let request = http::Request::builder()
        .method(Method::PATCH)
        .uri(format!("{MAPS}/x?fieldManager=me"))
        .header("content-type", "application/merge-patch+json")
        .body(body::full(json!({"data": {"a": "2"}}).to_string()))
        .unwrap();
    let response = fixture.0.server.service(User::component("test")).call(request).await.unwrap();
    assert_eq!(response.headers()["warning"], "299 - \"looks strange\"");
    let review = hook.last();
    assert_eq!(
        (&review["apiVersion"], &review["kind"]),
        (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
    );
    let request = &review["request"];
    assert_eq!(
        (&request["operation"], &request["name"], &request["namespace"]),
        (&json!("UPDATE"), &json!("x"), &json!("default"))
    );
    assert_eq!(request["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(request["requestResource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!(
        (&request["object"]["data"]["a"], &request["oldObject"]["data"]["a"]),
        (&json!("2"), &json!("1"))
    );
    assert_eq!(
        request["userInfo"],
        json!({"username": "test", "groups": ["system:masters", "system:authenticated"]})
    );
    assert_eq!(
        request["options"],
        json!({"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me"})
    );
    assert_eq!(request["dryRun"], false);
    fixture.0.stop().await;
}

#[tokio::test]
async fn webhooks_change_objects_in_the_order_of_their_names_and_again_if_they_ask() {
    let fixture = Fixture::start().await;
    let first = Hook::start(|request| {
        let late = !request["object"]["data"]["late"].is_null();
        add("/data/seen", &if late { "late" } else { "early" }.into())
    })
    .await;
    let second = Hook::start(|_| add("/data/late", &"yes".into())).await;
    let creations = json!([{"apiGroups": [""], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["configmaps"]}]);
    let with = json!({"reinvocationPolicy": "IfNeeded", "rules": creations});
    configure(&fixture, "Mutating", "a-first", first.at_url(), with).await;
    configure(&fixture, "Mutating", "b-second", second.at_url(), json!({"rules": creations})).await;
    let made =
        dry_until(&fixture, &map("x", json!({"a": "1"})), |_, body| body["data"]["late"] == "yes").await;
    assert_eq!(made["data"]["seen"], "late");
    fixture.0.stop().await;
}

#[tokio::test]
async fn the_failure_policy_decides_when_nobody_answers() {
    let fixture = Fixture::start().await;
    // Nobody listens on a port that was just given back.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port();
    let client = json!({"url": format!("https://127.0.0.1:{port}/review")});
    configure(&fixture, "Validating", "v", client, json!({})).await;
    let body = dry_until(&fixture, &map("x", json!({})), |status, _| status.is_server_error()).await;
    assert_eq!(
        body["message"],
        format!(
            "Internal error occurred: failed calling webhook \"v.example.com\": failed to call webhook: Post \"https://127.0.0.1:{port}/review?timeout=10s\": dial tcp 127.0.0.1:{port}: connect: connection refused"
        )
    );
    assert_eq!(body["reason"], "InternalError");
    let path = format!("{GROUP}/validatingwebhookconfigurations/v");
    let (_, mut configuration) = fixture.get(&path).await;
    configuration["webhooks"][0]["failurePolicy"] = "Ignore".into();
    assert_eq!(fixture.call(Method::PUT, &path, &configuration).await.0, StatusCode::OK);
    dry_until(&fixture, &map("x", json!({})), |status, _| status == StatusCode::CREATED).await;
    fixture.0.stop().await;
}

#[tokio::test]
async fn a_webhook_of_an_unknown_authority_is_not_trusted() {
    let (fixture, hook) = (Fixture::start().await, Hook::start(consent).await);
    let other = Hook::start(consent).await;
    let client = json!({"url": format!("https://127.0.0.1:{}/review", hook.port), "caBundle": other.bundle});
    configure(&fixture, "Validating", "v", client, json!({})).await;
    let body = dry_until(&fixture, &map("x", json!({})), |status, _| status.is_server_error()).await;
    let message = body["message"].as_str().unwrap();
    assert!(
        message.ends_with("tls: failed to verify certificate: x509: certificate signed by unknown authority"),
        "{message}"
    );
    fixture.0.stop().await;
}

#[tokio::test]
async fn a_certificate_that_is_its_own_bundle_is_trusted_even_if_it_is_an_authority() {
    let mut params = rcgen::CertificateParams::new(vec!["hook.default.svc".to_owned()]).unwrap();
    params.subject_alt_names.push(rcgen::SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let files =
        TlsFiles { certificate: certificate.clone(), key: key.serialize_pem(), client_ca: certificate };
    let (fixture, hook) = (Fixture::start().await, Hook::serving(&files, refuse_bad).await);
    configure(&fixture, "Validating", "v", hook.at_url(), json!({})).await;
    let body = dry_until(&fixture, &map("x", json!({"bad": "1"})), |status, _| !status.is_success()).await;
    assert_eq!(body["code"], 418, "{body}");
    fixture.0.stop().await;
}

#[tokio::test]
async fn a_service_leads_to_an_endpoint_that_is_ready() {
    let (fixture, hook) = (Fixture::start().await, Hook::start(refuse_bad).await);
    let client = json!({"service": {"namespace": "default", "name": "hook", "path": "/review"}, "caBundle": hook.bundle});
    configure(&fixture, "Validating", "v", client, json!({})).await;
    let failed = |body: &Value, why: &str| {
        let message = body["message"].as_str().unwrap_or_default();
        message.ends_with(&format!("Post \"https://hook.default.svc:443/review?timeout=10s\": {why}"))
    };
    let bad = map("x", json!({"bad": "1"}));
    dry_until(&fixture, &bad, |_, body| failed(body, "service \"hook\" not found")).await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"},
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": 8443}]}});
    fixture.create("/api/v1/namespaces/default/services", &service).await;
    dry_until(&fixture, &bad, |_, body| failed(body, "no endpoints available for service \"hook\"")).await;
    let mut slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "ports": [{"name": "https", "port": hook.port}],
        "endpoints": [
            {"addresses": ["127.0.0.9"], "conditions": {"ready": false}},
            {"addresses": ["127.0.0.1"], "conditions": {"ready": true}},
        ],
    });
    // The API takes no addresses of this machine; whoever runs pods there writes them to the store.
    let server = &fixture.0.server;
    let definition = crate::server::builtin("discovery.k8s.io", "endpointslices").unwrap();
    let write = vkube_store::Write {
        key: definition.key("default", "hook-1"),
        expect: vkube_store::Expect::Absent,
        change: vkube_store::Change::Put {
            document: crate::stored::encode(&mut slice, &definition).unwrap(),
            ttl: None,
        },
    };
    server.store().commit(vec![write]).await.unwrap();
    let body = dry_until(&fixture, &bad, |status, _| status.is_client_error()).await;
    assert_eq!(body["code"], 418, "{body}");
    fixture.0.stop().await;
}

#[tokio::test]
async fn conditions_spare_calls_and_the_configuration_of_admission_is_never_asked_about() {
    let (fixture, hook) = (Fixture::start().await, Hook::start(refuse_bad).await);
    let all = json!({
        "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}],
        "matchConditions": [{"name": "bad-ones", "expression": "has(object.data) && 'bad' in object.data"}],
    });
    configure(&fixture, "Validating", "v", hook.at_url(), all).await;
    dry_until(&fixture, &map("x", json!({"bad": "1"})), |status, _| status.is_client_error()).await;
    let calls = hook.seen.lock().unwrap().len();
    fixture.create(MAPS, &map("x", json!({"a": "1"}))).await;
    let everything = json!({
        "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}],
    });
    // Nobody answers this one, and yet it can be removed.
    let nowhere = json!({"url": "https://127.0.0.1:1/review"});
    configure(&fixture, "Validating", "w", nowhere, everything).await;
    dry_until(&fixture, &map("y", json!({"a": "1"})), |status, _| status.is_server_error()).await;
    let path = format!("{GROUP}/validatingwebhookconfigurations/w");
    assert_eq!(fixture.call(Method::DELETE, &path, &Value::Null).await.0, StatusCode::OK);
    assert_eq!(hook.seen.lock().unwrap().len(), calls);
    fixture.0.stop().await;
}

#[tokio::test]
async fn owners_survive_a_webhook_that_breaks_them() {
    let fixture = Fixture::start().await;
    let hook = Hook::start(|_| {
        let broken =
            json!([{"manager": "m", "operation": "Nonsense", "fieldsType": "FieldsV1", "fieldsV1": {}}]);
        add("/metadata/managedFields", &broken)
    })
    .await;
    configure(&fixture, "Mutating", "m", hook.at_url(), json!({})).await;
    let called = || !hook.seen.lock().unwrap().is_empty();
    let made = dry_until(&fixture, &map("x", json!({"a": "1"})), |_, _| called()).await;
    assert_eq!(made["metadata"]["managedFields"][0]["operation"], "Update", "{made}");
    fixture.0.stop().await;
}
