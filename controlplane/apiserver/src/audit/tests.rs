//! Audit of requests to a server in memory.

mod webhook;

use std::path::PathBuf;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::Service;

use super::{
    Options,
    log::{self, Format},
};
use crate::{
    body,
    instance::{self, Instance},
    user::User,
};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

struct Fixture {
    instance: Instance,
    log: PathBuf,
    _directory: tempfile::TempDir,
}

impl Fixture {
    /// A server that tells what these rules say of config maps; RBAC knows nobody but administrators.
    async fn start(rules: Value) -> Self {
        Self::with(rules, Format::Json).await
    }

    async fn with(rules: Value, format: Format) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (policy, log) = (directory.path().join("policy.yaml"), directory.path().join("audit.log"));
        let document = json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules});
        std::fs::write(&policy, document.to_string()).unwrap();
        let log_options = log::Options { path: log.clone(), format, max_age: 0, max_backups: 0, max_size: 0 };
        Self::of(directory, Options { policy, log: Some(log_options), webhook: None }).await
    }

    async fn of(directory: tempfile::TempDir, audit: Options) -> Self {
        let log = audit.log.as_ref().map(|log| log.path.clone()).unwrap_or_default();
        let options = instance::Options { audit: Some(audit), ..instance::Options::default() };
        Self { instance: Instance::start(options).await.unwrap(), log, _directory: directory }
    }

    async fn call(
        &self,
        user: &User,
        request: http::request::Builder,
        body: &Value,
    ) -> (StatusCode, http::HeaderMap, Value) {
        let body = if body.is_null() { body::empty() } else { body::full(body.to_string()) };
        let request = request.header("user-agent", "test/1").body(body).unwrap();
        let response = self.instance.server.service(user.clone()).call(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (head.status, head.headers, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn create(&self, name: &str) -> Value {
        let map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}});
        let request = http::Request::post(MAPS).header("content-type", "application/json");
        let (status, _, body) = self.call(&admin(), request, &map).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn events(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn admin() -> User {
    User::component("admin")
}

fn maps(level: &str) -> Value {
    json!([{"level": level, "resources": [{"resources": ["configmaps"]}], "omitManagedFields": true}])
}

#[tokio::test]
async fn metadata_tell_who_did_what_and_what_came_of_it() {
    let server = Fixture::start(maps("Metadata")).await;
    let request = http::Request::get(format!("{MAPS}/x")).header("audit-id", "mine");
    let (status, headers, _) = server.call(&User::new("jane", &["dev"]), request, &Value::Null).await;
    assert_eq!((status, headers["audit-id"].to_str().unwrap()), (StatusCode::FORBIDDEN, "mine"));
    let why = "configmaps \"x\" is forbidden: User \"jane\" cannot get resource \"configmaps\" in API group \"\" in the namespace \"default\"";
    let mut events = server.events();
    for event in &mut events {
        for time in ["requestReceivedTimestamp", "stageTimestamp"] {
            let time = event.as_object_mut().unwrap().remove(time).unwrap();
            assert_eq!(time.as_str().unwrap().len(), "2026-01-01T00:00:00.000000Z".len());
        }
    }
    let received = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "mine",
        "stage": "RequestReceived", "requestURI": format!("{MAPS}/x"), "verb": "get",
        "user": {"username": "jane", "groups": ["dev", "system:authenticated"]}, "userAgent": "test/1",
        "objectRef": {"resource": "configmaps", "namespace": "default", "name": "x", "apiVersion": "v1"},
    });
    let mut complete = received.clone();
    complete["stage"] = "ResponseComplete".into();
    complete["responseStatus"] = json!({
        "metadata": {}, "status": "Failure", "message": why, "reason": "Forbidden",
        "details": {"name": "x", "kind": "configmaps"}, "code": 403,
    });
    complete["annotations"] =
        json!({"authorization.k8s.io/decision": "forbid", "authorization.k8s.io/reason": ""});
    assert_eq!(events, [received, complete]);
    let fields = "{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":";
    assert!(server.text().starts_with(fields), "{}", server.text());
    server.instance.stop().await;
}

