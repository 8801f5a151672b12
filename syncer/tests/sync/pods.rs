use k8s_openapi::api::core::v1::{ConfigMap, Event, Node, Pod, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::world::{World, annotation, eventually, gone};

fn pod(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "app": "web" } },
        "spec": {
            "serviceAccountName": "robot",
            "terminationGracePeriodSeconds": 20,
            "containers": [{
                "name": "app",
                "image": "app:1",
                "env": [{ "name": "MODE", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "mode" } } }],
                "volumeMounts": [{ "name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount" }],
            }],
            "volumes": [{
                "name": "token",
                "projected": { "sources": [{ "serviceAccountToken": { "path": "token", "expirationSeconds": 3600 } }] },
            }],
        },
    })
}

async fn settings(world: &World) {
    world
        .tenant_create::<ConfigMap>(json!({ "metadata": { "name": "settings" }, "data": { "mode": "a" } }))
        .await;
    world
        .tenant_create::<ConfigMap>(json!({ "metadata": { "name": "unused" }, "data": { "mode": "a" } }))
        .await;
}

fn running() -> Value {
    json!({
        "phase": "Running",
        "hostIP": "10.0.0.1",
        "podIP": "10.1.0.4",
        "podIPs": [{ "ip": "10.1.0.4" }],
        "startTime": "2026-01-01T00:00:00Z",
        "conditions": [
            { "type": "PodScheduled", "status": "True" },
            { "type": "Ready", "status": "True" },
        ],
    })
}

