//! What pods find in their volumes.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde_json::json;

use super::setup::{Host, get, ip};

pub async fn files_follow_their_sources(host: Host) {
    host.create::<ConfigMap>(json!({"metadata": {"name": "config"}, "data": {"color": "blue"}})).await;
    host.run(
        "web",
        &["serve", "0.0.0.0:8080", "/config/color"],
        json!({"spec": {
            "volumes": [{"name": "config", "configMap": {"name": "config"}}],
            "containers": [{
                "volumeMounts": [{"name": "config", "mountPath": "/config"}],
                "readinessProbe": {"tcpSocket": {"port": 8080}},
            }],
        }}),
    )
    .await;
    let address = format!("{}:8080", ip(&host.wait_until_ready("web").await));
    assert_eq!(get(&address).await, "blue");
    let change = Patch::Merge(json!({"data": {"color": "green"}}));
    host.api::<ConfigMap>().patch("config", &PatchParams::default(), &change).await.unwrap();
    while get(&address).await != "green" {}
}

pub async fn tokens_speak_for_the_service_account(host: Host) {
    let directory = "/var/run/secrets/kubernetes.io/serviceaccount";
    let file = |name: &str| format!("{directory}/{name}");
    host.run(
        "web",
        &["serve", "0.0.0.0:8080", &file("token"), &file("ca.crt"), &file("namespace")],
        json!({"spec": {
            "serviceAccountName": "default",
            "volumes": [{"name": "access", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ]}}],
            "containers": [{
                "volumeMounts": [{"name": "access", "mountPath": directory, "readOnly": true}],
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
            }],
        }}),
    )
    .await;
    let pod = host.wait_until_ready("web").await;
    let answer = get(&format!("{}:8080", ip(&pod))).await;
    let parts: Vec<_> = answer.split('|').collect();
    assert_eq!(parts[0].split('.').count(), 3, "a token has three parts: {}", parts[0]);
    assert!(parts[1].starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(parts[2], host.namespace);
}

pub async fn claims_keep_data_and_leave_nothing_when_deleted(host: Host) {
    host.create::<PersistentVolumeClaim>(json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }))
    .await;
    let bound = |claim: Option<&PersistentVolumeClaim>| {
        claim.and_then(|claim| claim.status.as_ref()?.phase.as_deref()) == Some("Bound")
    };
    let claim = host.wait("data", bound).await.unwrap();
    let volume = claim.spec.unwrap().volume_name.unwrap();
    let volumes = json!({"spec": {
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        "containers": [{
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
        }],
    }});
    host.run("web", &["serve", "0.0.0.0:8080", "/data/file"], volumes).await;
    let pod = host.wait_until_ready("web").await;
    let directory = host.data_dir().join("volumes").join(&volume);
    std::fs::write(directory.join("file"), "kept").unwrap();
    assert_eq!(get(&format!("{}:8080", ip(&pod))).await, "kept");

    let api: Api<Pod> = host.api();
    api.delete("web", &DeleteParams::default()).await.unwrap();
    host.wait::<Pod>("web", |pod| pod.is_none()).await;
    host.api::<PersistentVolumeClaim>().delete("data", &DeleteParams::default()).await.unwrap();
    let volumes: Api<PersistentVolume> = Api::all(host.sandbox().client());
    await_condition(volumes, &volume, |volume: Option<&PersistentVolume>| volume.is_none()).await.unwrap();
    assert!(!directory.exists());
}