#[tokio::test]
async fn requests_and_answers_are_told_without_their_managers() {
    let server = Fixture::start(maps("RequestResponse")).await;
    let made = server.create("x").await;
    let events = server.events();
    assert!(events[0]["requestObject"].is_null() && events.len() == 2, "{events:?}");
    let event = &events[1];
    assert_eq!(event["requestObject"]["data"], json!({"a": "1"}));
    assert_eq!(event["objectRef"]["name"], "x");
    assert_eq!(event["responseStatus"], json!({"metadata": {}, "code": 201}));
    let mut expected = made.clone();
    expected["metadata"].as_object_mut().unwrap().remove("managedFields").unwrap();
    assert_eq!(event["responseObject"], expected);

    let patch = http::Request::patch(format!("{MAPS}/x"))
        .header("content-type", "application/merge-patch+json")
        .header("accept", "application/vnd.kubernetes.protobuf");
    server.call(&admin(), patch, &json!({"data": {"b": "2"}})).await;
    let event = server.events().pop().unwrap();
    assert_eq!(event["requestObject"], json!({"data": {"b": "2"}}));
    assert_eq!(event["responseObject"]["data"], json!({"a": "1", "b": "2"}));

    server.call(&admin(), http::Request::get(MAPS), &Value::Null).await;
    let event = server.events().pop().unwrap();
    let items = event["responseObject"]["items"].as_array().unwrap();
    assert!(!items.is_empty() && items.iter().all(|item| item["metadata"]["managedFields"].is_null()));

    let delete = http::Request::delete(format!("{MAPS}/x")).header("content-type", "application/json");
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    server.call(&admin(), delete, &options).await;
    let event = server.events().pop().unwrap();
    assert_eq!(event["requestObject"]["propagationPolicy"], "Background");
    assert_eq!(event["responseStatus"]["status"], "Success");
    assert_eq!(event["responseStatus"]["details"]["name"], "x");
    server.instance.stop().await;
}

#[tokio::test]
async fn requests_without_answers_are_told_at_their_level() {
    let server = Fixture::start(maps("Request")).await;
    server.create("x").await;
    let event = server.events().pop().unwrap();
    assert_eq!(event["requestObject"]["data"], json!({"a": "1"}));
    assert!(event["responseObject"].is_null());
    server.instance.stop().await;
}

#[tokio::test]
async fn stages_that_are_omitted_and_requests_of_no_rule_are_not_told() {
    let mut rules = maps("Metadata");
    rules[0]["omitStages"] = json!(["RequestReceived"]);
    let server = Fixture::start(rules).await;
    server.create("x").await;
    server.call(&admin(), http::Request::get("/api/v1/namespaces/default/secrets"), &Value::Null).await;
    let stages: Vec<Value> = server.events().iter().map(|event| event["stage"].clone()).collect();
    assert_eq!(stages, ["ResponseComplete"]);
    server.instance.stop().await;
}

#[tokio::test]
async fn a_watch_is_told_when_it_starts_and_when_it_ends() {
    let server = Fixture::start(maps("Metadata")).await;
    let request = http::Request::get(format!("{MAPS}?watch=1")).body(body::empty()).unwrap();
    let response = server.instance.server.service(admin()).call(request).await.unwrap();
    let stages = || -> Vec<Value> { server.events().iter().map(|event| event["stage"].clone()).collect() };
    assert_eq!(stages(), ["RequestReceived", "ResponseStarted"]);
    drop(response);
    assert_eq!(stages(), ["RequestReceived", "ResponseStarted", "ResponseComplete"]);
    let event = server.events().pop().unwrap();
    assert_eq!((&event["verb"], &event["responseStatus"]["code"]), (&json!("watch"), &json!(200)));
    server.instance.stop().await;
}

#[tokio::test]
async fn a_request_of_nobody_known_is_told_once() {
    let server = Fixture::start(json!([{"level": "Metadata"}])).await;
    let request =
        http::Request::get(MAPS).header("authorization", "Bearer nonsense").body(body::empty()).unwrap();
    let response = server.instance.server.respond(request).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let mut events = server.events();
    events.retain(|event| event["requestURI"] == MAPS);
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((&event["stage"], &event["user"]), (&json!("ResponseStarted"), &json!({})));
    let status = json!({"metadata": {}, "status": "Failure", "message": "Unauthorized", "reason": "Unauthorized", "code": 401});
    assert_eq!(event["responseStatus"], status);
    server.instance.stop().await;
}