async fn started(world: &World, name: &str) -> Pod {
    world.tenant_create::<Pod>(pod(name)).await;
    world.host_has::<Pod>(name, |_| true).await;
    world.run_pod(name, "node-1", running()).await;
    world.tenant_has::<Pod>(name, |pod| phase(pod) == "Running").await
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

#[tokio::test]
async fn a_pod_runs_on_the_host_and_reports_back() {
    let world = World::start().await;
    settings(&world).await;
    let created: Pod = world.tenant_create(pod("web-0")).await;

    let host = world.host_has::<Pod>("web-0", |_| true).await;
    assert_eq!(annotation(&host, "vkube.dev/object-uid"), created.uid().unwrap());
    assert_eq!(host.labels()["app"], "web");

    world.run_pod("web-0", "node-1", running()).await;
    let pod = world.tenant_has::<Pod>("web-0", |pod| phase(pod) == "Running").await;
    assert_eq!(pod.spec.unwrap().node_name.as_deref(), Some("node-1"));
    assert_eq!(pod.status.unwrap().pod_ip.as_deref(), Some("10.1.0.4"));
    eventually(Api::<Node>::all(world.tenant.clone()), "node-1", |_| true).await;
    world.stop().await;
}

#[tokio::test]
async fn only_what_pods_refer_to_reaches_the_host_and_leaves_with_them() {
    let world = World::start().await;
    settings(&world).await;
    started(&world, "web-0").await;

    let copy = world.host_has::<ConfigMap>("settings", |_| true).await;
    assert_eq!(copy.data.unwrap()["mode"], "a");
    assert!(world.host_api::<ConfigMap>().get_opt(&world.name("unused")).await.unwrap().is_none());

    let patch = Patch::Merge(json!({ "data": { "mode": "b" } }));
    world.tenant_api::<ConfigMap>().patch("settings", &PatchParams::default(), &patch).await.unwrap();
    world.host_has::<ConfigMap>("settings", |map| map.data.as_ref().unwrap()["mode"] == "b").await;

    world.tenant_api::<Pod>().delete("web-0", &DeleteParams::default().grace_period(0)).await.unwrap();
    world.host_lacks::<ConfigMap>("settings").await;
    world.stop().await;
}

#[tokio::test]
async fn drift_on_the_host_is_repaired() {
    let world = World::start().await;
    settings(&world).await;
    started(&world, "web-0").await;
    world.host_has::<ConfigMap>("settings", |_| true).await;
    let patch = Patch::Merge(json!({ "data": { "mode": "hacked" } }));
    world
        .host_api::<ConfigMap>()
        .patch(&world.name("settings"), &PatchParams::default(), &patch)
        .await
        .unwrap();
    world.host_has::<ConfigMap>("settings", |map| map.data.as_ref().unwrap()["mode"] == "a").await;
    world.stop().await;
}

#[tokio::test]
async fn p11_a_pods_token_is_the_virtual_clusters_and_bound_to_it() {
    let world = World::start().await;
    settings(&world).await;
    started(&world, "web-0").await;
    let name = world.names.derived("shop", "web-0", "token");
    let secret = eventually(world.host_api::<Secret>(), &name, |secret| {
        // Once the host pod exists, it owns the Secret.
        secret.owner_references().iter().any(|owner| owner.kind == "Pod")
    })
    .await;
    let token = String::from_utf8(secret.data.unwrap()["token.0"].0.clone()).unwrap();
    let review: k8s_openapi::api::authentication::v1::TokenReview = Api::all(world.tenant.clone())
        .create(
            &PostParams::default(),
            &serde_json::from_value(json!({ "spec": { "token": token } })).unwrap(),
        )
        .await
        .unwrap();
    let status = review.status.unwrap();
    assert_eq!(status.user.unwrap().username.as_deref(), Some("system:serviceaccount:shop:robot"));
    assert_ne!(annotation_of(&secret.metadata, "vkube.dev/refresh-at"), "");
    world.stop().await;
}

fn annotation_of(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta, key: &str) -> String {
    metadata.annotations.as_ref().and_then(|annotations| annotations.get(key)).cloned().unwrap_or_default()
}

#[tokio::test]
async fn changes_of_the_virtual_pod_reach_the_host_and_additions_there_stay() {
    let world = World::start().await;
    settings(&world).await;
    started(&world, "web-0").await;
    let added = Patch::Merge(json!({ "metadata": { "annotations": { "cni.example/ip": "1" } } }));
    world.host_api::<Pod>().patch(&world.name("web-0"), &PatchParams::default(), &added).await.unwrap();

    let patch = Patch::Merge(json!({ "metadata": { "labels": { "app": null, "tier": "front" } } }));
    world.tenant_api::<Pod>().patch("web-0", &PatchParams::default(), &patch).await.unwrap();
    let host = world.host_has::<Pod>("web-0", |pod| pod.labels().contains_key("tier")).await;
    assert!(!host.labels().contains_key("app"));
    assert_eq!(annotation(&host, "cni.example/ip"), "1");
    world.stop().await;
}

#[tokio::test]
async fn labels_of_the_namespace_reach_its_pods() {
    let world = World::start().await;
    settings(&world).await;
    started(&world, "web-0").await;
    let patch = Patch::Merge(json!({ "metadata": { "labels": { "zone": "blue" } } }));
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(world.tenant.clone());
    namespaces.patch("shop", &PatchParams::default(), &patch).await.unwrap();
    let key = vkube_syncer::Translator::namespace_label_key("zone");
    world.host_has::<Pod>("web-0", |pod| pod.labels().get(&key).is_some_and(|value| value == "blue")).await;
    world.stop().await;
}

#[tokio::test]
async fn a_deleted_pod_stops_on_the_host_first() {
    let world = World::start().await;
    settings(&world).await;
    started(&world, "web-0").await;
    world.tenant_api::<Pod>().delete("web-0", &DeleteParams::default().grace_period(7)).await.unwrap();
    let host = world.host_has::<Pod>("web-0", |pod| pod.metadata.deletion_timestamp.is_some()).await;
    assert_eq!(host.metadata.deletion_grace_period_seconds, Some(7));
    assert!(world.tenant_api::<Pod>().get_opt("web-0").await.unwrap().is_some(), "it still stops");

    world.end_pod("web-0").await;
    world.tenant_lacks::<Pod>("web-0").await;
    world.stop().await;
}

#[tokio::test]
async fn a_pod_evicted_on_the_host_is_deleted_for_the_tenant() {
    let world = World::start().await;
    settings(&world).await;
    started(&world, "web-0").await;
    let api = world.host_api::<Pod>();
    api.delete(&world.name("web-0"), &DeleteParams::default().grace_period(9)).await.unwrap();
    let pod = world.tenant_has::<Pod>("web-0", |pod| pod.metadata.deletion_timestamp.is_some()).await;
    assert_eq!(pod.metadata.deletion_grace_period_seconds, Some(9));
    world.end_pod("web-0").await;
    world.tenant_lacks::<Pod>("web-0").await;
    world.stop().await;
}

#[tokio::test]
async fn a_pod_that_vanished_while_nobody_watched_is_finished() {
    let world = World::start().await;
    settings(&world).await;
    started(&world, "web-0").await;
    let world = world.pause().await;
    world.end_pod("web-0").await;
    let world = world.resume().await;
    world.tenant_lacks::<Pod>("web-0").await;
    world.stop().await;
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let world = World::start().await;
    settings(&world).await;
    started(&world, "web-0").await;
    world.host_has::<ConfigMap>("settings", |_| true).await;
    let name = world.names.derived("shop", "web-0", "token");
    eventually(world.host_api::<Secret>(), &name, |secret| !secret.owner_references().is_empty()).await;
    let version = |object: &kube::core::ObjectMeta| object.resource_version.clone();
    let before = (
        version(&world.host_api::<Pod>().get(&world.name("web-0")).await.unwrap().metadata),
        version(&world.host_api::<Secret>().get(&name).await.unwrap().metadata),
    );

    let world = world.pause().await.resume().await;
    // A later object passes only after the earlier ones have been looked at.
    started(&world, "web-1").await;
    let after = (
        version(&world.host_api::<Pod>().get(&world.name("web-0")).await.unwrap().metadata),
        version(&world.host_api::<Secret>().get(&name).await.unwrap().metadata),
    );
    assert_eq!(before, after);
    world.stop().await;
}

#[tokio::test]
async fn leftovers_of_pods_deleted_while_nobody_watched_are_removed() {
    let world = World::start().await;
    settings(&world).await;
    started(&world, "web-0").await;
    let world = world.pause().await;
    world.tenant_api::<Pod>().delete("web-0", &DeleteParams::default().grace_period(0)).await.unwrap();
    let world = world.resume().await;
    world.host_has::<Pod>("web-0", |pod| pod.metadata.deletion_timestamp.is_some()).await;
    world.end_pod("web-0").await;
    world.host_lacks::<Pod>("web-0").await;
    gone(world.host_api::<Secret>(), &world.names.derived("shop", "web-0", "token")).await;
    world.stop().await;
}

#[tokio::test]
async fn events_of_the_host_are_told_in_the_tenants_names() {
    let world = World::start().await;
    settings(&world).await;
    let pod = started(&world, "web-0").await;
    let host_name = world.name("web-0");
    world
        .host_create::<Event>(json!({
            "metadata": { "name": format!("{host_name}.17a") },
            "involvedObject": { "apiVersion": "v1", "kind": "Pod", "namespace": "tenant-demo", "name": host_name },
            "reason": "Scheduled",
            "message": format!("Successfully assigned tenant-demo/{host_name} to node-1"),
            "type": "Normal",
        }))
        .await;
    let event = world.tenant_has::<Event>("web-0.17a", |_| true).await;
    assert_eq!(event.message.as_deref(), Some("Successfully assigned shop/web-0 to node-1"));
    assert_eq!(event.involved_object.uid, pod.uid());
    assert_eq!(event.involved_object.namespace.as_deref(), Some("shop"));
    world.stop().await;
}

#[tokio::test]
async fn a_refusal_of_the_host_is_told_to_the_tenant_without_host_names() {
    let world = World::start().await;
    settings(&world).await;
    world.refuses.store(true, std::sync::atomic::Ordering::SeqCst);
    world.tenant_create::<Pod>(pod("web-0")).await;

    let events = world.tenant_api::<Event>();
    let mut seen = Box::pin(kube::runtime::watcher(events, kube::runtime::watcher::Config::default()));
    let told = loop {
        use futures::StreamExt;
        use kube::runtime::watcher::Event::{Apply, InitApply};
        if let Some(Ok(Apply(event) | InitApply(event))) = seen.next().await
            && event.reason.as_deref() == Some("SyncError")
        {
            break event;
        }
    };
    assert_eq!(told.message.as_deref(), Some("pods \"web-0\" is forbidden: exceeded quota in shop"));

    world.refuses.store(false, std::sync::atomic::Ordering::SeqCst);
    world.host_has::<Pod>("web-0", |_| true).await;
    world.stop().await;
}

#[tokio::test]
async fn readiness_gates_open_from_either_side() {
    let world = World::start().await;
    settings(&world).await;
    let mut gated = pod("web-0");
    gated["spec"]["readinessGates"] = json!([{ "conditionType": "example.com/lb" }]);
    world.tenant_create::<Pod>(gated).await;
    world.host_has::<Pod>("web-0", |_| true).await;
    world.run_pod("web-0", "node-1", running()).await;
    world.tenant_has::<Pod>("web-0", |pod| phase(pod) == "Running").await;

    let gate = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().find(|condition| condition.type_ == "example.com/lb").map(|c| c.status.clone())
    };
    let set = |on: &str| {
        Patch::Strategic(json!({ "status": { "conditions": [{ "type": "example.com/lb", "status": on }] } }))
    };
    world.tenant_api::<Pod>().patch_status("web-0", &PatchParams::default(), &set("True")).await.unwrap();
    world.host_has::<Pod>("web-0", |pod| gate(pod).as_deref() == Some("True")).await;
    // The base on the host pod says that both sides have agreed.
    world.host_has::<Pod>("web-0", |pod| annotation(pod, "vkube.dev/gates").contains("True")).await;

    world
        .host_api::<Pod>()
        .patch_status(&world.name("web-0"), &PatchParams::default(), &set("False"))
        .await
        .unwrap();
    world.tenant_has::<Pod>("web-0", |pod| gate(pod).as_deref() == Some("False")).await;
    world.stop().await;
}

