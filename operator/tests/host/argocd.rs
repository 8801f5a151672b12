use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use vkube_crds::{VirtualCluster, VirtualClusterPolicy};

use crate::world::{TENANTS, World, host_namespace, text};

async fn allow(world: &World, namespaces: Value) {
    let policy = json!({"metadata": {"name": "exports"}, "spec": {"default": true,
        "constraints": {"allowedExportNamespaces": namespaces}}});
    let policies = world.all::<VirtualClusterPolicy>();
    policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
}

/// Where the status says that the Secret is.
fn exported(cluster: &VirtualCluster) -> (String, String) {
    let reference = cluster.status.as_ref().unwrap().argocd_secret_ref.clone().unwrap();
    (reference.namespace, reference.name)
}

async fn residue(world: &World, cluster: &VirtualCluster) -> usize {
    let params = ListParams::default().labels(&format!("vkube.dev/cluster-uid={}", cluster.uid().unwrap()));
    let secrets = world.within::<Secret>("argocd").list(&params).await.unwrap().items;
    let bindings = world.within::<RoleBinding>("argocd").list(&params).await.unwrap().items;
    secrets.len() + bindings.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_cd_knows_a_cluster_by_its_secret() {
    let world = World::start().await;
    world.create_namespace("argocd", json!({})).await;
    allow(&world, json!(["argocd"])).await;
    let argocd =
        json!({"enabled": true, "project": "team-a", "labels": {"env": "dev"}, "namespaces": ["a", "b"]});
    world.create("demo", json!({"export": {"argocd": argocd}})).await;
    let cluster = world.ready("demo").await;
    world.condition("demo", "ArgoCDExported", "True", "Applied").await;
    let (namespace, name) = exported(&cluster);
    assert_eq!(namespace, "argocd");
    let secret = world.secret("argocd", &name).await;
    assert_eq!(secret.labels()["argocd.argoproj.io/secret-type"], "cluster");
    assert_eq!(secret.labels()["env"], "dev");
    assert!(secret.owner_references().is_empty(), "an owner in another namespace would have it collected");
    let internal = cluster.status.clone().unwrap().endpoints.unwrap().internal_url.unwrap();
    let expected = [
        ("name", "tenants-demo"),
        ("server", internal.as_str()),
        ("project", "team-a"),
        ("namespaces", "a,b"),
        ("clusterResources", "false"),
    ];
    for (key, value) in expected {
        assert_eq!(text(&secret, key), value);
    }
    let config: Value = serde_json::from_str(&text(&secret, "config")).unwrap();
    for key in ["caData", "certData", "keyData"] {
        assert!(config["tlsClientConfig"][key].as_str().is_some_and(|data| !data.is_empty()), "{config}");
    }
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new());

    // A Secret that is deleted comes back, and one that is no longer asked for goes, with the rights to it.
    let before = secret.uid();
    let secrets = world.within::<Secret>("argocd");
    secrets.delete(&name, &DeleteParams::default()).await.unwrap();
    let another = move |secret: Option<&Secret>| secret.is_some_and(|secret| secret.uid() != before);
    world.until(secrets.clone(), &name, "written anew", another).await;
    world.merge(&world.clusters(), "demo", json!({"spec": {"export": null}})).await;
    world.gone(secrets, &name).await;
    world.gone(world.within::<RoleBinding>("argocd"), &name).await;
    let cluster = world.ready("demo").await;
    assert_eq!(cluster.status.as_ref().unwrap().argocd_secret_ref, None);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_beside_argo_cd_of_a_deleted_cluster() {
    let world = World::start().await;
    world.create_namespace("argocd", json!({})).await;
    allow(&world, json!(["argocd"])).await;
    world.create("demo", json!({"export": {"argocd": {"enabled": true}}})).await;
    let cluster = world.ready("demo").await;
    assert_eq!(residue(&world, &cluster).await, 2);
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    let configs = world.within::<ConfigMap>(&host_namespace(&cluster));
    configs.create(&PostParams::default(), &serde_json::from_value(held).unwrap()).await.unwrap();
    world.clusters().delete("demo", &DeleteParams::default()).await.unwrap();
    let waits = |cluster: Option<&VirtualCluster>| {
        let conditions = cluster.and_then(|cluster| cluster.status.as_ref()).map(|status| &status.conditions);
        conditions.is_some_and(|all| {
            all.iter().any(|one| one.type_ == "Deleting" && one.message.contains("waiting for namespace"))
        })
    };
    world.until(world.clusters(), "demo", "waiting for its namespace", waits).await;
    assert_eq!(residue(&world, &cluster).await, 0, "nobody is led into a cluster that is going");
    world.merge(&configs, "held", json!({"metadata": {"finalizers": null}})).await;
    world.gone(world.clusters(), "demo").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_not_exported_where_no_policy_allows_it() {
    let world = World::start().await;
    world.create_namespace("argocd", json!({})).await;
    world.create("demo", json!({"export": {"argocd": {"enabled": true}}})).await;
    world.condition("demo", "Stalled", "True", "PolicyRejected").await;
    let nothing = world.within::<RoleBinding>("argocd").list(&ListParams::default()).await.unwrap().items;
    assert!(nothing.is_empty(), "{nothing:?}");
    // Beside the cluster itself it needs no consent.
    let beside = json!({"spec": {"export": {"argocd": {"namespace": TENANTS}}}});
    world.merge(&world.clusters(), "demo", beside).await;
    let cluster = world.ready("demo").await;
    let (namespace, name) = exported(&cluster);
    assert_eq!(namespace, TENANTS);
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new());
    world.merge(&world.clusters(), "demo", json!({"spec": {"export": null}})).await;
    world.gone(world.within::<Secret>(TENANTS), &name).await;
    world.stop().await;
}
