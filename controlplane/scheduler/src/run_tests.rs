//! The scheduler against a real API server in memory.

use std::time::Duration;

use k8s_openapi::api::{core::v1::Event, scheduling::v1::PriorityClass};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{
    WatchStreamExt,
    wait::{Condition, await_condition},
    watcher,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use vkube_apiserver::{
    instance::{self, Instance},
    user::User,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn pod(name: &str, class: Option<&str>) -> Pod {
    let resources = json!({"requests": {"cpu": "2"}});
    let container = json!({"name": "main", "image": "pause", "resources": resources});
    let spec = json!({"containers": [container], "priorityClassName": class});
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}

async fn until(pods: &Api<Pod>, name: &str, what: impl Condition<Pod>) -> Option<Pod> {
    let waiting = await_condition(pods.clone(), name, what);
    tokio::time::timeout(PATIENCE, waiting).await.expect("nothing happened").unwrap()
}

fn is_bound(pod: Option<&Pod>) -> bool {
    pod.and_then(|pod| pod.spec.as_ref()?.node_name.as_deref()).is_some()
}

/// A cluster in memory with one node, and the scheduler.
struct World {
    instance: Instance,
    client: Client,
    pods: Api<Pod>,
    stop: CancellationToken,
}

impl World {
    async fn start(options: Options) -> Self {
        let disable_admission = vec!["TaintNodesByCondition".to_owned(), "ServiceAccount".to_owned()];
        let settings = instance::Options { disable_admission, ..instance::Options::default() };
        let instance = Instance::start(settings).await.unwrap();
        let client = Client::new(instance.server.service(User::component("admin")), "default");
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(run(client.clone(), options)));
        let node = json!({"metadata": {"name": "node"}});
        let status = json!({"status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "9"}}});
        let nodes: Api<Node> = Api::all(client.clone());
        nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
        nodes.patch_status("node", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        let pods = Api::namespaced(client.clone(), "default");
        Self { instance, client, pods, stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.instance.stop().await;
    }
}

/// Waits for an event with this message; returns it.
async fn told(client: &Client, message: &str) -> Event {
    let events: Api<Event> = Api::namespaced(client.clone(), "default");
    let mut all = watcher(events, watcher::Config::default()).applied_objects().boxed();
    let found = async {
        while let Some(event) = all.next().await {
            let event = event.unwrap();
            if event.message.as_deref() == Some(message) {
                return event;
            }
        }
        unreachable!("the watch has ended")
    };
    tokio::time::timeout(PATIENCE, found).await.expect("the event was not written")
}

#[tokio::test]
async fn a_claim_that_waits_for_its_consumer_is_told_the_node_and_then_the_pod_is_bound() {
    let world = World::start(Options::default()).await;
    let classes: Api<StorageClass> = Api::all(world.client.clone());
    let class = json!({
        "metadata": {"name": "lazy"}, "provisioner": "example.com/p", "volumeBindingMode": "WaitForFirstConsumer",
    });
    classes.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), "default");
    let mut user = pod("user", None);
    let volume = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    user.spec.as_mut().unwrap().volumes = serde_json::from_value(volume).unwrap();
    world.pods.create(&PostParams::default(), &user).await.unwrap();
    let why = "0/1 nodes are available: persistentvolumeclaim \"data\" not found. preemption: 0/1 nodes are \
               available: 1 Preemption is not helpful for scheduling.";
    let event = told(&world.client, why).await;
    let form = (event.action.as_deref(), event.reporting_component.as_deref(), event.count);
    assert_eq!(form, (Some("Scheduling"), Some("default-scheduler"), None));
    assert!(event.event_time.is_some() && event.first_timestamp.is_none());

    let claim = json!({"metadata": {"name": "data"}, "spec": {
        "storageClassName": "lazy", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }});
    claims.create(&PostParams::default(), &serde_json::from_value(claim).unwrap()).await.unwrap();
    let is_told = |claim: Option<&PersistentVolumeClaim>| {
        claim.is_some_and(|claim| {
            claim.annotations().get("volume.kubernetes.io/selected-node").is_some_and(|node| node == "node")
        })
    };
    let waiting = await_condition(claims.clone(), "data", is_told);
    tokio::time::timeout(PATIENCE, waiting).await.expect("no node was selected").unwrap();
    assert!(!is_bound(world.pods.get_opt("user").await.unwrap().as_ref()), "the volume is not there yet");

    // What a provisioner and the binder do.
    let volume = Patch::Merge(json!({"spec": {"volumeName": "pv"}}));
    claims.patch("data", &PatchParams::default(), &volume).await.unwrap();
    let bound = Patch::Merge(json!({"status": {"phase": "Bound"}}));
    claims.patch_status("data", &PatchParams::default(), &bound).await.unwrap();
    until(&world.pods, "user", is_bound).await;
    world.stop().await;
}

/// A pod that waits for a volume to be made, with its claim.
async fn with_a_lazy_claim(world: &World) -> Api<PersistentVolumeClaim> {
    let classes: Api<StorageClass> = Api::all(world.client.clone());
    let class = json!({
        "metadata": {"name": "lazy"}, "provisioner": "example.com/p", "volumeBindingMode": "WaitForFirstConsumer",
    });
    classes.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), "default");
    let claim = json!({"metadata": {"name": "data"}, "spec": {
        "storageClassName": "lazy", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }});
    claims.create(&PostParams::default(), &serde_json::from_value(claim).unwrap()).await.unwrap();
    let mut user = pod("user", None);
    let volume = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    user.spec.as_mut().unwrap().volumes = serde_json::from_value(volume).unwrap();
    world.pods.create(&PostParams::default(), &user).await.unwrap();
    claims
}

fn selected(claim: Option<&PersistentVolumeClaim>) -> Option<&str> {
    claim?.annotations().get("volume.kubernetes.io/selected-node").map(String::as_str)
}

#[tokio::test]
async fn a_pod_looks_for_a_node_again_when_the_provisioner_gives_up_the_one_it_was_told() {
    let world = World::start(Options::default()).await;
    let claims = with_a_lazy_claim(&world).await;
    let is_told = |claim: Option<&PersistentVolumeClaim>| selected(claim) == Some("node");
    let waiting = await_condition(claims.clone(), "data", is_told);
    tokio::time::timeout(PATIENCE, waiting).await.expect("no node was selected").unwrap();

    // The node is no good, and there is another.
    let nodes: Api<Node> = Api::all(world.client.clone());
    let cordon = Patch::Merge(json!({"spec": {"unschedulable": true}}));
    nodes.patch("node", &PatchParams::default(), &cordon).await.unwrap();
    let other = json!({"metadata": {"name": "other"}});
    let status = Patch::Merge(json!({"status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "9"}}}));
    nodes.create(&PostParams::default(), &serde_json::from_value(other).unwrap()).await.unwrap();
    nodes.patch_status("other", &PatchParams::default(), &status).await.unwrap();
    let give_up = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": null}}});
    claims.patch("data", &PatchParams::default(), &Patch::Merge(give_up)).await.unwrap();

    let why =
        "running PreBind plugin \"VolumeBinding\": binding volumes: provisioning failed for PVC \"data\"";
    told(&world.client, why).await;
    let is_told = |claim: Option<&PersistentVolumeClaim>| selected(claim) == Some("other");
    let waiting = await_condition(claims.clone(), "data", is_told);
    tokio::time::timeout(PATIENCE, waiting).await.expect("no other node was selected").unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_claim_gets_a_device_before_its_pod_is_bound_and_keeps_it_while_it_is_used() {
    let selector = DeviceSelector::new(|expression, driver, device| {
        let device = serde_json::to_value(device).unwrap();
        vkube_apiserver::registry::resource::selection::selects(expression, driver, &device)
    });
    let world = World::start(Options { devices: Some(selector), ..Options::default() }).await;
    let (client, params) = (world.client.clone(), PostParams::default());
    let model =
        |model: &str| json!({"cel": {"expression": format!("device.attributes['d.io'].model == '{model}'")}});
    let class = json!({"metadata": {"name": "gpu"}, "spec": {"selectors": [model("new")]}});
    let classes: Api<DeviceClass> = Api::all(client.clone());
    classes.create(&params, &serde_json::from_value(class).unwrap()).await.unwrap();
    let claims: Api<ResourceClaim> = Api::namespaced(client.clone(), "default");
    let request = json!({"name": "r", "exactly": {"deviceClassName": "gpu"}});
    let claim = json!({"metadata": {"name": "c"}, "spec": {"devices": {"requests": [request]}}});
    claims.create(&params, &serde_json::from_value(claim).unwrap()).await.unwrap();
    let mut user = pod("user", None);
    let claim = json!([{"name": "c", "resourceClaimName": "c"}]);
    user.spec.as_mut().unwrap().resource_claims = serde_json::from_value(claim).unwrap();
    let user = world.pods.create(&params, &user).await.unwrap();
    let why = "0/1 nodes are available: 1 cannot allocate all claims. preemption: 0/1 nodes are available: \
               1 No preemption victims found for incoming pod.";
    told(&client, why).await;

    let gpu = |name: &str, model: &str| json!({"name": name, "attributes": {"model": {"string": model}}});
    let slice = json!({"metadata": {"name": "s"}, "spec": {
        "driver": "d.io", "nodeName": "node", "devices": [gpu("a", "old"), gpu("b", "new")],
        "pool": {"name": "node", "generation": 1, "resourceSliceCount": 1},
    }});
    let slices: Api<ResourceSlice> = Api::all(client.clone());
    slices.create(&params, &serde_json::from_value(slice).unwrap()).await.unwrap();
    until(&world.pods, "user", is_bound).await;
    let claim = claims.get("c").await.unwrap();
    assert_eq!(claim.finalizers(), ["resource.kubernetes.io/delete-protection"]);
    let status = claim.status.unwrap();
    let results = status.allocation.unwrap().devices.unwrap().results.unwrap();
    assert_eq!((results[0].request.as_str(), results[0].device.as_str()), ("r", "b"));
    assert_eq!(status.reserved_for.unwrap()[0].uid, user.uid().unwrap());
    world.stop().await;
}

#[tokio::test]
async fn pods_get_the_scheduler_that_they_ask_for() {
    let profiles = Profile::read_all(&[json!({"schedulerName": "packed"})]).unwrap();
    let world = World::start(Options { profiles, volumes: Volumes::Elsewhere, ..Options::default() }).await;
    let mut packed = pod("packed", None);
    packed.spec.as_mut().unwrap().scheduler_name = Some("packed".into());
    world.pods.create(&PostParams::default(), &pod("other", None)).await.unwrap();
    world.pods.create(&PostParams::default(), &packed).await.unwrap();
    until(&world.pods, "packed", is_bound).await;
    let event = told(&world.client, "Successfully assigned default/packed to node").await;
    assert_eq!(event.reporting_component.as_deref(), Some("packed"));
    assert!(!is_bound(world.pods.get_opt("other").await.unwrap().as_ref()), "nobody has that name");
    world.stop().await;
}

#[tokio::test]
async fn a_pod_of_higher_priority_gets_the_node_that_another_leaves_for_it() {
    let world = World::start(Options::default()).await;
    let (client, pods) = (world.client.clone(), world.pods.clone());
    let class = json!({"metadata": {"name": "vital"}, "value": 1000});
    let classes: Api<PriorityClass> = Api::all(client.clone());
    classes.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();

    pods.create(&PostParams::default(), &pod("common", None)).await.unwrap();
    until(&pods, "common", is_bound).await;
    let vital = pods.create(&PostParams::default(), &pod("vital", Some("vital"))).await.unwrap();

    let is_leaving = |pod: Option<&Pod>| pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
    let common = until(&pods, "common", is_leaving).await.unwrap();
    let conditions = common.status.unwrap().conditions.unwrap();
    let reason =
        conditions.iter().find(|one| one.type_ == "DisruptionTarget").and_then(|one| one.reason.clone());
    assert_eq!(reason.as_deref(), Some("PreemptionByScheduler"));
    let is_nominated = |pod: Option<&Pod>| {
        pod.and_then(|pod| pod.status.as_ref()?.nominated_node_name.as_deref()) == Some("node")
    };
    until(&pods, "vital", is_nominated).await;

    // The node has ended the pod.
    pods.delete("common", &DeleteParams::default().grace_period(0)).await.unwrap();
    until(&pods, "vital", is_bound).await;
    let message = format!("Preempted by pod {} on node node", vital.uid().unwrap());
    let event = told(&client, &message).await;
    assert_eq!(event.related.unwrap().name.as_deref(), Some("vital"));
    world.stop().await;
}
