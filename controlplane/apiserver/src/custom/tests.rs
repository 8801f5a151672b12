//! Custom resources through the whole server.

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::Service;

use crate::{
    body,
    instance::{Instance, Options},
    user::User,
};

pub(crate) const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A server in memory, with a way to talk to it.
pub(crate) struct Fixture(pub(crate) Instance);

impl Fixture {
    pub(crate) async fn start() -> Self {
        let options = Options { authorization_modes: vec!["AlwaysAllow".into()], ..Options::default() };
        Self(Instance::start(options).await.unwrap())
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let content_type =
            if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { body::empty() } else { body::full(body.to_string()) };
        let request = http::Request::builder().method(method).uri(path).header("content-type", content_type);
        let request = request.body(body).unwrap();
        let response = self.0.server.service(User::component("test")).call(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, &Value::Null).await
    }

    pub(crate) async fn create(&self, path: &str, object: &Value) -> Value {
        let (status, body) = self.call(Method::POST, path, object).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body
    }

    /// Creates a definition and waits until it is established.
    pub(crate) async fn define(&self, definition: &Value) {
        self.create(CRDS, definition).await;
        let name = definition["metadata"]["name"].as_str().unwrap();
        self.until(&format!("{CRDS}/{name}"), |_, crd| crd["status"]["conditions"][1]["status"] == "True")
            .await;
    }

    /// Asks again until the answer is the expected one.
    pub(crate) async fn until(&self, path: &str, met: impl Fn(StatusCode, &Value) -> bool) -> Value {
        loop {
            let (status, body) = self.get(path).await;
            if met(status, &body) {
                return body;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// A definition of widgets in `example.com` with this schema of the spec.
pub(crate) fn widgets(spec: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": spec,
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }}},
                "subresources": {"status": {}},
            }],
        },
    })
}

pub(crate) const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

pub(crate) fn widget(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn a_definition_is_served_once_established_and_takes_its_objects_along() {
    let server = Fixture::start().await;
    let spec = json!({"type": "object", "properties": {"size": {"type": "integer", "default": 3}}});
    server.define(&widgets(&spec)).await;
    let made = server.create(WIDGETS, &widget("w", &json!({"other": 1}))).await;
    assert_eq!(made["spec"], json!({"size": 3}));

    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    let path = format!("{WIDGETS}/w");
    server.call(Method::PATCH, &path, &hold).await;
    let crd = format!("{CRDS}/widgets.example.com");
    let (_, deleted) = server.call(Method::DELETE, &crd, &Value::Null).await;
    assert_eq!(deleted["status"]["conditions"][2]["reason"], "InstanceDeletionPending");
    server.until(&path, |_, w| w["metadata"]["deletionTimestamp"].is_string()).await;
    let (status, _) = server.call(Method::POST, WIDGETS, &widget("x", &json!({}))).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);

    server.call(Method::PATCH, &path, &json!({"metadata": {"finalizers": null}})).await;
    server.until(&crd, |status, _| status == StatusCode::NOT_FOUND).await;
    server.until(WIDGETS, |status, _| status == StatusCode::NOT_FOUND).await;
    server.0.stop().await;
}

#[tokio::test]
async fn rules_of_change_hold_inside_of_maps_that_are_replaced_as_a_whole() {
    let server = Fixture::start().await;
    let major = json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "stays"}]});
    let catalog =
        json!({"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"major": major}});
    server.define(&widgets(&json!({"type": "object", "properties": {"catalog": catalog}}))).await;
    server.create(WIDGETS, &widget("w", &json!({"catalog": {"major": 1}}))).await;
    let change = json!({"spec": {"catalog": {"major": 2}}});
    let (status, refused) = server.call(Method::PATCH, &format!("{WIDGETS}/w"), &change).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    assert_eq!(refused["details"]["causes"][0]["field"], "spec.catalog.major");
    server.0.stop().await;
}

#[tokio::test]
async fn a_new_object_has_the_default_status_whatever_its_creator_says() {
    let server = Fixture::start().await;
    let mut definition = widgets(&json!({"type": "object"}));
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status";
    *definition.pointer_mut(status).unwrap() = json!({
        "type": "object", "default": {"observedGeneration": -1}, "properties": {
            "observedGeneration": {"type": "integer"}, "phase": {"type": "string", "default": "Pending"}},
    });
    server.define(&definition).await;
    let mut said = widget("w", &json!({}));
    said["status"] = json!({"observedGeneration": 7, "phase": "Done"});
    let expected = json!({"observedGeneration": -1, "phase": "Pending"});
    assert_eq!(server.create(WIDGETS, &said).await["status"], expected);
    let path = format!("{WIDGETS}/w");
    assert_eq!(server.get(&path).await.1["status"], expected);

    let told = json!({"status": {"observedGeneration": 1}});
    server.call(Method::PATCH, &format!("{path}/status"), &told).await;
    server.call(Method::PATCH, &path, &json!({"spec": {}, "status": {"observedGeneration": 9}})).await;
    assert_eq!(server.get(&path).await.1["status"], json!({"observedGeneration": 1, "phase": "Pending"}));
    server.0.stop().await;
}

#[tokio::test]
async fn a_whole_number_is_an_integer_once_it_is_stored() {
    let server = Fixture::start().await;
    let spec = json!({"type": "object", "properties": {"size": {"type": "integer"}}});
    server.define(&widgets(&spec)).await;
    let made = server.create(WIDGETS, &widget("w", &json!({"size": 3.0}))).await;
    assert_eq!(made["spec"]["size"], json!(3));
    let path = format!("{WIDGETS}/w");
    let (_, patched) = server.call(Method::PATCH, &path, &json!({"spec": {"size": 4.0}})).await;
    assert_eq!(patched["spec"]["size"], json!(4));
    server.0.stop().await;
}

#[tokio::test]
async fn a_patch_that_makes_something_else_of_a_custom_object_is_refused_for_its_type() {
    let server = Fixture::start().await;
    server.define(&widgets(&json!({"type": "object"}))).await;
    server.create(WIDGETS, &widget("w", &json!({}))).await;
    for (patch, status, why) in [
        (
            json!({"apiVersion": "example.com/v2"}),
            422,
            "Widget.example.com \"w\" is invalid: apiVersion: Invalid value: \"example.com/v2\": must be example.com/v1",
        ),
        (
            json!({"kind": "Gadget"}),
            422,
            "Gadget.example.com \"w\" is invalid: kind: Invalid value: \"Gadget\": must be Widget",
        ),
        (
            json!({"apiVersion": null}),
            500,
            "Internal error occurred: Object 'apiVersion' is missing in 'unstructured object has no version'",
        ),
    ] {
        let (code, body) = server.call(Method::PATCH, &format!("{WIDGETS}/w"), &patch).await;
        assert_eq!((code.as_u16(), body["message"].as_str().unwrap()), (status, why));
    }
    server.0.stop().await;
}
