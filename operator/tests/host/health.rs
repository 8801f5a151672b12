//! A cluster as the tools see it that wait for it, show it and keep it as Git says.

use std::sync::{Arc, Mutex};

use futures::{StreamExt, TryStreamExt};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use vkube_crds::VirtualCluster;

use crate::world::{PATIENCE, TENANTS, World};

/// What kstatus makes of an object of a kind that it does not know (sigs.k8s.io/cli-utils, pkg/kstatus/status).
fn kstatus(cluster: &VirtualCluster) -> &'static str {
    if cluster.metadata.deletion_timestamp.is_some() {
        return "Terminating";
    }
    let status = cluster.status.as_ref().unwrap();
    if status.observed_generation != cluster.metadata.generation {
        return "InProgress";
    }
    for condition in status.conditions.iter().filter(|condition| condition.status == "True") {
        match condition.type_.as_str() {
            "Reconciling" => return "InProgress",
            "Stalled" => return "Failed",
            _ => {}
        }
    }
    match status.conditions.iter().find(|condition| condition.type_ == "Ready") {
        Some(ready) if ready.status != "True" => "InProgress",
        _ => "Current",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_kstatus_sees_every_change_begin_and_end() {
    let world = World::start().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (states, all) = (seen.clone(), world.clusters());
    let mut events = watcher(all, watcher::Config::default()).default_backoff().touched_objects().boxed();
    let following = tokio::spawn(async move {
        while let Ok(Some(cluster)) = events.try_next().await {
            let mut states = states.lock().unwrap();
            let state = kstatus(&cluster);
            if states.last() != Some(&state) {
                states.push(state);
            }
        }
    });
    let so_far = Mutex::new(Vec::new());
    let until = async |next: &[&'static str]| {
        so_far.lock().unwrap().extend_from_slice(next);
        let waiting = async {
            while *seen.lock().unwrap() != *so_far.lock().unwrap() {
                tokio::task::yield_now().await;
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(outcome.is_ok(), "{:?} instead of {:?}", seen.lock().unwrap(), so_far.lock().unwrap());
    };
    let created = world.create("demo", json!({})).await;
    assert_eq!(created.status.unwrap().observed_generation, Some(-1), "nobody has looked at it yet");
    world.ready("demo").await;
    until(&["InProgress", "Current"]).await;

    let edit = async |spec: Value| world.merge(&world.clusters(), "demo", json!({"spec": spec})).await;
    edit(json!({"isolation": {"podSecurity": "restricted"}})).await;
    world.ready("demo").await;
    until(&["InProgress", "Current"]).await;

    edit(json!({"version": "1.1"})).await;
    world.condition("demo", "Stalled", "True", "InvalidSpec").await;
    until(&["InProgress", "Failed"]).await;
    edit(json!({"version": null})).await;
    world.ready("demo").await;
    until(&["InProgress", "Current"]).await;

    edit(json!({"replicas": 0})).await;
    world.condition("demo", "Ready", "False", "Sleeping").await;
    edit(json!({"replicas": 1})).await;
    world.ready("demo").await;
    until(&["InProgress", "Current"]).await;

    world.clusters().delete("demo", &DeleteParams::default()).await.unwrap();
    world.gone(world.clusters(), "demo").await;
    until(&["Terminating"]).await;
    following.abort();
    world.stop().await;
}

/// The cluster as Git says it, applied by whoever keeps it so.
async fn apply(world: &World, manager: &str, spec: Value) -> Result<VirtualCluster, kube::Error> {
    let body = json!({"apiVersion": "vkube.dev/v1alpha1", "kind": "VirtualCluster",
        "metadata": {"name": "demo", "labels": {"from": manager}}, "spec": spec});
    world.clusters().patch("demo", &PatchParams::apply(manager), &Patch::Apply(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_git_says_is_gits_alone() {
    let world = World::start().await;
    let spec =
        json!({"isolation": {"podSecurity": "restricted"}, "expose": {"extraSANs": ["a.example.com"]}});
    apply(&world, "git", spec.clone()).await.unwrap();
    let cluster = world.ready("demo").await;
    for entry in cluster.metadata.managed_fields.iter().flatten() {
        let manager = entry.manager.as_deref().unwrap();
        if manager == "git" {
            continue;
        }
        let Value::Object(fields) = entry.fields_v1.clone().unwrap().0 else { panic!("{entry:?}") };
        for (field, below) in fields {
            let is_finalizers = field == "f:metadata"
                && below.as_object().unwrap().keys().all(|key| key == "f:finalizers" || key == ".");
            assert!(field == "f:status" || is_finalizers, "{manager} owns {field}: {below}");
        }
    }
    // Applied again, as it is every few minutes, it changes nothing.
    let settled = world.reconciled("demo").await;
    assert_eq!(settled, Vec::<String>::new());
    let before = world.clusters().get("demo").await.unwrap();
    let again = apply(&world, "git", spec).await.unwrap();
    assert_eq!((again.resource_version(), &again.spec), (before.resource_version(), &before.spec));

    // Another manager may say what Git does not, and not what it does.
    apply(&world, "people", json!({"isolation": {"podSecurity": "baseline"}})).await.unwrap_err();
    let body = json!({"apiVersion": "vkube.dev/v1alpha1", "kind": "VirtualCluster", "metadata": {"name": "demo"},
        "spec": {"expose": {"extraSANs": ["b.example.com"]}, "replicas": 1}});
    let people = PatchParams::apply("people");
    world.clusters().patch("demo", &people, &Patch::Apply(body)).await.unwrap();
    let cluster = world.ready("demo").await;
    let names = cluster.spec.expose.unwrap().extra_sans;
    assert_eq!(names, ["a.example.com", "b.example.com"], "each says some");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_say_how_a_cluster_is_and_where() {
    let world = World::start().await;
    world.create("demo", json!({})).await;
    let cluster = world.ready("demo").await;
    let all = format!("/apis/vkube.dev/v1alpha1/namespaces/{TENANTS}/virtualclusters");
    let request = http::Request::get(all).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table: Value = world.admin.request(request.body(Vec::new()).unwrap()).await.unwrap();
    let columns = table["columnDefinitions"].as_array().unwrap();
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    let shown = |is_wide: bool| -> Vec<(&str, &str)> {
        let both = columns.iter().zip(cells).filter(|(column, _)| (column["priority"] == 1) == is_wide);
        both.map(|(column, cell)| (column["name"].as_str().unwrap(), cell.as_str().unwrap_or_default()))
            .collect()
    };
    let status = cluster.status.unwrap();
    let (endpoint, namespace) =
        (status.endpoints.unwrap().internal_url.unwrap(), status.host_namespace.unwrap());
    let narrow = shown(false);
    assert_eq!(narrow[..2], [("Name", "demo"), ("Version", status.version.as_deref().unwrap_or_default())]);
    assert_eq!(narrow[2..5], [("Ready", "True"), ("Status", "Running"), ("Policy", "")]);
    assert_eq!(narrow[5].0, "Age");
    let wide = [
        ("Endpoint", endpoint.as_str()),
        ("Host-Namespace", namespace.as_str()),
        ("Kubeconfig", "demo-kubeconfig"),
    ];
    assert_eq!(shown(true), wide);

    // Tools may ask for those that are in trouble, or of a policy.
    let selected = async |fields: &str| {
        let clusters: Api<VirtualCluster> = world.clusters();
        clusters.list(&kube::api::ListParams::default().fields(fields)).await.unwrap().items.len()
    };
    assert_eq!((selected("status.phase=Running").await, selected("status.phase=Failed").await), (1, 0));
    world.stop().await;
}
