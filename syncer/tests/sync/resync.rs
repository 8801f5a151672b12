//! What starting over costs when nothing has changed.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use serde_json::{Value, json};
use vkube_syncer::Direction;

use super::world::{HOST_NAMESPACE, World, rule, rules};

fn pod(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "app": "web" } },
        "spec": {
            "serviceAccountName": "robot",
            "containers": [{
                "name": "app", "image": "app:1",
                "envFrom": [
                    { "configMapRef": { "name": "settings" } }, { "secretRef": { "name": "password" } },
                ],
            }],
            "volumes": [
                { "name": "data", "persistentVolumeClaim": { "claimName": "data" } },
                { "name": "token", "projected": { "sources": [{ "serviceAccountToken": { "path": "token" } }] } },
            ],
        },
    })
}

async fn fill(world: &World) {
    world
        .tenant_create::<ConfigMap>(json!({ "metadata": { "name": "settings" }, "data": { "a": "1" } }))
        .await;
    world.tenant_create::<Secret>(json!({ "metadata": { "name": "password" } })).await;
    world
        .tenant_create::<PersistentVolumeClaim>(json!({
            "metadata": { "name": "data" },
            "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
            },
        }))
        .await;
    for name in ["web-0", "web-1", "web-2"] {
        world.tenant_create::<Pod>(pod(name)).await;
        world.host_has::<Pod>(name, |_| true).await;
    }
    world
        .tenant_create::<Service>(json!({
            "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
        }))
        .await;
    let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
    world
        .tenant_create::<Ingress>(
            json!({ "metadata": { "name": "web" }, "spec": { "defaultBackend": backend } }),
        )
        .await;
    world
        .tenant_create::<PodDisruptionBudget>(json!({
            "metadata": { "name": "web" },
            "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "web" } } },
        }))
        .await;
    world.host_has::<Ingress>("web", |_| true).await;
    world.host_has::<PodDisruptionBudget>("web", |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_resync_lists_each_collection_of_each_side_once_and_writes_nothing() {
    let world = World::with(|config| {
        config.kinds.ingresses = true;
        config.kinds.network_policies = true;
        config.rules = rules(&[rule(Direction::ToHost, "serviceaccounts")]);
    })
    .await;
    fill(&world).await;
    let versions = |pods: Vec<Pod>| -> Vec<Option<String>> {
        pods.into_iter().map(|pod| pod.metadata.resource_version).collect()
    };
    let world = world.pause().await;
    let before = versions(world.host_api::<Pod>().list(&ListParams::default()).await.unwrap().items);
    world.lists.lock().unwrap().clear();
    let writes = world.writes.load(Ordering::SeqCst);
    let world = world.resume().await;
    // Written after the resync has looked at the others, so it is the proof that it has.
    world
        .tenant_create::<Ingress>(json!({
            "metadata": { "name": "late" },
            "spec": { "defaultBackend": { "service": { "name": "web", "port": { "number": 80 } } } },
        }))
        .await;
    world.host_has::<Ingress>("late", |_| true).await;
    assert_eq!(world.writes.load(Ordering::SeqCst), writes + 1, "the late one");
    let after = versions(world.host_api::<Pod>().list(&ListParams::default()).await.unwrap().items);
    assert_eq!(before, after);

    let mut lists: BTreeMap<String, usize> = BTreeMap::new();
    for list in world.lists.lock().unwrap().iter() {
        *lists.entry(list.clone()).or_default() += 1;
    }
    let again: Vec<_> = lists.iter().filter(|(_, times)| **times > 1).collect();
    assert_eq!(again, Vec::<(&String, &usize)>::new());
    let of = |start: &str| lists.keys().filter(|list| list.starts_with(start)).count();
    for kind in ["pods", "persistentvolumeclaims", "configmaps", "secrets", "events", "serviceaccounts"] {
        assert_eq!(of(&format!("host /api/v1/namespaces/{HOST_NAMESPACE}/{kind} ")), 1, "{kind}: {lists:#?}");
    }
    for kind in ["namespaces", "pods", "services", "configmaps", "secrets", "persistentvolumeclaims"] {
        assert_eq!(of(&format!("tenant /api/v1/{kind} ")), 1, "{kind}: {lists:#?}");
    }
    world.stop().await;
}