#[tokio::test]
async fn whom_a_request_acts_as_is_told_beside_who_it_is_from() {
    let server = Fixture::start(maps("Metadata")).await;
    let request = http::Request::get(MAPS).header("impersonate-user", "bob");
    server.call(&admin(), request, &Value::Null).await;
    let event = server.events().pop().unwrap();
    assert_eq!(event["authenticationMetadata"], json!({"impersonationConstraint": "impersonate:user-info"}));

    let request = http::Request::get(MAPS)
        .header("impersonate-user", "bob")
        .header("impersonate-group", "system:masters");
    let (status, ..) = server.call(&admin(), request, &Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let event = server.events().pop().unwrap();
    assert_eq!(event["user"]["username"], "admin");
    let groups = ["system:masters", "system:authenticated"];
    assert_eq!(event["impersonatedUser"], json!({"username": "bob", "groups": groups}));
    assert!(event["authenticationMetadata"].is_null());
    server.instance.stop().await;
}

#[tokio::test]
async fn pod_security_tells_what_it_enforces_and_what_falls_short() {
    let server = Fixture::start(json!([{"level": "Metadata", "resources": [{"resources": ["pods"]}]}])).await;
    let post = |path: &str| {
        http::Request::builder().method(Method::POST).uri(path).header("content-type", "application/json")
    };
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": "a", "labels": {"pod-security.kubernetes.io/audit": "baseline"},
    }});
    server.call(&admin(), post("/api/v1/namespaces"), &namespace).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    server.call(&admin(), post("/api/v1/namespaces/a/serviceaccounts"), &account).await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {
        "hostNetwork": true, "containers": [{"name": "c", "image": "i"}],
    }});
    let (status, _, body) = server.call(&admin(), post("/api/v1/namespaces/a/pods"), &pod).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let event = server.events().pop().unwrap();
    let annotations = &event["annotations"];
    assert_eq!(annotations["pod-security.kubernetes.io/enforce-policy"], "privileged:latest");
    assert_eq!(
        annotations["pod-security.kubernetes.io/audit-violations"],
        "would violate PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"
    );
    server.instance.stop().await;
}

#[tokio::test]
async fn the_old_format_is_a_line_of_words() {
    let server = Fixture::with(maps("Metadata"), Format::Legacy).await;
    server.create("x").await;
    let line = server.text().lines().last().unwrap().to_owned();
    let (_, rest) = line.split_once(" AUDIT: id=").unwrap();
    let (_, rest) = rest.split_once(' ').unwrap();
    assert_eq!(
        rest,
        format!(
            "stage=\"ResponseComplete\" ip=\"<unknown>\" method=\"create\" user=\"admin\" groups=\"\\\"system:masters\\\",\\\"system:authenticated\\\"\" as=\"<self>\" asgroups=\"<lookup>\" user-agent=\"test/1\" namespace=\"default\" uri=\"{MAPS}\" response=\"201\""
        )
    );
    server.instance.stop().await;
}

#[tokio::test]
async fn webhooks_are_told_with_what_they_change_and_say() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let remote = crate::outbound::tests::Remote::start(|_, review| {
        let patch = json!([{"op": "add", "path": "/data/b", "value": "2"}]);
        let response = json!({
            "uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch",
            "patch": STANDARD.encode(patch.to_string()), "auditAnnotations": {"why": "because"},
        });
        let review =
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
        (StatusCode::OK, review)
    })
    .await;
    let server = Fixture::start(maps("Request")).await;
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]);
    let hook = json!({
        "name": "hook.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "rules": rules,
        "clientConfig": {"url": remote.url(), "caBundle": STANDARD.encode(&remote.authority)},
    });
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "config"}, "webhooks": [hook],
    });
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    let post = http::Request::post(path).header("content-type", "application/json");
    server.call(&admin(), post, &configuration).await;
    // The configuration reaches admission by way of a watch.
    for round in 0.. {
        if server.create(&format!("x{round}")).await["data"]["b"] == "2" {
            break;
        }
        tokio::task::yield_now().await;
    }
    let event = server.events().pop().unwrap();
    let annotation = |key: &str| event["annotations"][key].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        annotation("mutation.webhook.admission.k8s.io/round_0_index_0"),
        r#"{"configuration":"config","webhook":"hook.example.com","mutated":true}"#
    );
    assert_eq!(
        annotation("patch.webhook.admission.k8s.io/round_0_index_0"),
        r#"{"configuration":"config","webhook":"hook.example.com","patch":[{"op":"add","path":"/data/b","value":"2"}],"patchType":"JSONPatch"}"#
    );
    assert_eq!(annotation("hook.example.com/why"), "because");
    server.instance.stop().await;
}
