//! Clusters that sleep by their own rule.

use std::net::{Ipv4Addr, SocketAddr};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use tokio::net::TcpStream;
use vkube_crds::VirtualCluster;

use crate::world::{World, host_namespace};

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_sleeps_by_its_schedule_until_it_is_woken() {
    let world = World::start().await;
    // A second after it was made, or woken, for ever.
    world.create("demo", json!({"lifecycle": {"sleep": {"schedule": "@every 1s"}}})).await;
    let asleep = world.condition("demo", "Ready", "False", "Sleeping").await;
    assert_eq!(asleep.spec.replicas, Some(1), "what the user owns is as it was");
    let far = json!({"metadata": {"annotations": {"vkube.dev/wake": "2999-01-01T00:00:00Z"}}});
    world.merge(&world.clusters(), "demo", far).await;
    let awake = world.ready("demo").await;
    let set = world.within::<StatefulSet>(&host_namespace(&awake)).get("demo").await.unwrap();
    assert_eq!(set.spec.unwrap().replicas, Some(1));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_decides_when_a_cluster_sleeps_and_ends() {
    let world = World::start().await;
    let lifecycle = json!({"sleep": {"after": "1h"}, "deleteAfter": {"sinceLastActivity": "2h"}});
    world.create("demo", json!({"lifecycle": lifecycle})).await;
    let namespace = host_namespace(&world.ready("demo").await);
    let set = world.within::<StatefulSet>(&namespace).get("demo").await.unwrap();
    let arguments = set.spec.unwrap().template.spec.unwrap().containers.remove(0).args.unwrap();
    assert!(arguments.contains(&"--report-activity".to_owned()), "{arguments:?}");

    // As the control plane tells it.
    let told =
        json!({"metadata": {"name": "vc-demo-activity"}, "data": {"lastRequest": "2998-01-01T00:00:00Z"}});
    let maps = world.within::<ConfigMap>(&namespace);
    maps.create(&PostParams::default(), &serde_json::from_value(told).unwrap()).await.unwrap();
    world.merge(&world.clusters(), "demo", json!({"metadata": {"labels": {"look": "again"}}})).await;
    let known = |cluster: Option<&VirtualCluster>| {
        let status = cluster.and_then(|cluster| cluster.status.as_ref());
        let text = |time: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
            time.map(|time| time.0.to_string()).unwrap_or_default()
        };
        status.is_some_and(|status| {
            text(status.last_activity_time.as_ref()) == "2998-01-01T00:00:00Z"
                && text(status.delete_at.as_ref()) == "2998-01-01T02:00:00Z"
        })
    };
    world.until(world.clusters(), "demo", "known to be used", known).await;
    assert!(world.clusters().get("demo").await.unwrap().labels().contains_key("look"));
    world.stop().await;
}

/// An address of this machine that an EndpointSlice may have: one of a sandbox's.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 64, 0, 9);

/// The schedule `once SECONDS` is a second after that time, any other is never.
pub fn once(schedule: &str, _: &str, after: Timestamp) -> Result<Option<Timestamp>, String> {
    let made = schedule.strip_prefix("once ").and_then(|text| text.parse().ok());
    let due = made.filter(|made| after.as_second() <= *made);
    Ok(due.map(|made| Timestamp::from_second(made + 1).unwrap()))
}

/// The rule by which a cluster sleeps a second after it was made, until it is woken.
pub fn once_after(cluster: &VirtualCluster) -> serde_json::Value {
    let made = cluster.metadata.creation_timestamp.as_ref().unwrap().0.as_second();
    json!({"lifecycle": {"sleep": {"schedule": format!("once {made}"), "wakeOnConnect": true}}})
}

/// A cluster that went to sleep and wakes when it is connected to.
async fn asleep(world: &World) -> VirtualCluster {
    let rule = json!({"lifecycle": {"sleep": {"schedule": "never", "wakeOnConnect": true}}});
    let made = world.create("demo", rule).await;
    world.ready("demo").await;
    world.merge(&world.clusters(), "demo", json!({"spec": once_after(&made)})).await;
    world.condition("demo", "Ready", "False", "Sleeping").await
}

/// Where the Service of a sleeping cluster leads.
async fn door(world: &World, namespace: &str) -> SocketAddr {
    let slices = world.within::<EndpointSlice>(namespace);
    world.until(slices.clone(), "demo-doorbell", "there", |slice| slice.is_some()).await;
    let slice = slices.get("demo-doorbell").await.unwrap();
    assert_eq!(slice.labels()["kubernetes.io/service-name"], "demo");
    let port = slice.ports.unwrap().remove(0).port.unwrap();
    let address = slice.endpoints.unwrap().remove(0).addresses.remove(0);
    SocketAddr::new(address.parse().unwrap(), u16::try_from(port).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_wakes_when_somebody_connects_also_after_the_operator_has_restarted() {
    let mut world = World::with(|options| {
        options.doors = Some(ADDRESS.into());
        options.next_time = once;
    })
    .await;
    let cluster = asleep(&world).await;
    let namespace = host_namespace(&cluster);
    let before = door(&world, &namespace).await;
    world.kill_operator().await;
    world.start_operator();
    // The door of the operator that is gone may still be in the slice.
    let connect = async {
        loop {
            if let Ok(connection) = TcpStream::connect(door(&world, &namespace).await).await {
                return connection;
            }
            tokio::task::yield_now().await;
        }
    };
    let _held = tokio::time::timeout(crate::world::PATIENCE, connect).await.unwrap();
    let woken = world.ready("demo").await;
    assert!(woken.annotations().contains_key("vkube.dev/wake"), "{before}");
    assert_eq!(woken.spec.replicas, Some(1));
    world.gone(world.within::<EndpointSlice>(&namespace), "demo-doorbell").await;
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new(), "awake, nothing more is written");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_meddles_with_a_door_of_a_sleeping_cluster_finds_it_put_back() {
    let world = World::with(|options| {
        options.doors = Some(ADDRESS.into());
        options.next_time = once;
    })
    .await;
    let namespace = host_namespace(&asleep(&world).await);
    let slices = world.within::<EndpointSlice>(&namespace);
    let right = door(&world, &namespace).await;
    let is_right = |slice: Option<&EndpointSlice>| {
        slice.is_some_and(|slice| {
            slice.endpoints.iter().flatten().all(|at| at.addresses == [right.ip().to_string()])
        })
    };
    let elsewhere = json!({"endpoints": [{"addresses": ["192.0.2.1"]}]});
    world.merge(&slices, "demo-doorbell", elsewhere).await;
    world.until(slices.clone(), "demo-doorbell", "put back", is_right).await;
    let before = slices.get("demo-doorbell").await.unwrap().uid();
    slices.delete("demo-doorbell", &DeleteParams::default()).await.unwrap();
    let another = |slice: Option<&EndpointSlice>| slice.is_some_and(|slice| slice.uid() != before);
    world.until(slices, "demo-doorbell", "there again", another).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_put_to_sleep_stays_so_whoever_connects() {
    let world = World::with(|options| options.doors = Some(ADDRESS.into())).await;
    let sleep = json!({"schedule": "0 0 1 1 *", "wakeOnConnect": true});
    world.create("demo", json!({"replicas": 0, "lifecycle": {"sleep": sleep}})).await;
    let cluster = world.condition("demo", "Ready", "False", "Sleeping").await;
    let slices = world.within::<EndpointSlice>(&host_namespace(&cluster));
    assert!(slices.get_opt("demo-doorbell").await.unwrap().is_none());
    world.stop().await;
}
