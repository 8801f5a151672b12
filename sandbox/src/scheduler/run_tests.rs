//! The scheduler against a real API server in memory.

use k8s_openapi::api::{core::v1::Event, scheduling::v1::PriorityClass};
use kube::runtime::{
    WatchStreamExt,
    wait::{Condition, await_condition},
    watcher,
};
use tokio_util::sync::CancellationToken;
use vkube_apiserver::{
    instance::{Instance, Options},
    user::User,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

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

#[tokio::test]
async fn a_pod_of_higher_priority_gets_the_node_that_another_leaves_for_it() {
    let disable_admission = vec!["TaintNodesByCondition".to_owned(), "ServiceAccount".to_owned()];
    let instance = Instance::start(Options { disable_admission, ..Options::default() }).await.unwrap();
    let client = Client::new(instance.server.service(User::component("admin")), "default");
    let stop = CancellationToken::new();
    tokio::spawn(stop.clone().run_until_cancelled_owned(run(client.clone())));
    let node = json!({"metadata": {"name": "node"}});
    let status = json!({"status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "9"}}});
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    nodes.patch_status("node", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let class = json!({"metadata": {"name": "vital"}, "value": 1000});
    let classes: Api<PriorityClass> = Api::all(client.clone());
    classes.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();

    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
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
    let events: Api<Event> = Api::namespaced(client, "default");
    let message = format!("Preempted by pod {} on node node", vital.uid().unwrap());
    let told = watcher(events, watcher::Config::default())
        .applied_objects()
        .any(async |event| event.unwrap().message.as_ref() == Some(&message));
    assert!(tokio::time::timeout(PATIENCE, told).await.expect("the event was not written"));
    stop.cancel();
    instance.stop().await;
}
