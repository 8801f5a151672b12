//! kube-rs.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{ConfigMap, Namespace},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, CustomResource, CustomResourceExt as _, Resource as _, ResourceExt as _,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::PartialObjectMetaExt as _,
    runtime::{WatchStreamExt as _, reflector, wait::await_condition, wait::conditions as wait, watcher},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use vkube_lease::Election;

use crate::World;

/// Nothing takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where all of it happens.
const NAMESPACE: &str = "rust";

#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "clients.example.com", version = "v1", kind = "Crab", namespaced, status = "CrabStatus")]
struct CrabSpec {
    colour: String,
    #[serde(default = "two")]
    claws: i32,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
struct CrabStatus {
    moulted: bool,
}

fn two() -> i32 {
    2
}

pub fn kube(world: &World) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let client = connect(&world.steady.shell.kubeconfig).await;
        let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
        objects_are_created_replaced_and_deleted(&maps).await;
        a_watch_continues_where_a_list_ended(&maps).await;
        each_patch_merges_in_its_way(&maps).await;
        apply_names_conflicts_and_forces(&maps).await;
        custom_resources_are_defined_and_defaulted(&client).await;
        leadership_passes_on(&client).await;
        let client = connect(&world.forgetful.kubeconfig_by(&world.network.address)).await;
        a_reflector_lists_again_after_410(world, &client, "listed", watcher::Config::default()).await;
        let streaming = watcher::Config::default().streaming_lists();
        a_reflector_lists_again_after_410(world, &client, "streamed", streaming).await;
    });
}

/// A client, and the namespace made with it.
async fn connect(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    let namespace = Namespace { metadata: named(NAMESPACE), ..Namespace::default() };
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    client
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() }
}

fn map<const N: usize>(name: &str, data: [(&str, &str); N]) -> ConfigMap {
    let data = data.map(|(key, value)| (key.to_owned(), value.to_owned()));
    ConfigMap { metadata: named(name), data: Some(BTreeMap::from(data)), ..ConfigMap::default() }
}

/// The status and the reason of a refusal, and its message.
fn refused<T>(result: Result<T, kube::Error>) -> (u16, String, String) {
    match result {
        Err(kube::Error::Api(status)) => (status.code, status.reason.clone(), status.message.clone()),
        Err(other) => panic!("not refused by the server: {other}"),
        Ok(_) => panic!("not refused"),
    }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: still not so"))
}

async fn objects_are_created_replaced_and_deleted(maps: &Api<ConfigMap>) {
    let made = maps.create(&PostParams::default(), &map("colours", [("sky", "blue")])).await.unwrap();
    let again = maps.create(&PostParams::default(), &map("colours", [])).await;
    assert_eq!(refused(again).1, "AlreadyExists");
    assert!(maps.get_opt("nothing").await.unwrap().is_none());

    let mut grey = made.clone();
    grey.data = map("", [("sky", "grey")]).data;
    let replaced = maps.replace("colours", &PostParams::default(), &grey).await.unwrap();
    let stale = maps.replace("colours", &PostParams::default(), &grey).await;
    let (code, reason, message) = refused(stale);
    assert_eq!((code, &*reason), (409, "Conflict"));
    assert!(message.contains("the object has been modified"), "{message}");

    let metadata = maps.get_metadata("colours").await.unwrap();
    assert_eq!(metadata.metadata.resource_version, replaced.metadata.resource_version);
    let mut entry = maps.entry("colours").await.unwrap();
    entry.get_mut().unwrap().labels_mut().insert("tier".into(), "front".into());
    entry.or_insert(ConfigMap::default).commit(&PostParams::default()).await.unwrap();
    let labelled = maps.list(&ListParams::default().labels("tier=front")).await.unwrap();
    assert_eq!(labelled.items.len(), 1);

    let other = DeleteParams::default();
    let other = DeleteParams {
        preconditions: Some(kube::api::Preconditions { uid: Some("another".into()), resource_version: None }),
        ..other
    };
    assert_eq!(refused(maps.delete("colours", &other).await).0, 409);
    let status = maps.delete("colours", &DeleteParams::default()).await.unwrap().right().unwrap();
    assert_eq!(status.details.unwrap().uid, made.metadata.uid.unwrap());
}

