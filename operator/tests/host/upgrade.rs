//! Upgrades that fail, and the way back.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use vkube_crds::{Phase, VirtualCluster};

use crate::world::{World, host_namespace};

fn image(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.containers.first()?.image.as_deref()
}

fn is_terminating(pod: Option<&Pod>) -> bool {
    pod.is_none_or(|pod| pod.meta().deletion_timestamp.is_some())
}

/// What a kubelet says of an image that is not there.
async fn break_pod(pods: &Api<Pod>) {
    let waiting = json!({"status": {"phase": "Pending", "containerStatuses": [{"name": "control-plane",
        "image": "broken", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]}});
    pods.patch_status("demo-0", &PatchParams::default(), &Patch::Merge(waiting)).await.unwrap();
}

/// Lets the pod go, as a node would, once it is to go; waits for one of this image.
async fn replaced(world: &World, pods: &Api<Pod>, old: &Pod, wanted: &'static str) -> Pod {
    let uid = old.uid();
    let same = uid.clone();
    let leaves = move |pod: Option<&Pod>| is_terminating(pod) || pod.and_then(ResourceExt::uid) != same;
    world.until(pods.clone(), "demo-0", "on its way out", leaves).await;
    let now = DeleteParams {
        preconditions: Some(kube::api::Preconditions { uid, resource_version: None }),
        ..DeleteParams::default().grace_period(0)
    };
    // It may be gone already, and another in its place.
    let _ = pods.delete("demo-0", &now).await;
    let comes = move |pod: Option<&Pod>| pod.is_some_and(|pod| image(pod) == Some(wanted));
    world.until(pods.clone(), "demo-0", "there anew", comes).await;
    pods.get("demo-0").await.unwrap()
}

fn told<'a>(cluster: &'a VirtualCluster, type_: &str) -> Option<&'a str> {
    let conditions = &cluster.status.as_ref()?.conditions;
    Some(conditions.iter().find(|condition| condition.type_ == type_)?.message.as_str())
}

fn with_image(image: Value) -> Value {
    json!({"spec": {"controlPlane": {"image": image}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_upgrade_stalls_at_its_pod_until_it_is_taken_back() {
    let mut world = World::start().await;
    world.create("demo", json!({})).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    let (pods, sets) = (world.within::<Pod>(&namespace), world.within::<StatefulSet>(&namespace));
    let good = pods.get("demo-0").await.unwrap();
    let previous = good.labels()["controller-revision-hash"].clone();

    world.stop_node();
    world.merge(&world.clusters(), "demo", with_image(json!("broken"))).await;
    let broken = replaced(&world, &pods, &good, "broken").await;
    break_pod(&pods).await;
    world.condition("demo", "Stalled", "True", "UpgradeFailed").await;
    // The set may count the pod that went for a moment longer.
    let cluster = world.condition("demo", "Ready", "False", "UpgradeFailed").await;
    let message = told(&cluster, "Stalled").unwrap();
    for part in ["demo-0", "ImagePullBackOff: no such image", "image broken", &previous, "set spec.version"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(told(&cluster, "Reconciling"), None);
    assert_eq!(told(&cluster, "Ready"), Some(message));
    assert_eq!(cluster.status.as_ref().unwrap().phase, Some(Phase::Failed));

    // A set that does not replace broken pods by itself leaves that to the operator.
    let on_delete = json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}});
    sets.patch("demo", &PatchParams::default(), &Patch::Merge(on_delete)).await.unwrap();
    world.merge(&world.clusters(), "demo", with_image(Value::Null)).await;
    replaced(&world, &pods, &broken, "vkube:test").await;
    world.start_node();
    let cluster = world.ready("demo").await;
    assert_eq!(told(&cluster, "Stalled"), None);
    world.stop().await;
}
