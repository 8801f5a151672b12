//! Pods from their creation to their end.

use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, LogParams},
};
use serde_json::json;

use super::setup::{Host, get, ip};

pub async fn a_process_runs_with_its_mounts_and_its_address(host: Host) {
    host.create::<ConfigMap>(json!({"metadata": {"name": "config"}, "data": {"color": "blue"}})).await;
    host.run(
        "web",
        &["serve", "0.0.0.0:8080", "/etc/config/color", "/proc/sys/kernel/hostname", "/etc/hosts"],
        json!({"spec": {
            "volumes": [{"name": "config", "configMap": {"name": "config"}}],
            "containers": [{
                "volumeMounts": [{"name": "config", "mountPath": "/etc/config"}],
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
                "securityContext": {"readOnlyRootFilesystem": true},
            }],
        }}),
    )
    .await;
    let pod = host.wait_until_ready("web").await;
    assert!(ip(&pod).starts_with("127."), "{}", ip(&pod));
    let answer = get(&format!("{}:8080", ip(&pod))).await;
    let parts: Vec<_> = answer.split('|').collect();
    assert_eq!(parts[..2], ["blue", "web\n"]);
    assert!(parts[2].contains(&format!("{}\tweb", ip(&pod))), "{}", parts[2]);

    let status = pod.status.as_ref().unwrap();
    assert_eq!(status.host_ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    assert!(!pod.annotations().contains_key("vkube.dev/simulated"));
}

pub async fn a_process_sees_rewritten_paths(host: Host) {
    host.create::<ConfigMap>(json!({"metadata": {"name": "config"}, "data": {"color": "blue"}})).await;
    host.run(
        "web",
        &["serve", "0.0.0.0:8080", "/etc/config/color"],
        json!({"spec": {
            "volumes": [{"name": "config", "configMap": {"name": "config"}}],
            "containers": [{
                "volumeMounts": [{"name": "config", "mountPath": "/etc/config"}],
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
            }],
        }}),
    )
    .await;
    let pod = host.wait_until_ready("web").await;
    assert_eq!(get(&format!("{}:8080", ip(&pod))).await, "blue");
    assert_eq!(pod.annotations()["vkube.dev/paths-rewritten"], "true");
}

pub async fn other_images_are_simulated_and_say_so(host: Host) {
    host.create::<Pod>(json!({
        "metadata": {"name": "nginx"},
        "spec": {"containers": [{
            "name": "nginx", "image": "nginx:1", "readinessProbe": {"httpGet": {"port": 80}},
        }]},
    }))
    .await;
    let pod = host.wait_until_ready("nginx").await;
    assert_eq!(pod.annotations()["vkube.dev/simulated"], "true");
    let containers = pod.status.unwrap().container_statuses.unwrap();
    assert_eq!(containers[0].image_id, "simulated://nginx:1");
    let log = host.api::<Pod>().logs("nginx", &LogParams::default()).await.unwrap();
    assert!(log.contains("simulated"), "{log}");

    host.create::<Pod>(json!({
        "metadata": {"name": "task"},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "task", "image": "busybox"}]},
    }))
    .await;
    host.wait_for_phase("task", "Succeeded").await;
}

pub async fn exit_codes_decide_the_phase(host: Host) {
    let never = json!({"spec": {"restartPolicy": "Never"}});
    host.run("good", &["exit", "0"], never.clone()).await;
    host.run("bad", &["exit", "3"], never).await;
    host.wait_for_phase("good", "Succeeded").await;
    let bad = host.wait_for_phase("bad", "Failed").await;
    let containers = bad.status.unwrap().container_statuses.unwrap();
    let ended = containers[0].state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (3, Some("Error")));
}

pub async fn init_containers_run_before_the_others(host: Host) {
    let image = "vkube:test";
    host.run(
        "staged",
        &["echo", "started"],
        json!({"spec": {"initContainers": [
            {"name": "first", "image": image, "args": ["workload", "exit", "0"]},
            {"name": "side", "image": image, "args": ["workload", "echo", "beside"], "restartPolicy": "Always"},
            {"name": "second", "image": "busybox"},
        ]}}),
    )
    .await;
    let pod = host.wait_until_ready("staged").await;
    let inits = pod.status.unwrap().init_container_statuses.unwrap();
    let ended = |index: usize| inits[index].state.as_ref().unwrap().terminated.is_some();
    assert!(ended(0) && !ended(1) && ended(2));
}

pub async fn a_deleted_pod_leaves_nothing(host: Host) {
    let pod = host.run("brief", &["serve", "0.0.0.0:8080"], json!({})).await;
    let ready = host.wait_until_ready("brief").await;
    let directory = host.data_dir().join("pods").join(pod.uid().unwrap());
    assert!(directory.exists());
    host.api::<Pod>().delete("brief", &DeleteParams::default()).await.unwrap();
    host.wait::<Pod>("brief", |pod| pod.is_none()).await;
    assert!(tokio::net::TcpStream::connect(format!("{}:8080", ip(&ready))).await.is_err());
    while directory.exists() {
        tokio::task::yield_now().await;
    }
}

pub async fn a_failed_container_is_started_again(host: Host) {
    host.run("flaky", &["exit", "1"], json!({})).await;
    let waiting = |pod: &Pod| {
        let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
        containers.unwrap_or_default().iter().any(|container| {
            let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
            waiting.and_then(|waiting| waiting.reason.as_deref()) == Some("CrashLoopBackOff")
        })
    };
    let pod = host.wait_for_pod("flaky", waiting).await;
    let container = &pod.status.unwrap().container_statuses.unwrap()[0];
    assert_eq!(container.restart_count, 1);
    assert_eq!(container.last_state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 1);
}

pub async fn a_pod_that_fits_nowhere_says_why(host: Host) {
    host.run("wanting", &["echo"], json!({"spec": {"nodeSelector": {"disk": "ssd"}}})).await;
    let unschedulable = |pod: &Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
        conditions.unwrap_or_default().iter().any(|condition| {
            condition.reason.as_deref() == Some("Unschedulable")
                && condition.message.as_ref().unwrap().contains("didn't match Pod's node affinity/selector")
        })
    };
    host.wait_for_pod("wanting", unschedulable).await;
    let events: Api<Event> = host.api();
    loop {
        let events = events.list(&ListParams::default()).await.unwrap();
        if events.iter().any(|event| event.reason.as_deref() == Some("FailedScheduling")) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

pub async fn a_pod_waits_for_what_it_refers_to(host: Host) {
    host.run(
        "patient",
        &["echo"],
        json!({"spec": {"containers": [{"env": [
            {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "color"}}},
        ]}]}}),
    )
    .await;
    let held = |pod: &Pod| {
        let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
        containers.unwrap_or_default().iter().any(|container| {
            let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
            waiting.and_then(|waiting| waiting.message.as_deref()) == Some("configmap \"late\" not found")
        })
    };
    host.wait_for_pod("patient", held).await;
    host.create::<ConfigMap>(json!({"metadata": {"name": "late"}, "data": {"color": "red"}})).await;
    host.wait_until_ready("patient").await;
}
