//! Clusters that bring a configuration of vCluster.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Secret, Service};
use kube::ResourceExt;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};
use vkube_crds::{VirtualCluster, VirtualClusterPolicy};

use crate::world::{TENANTS, World, host_namespace};

fn message(cluster: &VirtualCluster, type_: &str) -> String {
    let conditions = &cluster.status.as_ref().unwrap().conditions;
    conditions.iter().find(|one| one.type_ == type_).unwrap().message.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_below_the_spec_and_above_what_a_policy_leaves_open() {
    let world = World::start().await;
    let policy = json!({
        "default": true,
        "defaults": {"controlPlane": {"nodeSelector": {"from": "defaults"}}, "isolation": {"podSecurity": "baseline"}},
        "enforced": {"workloads": {"priorityClassName": "tenants"}},
        "constraints": {"allowedExposeTypes": ["ClusterIP", "NodePort"]},
    });
    let policy = VirtualClusterPolicy::new("standard", serde_json::from_value(policy).unwrap());
    world.all::<VirtualClusterPolicy>().create(&PostParams::default(), &policy).await.unwrap();
    let config = json!({
        "policies": {"podSecurityStandard": "restricted"},
        "controlPlane": {
            "service": {"spec": {"type": "NodePort"}, "labels": {"a": "config", "b": "config"}},
            "statefulSet": {"scheduling": {"nodeSelector": {"more": "config"}}},
        },
        "sync": {"toHost": {"pods": {"priorityClassName": "mine"}}},
    });
    world.create("demo", json!({"config": config, "expose": {"service": {"labels": {"b": "spec"}}}})).await;
    let cluster = world.ready("demo").await;
    world.condition("demo", "ConfigAccepted", "True", "ConfigApplied").await;
    let namespace = host_namespace(&cluster);
    let labels = world.all::<Namespace>().get(&namespace).await.unwrap().labels().clone();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted", "config over defaults");
    let service = world.within::<Service>(&namespace).get("demo-external").await.unwrap();
    assert_eq!((service.labels()["a"].as_str(), service.labels()["b"].as_str()), ("config", "spec"));
    let sets = world.within::<k8s_openapi::api::apps::v1::StatefulSet>(&namespace);
    let pod = sets.get("demo").await.unwrap().spec.unwrap().template.spec.unwrap();
    let selector = pod.node_selector.unwrap();
    assert_eq!((selector["from"].as_str(), selector["more"].as_str()), ("defaults", "config"), "maps merge");
    let enforced = cluster.status.unwrap().policy.unwrap().enforced_fields;
    assert_eq!(
        (enforced[0].path.as_str(), enforced[0].requested.as_str()),
        ("workloads.priorityClassName", "mine"),
        "a policy overrules it as it does the spec"
    );

    let forbidden =
        json!({"spec": {"config": {"controlPlane": {"service": {"spec": {"type": "LoadBalancer"}}}}}});
    world.merge(&world.clusters(), "demo", forbidden).await;
    let cluster = world.condition("demo", "Ready", "False", "PolicyRejected").await;
    assert!(message(&cluster, "PolicyAccepted").contains("LoadBalancer"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_configuration_is_told_and_put_right_without_a_touch_of_the_cluster() {
    let world = World::start().await;
    let spec = json!({"configFrom": [
        {"configMapKeyRef": {"name": "base", "key": "vcluster.yaml"}},
        {"secretKeyRef": {"name": "more", "key": "vcluster.yaml"}},
    ]});
    world.create("demo", spec).await;
    let cluster = world.condition("demo", "Ready", "False", "ConfigMissing").await;
    assert_eq!(message(&cluster, "ConfigAccepted"), "ConfigMap base does not exist");

    let map = |text: &str| json!({"metadata": {"name": "base"}, "data": {"vcluster.yaml": text}});
    let maps = world.within::<ConfigMap>(TENANTS);
    let broken = serde_json::from_value(map("policies: [")).unwrap();
    maps.create(&PostParams::default(), &broken).await.unwrap();
    let secrets = world.within::<Secret>(TENANTS);
    let secret = json!({"metadata": {"name": "more"}, "stringData": {"vcluster.yaml": "sync: {fromHost: {nodez: {}}}"}});
    secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    let cluster = world.condition("demo", "Stalled", "True", "ConfigInvalid").await;
    assert!(message(&cluster, "ConfigAccepted").starts_with("ConfigMap base, key vcluster.yaml: "));

    world.merge(&maps, "base", map("policies: {podSecurityStandard: 7}")).await;
    let told = |cluster: Option<&VirtualCluster>| {
        let conditions = cluster.and_then(|cluster| cluster.status.as_ref()).map(|status| &status.conditions);
        conditions.is_some_and(|all| {
            all.iter().any(|one| one.message.starts_with("policies.podSecurityStandard: "))
        })
    };
    world.until(world.clusters(), "demo", "told of the path", told).await;
    world.merge(&maps, "base", map("sleep: {auto: {afterInactivity: soon}}")).await;
    let refused = |cluster: Option<&VirtualCluster>| {
        let conditions = cluster.and_then(|cluster| cluster.status.as_ref()).map(|status| &status.conditions);
        conditions.is_some_and(|all| {
            all.iter().any(|one| {
                // A Secret is among the documents, so no value is repeated.
                (one.type_.as_str(), one.status.as_str(), one.reason.as_str(), one.message.as_str())
                    == (
                        "ConfigAccepted",
                        "False",
                        "ConfigInvalid",
                        "sleep.auto.afterInactivity: is not what spec.lifecycle.sleep.after takes",
                    )
            })
        })
    };
    world.until(world.clusters(), "demo", "told of what the CRD refuses", refused).await;

    world
        .merge(&maps, "base", map("policies: {podSecurityStandard: restricted}\ntelemetry: {enabled: true}"))
        .await;
    let cluster = world.ready("demo").await;
    let cluster_told = message(&cluster, "ConfigAccepted");
    assert_eq!(cluster_told, "unknown: sync.fromHost.nodez; without meaning here: telemetry (there is none)",);
    world.condition("demo", "ConfigAccepted", "True", "ConfigPartlyApplied").await;
    let namespace = host_namespace(&cluster);
    let is = |level: &'static str| {
        move |namespace: Option<&Namespace>| {
            namespace.is_some_and(|one| one.labels()["pod-security.kubernetes.io/enforce"] == level)
        }
    };
    world.until(world.all(), &namespace, "restricted", is("restricted")).await;
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new());

    // Another text takes effect by itself, and a broken one leaves what was built.
    let secret = json!({"stringData": {"vcluster.yaml": "policies: {podSecurityStandard: privileged}"}});
    world.merge(&secrets, "more", secret).await;
    world.until(world.all(), &namespace, "privileged", is("privileged")).await;
    world.merge(&maps, "base", map("a: b: c")).await;
    world.condition("demo", "Ready", "False", "ConfigInvalid").await;
    assert!(is("privileged")(Some(&world.all::<Namespace>().get(&namespace).await.unwrap())));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_spec_may_not_change_a_configuration_does_not_change_either() {
    let world = World::start().await;
    let volume = |claim: Value| json!({"config": {"controlPlane": {"statefulSet": {"persistence": {"volumeClaim": claim}}}}});
    world.create("kept", volume(json!({"storageClass": "fast", "size": "2Gi"}))).await;
    world.create("fleeting", volume(json!({"enabled": false}))).await;
    world.ready("kept").await;
    world.condition("fleeting", "BackingStoreReady", "True", "Ephemeral").await;
    let fleeting = world.ready("fleeting").await;
    let claim = "controlPlane.statefulSet.persistence.volumeClaim";
    for (name, change, told) in [
        (
            "kept",
            json!({"enabled": false, "storageClass": null, "size": null}),
            format!("{claim}.enabled: spec.backingStore.volume.enabled: is immutable"),
        ),
        (
            "kept",
            json!({"enabled": null, "storageClass": "slow"}),
            format!("{claim}.storageClass: spec.backingStore.volume.storageClassName: is immutable"),
        ),
        (
            "kept",
            json!({"storageClass": "fast", "size": "1Gi"}),
            format!(
                "{claim}.size: spec.backingStore.volume.size: 1Gi is less than the volume's 2Gi; volumes only grow"
            ),
        ),
        (
            "fleeting",
            json!({"enabled": true}),
            format!("{claim}.enabled: spec.backingStore.volume.enabled: is immutable"),
        ),
    ] {
        world.merge(&world.clusters(), name, json!({"spec": volume(change)})).await;
        let cluster = world.condition(name, "Stalled", "True", "ConfigInvalid").await;
        assert_eq!(message(&cluster, "ConfigAccepted"), told);
    }
    // One that no longer says so goes on as it is, with its data in the pod.
    world.merge(&world.clusters(), "fleeting", json!({"spec": {"config": null}})).await;
    world.ready("fleeting").await;
    let claims = world.within::<PersistentVolumeClaim>(&host_namespace(&fleeting));
    assert!(claims.list(&ListParams::default()).await.unwrap().items.is_empty());
    world.stop().await;
}
