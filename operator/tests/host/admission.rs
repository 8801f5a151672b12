//! What the host admits of control planes, whose accounts may write all kinds of what tenants have.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, host_namespace};

const MARK: &str = "vkube.dev/virtual-cluster";

fn mk<K: DeserializeOwned>(name: &str, labels: Value, rest: Value) -> K {
    let mut object = rest;
    object["metadata"] = json!({"name": name, "labels": labels});
    serde_json::from_value(object).unwrap()
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, kube::Error>, why: &str) {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 403 => {
            assert!(status.message.contains(why), "{}", status.message);
        }
        other => panic!("not refused for {why:?}: {other:?}"),
    }
}

/// Waits until the host knows its policies.
async fn in_force(objects: &Api<ConfigMap>) {
    let stray: ConfigMap = mk("stray", json!({}), json!({}));
    let trying = async {
        while objects.create(&PostParams::default(), &stray).await.is_ok() {
            let _ = objects.delete("stray", &DeleteParams::default()).await;
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_writes_only_what_came_from_its_tenant() {
    let world = World::start().await;
    world.create("demo", json!({})).await;
    let namespace = host_namespace(&world.ready("demo").await);
    let plane = world.account(&namespace, "vc-demo");
    let configs: Api<ConfigMap> = Api::namespaced(plane.clone(), &namespace);
    in_force(&configs).await;
    let params = PostParams::default();
    for labels in [json!({}), json!({MARK: "other"})] {
        let stray: ConfigMap = mk("stray", labels, json!({}));
        refused(configs.create(&params, &stray).await, "carries its vkube.dev/virtual-cluster label");
    }
    let own: ConfigMap = mk("own", json!({MARK: "demo"}), json!({}));
    configs.create(&params, &own).await.unwrap();
    let unmarked = Patch::Merge(json!({"metadata": {"labels": null}}));
    refused(configs.patch("own", &PatchParams::default(), &unmarked).await, "carries its");
    configs.delete("own", &DeleteParams::default()).await.unwrap();

    let secrets: Api<Secret> = Api::namespaced(plane, &namespace);
    let theirs = "does not come from the control plane's tenant";
    refused(secrets.delete("vc-demo-pki", &DeleteParams::default()).await, theirs);
    let marked = Patch::Merge(json!({"metadata": {"labels": {MARK: "demo"}}}));
    refused(secrets.patch("vc-demo-pki", &PatchParams::default(), &marked).await, theirs);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_planes_pods_have_neither_its_account_nor_its_secrets_nor_the_node() {
    let world = World::start().await;
    // Without a Pod Security Standard, which would refuse some of these too.
    world.create_namespace("vc-bare", json!({"vkube.dev/managed": "true"})).await;
    let binding: RoleBinding = mk(
        "vc-demo",
        json!({}),
        json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "vkube-controlplane"},
            "subjects": [{"kind": "ServiceAccount", "namespace": "vc-bare", "name": "vc-demo"}],
        }),
    );
    let params = PostParams::default();
    world.within::<RoleBinding>("vc-bare").create(&params, &binding).await.unwrap();
    world.create_account("vc-bare", "vc-demo").await;
    world.create_account("vc-bare", "default").await;
    let plane = world.account("vc-bare", "vc-demo");
    in_force(&Api::namespaced(plane.clone(), "vc-bare")).await;
    let pods: Api<Pod> = Api::namespaced(plane, "vc-bare");
    let container = |more: Value| {
        let mut container = json!({"name": "main", "image": "example.com/main:1"});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([container])
    };
    let volume = |source: Value| {
        let mut volume = json!({"name": "v"});
        volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        json!([volume])
    };
    let certificates = "does not read its control plane's certificates";
    let node = "does not reach its node";
    for (spec, why) in [
        (json!({"serviceAccountName": "vc-demo"}), "does not run as its control plane"),
        (json!({"volumes": volume(json!({"secret": {"secretName": "vc-demo-store"}}))}), certificates),
        (json!({"volumes": volume(json!({"secret": {"secretName": "vc-demo-pki"}}))}), certificates),
        (
            json!({"volumes": volume(json!({"projected": {"sources": [{"secret": {"name": "vc-demo-pki"}}]}}))}),
            certificates,
        ),
        (
            json!({"containers": container(json!({"envFrom": [{"secretRef": {"name": "vc-demo-pki"}}]}))}),
            certificates,
        ),
        (
            json!({"containers": container(json!({"env": [{"name": "A", "valueFrom":
                {"secretKeyRef": {"name": "vc-demo-pki", "key": "ca.key"}}}]}))}),
            certificates,
        ),
        (
            json!({"volumes": volume(json!({"persistentVolumeClaim": {"claimName": "vc-demo-data"}}))}),
            "does not mount its control plane's data",
        ),
        (json!({"hostNetwork": true}), node),
        (json!({"hostPID": true}), node),
        (json!({"volumes": volume(json!({"hostPath": {"path": "/"}}))}), node),
        (json!({"containers": container(json!({"securityContext": {"privileged": true}}))}), node),
    ] {
        let mut whole = json!({"containers": container(json!({}))});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let pod: Pod = mk("refused", json!({MARK: "demo"}), json!({"spec": whole}));
        refused(pods.create(&params, &pod).await, why);
    }
    let whole = json!({"containers": container(json!({"env": [{"name": "A", "value": "b"}]})),
        "volumes": volume(json!({"emptyDir": {}}))});
    let pod: Pod = mk("admitted", json!({MARK: "demo"}), json!({"spec": whole}));
    pods.create(&params, &pod).await.unwrap();
    world.stop().await;
}
