//! APIServices of this server's own groups.

use super::*;
use crate::{
    custom::tests::{CRDS, widgets},
    instance::{Instance, Options},
};

const WIDGETS: &str = "/apis/apiregistration.k8s.io/v1/apiservices/v1.example.com";
const LABEL: &str = "kube-aggregator.kubernetes.io/automanaged";

/// Sees that the server has dealt with everything before this: definitions are looked after in order.
async fn define_another(fixture: &Fixture, group: &str) {
    let mut other = widgets(&json!({"type": "object"}));
    other["metadata"]["name"] = format!("widgets.{group}").into();
    other["spec"]["group"] = group.into();
    fixture.define(&other).await;
}

#[tokio::test]
async fn a_definition_brings_an_api_service_that_stays_as_it_is() {
    let fixture = Fixture::start().await;
    fixture.define(&widgets(&json!({"type": "object"}))).await;
    let (code, service) = fixture.get(WIDGETS).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(service["metadata"]["labels"], json!({LABEL: "true"}));
    let spec = json!({
        "group": "example.com", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 100,
    });
    assert_eq!(service["spec"], spec);
    assert_eq!(service["status"]["conditions"][0]["reason"], "Local");

    let patch = json!({"spec": {"versionPriority": 7}});
    assert_eq!(fixture.call(Method::PATCH, WIDGETS, &patch).await.0, StatusCode::OK);
    fixture.until(WIDGETS, |_, body| body["spec"] == spec).await;
    assert_eq!(fixture.call(Method::DELETE, WIDGETS, &Value::Null).await.0, StatusCode::OK);
    let again =
        |_, body: &Value| body["spec"] == spec && body["metadata"]["uid"] != service["metadata"]["uid"];
    fixture.until(WIDGETS, again).await;

    let path = format!("{CRDS}/widgets.example.com");
    assert_eq!(fixture.call(Method::DELETE, &path, &Value::Null).await.0, StatusCode::OK);
    fixture.until(WIDGETS, |code, _| code == StatusCode::NOT_FOUND).await;
    fixture.0.stop().await;
}

#[tokio::test]
async fn an_api_service_without_the_label_belongs_to_its_user() {
    let fixture = Fixture::start().await;
    fixture.define(&widgets(&json!({"type": "object"}))).await;
    let patch = json!({"metadata": {"labels": {LABEL: null}}, "spec": {"versionPriority": 7}});
    assert_eq!(fixture.call(Method::PATCH, WIDGETS, &patch).await.0, StatusCode::OK);
    let path = format!("{CRDS}/widgets.example.com");
    assert_eq!(fixture.call(Method::DELETE, &path, &Value::Null).await.0, StatusCode::OK);
    fixture.until(&path, |code, _| code == StatusCode::NOT_FOUND).await;
    define_another(&fixture, "other.example.com").await;
    let (code, service) = fixture.get(WIDGETS).await;
    assert_eq!((code, &service["spec"]["versionPriority"]), (StatusCode::OK, &json!(7)));
    fixture.0.stop().await;
}

#[tokio::test]
async fn an_api_service_that_pretends_to_be_of_a_definition_goes() {
    let fixture = Fixture::start().await;
    let service = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1.none.example.com", "labels": {LABEL: "true"}},
        "spec": {"group": "none.example.com", "version": "v1", "groupPriorityMinimum": 10, "versionPriority": 10},
    });
    fixture.create(SERVICES, &service).await;
    fixture.until(&format!("{SERVICES}/v1.none.example.com"), |code, _| code == StatusCode::NOT_FOUND).await;
    fixture.0.stop().await;
}

#[tokio::test]
async fn built_in_groups_are_put_in_order_when_the_server_starts() {
    let directory = tempfile::tempdir().unwrap();
    let start = || async {
        let options = Options {
            data_dir: Some(directory.path().into()),
            authorization_modes: vec!["AlwaysAllow".into()],
            ..Options::default()
        };
        Fixture(Instance::start(options).await.unwrap())
    };
    let fixture = start().await;
    let (batch, apps) = (format!("{SERVICES}/v1.batch"), format!("{SERVICES}/v1.apps"));
    let patch = json!({"spec": {"versionPriority": 3}});
    assert_eq!(fixture.call(Method::PATCH, &batch, &patch).await.0, StatusCode::OK);
    assert_eq!(fixture.call(Method::DELETE, &apps, &Value::Null).await.0, StatusCode::OK);
    let old = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1beta1.batch", "labels": {LABEL: "onstart"}},
        "spec": {"group": "batch", "version": "v1beta1", "groupPriorityMinimum": 10, "versionPriority": 10},
    });
    fixture.create(SERVICES, &old).await;
    fixture.0.stop().await;

    let fixture = start().await;
    assert_eq!(fixture.get(&batch).await.1["spec"]["versionPriority"], 15);
    assert_eq!(fixture.get(&apps).await.0, StatusCode::OK);
    assert_eq!(fixture.get(&format!("{SERVICES}/v1beta1.batch")).await.0, StatusCode::NOT_FOUND);
    fixture.0.stop().await;
}
