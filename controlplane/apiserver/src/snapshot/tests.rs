//! Snapshots through the whole server.

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::Service;

use crate::{
    body,
    custom::tests::Fixture,
    instance::{Instance, Options},
    user::User,
};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn mk_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name,
        "annotations": {"resourceVersion": "7"}, "labels": {"tier": value}}, "data": {"v": value}})
}

/// A request whose body and answer are bytes.
async fn bytes(server: &Fixture, method: Method, path: &str, body: impl Into<Bytes>) -> (StatusCode, Bytes) {
    let request = http::Request::builder().method(method).uri(path).body(body::full(body)).unwrap();
    let response = server.0.server.service(User::component("test")).call(request).await.unwrap();
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

async fn taken(server: &Fixture) -> Bytes {
    let (status, snapshot) = bytes(server, Method::GET, "/vkube/snapshot", Bytes::new()).await;
    assert_eq!(status, StatusCode::OK);
    snapshot
}

async fn restored(server: &Fixture, query: &str, snapshot: Bytes) -> Value {
    let (status, answer) = bytes(server, Method::PUT, &format!("/vkube/snapshot{query}"), snapshot).await;
    assert_eq!(status, StatusCode::OK, "{answer:?}");
    serde_json::from_slice(&answer).unwrap()
}

async fn on_disk() -> (tempfile::TempDir, Fixture) {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: Some(directory.path().to_owned()),
        authorization_modes: vec!["AlwaysAllow".into()],
        ..Options::default()
    };
    let instance = Instance::start(options).await.unwrap();
    (directory, Fixture(instance))
}

#[tokio::test]
async fn what_was_deleted_changed_or_made_since_is_as_it_was() {
    let server = Fixture::start().await;
    for name in ["deleted", "changed", "same"] {
        server.create(MAPS, &mk_map(name, "before")).await;
    }
    let (_, same) = server.get(&format!("{MAPS}/same")).await;
    let (_, deleted) = server.get(&format!("{MAPS}/deleted")).await;
    let snapshot = taken(&server).await;
    server.call(Method::DELETE, &format!("{MAPS}/deleted"), &Value::Null).await;
    server.call(Method::PUT, &format!("{MAPS}/changed"), &mk_map("changed", "after")).await;
    server.create(MAPS, &mk_map("later", "after")).await;

    restored(&server, "", snapshot).await;

    let (_, back) = server.get(&format!("{MAPS}/deleted")).await;
    assert_eq!(back["metadata"]["uid"], deleted["metadata"]["uid"]);
    assert_eq!(back["metadata"]["annotations"]["resourceVersion"], "7");
    let version =
        |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(version(&back) > version(&deleted), "revisions go on");
    assert_eq!(server.get(&format!("{MAPS}/changed")).await.1["data"]["v"], "before");
    assert_eq!(server.get(&format!("{MAPS}/later")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(server.get(&format!("{MAPS}/same")).await.1, same, "what is so already is not written");
    let (_, list) = server.get(&format!("{MAPS}?labelSelector=tier%3Dbefore")).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 3, "selectors find them");
}

#[tokio::test]
async fn another_cluster_becomes_the_one_of_the_snapshot_with_its_custom_resources() {
    let (first, second) = (Fixture::start().await, Fixture::start().await);
    first
        .define(&json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "crews.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
                "names": {"plural": "crews", "singular": "crew", "kind": "Crew", "listKind": "CrewList"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object",
                        "x-kubernetes-preserve-unknown-fields": true}}}]}}))
        .await;
    let crews = "/apis/example.com/v1/namespaces/default/crews";
    let crew =
        json!({"apiVersion": "example.com/v1", "kind": "Crew", "metadata": {"name": "a"}, "spec": {"x": 1}});
    first.create(crews, &crew).await;
    second.create(MAPS, &mk_map("own", "x")).await;
    let (_, own_way) = second.get("/api/v1/namespaces/default/services/kubernetes").await;

    restored(&second, "", taken(&first).await).await;

    assert_eq!(second.get(&format!("{crews}/a")).await.1["spec"]["x"], 1);
    assert_eq!(second.get(&format!("{MAPS}/own")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(second.get("/api/v1/namespaces/default/services/kubernetes").await.1, own_way);
}

#[tokio::test]
async fn pods_services_claims_and_tokens_come_back_without_what_the_host_gave_them() {
    let server = Fixture::start().await;
    server
        .create(
            "/api/v1/namespaces/default/serviceaccounts",
            &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}),
        )
        .await;
    let pod = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"nodeName": "n", "containers": [{"name": "a", "image": "a"}]}})
    };
    let pods = "/api/v1/namespaces/default/pods";
    for name in ["stays", "goes"] {
        server.create(pods, &pod(name)).await;
        let running = json!({"status": {"phase": "Running", "podIP": "10.1.1.1"}});
        let (status, answer) = server.call(Method::PATCH, &format!("{pods}/{name}/status"), &running).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let services = "/api/v1/namespaces/default/services";
    server
        .create(
            services,
            &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"type": "NodePort", "ports": [{"port": 80}]}}),
        )
        .await;
    server
        .create(
            "/api/v1/namespaces/default/secrets",
            &json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "default"}},
            "type": "kubernetes.io/service-account-token", "data": {"token": "YQ==", "own": "YQ=="}}),
        )
        .await;
    let snapshot = taken(&server).await;
    let now = json!({"gracePeriodSeconds": 0});
    server.call(Method::DELETE, &format!("{pods}/goes"), &now).await;
    server.call(Method::DELETE, &format!("{services}/s"), &Value::Null).await;
    server.call(Method::DELETE, "/api/v1/namespaces/default/secrets/t", &Value::Null).await;

    restored(&server, "", snapshot.clone()).await;

    assert_eq!(server.get(&format!("{pods}/stays")).await.1["status"]["podIP"], "10.1.1.1");
    let (_, back) = server.get(&format!("{pods}/goes")).await;
    assert_eq!(back["status"], json!({"phase": "Pending"}));
    assert_eq!(back["spec"]["nodeName"], Value::Null);
    let (_, service) = server.get(&format!("{services}/s")).await;
    assert!(service["spec"]["clusterIP"].is_string() && service["spec"]["ports"][0]["nodePort"].is_number());
    let (_, secret) = server.get("/api/v1/namespaces/default/secrets/t").await;
    assert_eq!(secret["data"], json!({"own": "YQ=="}));
    assert_eq!(restored(&server, "", snapshot).await["removed"], 0);
}

