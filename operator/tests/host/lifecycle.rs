use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, ResourceQuota, Secret, Service};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::api::{ListParams, PostParams};
use serde_json::json;
use vkube_crds::{Phase, VirtualCluster};

use crate::world::{TENANTS, World, host_namespace, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_minimal_cluster_becomes_ready() {
    let world = World::start().await;
    world.create("demo", json!({})).await;
    let cluster = world.ready("demo").await;
    let status = cluster.status.clone().unwrap();
    assert_eq!(status.phase, Some(Phase::Running));
    assert_eq!((status.replicas, status.ready_replicas), (1, 1));
    assert!(!status.conditions.iter().any(|condition| condition.type_ == "Reconciling"), "{status:#?}");
    let unwell = status.conditions.iter().find(|condition| condition.status != "True");
    assert_eq!(unwell, None);

    let secret = world.secret(TENANTS, "demo-kubeconfig").await;
    let internal = status.endpoints.unwrap().internal_url.unwrap();
    assert_eq!(text(&secret, "server"), internal);
    let kubeconfig: kube::config::Kubeconfig = serde_saphyr::from_str(&text(&secret, "value")).unwrap();
    assert_eq!(kubeconfig.current_context.as_deref(), Some("kubernetes-admin@demo"));
    assert_eq!(text(&secret, "config"), text(&secret, "kubeconfig"));

    let namespace = host_namespace(&cluster);
    let labels = world.all::<Namespace>().get(&namespace).await.unwrap().labels().clone();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "baseline");
    assert_eq!(
        world.within::<ResourceQuota>(&namespace).list(&ListParams::default()).await.unwrap().items.len(),
        3
    );
    assert_eq!(
        world.within::<NetworkPolicy>(&namespace).list(&ListParams::default()).await.unwrap().items.len(),
        5
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_cluster_is_not_written_to() {
    let mut world = World::start().await;
    world.create("demo", json!({"expose": {"type": "NodePort"}, "controlPlane": {"resources": {"requests": {"cpu": "0.1"}}}})).await;
    world.ready("demo").await;
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new());
    // An operator that starts anew finds everything as it left it.
    world.stop_operator().await;
    world.start_operator();
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sleeping_removes_pods_and_waking_keeps_the_data() {
    let world = World::start().await;
    world.create("demo", json!({})).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    let claim = world.within::<PersistentVolumeClaim>(&namespace).get("vc-demo-data").await.unwrap();
    let workload =
        json!({"metadata": {"name": "workload"}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let pods = world.within::<Pod>(&namespace);
    pods.create(&PostParams::default(), &serde_json::from_value(workload).unwrap()).await.unwrap();
    let secret = world.secret(TENANTS, "demo-kubeconfig").await;

    world.merge(&world.clusters(), "demo", json!({"spec": {"replicas": 0}})).await;
    let cluster = world.condition("demo", "Ready", "False", "Sleeping").await;
    world.gone(pods.clone(), "workload").await;
    world.gone(pods, "demo-0").await;
    assert_eq!(cluster.status.unwrap().phase, Some(Phase::Sleeping));

    world.merge(&world.clusters(), "demo", json!({"spec": {"replicas": 1}})).await;
    world.ready("demo").await;
    let again = world.within::<PersistentVolumeClaim>(&namespace).get("vc-demo-data").await.unwrap();
    assert_eq!(again.uid(), claim.uid());
    assert_eq!(world.secret(TENANTS, "demo-kubeconfig").await.data, secret.data);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_cluster_is_left_alone() {
    let world = World::start().await;
    world.create("demo", json!({})).await;
    let cluster = world.ready("demo").await;
    world.merge(&world.clusters(), "demo", json!({"spec": {"lifecycle": {"paused": true}}})).await;
    world.condition("demo", "Ready", "Unknown", "Paused").await;
    let services = world.within::<Service>(&host_namespace(&cluster));
    services.delete("demo", &kube::api::DeleteParams::default()).await.unwrap();
    world.merge(&world.clusters(), "demo", json!({"spec": {"controlPlane": {"image": "other"}}})).await;
    world.condition("demo", "Paused", "True", "Paused").await;
    assert!(services.get_opt("demo").await.unwrap().is_none());
    world.merge(&world.clusters(), "demo", json!({"spec": {"lifecycle": null}})).await;
    world.ready("demo").await;
    assert!(services.get_opt("demo").await.unwrap().is_some());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_spec_stalls_until_it_is_edited() {
    let world = World::start().await;
    world.create("demo", json!({"version": "1.30"})).await;
    world.condition("demo", "Stalled", "True", "InvalidSpec").await;
    let cluster = world.condition("demo", "Ready", "False", "InvalidSpec").await;
    assert_eq!(cluster.status.unwrap().phase, Some(Phase::Failed));
    world.merge(&world.clusters(), "demo", json!({"spec": {"version": "1.36"}})).await;
    let cluster = world.ready("demo").await;
    assert!(!cluster.status.unwrap().conditions.iter().any(|condition| condition.type_ == "Stalled"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_of_someone_else_is_never_taken() {
    let world = World::start().await;
    world.create_namespace("vc-taken", json!({})).await;
    world.create("demo", json!({"hostNamespace": {"name": "vc-taken"}})).await;
    world.condition("demo", "Stalled", "True", "NameConflict").await;
    let namespace = world.all::<Namespace>().get("vc-taken").await.unwrap();
    assert!(!namespace.labels().contains_key("vkube.dev/managed"));
    world.clusters().delete("demo", &kube::api::DeleteParams::default()).await.unwrap();
    world.gone(world.clusters(), "demo").await;
    let namespace = world.all::<Namespace>().get("vc-taken").await.unwrap();
    assert!(namespace.metadata.deletion_timestamp.is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_someone_else_is_never_overwritten() {
    let world = World::start().await;
    let precious = json!({"metadata": {"name": "precious"}, "stringData": {"value": "theirs"}});
    let secrets = world.within::<Secret>(TENANTS);
    secrets.create(&PostParams::default(), &serde_json::from_value(precious).unwrap()).await.unwrap();
    world.create("demo", json!({"kubeconfig": {"secretName": "precious"}})).await;
    world.condition("demo", "KubeconfigReady", "False", "NameConflict").await;
    assert_eq!(text(&secrets.get("precious").await.unwrap(), "value"), "theirs");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubeconfigs_of_others_come_and_go_with_the_spec() {
    let world = World::start().await;
    let additional =
        json!([{"name": "reader", "user": "jane", "group": "readers", "server": "https://x.example.com"}]);
    world.create("demo", json!({"kubeconfig": {"additional": additional}})).await;
    let cluster = world.ready("demo").await;
    let names: Vec<_> = cluster.status.unwrap().certificates.into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["ca", "serving", "admin", "reader"]);
    assert_eq!(text(&world.secret(TENANTS, "reader").await, "server"), "https://x.example.com");
    world.merge(&world.clusters(), "demo", json!({"spec": {"kubeconfig": null}})).await;
    world.gone(world.within::<Secret>(TENANTS), "reader").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_rotated_once_for_each_request() {
    let world = World::start().await;
    world.create("demo", json!({})).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    let texts = async || {
        let pki = world.secret(&namespace, "vc-demo-pki").await;
        let admin = world.secret(TENANTS, "demo-kubeconfig").await;
        (text(&pki, "ca.crt"), text(&pki, "tls.crt"), text(&admin, "client-certificate"))
    };
    let first = texts().await;
    let rotate = |key: &str, token: &str| json!({"metadata": {"annotations": {key: token}}});
    world.merge(&world.clusters(), "demo", rotate("vkube.dev/rotate", "1")).await;
    let old = first.2.clone();
    let changed =
        move |secret: Option<&Secret>| secret.is_some_and(|secret| text(secret, "client-certificate") != old);
    world.until(world.within::<Secret>(TENANTS), "demo-kubeconfig", "rotated", changed).await;
    let second = texts().await;
    assert_eq!(first.0, second.0);
    assert_ne!(first.1, second.1);
    world.ready("demo").await;
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new());

    world.merge(&world.clusters(), "demo", rotate("vkube.dev/rotate-ca", "1")).await;
    let old = second.2.clone();
    let changed =
        move |secret: Option<&Secret>| secret.is_some_and(|secret| text(secret, "client-certificate") != old);
    world.until(world.within::<Secret>(TENANTS), "demo-kubeconfig", "rotated", changed).await;
    assert_ne!(second.0, texts().await.0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancers_address_reaches_the_certificate_and_the_kubeconfig() {
    let world = World::start().await;
    world.create("demo", json!({"expose": {"type": "LoadBalancer"}})).await;
    let cluster = world.condition("demo", "EndpointReady", "False", "EndpointPending").await;
    let services = world.within::<Service>(&host_namespace(&cluster));
    world.until(services.clone(), "demo-external", "there", |service| service.is_some()).await;
    let address = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}});
    let params = kube::api::PatchParams::default();
    services.patch_status("demo-external", &params, &kube::api::Patch::Merge(address)).await.unwrap();
    let cluster = world.ready("demo").await;
    let external = cluster.status.unwrap().endpoints.unwrap().external_url;
    assert_eq!(external.as_deref(), Some("https://192.0.2.7:443"));
    let secret = world.secret(TENANTS, "demo-kubeconfig").await;
    assert_eq!(text(&secret, "server"), "https://192.0.2.7:443");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_grow_and_never_shrink() {
    let world = World::start().await;
    world.create("demo", json!({"backingStore": {"volume": {"size": "2Gi"}}})).await;
    let cluster = world.ready("demo").await;
    let size = |size: &str| json!({"spec": {"backingStore": {"volume": {"size": size}}}});
    world.merge(&world.clusters(), "demo", size("1Gi")).await;
    world.condition("demo", "Stalled", "True", "InvalidSpec").await;
    let claims = world.within::<PersistentVolumeClaim>(&host_namespace(&cluster));
    assert_eq!(claims.get("vc-demo-data").await.unwrap().spec.unwrap().resources.unwrap().requests.unwrap()["storage"].0, "2Gi");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_falls_with_the_control_plane_though_nothing_was_asked() {
    let world = World::start().await;
    world.create("demo", json!({})).await;
    let cluster = world.ready("demo").await;
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let pods = world.within::<Pod>(&host_namespace(&cluster));
    let patch = kube::api::Patch::Merge(unready);
    pods.patch_status("demo-0", &kube::api::PatchParams::default(), &patch).await.unwrap();
    let fallen = world.condition("demo", "Ready", "False", "PodNotReady").await;
    assert_eq!(fallen.metadata.generation, cluster.metadata.generation);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_deployed_is_told_with_its_cause() {
    let mut world = World::start().await;
    world.stop_node();
    world.create("demo", json!({})).await;
    let cluster = world.condition("demo", "ControlPlaneReady", "False", "Progressing").await;
    let pods = world.within::<Pod>(&host_namespace(&cluster));
    world.until(pods.clone(), "demo-0", "there", |pod| pod.is_some()).await;
    let waiting = json!({"status": {"containerStatuses": [{"name": "control-plane", "image": "x", "imageID": "",
        "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]}});
    pods.patch_status("demo-0", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(waiting))
        .await
        .unwrap();
    let cluster = world.condition("demo", "Ready", "False", "PodFailing").await;
    let ready = cluster.status.unwrap().conditions.into_iter().find(|condition| condition.type_ == "Ready");
    assert_eq!(ready.unwrap().message, "ImagePullBackOff: no such image");

    // One that goes before holds the control plane up as well, and says so first.
    let init = json!({"status": {"initContainerStatuses": [{"name": "seed", "image": "x", "imageID": "", "ready": false,
        "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}}]}});
    pods.patch_status("demo-0", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(init))
        .await
        .unwrap();
    let told = |cluster: Option<&VirtualCluster>| {
        let conditions = cluster.and_then(|cluster| cluster.status.as_ref()).map(|status| &status.conditions);
        let seed = "init container seed: CrashLoopBackOff: back-off 40s";
        conditions.is_some_and(|all| {
            ["Ready", "ControlPlaneReady"].iter().all(|type_| {
                all.iter().any(|one| one.type_ == *type_ && one.reason == "PodFailing" && one.message == seed)
            })
        })
    };
    world.until(world.clusters(), "demo", "told of its init container", told).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_api_server_does_not_answer_is_not_ready() {
    // No Service of this host leads anywhere.
    let world = World::with(|options| options.probe = true).await;
    world.create("demo", json!({})).await;
    let cluster = world.condition("demo", "Ready", "False", "ApiUnreachable").await;
    world.condition("demo", "Available", "False", "ApiUnreachable").await;
    world.condition("demo", "ControlPlaneReady", "True", "Applied").await;
    assert!(cluster.status.unwrap().kubeconfig.is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_never_moves_to_another_host_namespace() {
    let world = World::start().await;
    world.create("demo", json!({})).await;
    let before = host_namespace(&world.ready("demo").await);
    let clusters = world.clusters();
    let moved = json!({"spec": {"hostNamespace": {"name": "vc-other"}}});
    let params = kube::api::PatchParams::default();
    // An API server that evaluates the CRD's rules refuses; one that does not leaves it to the operator.
    if clusters.patch("demo", &params, &kube::api::Patch::Merge(moved)).await.is_ok() {
        world.condition("demo", "Stalled", "True", "InvalidSpec").await;
    }
    assert!(world.all::<Namespace>().get_opt("vc-other").await.unwrap().is_none());
    assert_eq!(host_namespace(&clusters.get("demo").await.unwrap()), before);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_ready_is_told_in_events() {
    let world = World::start().await;
    world.create("demo", json!({})).await;
    world.ready("demo").await;
    let events = world.within::<Event>(TENANTS);
    let reasons = || async {
        let list = events.list(&ListParams::default()).await.unwrap().items;
        list.into_iter().filter_map(|event| event.reason).collect::<Vec<_>>()
    };
    // The event follows the status.
    let mut found = reasons().await;
    while !found.iter().any(|reason| reason == "Running") {
        tokio::task::yield_now().await;
        found = reasons().await;
    }
    assert!(found.iter().any(|reason| reason == "Provisioning"), "{found:?}");
    let set = world.within::<StatefulSet>(&host_namespace(&world.clusters().get("demo").await.unwrap()));
    assert_eq!(set.get("demo").await.unwrap().spec.unwrap().replicas, Some(1));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_before_they_end_though_nobody_asks() {
    let world = World::start().await;
    // Due twenty seconds after they are issued, and a long time before they end.
    world.create("demo", json!({"certificates": {"validity": "1h", "renewBefore": "3580s"}})).await;
    let ends = |cluster: &VirtualCluster| {
        let status = cluster.status.clone().unwrap_or_default();
        let serving = status.certificates.into_iter().find(|one| one.name == "serving");
        (serving.and_then(|one| one.not_after), status.kubeconfig.and_then(|one| one.not_after))
    };
    let first = world.ready("demo").await;
    let (serving, kubeconfig) = ends(&first);
    assert!(serving.is_some() && kubeconfig.is_some());
    let before = text(&world.secret(TENANTS, "demo-kubeconfig").await, "value");
    let later = |cluster: Option<&VirtualCluster>| {
        let (new_serving, new_kubeconfig) = cluster.map(ends).unwrap_or_default();
        new_serving > serving && new_kubeconfig > kubeconfig
    };
    world.until(world.clusters(), "demo", "given new certificates", later).await;
    assert_ne!(text(&world.secret(TENANTS, "demo-kubeconfig").await, "value"), before);
    world.stop().await;
}
