//! Webhooks that decide, through the whole server.

use std::{path::PathBuf, time::Duration};

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::Service;

use super::webhook;
use crate::{
    body,
    instance::{Instance, Options},
    outbound::tests::Remote,
    user::User,
};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A webhook that lets jane read, forbids eve everything, and fails for mallory.
async fn hook() -> Remote {
    Remote::start(|_, review| {
        let spec = &review["spec"];
        let reads = matches!(spec["resourceAttributes"]["verb"].as_str(), Some("get" | "list"));
        let status = match spec["user"].as_str() {
            Some("jane") if reads => json!({"allowed": true, "reason": "she reads"}),
            Some("eve") => json!({"allowed": false, "denied": true, "reason": "no eve"}),
            Some("mallory") => {
                return (StatusCode::FORBIDDEN, json!({"kind": "Status", "message": "broken"}));
            }
            _ => json!({"allowed": false, "reason": "never heard of it"}),
        };
        let version = review["apiVersion"].clone();
        (StatusCode::OK, json!({"apiVersion": version, "kind": "SubjectAccessReview", "status": status}))
    })
    .await
}

struct Fixture(Instance);

impl Fixture {
    async fn start(remote: &Remote, options: impl FnOnce(PathBuf) -> Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("webhook.yaml");
        remote.kubeconfig(&file, "/authorize");
        Self(Instance::start(options(file)).await.unwrap())
    }

    async fn by_flags(remote: &Remote) -> Self {
        Self::start(remote, |file| Options {
            authorization_modes: vec!["Webhook".into(), "RBAC".into()],
            authorization_webhook: Some(webhook::Options {
                version: "v1".into(),
                authorized_ttl: Duration::from_secs(600),
                unauthorized_ttl: Duration::ZERO,
                ..webhook::Options::of_file(file)
            }),
            ..Options::default()
        })
        .await
    }

    /// Lists config maps, or creates one if there is a body.
    async fn call(&self, user: &str, body: Value) -> (StatusCode, String) {
        let method = if body.is_null() { Method::GET } else { Method::POST };
        let request =
            http::Request::builder().method(method).uri(MAPS).header("content-type", "application/json");
        let request = request.body(body::full(body.to_string())).unwrap();
        let response = self.0.server.service(User::new(user, &["dev"])).call(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.into()).unwrap())
    }
}

fn message(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap();
    body["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_webhook_decides_and_its_consent_is_kept() {
    let remote = hook().await;
    let server = Fixture::by_flags(&remote).await;
    for _ in 0..2 {
        assert_eq!(server.call("jane", Value::Null).await.0, StatusCode::OK);
    }
    assert_eq!(remote.paths(), ["POST /authorize"]);
    assert_eq!(
        remote.calls.lock().unwrap()[0].2,
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": {
            "user": "jane", "groups": ["dev", "system:authenticated"], "resourceAttributes":
                {"namespace": "default", "verb": "list", "version": "v1", "resource": "configmaps"},
        }})
    );
    let (status, body) = server.call("jane", json!({})).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(
        message(&body),
        "configmaps is forbidden: User \"jane\" cannot create resource \"configmaps\" in API group \"\" in the namespace \"default\": never heard of it"
    );
    let (_, body) = server.call("eve", Value::Null).await;
    assert!(message(&body).ends_with(": no eve"), "{body}");
    server.0.stop().await;
}

#[tokio::test]
async fn nobody_knows_what_is_allowed_while_the_webhook_fails() {
    let remote = hook().await;
    let server = Fixture::by_flags(&remote).await;
    let (status, body) = server.call("mallory", Value::Null).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(body, format!("Internal Server Error: {MAPS:?}: broken\n"));
    server.0.stop().await;
}

#[tokio::test]
async fn conditions_spare_questions() {
    let remote = hook().await;
    let server = Fixture::start(&remote, |file| {
        let configuration = file.with_file_name("authorization.yaml");
        let hook = json!({
            "timeout": "3s", "subjectAccessReviewVersion": "v1", "failurePolicy": "Deny",
            "matchConditionSubjectAccessReviewVersion": "v1",
            "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": file},
            "matchConditions": [
                {"expression": "has(request.resourceAttributes)"},
                {"expression": "request.user != 'mallory' && 'dev' in request.groups"},
            ],
        });
        let document = json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration",
            "authorizers": [{"type": "Webhook", "name": "hook", "webhook": hook}, {"type": "RBAC", "name": "rbac"}],
        });
        std::fs::write(&configuration, document.to_string()).unwrap();
        Options { authorization_configuration: Some(configuration), ..Options::default() }
    })
    .await;
    assert_eq!(server.call("jane", Value::Null).await.0, StatusCode::OK);
    assert_eq!(server.call("mallory", Value::Null).await.0, StatusCode::FORBIDDEN);
    assert_eq!(remote.paths().len(), 1);
    server.0.stop().await;
}
