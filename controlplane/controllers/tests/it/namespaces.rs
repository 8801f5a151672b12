use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::cluster::{Cluster, template, until};

#[tokio::test]
async fn each_namespace_has_an_account_and_the_root_ca() {
    let cluster = Cluster::start().await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let shop = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(&PostParams::default(), &shop).await.unwrap();

    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), "shop");
    until(accounts.clone(), "there is an account", |all| all.iter().any(|one| one.name_any() == "default"))
        .await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "shop");
    let published = |all: &[ConfigMap]| {
        let data = |map: &ConfigMap| map.data.as_ref().and_then(|data| data.get("ca.crt")).cloned();
        all.iter().any(|map| map.name_any() == "kube-root-ca.crt" && data(map).as_deref() == Some("the CA"))
    };
    until(maps.clone(), "the CA is published", published).await;

    accounts.delete("default", &DeleteParams::default()).await.unwrap();
    until(accounts, "the account is back", |all| all.iter().any(|one| one.name_any() == "default")).await;
    let edit = Patch::Merge(json!({"data": {"ca.crt": "forged"}}));
    maps.patch("kube-root-ca.crt", &PatchParams::default(), &edit).await.unwrap();
    until(maps, "the edit is undone", published).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_deleted_namespace_goes_with_everything_in_it() {
    let cluster = Cluster::start().await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let shop = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(&PostParams::default(), &shop).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "shop");
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    maps.create(&PostParams::default(), &serde_json::from_value(held).unwrap()).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "shop");
    let mut pod = template("x", "pause");
    pod["metadata"]["name"] = json!("x");
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();

    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    let condition = |all: &[Namespace], type_: &str| {
        let shop = all.iter().find(|one| one.name_any() == "shop")?;
        let conditions = shop.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == type_).cloned()
    };
    let told = until(namespaces.clone(), "the finalizer is told", |all| {
        condition(all, "NamespaceFinalizersRemaining").is_some_and(|condition| condition.status == "True")
    })
    .await;
    let message = condition(&told, "NamespaceFinalizersRemaining").unwrap().message.unwrap();
    assert!(message.contains("example.com/hold in 1 resource instances"), "{message}");
    let message = condition(&told, "NamespaceContentRemaining").unwrap().message.unwrap();
    assert!(message.contains("configmaps. has 1 resource instances"), "{message}");
    assert!(pods.list(&Default::default()).await.unwrap().items.is_empty());

    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("held", &PatchParams::default(), &release).await.unwrap();
    until(namespaces, "it is gone", |all| all.iter().all(|one| one.name_any() != "shop")).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_token_secret_is_filled_and_goes_with_its_account() {
    let cluster = Cluster::start().await;
    cluster.create::<ServiceAccount>(json!({"metadata": {"name": "bot"}})).await;
    cluster
        .create::<Secret>(json!({
            "metadata": {"name": "bot-token", "annotations": {"kubernetes.io/service-account.name": "bot"}},
            "type": "kubernetes.io/service-account-token",
        }))
        .await;
    let filled = |secret: &Secret| {
        let data = secret.data.clone().unwrap_or_default();
        ["token", "namespace", "ca.crt"].iter().all(|key| data.contains_key(*key))
    };
    let secret = cluster.until_one("bot-token", "it is filled", filled).await;
    assert_eq!(secret.data.as_ref().unwrap()["ca.crt"].0, b"the CA");
    assert!(secret.annotations().contains_key("kubernetes.io/service-account.uid"));

    cluster.api::<ServiceAccount>().delete("bot", &DeleteParams::default()).await.unwrap();
    cluster.until::<Secret>("it is gone", |all| all.iter().all(|one| one.name_any() != "bot-token")).await;
    cluster.stop().await;
}
