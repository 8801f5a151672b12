use std::time::Duration;

use super::*;
use crate::{
    authentication::webhook,
    outbound::tests::{Call, Remote},
};

async fn hooked(remote: &Remote, version: &str, cache_ttl: Duration) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let config_file = directory.path().join("webhook.yaml");
    remote.kubeconfig(&config_file, "/authenticate");
    let options = webhook::Options { config_file, version: version.into(), cache_ttl };
    Fixture::start(Options { webhook: Some(options), ..Options::default() }).await
}

fn answering(version: &'static str, status: Value) -> impl Fn(&str, &Value) -> (StatusCode, Value) {
    move |_, review| {
        let mut status = status.clone();
        if review["spec"]["token"] != "good" {
            status = json!({"error": "never heard of it"});
        }
        let version = format!("authentication.k8s.io/{version}");
        (StatusCode::OK, json!({"apiVersion": version, "kind": "TokenReview", "status": status}))
    }
}

fn jane() -> Value {
    json!({"authenticated": true, "user": {
        "username": "jane", "uid": "7", "groups": ["dev"], "extra": {"example.org/a": ["b"]},
    }})
}

#[tokio::test]
async fn the_webhook_tells_whose_token_it_is() {
    let remote = Remote::start(answering("v1", jane())).await;
    let server = hooked(&remote, "v1", Duration::ZERO).await;
    let expected = json!({
        "username": "jane", "uid": "7", "groups": ["dev", "system:authenticated"],
        "extra": {"example.org/a": ["b"]},
    });
    assert_eq!(server.whoami("good").await, (StatusCode::CREATED, expected));
    let (line, headers, review) = remote.calls.lock().unwrap().pop().unwrap();
    assert_eq!(
        (line.as_str(), &headers["authorization"]),
        ("POST /authenticate", &"Bearer hook-token".parse().unwrap())
    );
    assert_eq!(
        review,
        json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {},
            "spec": {"token": "good", "audiences": [OWN]},
        })
    );
    let review = server.review(json!({"token": "bad"})).await;
    assert_eq!(review["error"], "[invalid bearer token, never heard of it]");
    server.0.stop().await;
}

#[tokio::test]
async fn answers_are_kept_for_a_while_but_errors_are_not() {
    let remote = Remote::start(answering("v1beta1", jane())).await;
    let server = hooked(&remote, "v1beta1", Duration::from_secs(600)).await;
    for token in ["good", "good", "bad", "bad"] {
        server.whoami(token).await;
    }
    let token = |(_, _, review): &Call| review["spec"]["token"].as_str().unwrap().to_owned();
    let tokens: Vec<String> = remote.calls.lock().unwrap().iter().map(token).collect();
    assert_eq!(tokens, ["good", "bad", "bad"]);
    server.0.stop().await;
}

#[tokio::test]
async fn a_webhook_that_answers_for_somebody_else_vouches_for_nobody() {
    let mut status = jane();
    status["audiences"] = json!(["other"]);
    let remote = Remote::start(answering("v1", status)).await;
    let server = hooked(&remote, "v1", Duration::ZERO).await;
    assert_eq!(server.whoami("good").await.0, StatusCode::UNAUTHORIZED);
    let review = server.review(json!({"token": "good", "audiences": ["other", "more"]})).await;
    assert_eq!(review["audiences"], json!(["other"]));
    server.0.stop().await;
}

#[tokio::test]
async fn a_webhook_that_fails_refuses_with_its_own_words() {
    let remote = Remote::start(|_, _| (StatusCode::BAD_REQUEST, Value::Null)).await;
    let server = hooked(&remote, "v1", Duration::ZERO).await;
    assert_eq!(
        server.review(json!({"token": "good"})).await["error"],
        "[invalid bearer token, the server rejected our request for an unknown reason]"
    );
    server.0.stop().await;
}