#[tokio::test]
async fn what_is_brought_back_once_is_not_brought_back_again() {
    let server = Fixture::start().await;
    let snapshot = taken(&server).await;
    assert_eq!(restored(&server, "?once=a", snapshot.clone()).await["repeated"], false);
    server.create(MAPS, &mk_map("since", "x")).await;
    assert_eq!(restored(&server, "?once=a", snapshot.clone()).await["repeated"], true);
    assert_eq!(server.get(&format!("{MAPS}/since")).await.0, StatusCode::OK);
    restored(&server, "?once=b", snapshot).await;
    assert_eq!(server.get(&format!("{MAPS}/since")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_damaged_snapshot_changes_nothing() {
    let server = Fixture::start().await;
    server.create(MAPS, &mk_map("here", "x")).await;
    let whole = taken(&server).await;
    for damaged in [Bytes::new(), Bytes::from_static(b"nonsense"), whole.slice(..whole.len() - 9)] {
        let (status, answer) = bytes(&server, Method::PUT, "/vkube/snapshot", damaged).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer:?}");
    }
    assert_eq!(server.get(&format!("{MAPS}/here")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn snapshots_are_kept_listed_handed_out_and_forgotten() {
    let (_directory, server) = on_disk().await;
    server.create(MAPS, &mk_map("here", "x")).await;
    let (status, one) = server.call(Method::POST, "/vkube/snapshots/one", &Value::Null).await;
    assert_eq!((status, &one["name"]), (StatusCode::CREATED, &json!("one")));
    let (status, _) = server.call(Method::POST, "/vkube/snapshots/one", &Value::Null).await;
    assert_eq!(status, StatusCode::CONFLICT);
    for name in ["..%2Fstate", "A", "a.b"] {
        let (status, _) = server.call(Method::POST, &format!("/vkube/snapshots/{name}"), &Value::Null).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{name}");
    }
    assert_eq!(server.get("/vkube/snapshots").await.1["items"], json!([one]));
    let (_, kept) = bytes(&server, Method::GET, "/vkube/snapshots/one", Bytes::new()).await;
    assert_eq!(kept.len() as u64, one["size"].as_u64().unwrap());
    server.call(Method::DELETE, &format!("{MAPS}/here"), &Value::Null).await;
    restored(&server, "", kept).await;
    assert_eq!(server.get(&format!("{MAPS}/here")).await.0, StatusCode::OK);
    assert_eq!(server.call(Method::DELETE, "/vkube/snapshots/one", &Value::Null).await.0, StatusCode::OK);
    assert_eq!(
        server.call(Method::DELETE, "/vkube/snapshots/one", &Value::Null).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn only_whom_a_role_names_takes_snapshots() {
    let server = Fixture(Instance::start(Options::default()).await.unwrap());
    let request = http::Request::get("/vkube/snapshot").body(body::empty()).unwrap();
    let user = User::new("somebody", &[]);
    let response = server.0.server.service(user).call(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}
