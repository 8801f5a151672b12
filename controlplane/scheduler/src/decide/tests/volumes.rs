//! Pods and their volumes.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vkube_watch::feed::{self, Key};

use super::{mk_pod, mk_zones, pick};

fn keep<K: Resource + DeserializeOwned>(known: &mut BTreeMap<Key, Arc<K>>, object: Value) {
    let object: K = serde_json::from_value(object).unwrap();
    known.insert(feed::key(&object), Arc::new(object));
}

fn claim(class: &str, volume: Option<&str>, mode: &str) -> Value {
    json!({
        "metadata": {"name": "data", "namespace": "ns"},
        "spec": {
            "storageClassName": class, "volumeName": volume, "accessModes": [mode],
            "resources": {"requests": {"storage": "1Gi"}},
        },
        "status": {"phase": if volume.is_some() { "Bound" } else { "Pending" }},
    })
}

fn volume(name: &str, size: &str, zone: &str) -> Value {
    let terms = json!([{"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}]);
    json!({
        "metadata": {"name": name},
        "spec": {
            "storageClassName": "local", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": size},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
            "csi": {"driver": "d", "volumeHandle": name},
        },
    })
}

fn user(name: &str) -> Arc<Pod> {
    mk_pod(name, &json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}))
}

fn class(provisioner: &str) -> Value {
    let mode = "WaitForFirstConsumer";
    json!({"metadata": {"name": "local"}, "provisioner": provisioner, "volumeBindingMode": mode})
}

#[test]
fn a_pod_goes_where_its_volume_is() {
    let mut cluster = mk_zones();
    keep(&mut cluster.volumes.claims, claim("local", Some("v"), "ReadWriteOnce"));
    assert!(
        pick(&cluster, &user("p"))
            .unwrap_err()
            .contains("4 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)")
    );
    keep(&mut cluster.volumes.volumes, volume("v", "1Gi", "y"));
    assert_eq!(pick(&cluster, &user("p")).unwrap(), "c");
    keep(&mut cluster.volumes.volumes, volume("v", "1Gi", "z"));
    let refusal = pick(&cluster, &user("p")).unwrap_err();
    assert!(refusal.contains("4 node(s) didn't match PersistentVolume's node affinity"), "{refusal}");
    cluster.volumes.elsewhere = true;
    assert!(pick(&cluster, &user("p")).is_ok(), "whose volumes they are sees to it");
}

#[test]
fn a_claim_without_a_volume_is_waited_for_unless_it_waits_for_the_pod() {
    let mut cluster = mk_zones();
    keep(&mut cluster.volumes.claims, claim("local", None, "ReadWriteOnce"));
    assert_eq!(
        pick(&cluster, &user("p")).unwrap_err(),
        "0/4 nodes are available: pod has unbound immediate PersistentVolumeClaims. \
         preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."
    );
    keep(&mut cluster.volumes.classes, class("kubernetes.io/no-provisioner"));
    let refusal = pick(&cluster, &user("p")).unwrap_err();
    assert!(refusal.contains("4 node(s) didn't find available persistent volumes to bind"), "{refusal}");
    keep(&mut cluster.volumes.volumes, volume("small", "1Mi", "x"));
    keep(&mut cluster.volumes.volumes, volume("large", "9Gi", "y"));
    keep(&mut cluster.volumes.volumes, volume("fitting", "2Gi", "y"));
    assert_eq!(pick(&cluster, &user("p")).unwrap(), "c");
    let waiting = cluster.volumes.waiting(&user("p"), cluster.node("c").unwrap());
    let names: Vec<_> =
        waiting.iter().map(|(_, volume)| volume.as_ref().unwrap().metadata.name.clone()).collect();
    assert_eq!(names, [Some("fitting".to_owned())], "the smallest that is large enough");

    let mut made = class("example.com/p");
    made["allowedTopologies"] = json!([{"matchLabelExpressions": [{"key": "zone", "values": ["x"]}]}]);
    keep(&mut cluster.volumes.classes, made);
    let mut only_x = user("p");
    Arc::make_mut(&mut only_x).spec.as_mut().unwrap().node_selector =
        Some([("zone".to_owned(), "x".to_owned())].into());
    assert!(pick(&cluster, &only_x).is_ok(), "one can be made there");
}

#[test]
fn a_node_has_no_more_volumes_than_its_driver_can_attach() {
    let mut cluster = mk_zones();
    keep(&mut cluster.volumes.claims, claim("local", Some("v"), "ReadWriteOnce"));
    keep(&mut cluster.volumes.volumes, volume("v", "1Gi", "y"));
    let drivers = json!([{"name": "d", "nodeID": "c", "allocatable": {"count": 1}}]);
    keep(&mut cluster.volumes.nodes, json!({"metadata": {"name": "c"}, "spec": {"drivers": drivers}}));
    cluster.place(&user("first"), "c");
    assert_eq!(pick(&cluster, &user("second")).unwrap(), "c", "it is the same volume");
    let mut other = claim("local", Some("w"), "ReadWriteOnce");
    other["metadata"]["name"] = json!("other");
    keep(&mut cluster.volumes.claims, other);
    keep(&mut cluster.volumes.volumes, volume("w", "1Gi", "y"));
    let volumes = json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "other"}}]});
    let refusal = pick(&cluster, &mk_pod("third", &volumes)).unwrap_err();
    assert!(refusal.contains("1 node(s) exceed max volume count"), "{refusal}");
}

#[test]
fn a_read_write_once_pod_claim_has_one_pod() {
    let mut cluster = mk_zones();
    keep(&mut cluster.volumes.claims, claim("local", Some("v"), "ReadWriteOncePod"));
    keep(&mut cluster.volumes.volumes, volume("v", "1Gi", "y"));
    assert!(pick(&cluster, &user("first")).is_ok());
    cluster.place(&user("first"), "c");
    let refusal = pick(&cluster, &user("second")).unwrap_err();
    assert!(
        refusal.contains("node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod")
    );
}

#[test]
fn a_driver_that_publishes_its_room_is_asked_for_it() {
    let mut cluster = mk_zones();
    keep(&mut cluster.volumes.claims, claim("local", None, "ReadWriteOnce"));
    keep(&mut cluster.volumes.classes, class("d"));
    let driver = |publishes: bool| json!({"metadata": {"name": "d"}, "spec": {"storageCapacity": publishes}});
    keep(&mut cluster.volumes.drivers, driver(true));
    let refusal = pick(&cluster, &user("p")).unwrap_err();
    assert!(refusal.contains("4 node(s) did not have enough free storage"), "{refusal}");
    let room = |zone: &str, capacity: &str, largest: Option<&str>| {
        json!({
            "metadata": {"name": zone, "namespace": "ns"}, "storageClassName": "local",
            "nodeTopology": {"matchLabels": {"zone": zone}}, "capacity": capacity, "maximumVolumeSize": largest,
        })
    };
    keep(&mut cluster.volumes.capacities, room("x", "9Gi", Some("500Mi")));
    keep(&mut cluster.volumes.capacities, room("y", "1Gi", None));
    assert_eq!(pick(&cluster, &user("p")).unwrap(), "c");
    keep(&mut cluster.volumes.drivers, driver(false));
    assert_eq!(pick(&cluster, &user("p")).unwrap(), "a");
}