#[tokio::test]
async fn a_container_for_debugging_is_added_to_the_host_pod() {
    let world = World::start().await;
    settings(&world).await;
    started(&world, "web-0").await;
    let debug = json!({ "spec": { "ephemeralContainers": [{ "name": "debug", "image": "sh" }] } });
    let api = world.tenant_api::<Pod>();
    api.patch_ephemeral_containers("web-0", &PatchParams::default(), &Patch::Strategic(debug)).await.unwrap();
    world
        .host_has::<Pod>("web-0", |pod| {
            let containers = pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_ref());
            containers.is_some_and(|containers| containers[0].name == "debug")
        })
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_successor_of_a_pod_waits_for_its_predecessor_on_the_host() {
    let world = World::start().await;
    settings(&world).await;
    started(&world, "web-0").await;
    let world = world.pause().await;
    world.tenant_api::<Pod>().delete("web-0", &DeleteParams::default().grace_period(0)).await.unwrap();
    let successor: Pod = world.tenant_create(pod("web-0")).await;
    let world = world.resume().await;
    world.host_has::<Pod>("web-0", |pod| pod.metadata.deletion_timestamp.is_some()).await;
    world.end_pod("web-0").await;
    let uid = successor.uid().unwrap();
    world.host_has::<Pod>("web-0", |pod| annotation(pod, "vkube.dev/object-uid") == uid).await;
    world.stop().await;
}

