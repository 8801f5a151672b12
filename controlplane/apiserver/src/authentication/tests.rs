//! Authentication through the whole server.

mod bootstrap;
mod oidc;
mod webhook;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::Service;

use super::Options;
use crate::{
    body,
    instance::{self, Instance},
    user::User,
};

/// A server in memory, with ways to talk to it.
struct Fixture(Instance);

impl Fixture {
    async fn start(authentication: Options) -> Self {
        let options = instance::Options { authentication, ..instance::Options::default() };
        Self(Instance::start(options).await.unwrap())
    }

    /// Calls as the administrator.
    async fn call(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/json");
        let request = request.body(body::full(body.to_string())).unwrap();
        read(self.0.server.service(User::component("admin")).call(request).await.unwrap()).await
    }

    async fn create(&self, path: &str, object: &Value) {
        let (status, body) = self.call(Method::POST, path, object).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
    }

    /// Who the server takes the bearer of a token for.
    async fn whoami(&self, token: &str) -> (StatusCode, Value) {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let request = http::Request::builder()
            .method(Method::POST)
            .uri("/apis/authentication.k8s.io/v1/selfsubjectreviews")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(body::full(review.to_string()))
            .unwrap();
        let (status, mut body) = read(self.0.server.respond(request).await).await;
        (status, body.pointer_mut("/status/userInfo").map(Value::take).unwrap_or(body))
    }

    /// What a review says of a token.
    async fn review(&self, spec: Value) -> Value {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec});
        let (_, mut body) =
            self.call(Method::POST, "/apis/authentication.k8s.io/v1/tokenreviews", &review).await;
        body["status"].take()
    }
}

async fn read(response: body::Response) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

const OWN: &str = "https://kubernetes.default.svc.cluster.local";

#[tokio::test]
async fn a_review_tells_for_which_audiences_a_token_is_good() {
    let tokens = super::static_tokens::StaticTokens::parse("secret,jane,7,\"a,b\"").unwrap();
    let server = Fixture::start(Options { static_tokens: tokens, ..Options::default() }).await;
    let user = json!({"username": "jane", "uid": "7", "groups": ["a", "b", "system:authenticated"]});
    let good = json!({"authenticated": true, "user": user, "audiences": [OWN]});
    assert_eq!(server.review(json!({"token": "secret"})).await, good);
    assert_eq!(server.review(json!({"token": "secret", "audiences": ["x", OWN]})).await, good);
    let bad = json!({"user": {}, "error": "invalid bearer token"});
    assert_eq!(server.review(json!({"token": "secret", "audiences": ["x"]})).await, bad);
    assert_eq!(server.review(json!({"token": "other"})).await, bad);
    server.0.stop().await;
}

#[tokio::test]
async fn a_review_tells_what_is_wrong_with_a_token_of_a_service_account() {
    let server = Fixture::start(Options::default()).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}});
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    server.create(accounts, &account).await;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let (_, made) = server.call(Method::POST, &format!("{accounts}/robot/token"), &request).await;
    let token = made["status"]["token"].as_str().unwrap().to_owned();
    let good = server.review(json!({"token": token})).await;
    assert_eq!(good["user"]["username"], "system:serviceaccount:default:robot");
    let extra = good["user"]["extra"].as_object().unwrap();
    assert_eq!(extra.keys().collect::<Vec<_>>(), ["authentication.kubernetes.io/credential-id"]);
    assert_eq!(
        server.review(json!({"token": token, "audiences": ["x"]})).await["error"],
        format!(
            "[invalid bearer token, token audiences [\"{OWN}\"] is invalid for the target audiences [\"x\"]]"
        )
    );
    server.call(Method::DELETE, &format!("{accounts}/robot"), &Value::Null).await;
    assert_eq!(
        server.review(json!({"token": token})).await["error"],
        "[invalid bearer token, serviceaccounts \"robot\" not found]"
    );
    assert_eq!(server.whoami(&token).await.0, StatusCode::UNAUTHORIZED);
    server.0.stop().await;
}

#[test]
fn a_token_after_too_many_spaces_is_no_token_and_the_client_is_told() {
    let warned = |value: &str| {
        let request = http::Request::get("/").header("authorization", value).body(body::empty()).unwrap();
        super::warning(&request).is_some()
    };
    assert!(warned("Bearer  token"));
    assert!(!warned("Bearer token"));
    assert!(!warned("Bearer token more"));
    assert!(!warned("Bearer "));
    assert!(!warned("Basic  token"));
}
