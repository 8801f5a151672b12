//! A server in memory that requests are sent to.

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::Service;
use vkube_apiserver::{
    body,
    instance::{Instance, Options},
    user::User,
};

/// Requests to one server; after that a new one is made, so that objects do not pile up.
const REQUESTS: usize = 5_000;

/// The collection of the custom resource that every world has.
pub const THINGS: &str = "/apis/example.com/v1/namespaces/default/things";

/// The account without which no pod is admitted, after a second of waiting for it.
const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

/// A server, and how many requests it has answered.
pub struct World {
    runtime: Runtime,
    instance: Option<Instance>,
    served: usize,
}

impl World {
    /// A world without a server yet.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { runtime, instance: None, served: 0 }
    }

    /// Sends a request; the answer is its code and its body.
    pub fn send(&mut self, request: Request<body::Body>) -> (StatusCode, Vec<u8>) {
        if self.served >= REQUESTS
            && let Some(instance) = self.instance.take()
        {
            self.runtime.block_on(instance.stop());
            self.served = 0;
        }
        self.served += 1;
        let Self { runtime, instance, .. } = self;
        runtime.block_on(async {
            if instance.is_none() {
                *instance = Some(prepared().await);
            }
            let instance = instance.as_ref().expect("it was started");
            let touches_accounts = request.uri().path().starts_with(ACCOUNTS);
            let answer = answered(instance, request).await;
            if touches_accounts {
                account(instance).await;
            }
            answer
        })
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

async fn answered(instance: &Instance, request: Request<body::Body>) -> (StatusCode, Vec<u8>) {
    let Ok(response) = instance.server.service(User::component("fuzz")).call(request).await;
    let status = response.status();
    let bytes = response.into_body().collect().await.map(|body| body.to_bytes().to_vec());
    (status, bytes.unwrap_or_default())
}

async fn post(instance: &Instance, uri: &str, object: &Value) -> StatusCode {
    let request = Request::builder().method(Method::POST).uri(uri).header("content-type", "application/json");
    let request = request.body(body::full(object.to_string())).expect("a request");
    answered(instance, request).await.0
}

/// Makes the account; it may be there.
async fn account(instance: &Instance) {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    post(instance, ACCOUNTS, &account).await;
}

async fn prepared() -> Instance {
    let options = Options { authorization_modes: vec!["AlwaysAllow".into()], ..Options::default() };
    let instance = Instance::start(options).await.expect("a server in memory starts");
    account(&instance).await;
    let made = post(&instance, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &things()).await;
    assert_eq!(made, StatusCode::CREATED);
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}});
    while post(&instance, THINGS, &thing).await == StatusCode::NOT_FOUND {
        tokio::task::yield_now().await;
    }
    instance
}

fn things() -> Value {
    let spec = json!({
        "type": "object",
        "x-kubernetes-validations": [{"rule": "self.replicas <= 10", "fieldPath": ".replicas"}],
        "properties": {
            "replicas": {"type": "integer", "default": 1, "minimum": 0},
            "name": {"type": "string", "maxLength": 20, "nullable": true},
            "template": {"type": "object", "x-kubernetes-embedded-resource": true,
                "x-kubernetes-preserve-unknown-fields": true},
            "a": {"type": "array", "maxItems": 9, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string", "maxLength": 9}, "value": {"x-kubernetes-int-or-string": true}}}},
            "b": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    });
    let status = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                "additionalPrinterColumns": [{"name": "n", "type": "string", "jsonPath": ".spec.a[*].name"}],
                "selectableFields": [{"jsonPath": ".spec.name"}],
            }],
        },
    })
}