#[tokio::test]
async fn drift_while_no_syncer_ran_is_repaired() {
    let world = World::start().await;
    settings(&world).await;
    started(&world, "web-0").await;
    world.host_has::<ConfigMap>("settings", |_| true).await;
    let world = world.pause().await;
    let patch = Patch::Merge(json!({ "data": { "mode": "hacked" } }));
    let there = world.host_api::<ConfigMap>();
    there.patch(&world.name("settings"), &PatchParams::default(), &patch).await.unwrap();
    let world = world.resume().await;
    world.host_has::<ConfigMap>("settings", |map| map.data.as_ref().unwrap()["mode"] == "a").await;
    world.stop().await;
}

#[tokio::test]
async fn x_a_token_is_replaced_in_place_before_it_expires() {
    let world = World::start().await;
    settings(&world).await;
    started(&world, "web-0").await;
    let name = world.names.derived("shop", "web-0", "token");
    let secrets = world.host_api::<Secret>();
    let is_owned = |secret: &Secret| !secret.owner_references().is_empty();
    let before = eventually(secrets.clone(), &name, is_owned).await;
    let old = "2020-01-01T00:00:00Z";
    let due = Patch::Merge(json!({ "metadata": { "annotations": { "vkube.dev/refresh-at": old } } }));
    secrets.patch(&name, &PatchParams::default(), &due).await.unwrap();
    let after = eventually(secrets, &name, |secret| {
        annotation_of(&secret.metadata, "vkube.dev/refresh-at") != old && secret.data != before.data
    })
    .await;
    assert_eq!(after.uid(), before.uid(), "the pod keeps its Secret");
    world.stop().await;
}
