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

#[tokio::test]
async fn a_kubelet_changes_only_what_is_its_own() {
    let options = Options {
        enable_admission: vec!["NodeRestriction".into()],
        authorization_modes: vec!["AlwaysAllow".into()],
        ..Options::default()
    };
    let instance = Instance::start(options).await.unwrap();
    let kubelet = User::new("system:node:one", &["system:nodes"]);
    let send = async |user: &User, method: &str, path: &str, body: Value| {
        let content_type =
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = http::Request::builder().method(method).uri(path).header("content-type", content_type);
        let request = request.body(body::full(body.to_string())).unwrap();
        let response = instance.server.service(user.clone()).call(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        (code, body)
    };
    let refused = async |method: &str, path: &str, body: Value| {
        let (code, body) = send(&kubelet, method, path, body).await;
        let message = body["message"].as_str().unwrap().to_owned();
        assert_eq!(code, 403, "{message}");
        message.split_once(" is forbidden: ").unwrap().1.to_owned()
    };
    let node = |name: &str, labels: Value| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
    assert_eq!(
        refused("POST", "/api/v1/nodes", node("two", json!({}))).await,
        "node \"one\" is not allowed to modify node \"two\""
    );
    assert_eq!(
        refused("POST", "/api/v1/nodes", node("one", json!({"node-role.kubernetes.io/x": ""}))).await,
        "node \"one\" is not allowed to set the following labels: node-role.kubernetes.io/x"
    );
    assert_eq!(send(&kubelet, "POST", "/api/v1/nodes", node("one", json!({}))).await.0, 201);
    let taint = json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}});
    assert_eq!(
        refused("PATCH", "/api/v1/nodes/one", taint).await,
        "node \"one\" is not allowed to modify taints"
    );
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "one"}});
    let leases = |namespace: &str| format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
    assert_eq!(
        refused("POST", &leases("default"), lease.clone()).await,
        "can only access leases in the \"kube-node-lease\" system namespace"
    );
    assert_eq!(send(&kubelet, "POST", &leases("kube-node-lease"), lease).await.0, 201);

    let admin = User::component("admin");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    let default = "/api/v1/namespaces/default";
    send(&admin, "POST", &format!("{default}/serviceaccounts"), account).await;
    let pod = |node: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": node}, "spec": {
            "nodeName": node, "containers": [{"name": "c", "image": "i"}],
        }})
    };
    let pods = format!("{default}/pods");
    assert_eq!(
        refused("POST", &pods, pod("one")).await,
        "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"one\" can only create mirror pods"
    );
    let mut uids = Vec::new();
    for node in ["one", "two"] {
        let (code, made) = send(&admin, "POST", &pods, pod(node)).await;
        assert_eq!(code, 201, "{made}");
        uids.push(made["metadata"]["uid"].clone());
    }
    assert_eq!(
        refused("PATCH", &format!("{pods}/two/status"), json!({"status": {"message": "x"}})).await,
        "node \"one\" can only update pod status for pods with spec.nodeName set to itself"
    );
    let status = json!({"status": {"message": "x"}});
    assert_eq!(send(&kubelet, "PATCH", &format!("{pods}/one/status"), status).await.0, 200);
    let token = |name: &str, uid: &Value, audience: &str| {
        json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": [audience], "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}},
        })
    };
    let tokens = format!("{default}/serviceaccounts/default/token");
    assert_eq!(
        refused("POST", &tokens, token("two", &uids[1], "a")).await,
        "node requested token bound to a pod scheduled on a different node"
    );
    assert_eq!(
        refused(
            "POST",
            &tokens,
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
        )
        .await,
        "node requested token not bound to a pod"
    );
    assert_eq!(send(&kubelet, "POST", &tokens, token("one", &uids[0], "a")).await.0, 201);
    assert_eq!(
        refused("DELETE", &format!("{pods}/two"), json!({})).await,
        "node \"one\" can only delete pods with spec.nodeName set to itself"
    );
    instance.stop().await;
}
