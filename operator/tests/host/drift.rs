use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::world::{TENANTS, World, host_namespace};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_comes_back() {
    let world = World::start().await;
    world.create("demo", json!({})).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    macro_rules! comes_back {
        ($api:expr, $name:expr) => {{
            let api = $api;
            let before = api.get($name).await.unwrap().uid();
            api.delete($name, &DeleteParams::default()).await.unwrap();
            let another = move |object: Option<&_>| object.is_some_and(|object| uid_of(object) != before);
            world.until(api, $name, "another", another).await;
        }};
    }
    comes_back!(world.within::<NetworkPolicy>(&namespace), "vc-deny");
    comes_back!(world.within::<ResourceQuota>(&namespace), "vc-compute");
    comes_back!(world.within::<LimitRange>(&namespace), "vc-limits");
    comes_back!(world.within::<RoleBinding>(&namespace), "vc-demo");
    comes_back!(world.all::<ClusterRoleBinding>(), &format!("vkube:{namespace}"));
    comes_back!(world.within::<StatefulSet>(&namespace), "demo");
    comes_back!(world.within::<Secret>(TENANTS), "demo-kubeconfig");
    world.ready("demo").await;
    world.stop().await;
}

fn uid_of<K: kube::Resource>(object: &K) -> Option<String> {
    object.meta().uid.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_edited_is_put_back() {
    let world = World::start().await;
    world.create("demo", json!({})).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);

    let quotas = world.within::<ResourceQuota>(&namespace);
    world.merge(&quotas, "vc-compute", json!({"spec": {"hard": {"pods": "9999"}}})).await;
    let back = |quota: Option<&ResourceQuota>| {
        let spec = quota.and_then(|quota| quota.spec.as_ref());
        spec.and_then(|spec| spec.hard.as_ref()).is_some_and(|hard| hard["pods"].0 == "100")
    };
    world.until(quotas, "vc-compute", "put back", back).await;

    let bindings = world.within::<RoleBinding>(&namespace);
    let intruder = json!({"subjects": [
        {"kind": "ServiceAccount", "name": "vc-demo", "namespace": namespace},
        {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "intruder"}]});
    world.merge(&bindings, "vc-demo", intruder).await;
    let alone = |binding: Option<&RoleBinding>| {
        binding.is_some_and(|binding| binding.subjects.as_ref().is_some_and(|subjects| subjects.len() == 1))
    };
    world.until(bindings, "vc-demo", "put back", alone).await;

    let namespaces = world.all::<Namespace>();
    let open = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}});
    world.merge(&namespaces, &namespace, open).await;
    let closed = |namespace: Option<&Namespace>| {
        namespace
            .is_some_and(|namespace| namespace.labels()["pod-security.kubernetes.io/enforce"] == "baseline")
    };
    world.until(namespaces, &namespace, "put back", closed).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_manager_keeps_what_is_its_own_and_loses_what_it_takes() {
    let world = World::start().await;
    world.create("demo", json!({})).await;
    let namespace = host_namespace(&world.ready("demo").await);
    let quotas = world.within::<ResourceQuota>(&namespace);
    let body = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "vc-compute",
        "annotations": {"example.com/cost-center": "42"}, "labels": {"vkube.dev/managed": "false"}},
        "spec": {"hard": {"pods": "9999"}}});
    quotas.patch("vc-compute", &PatchParams::apply("finance").force(), &Patch::Apply(body)).await.unwrap();
    let back = |quota: Option<&ResourceQuota>| {
        quota.is_some_and(|quota| {
            let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
            hard.is_some_and(|hard| hard["pods"].0 == "100") && quota.labels()["vkube.dev/managed"] == "true"
        })
    };
    world.until(quotas.clone(), "vc-compute", "put back", back).await;
    assert_eq!(quotas.get("vc-compute").await.unwrap().annotations()["example.com/cost-center"], "42");
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new(), "what is another's is no drift");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_goes() {
    let world = World::start().await;
    world.create("demo", json!({"expose": {"type": "NodePort"}})).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    let off = json!({"enabled": false});
    let spec =
        json!({"expose": null, "isolation": {"networkPolicy": off, "limitRange": off, "resourceQuota": off}});
    world.merge(&world.clusters(), "demo", json!({"spec": spec})).await;
    world.gone(world.within::<NetworkPolicy>(&namespace), "vc-deny").await;
    world.gone(world.within::<ResourceQuota>(&namespace), "vc-objects").await;
    world.gone(world.within::<LimitRange>(&namespace), "vc-limits").await;
    world.gone(world.within::<Service>(&namespace), "demo-external").await;
    world.condition("demo", "IsolationReady", "True", "PartlyDisabled").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_no_longer_asked_for_go() {
    let world = World::start().await;
    world
        .create(
            "demo",
            json!({"hostNamespace": {"labels": {"team": "a"}}, "controlPlane": {"nodeSelector": {"a": "b"}}}),
        )
        .await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    world
        .merge(&world.clusters(), "demo", json!({"spec": {"hostNamespace": null, "controlPlane": null}}))
        .await;
    let unlabelled = |namespace: Option<&Namespace>| {
        namespace.is_some_and(|namespace| !namespace.labels().contains_key("team"))
    };
    world.until(world.all::<Namespace>(), &namespace, "without the label", unlabelled).await;
    let anywhere = |set: Option<&StatefulSet>| {
        let template = set.and_then(|set| set.spec.as_ref()).and_then(|spec| spec.template.spec.as_ref());
        template.is_some_and(|pod| pod.node_selector.is_none())
    };
    world.until(world.within::<StatefulSet>(&namespace), "demo", "free of its selector", anywhere).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_namespace_that_is_deleted_is_built_anew() {
    let world = World::start().await;
    world.create("demo", json!({})).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    let before = world.all::<Namespace>().get(&namespace).await.unwrap().uid();
    world.all::<Namespace>().delete(&namespace, &DeleteParams::default()).await.unwrap();
    let another =
        move |namespace: Option<&Namespace>| namespace.is_some_and(|namespace| namespace.uid() != before);
    world.until(world.all::<Namespace>(), &namespace, "another", another).await;
    world.ready("demo").await;
    world.stop().await;
}
