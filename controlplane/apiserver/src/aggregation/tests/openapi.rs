//! The OpenAPI documents of a remote server, as part of ours.

use super::*;

const DOCUMENT: &str = "/openapi/v3/apis/metrics.example.com/v1beta1";
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The requests for a path that the aggregator sent of its own accord, by the tags that they knew.
fn asked(extension: &Extension, path: &str) -> Vec<String> {
    let seen = extension.seen.lock().unwrap();
    let tag = |request: &http::Request<()>| match request.headers().get("if-none-match") {
        Some(tag) => tag.to_str().unwrap().to_owned(),
        None => String::new(),
    };
    let own = |r: &&http::Request<()>| r.headers()["x-remote-user"] == "system:aggregator";
    seen.iter().filter(own).filter(|r| r.uri().path() == path).map(tag).collect()
}

#[tokio::test]
async fn the_index_names_the_documents_of_a_remote_server_which_answers_for_them() {
    let (fixture, extension) = available().await;
    let (_, index) = fixture.get("/openapi/v3").await;
    let url = &index["paths"]["apis/metrics.example.com/v1beta1"]["serverRelativeURL"];
    assert_eq!(*url, format!("{DOCUMENT}?hash=1"));
    // Every server has this one, and ours is shown.
    let version = index["paths"]["version"]["serverRelativeURL"].as_str().unwrap();
    assert!(!version.ends_with("?hash=2"), "{version}");
    assert!(index["paths"]["apis/apps/v1"].is_object());

    let request = http::Request::get(format!("{DOCUMENT}?hash=1")).body(body::empty()).unwrap();
    let response = send(&fixture, User::component("alice"), request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(response).await, json!({"openapi": "3.0.0", "info": "metrics"}).to_string());
    assert_eq!(extension.last().headers()["x-remote-user"], "alice");

    let service = format!("{SERVICES}/v1beta1.metrics.example.com");
    assert_eq!(fixture.call(Method::DELETE, &service, &Value::Null).await.0, StatusCode::OK);
    fixture
        .until("/openapi/v3", |_, index| index["paths"]["apis/metrics.example.com/v1beta1"].is_null())
        .await;
    fixture.0.stop().await;
}

#[tokio::test]
async fn the_one_document_has_what_a_remote_server_adds_under_names_of_its_own() {
    let (fixture, _extension) = available().await;
    let (_, document) = fixture.get("/openapi/v2").await;
    let definitions = &document["definitions"];
    let metadata = &definitions["PodMetrics"]["properties"]["metadata"]["$ref"];
    assert_eq!(*metadata, format!("#/definitions/{OBJECT_META}_v2"));
    assert_eq!(definitions[format!("{OBJECT_META}_v2")]["description"], "another");
    assert!(definitions[OBJECT_META]["properties"]["uid"].is_object());
    assert!(definitions["Stranger"].is_null());
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key(&format!("{GROUP}/pods")) && paths.contains_key("/api/v1/pods"));
    assert_ne!(document["paths"]["/apis/"]["get"]["description"], "another");
    fixture.0.stop().await;
}

#[tokio::test]
async fn a_remote_server_is_asked_again_after_a_while_and_only_for_what_is_new() {
    let (fixture, extension) = available().await;
    assert_eq!(asked(&extension, "/openapi/v2"), [""; 0]);
    for _ in 0..2 {
        let (_, document) = fixture.get("/openapi/v2").await;
        assert!(document["definitions"]["PodMetrics"].is_object());
    }
    assert_eq!(asked(&extension, "/openapi/v2"), [""]);
    let remotes = fixture.0.server.aggregation.remotes();
    remotes["v1beta1.metrics.example.com"].documents.expire().await;
    let (_, document) = fixture.get("/openapi/v2").await;
    assert!(document["definitions"]["PodMetrics"].is_object());
    assert_eq!(asked(&extension, "/openapi/v2"), ["", "\"1\""]);
    fixture.0.stop().await;
}
