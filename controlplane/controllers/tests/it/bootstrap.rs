use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use vkube_controllers::Controllers;

use crate::cluster::{Cluster, until};

#[tokio::test]
async fn tokens_sign_cluster_info_until_they_expire() {
    let mut cluster = Cluster::without_controllers().await;
    let names = ["*", "bootstrap-signer-controller", "token-cleaner-controller"];
    cluster.enabled = Controllers::named(names).unwrap();
    let controllers = cluster.controllers(None);
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), "kube-system");
    let create = |id: &'static str, expiration: &'static str| {
        let data = json!({
            "token-id": id, "token-secret": "0123456789abcdef", "expiration": expiration,
            "usage-bootstrap-signing": "true",
        });
        let secret = json!({
            "metadata": {"name": format!("bootstrap-token-{id}")},
            "type": "bootstrap.kubernetes.io/token",
            "stringData": data,
        });
        let secrets = secrets.clone();
        async move {
            secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
        }
    };
    create("aaaaaa", "2126-01-01T00:00:00Z").await;
    create("bbbbbb", "2020-01-01T00:00:00Z").await;
    let is_left = |name: &str, all: &[Secret]| all.iter().any(|one| one.name_any() == name);
    until(secrets.clone(), "the old one is gone", |all| {
        is_left("bootstrap-token-aaaaaa", all) && !is_left("bootstrap-token-bbbbbb", all)
    })
    .await;

    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "kube-public");
    let map: Value = json!({"metadata": {"name": "cluster-info"}, "data": {"kubeconfig": "apiVersion: v1"}});
    maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
    let keys = |all: &[ConfigMap]| -> Vec<String> {
        let data = all.iter().find(|one| one.name_any() == "cluster-info").and_then(|one| one.data.clone());
        data.unwrap_or_default().into_keys().collect()
    };
    until(maps, "it is signed", |all| keys(all) == ["jws-kubeconfig-aaaaaa", "kubeconfig"]).await;
    controllers.stop().await;
    cluster.stop().await;
}
