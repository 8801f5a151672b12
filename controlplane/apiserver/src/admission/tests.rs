//! The chain and the plugins, against a server in memory.

use serde_json::{Value, json};
use tower::Service;

use super::*;
use crate::{
    body,
    instance::{Instance, Options},
    user::User,
};

async fn server() -> Instance {
    Instance::start(Options::default()).await.unwrap()
}

async fn post(instance: &Instance, path: &str, body: Value) -> (u16, Value) {
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(body::full(body.to_string()))
        .unwrap();
    let mut service = instance.server.service(User::component("test"));
    let response = service.call(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap())
}

#[test]
fn unknown_plugins_are_refused_as_kube_apiserver_words_it() {
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let error = Chain::new(&names(&["Nope"]), &[]).err().unwrap();
    assert_eq!(error.to_string(), "enable-admission-plugins plugin \"Nope\" is unknown");
    let error = Chain::new(&[], &names(&["Nope"])).err().unwrap();
    assert_eq!(error.to_string(), "disable-admission-plugins plugin \"Nope\" is unknown");
    let error = Chain::new(&names(&["Priority"]), &names(&["Priority"])).err().unwrap();
    assert!(error.to_string().starts_with("[Priority] in enable-admission-plugins and"));
    let fewer = Chain::new(&[], &names(&["Priority"])).unwrap();
    assert!(fewer.0.iter().all(|plugin| plugin.name() != "Priority"));
}

#[tokio::test]
async fn nothing_is_created_in_a_namespace_that_does_not_exist() {
    let instance = server().await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let (code, answer) = post(&instance, "/api/v1/namespaces/absent/configmaps", map).await;
    assert_eq!((code, answer["message"].as_str().unwrap()), (404, "namespaces \"absent\" not found"));
    instance.stop().await;
}

#[tokio::test]
async fn a_quota_counts_what_was_there_before_it_and_refuses_the_rest() {
    let instance = server().await;
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let maps = "/api/v1/namespaces/default/configmaps";
    assert_eq!(post(&instance, maps, map("a")).await.0, 201);
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {"configmaps": "2"}},
    });
    assert_eq!(post(&instance, "/api/v1/namespaces/default/resourcequotas", quota).await.0, 201);
    assert_eq!(post(&instance, maps, map("b")).await.0, 201);
    let (code, answer) = post(&instance, maps, map("c")).await;
    assert_eq!(code, 403);
    assert_eq!(
        answer["message"],
        "configmaps \"c\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2"
    );
    let quota = instance.server.find("", "resourcequotas", "default", "q").await.unwrap().unwrap();
    assert_eq!(quota["status"]["used"]["configmaps"], "2");
    instance.stop().await;
}

#[tokio::test]
async fn a_pod_runs_as_the_default_account_with_its_token_and_priority() {
    let instance = server().await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    assert_eq!(post(&instance, "/api/v1/namespaces/default/serviceaccounts", account).await.0, 201);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}], "priorityClassName": "system-node-critical"},
    });
    let (code, pod) = post(&instance, "/api/v1/namespaces/default/pods", pod).await;
    assert_eq!(code, 201, "{pod}");
    assert_eq!(pod["spec"]["serviceAccountName"], "default");
    assert_eq!(pod["spec"]["priority"], 2_000_001_000);
    assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 2);
    let mount = &pod["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["name"], pod["spec"]["volumes"][0]["name"]);
    instance.stop().await;
}