async fn a_watch_continues_where_a_list_ended(maps: &Api<ConfigMap>) {
    let version =
        maps.list_metadata(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    maps.create(&PostParams::default(), &map("watched", [("n", "1")])).await.unwrap();
    maps.patch("watched", &PatchParams::default(), &Patch::Merge(json!({"data": {"n": "2"}}))).await.unwrap();
    maps.delete("watched", &DeleteParams::default()).await.unwrap();
    let only = WatchParams::default().fields("metadata.name=watched");
    let stream = maps.watch(&only, &version).await.unwrap();
    let seen = stream.map_ok(|event| match event {
        WatchEvent::Added(map) => ("added", map.data.unwrap()["n"].clone()),
        WatchEvent::Modified(map) => ("modified", map.data.unwrap()["n"].clone()),
        WatchEvent::Deleted(map) => ("deleted", map.data.unwrap()["n"].clone()),
        other => panic!("{other:?}"),
    });
    let seen: Vec<_> = soon("three events", seen.take(3).try_collect()).await.unwrap();
    let expected = [("added", "1"), ("modified", "2"), ("deleted", "2")];
    assert_eq!(seen, expected.map(|(kind, n)| (kind, n.to_owned())));
}

async fn each_patch_merges_in_its_way(maps: &Api<ConfigMap>) {
    maps.create(&PostParams::default(), &map("patched", [("a", "1"), ("b", "2")])).await.unwrap();
    let (params, name) = (PatchParams::default(), "patched");
    let merge = Patch::Merge(json!({"data": {"a": null}, "metadata": {"finalizers": ["example.com/one"]}}));
    let merged = maps.patch(name, &params, &merge).await.unwrap();
    assert_eq!(merged.data, map("", [("b", "2")]).data);
    // To a list, not instead of it.
    let strategic = Patch::Strategic(json!({"metadata": {"finalizers": ["example.com/two"]}}));
    assert_eq!(maps.patch(name, &params, &strategic).await.unwrap().finalizers().len(), 2);
    let operations = json!([
        {"op": "test", "path": "/data/b", "value": "2"},
        {"op": "remove", "path": "/metadata/finalizers"},
    ]);
    let operations = Patch::Json::<()>(serde_json::from_value(operations).unwrap());
    assert!(maps.patch(name, &params, &operations).await.unwrap().finalizers().is_empty());

    let labels =
        ObjectMeta { labels: Some([("only".into(), "metadata".into())].into()), ..ObjectMeta::default() };
    let partial = Patch::Merge(labels.into_request_partial::<ConfigMap>());
    let patched = maps.patch_metadata(name, &params, &partial).await.unwrap();
    assert_eq!(patched.labels()["only"], "metadata");
}

async fn apply_names_conflicts_and_forces(maps: &Api<ConfigMap>) {
    let sky = |colour: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "owned"},
            "data": {"sky": colour},
        })
    };
    let apply = async |params: PatchParams, colour: &str| {
        maps.patch("owned", &params, &Patch::Apply(sky(colour))).await
    };
    apply(PatchParams::apply("painter"), "blue").await.unwrap();
    let (code, _, message) = refused(apply(PatchParams::apply("weather"), "grey").await);
    assert_eq!(code, 409);
    assert!(message.contains("conflict with \"painter\"") && message.contains(".data.sky"), "{message}");
    let forced = apply(PatchParams::apply("weather").force(), "grey").await.unwrap();
    let managers: Vec<_> =
        forced.managed_fields().iter().map(|entry| entry.manager.as_deref().unwrap()).collect();
    assert_eq!(managers, ["weather"]);
}

async fn custom_resources_are_defined_and_defaulted(client: &Client) {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let apply = PatchParams::apply("clients");
    definitions.patch(Crab::crd_name(), &apply, &Patch::Apply(Crab::crd())).await.unwrap();
    let established = await_condition(definitions.clone(), Crab::crd_name(), wait::is_crd_established());
    soon("the definition is established", established).await.unwrap();

    let crabs = Api::<Crab>::namespaced(client.clone(), NAMESPACE);
    let body = json!({
        "apiVersion": Crab::api_version(&()), "kind": "Crab", "metadata": {"name": "hermit"},
        "spec": {"colour": "red"}, "status": {"moulted": true},
    });
    let made = crabs.patch("hermit", &apply, &Patch::Apply(&body)).await.unwrap();
    assert!(
        (made.spec.claws, made.status.is_none(), made.metadata.generation) == (2, true, Some(1)),
        "{made:?}"
    );
    let wrong = json!({"apiVersion": Crab::api_version(&()), "kind": "Crab", "spec": {"colour": 7}});
    let (code, reason, message) = refused(crabs.patch("wrong", &apply, &Patch::Apply(&wrong)).await);
    assert_eq!((code, &*reason), (500, ""), "{message}");

    let moulted = Patch::Merge(json!({"status": {"moulted": true}, "spec": {"claws": 8}}));
    let status = crabs.patch_status("hermit", &PatchParams::default(), &moulted).await.unwrap();
    assert!(
        (status.spec.claws, status.status.unwrap().moulted, status.metadata.generation) == (2, true, Some(1))
    );

    crabs.delete("hermit", &DeleteParams::default()).await.unwrap();
    let uid = definitions.get(Crab::crd_name()).await.unwrap().uid().unwrap();
    definitions.delete(Crab::crd_name(), &DeleteParams::default()).await.unwrap();
    let gone = await_condition(definitions, Crab::crd_name(), wait::is_deleted(&uid));
    soon("the definition is gone", gone).await.unwrap();
}

async fn leadership_passes_on(client: &Client) {
    let candidate = |name: &str| Election::new(client.clone(), NAMESPACE, "leader", name);
    let holder = async || {
        let lease = Api::<Lease>::namespaced(client.clone(), NAMESPACE).get("leader").await.unwrap();
        let spec = lease.spec.unwrap();
        (spec.holder_identity.unwrap(), spec.lease_transitions)
    };
    let (first, second) = (candidate("first"), candidate("second"));
    soon("the first leads", first.acquire()).await;
    assert_eq!(holder().await, ("first".into(), Some(0)));
    let mut waiting = Box::pin(second.acquire());
    tokio::select! {
        () = &mut waiting => panic!("two lead"),
        ended = first.hold() => panic!("{ended}"),
        () = soon("the first renews", renewed(client)) => {}
    }
    first.release().await;
    soon("the second leads", waiting).await;
    assert_eq!(holder().await, ("second".into(), Some(1)));
}

/// Ends when the lease has been renewed.
async fn renewed(client: &Client) {
    let leases = Api::<Lease>::namespaced(client.clone(), NAMESPACE);
    let before = leases.get("leader").await.unwrap().spec.unwrap().renew_time;
    let renewed = move |lease: Option<&Lease>| {
        lease.is_some_and(|lease| lease.spec.as_ref().unwrap().renew_time > before)
    };
    await_condition(leases, "leader", renewed).await.unwrap();
}

/// By either way to get the first objects; its own are named by it.
async fn a_reflector_lists_again_after_410(
    world: &World,
    client: &Client,
    way: &str,
    config: watcher::Config,
) {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let create = async |name: &str| {
        maps.create(&PostParams::default(), &map(&format!("{way}-{name}"), [])).await.unwrap()
    };
    create("lost").await;
    let (store, writer) = reflector::store();
    let expired = AtomicUsize::new(0);
    let stream = watcher(maps.clone(), config).inspect_err(|error| {
        if format!("{error:?}").contains("410") {
            expired.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut stream = Box::pin(stream.default_backoff().reflect(writer));
    let cached = |name: &str| {
        let name = format!("{way}-{name}");
        store.get(&reflector::ObjectRef::new(&name).within(NAMESPACE)).is_some()
    };
    /// Follows the stream until the cache is as expected.
    macro_rules! until {
        ($what:literal, $condition:expr) => {
            soon($what, async {
                while !$condition {
                    // Errors are tried again.
                    let _ = stream.next().await.expect("it goes on for ever");
                }
            })
            .await
        };
    }
    until!("it has listed", cached("lost"));
    create("live").await;
    until!("it watches", cached("live"));

    let line = format!(
        "kubectl -n {NAMESPACE} delete configmap {way}-lost \
         && kubectl -n {NAMESPACE} create configmap {way}-gained"
    );
    tokio::task::block_in_place(|| world.while_cut_off(&line));
    until!("it has listed what was made meanwhile", cached("gained") && !cached("lost"));
    assert!(expired.load(Ordering::Relaxed) > 0, "it went on where it had been");
    create("later").await;
    until!("it watches again", cached("later"));
}
