use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};

use super::zones::Zone;
use super::*;
use crate::pods::tests::running;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn node(name: &str, ready: Option<(&str, i64)>) -> Node {
    let conditions: Vec<Value> = ready
        .into_iter()
        .map(|(status, heartbeat)| {
            json!({"type": "Ready", "status": status, "lastHeartbeatTime": at(heartbeat).to_string()})
        })
        .collect();
    serde_json::from_value(json!({
        "metadata": {"name": name, "creationTimestamp": at(0).to_string()},
        "status": {"conditions": conditions},
    }))
    .unwrap()
}

fn lease(renewed: i64) -> Lease {
    serde_json::from_value(json!({"spec": {"renewTime": format!("1970-01-01T00:00:{renewed:02}.000000Z")}}))
        .unwrap()
}

fn taints(node: &Node) -> Vec<(String, String)> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.map(|taint| (taint.key.clone(), taint.effect.clone())).collect()
}

#[test]
fn a_node_that_renews_its_lease_is_healthy_however_old_its_status_is() {
    let node = node("a", Some(("True", 0)));
    let mut heard = Heard::first(&node, at(100));
    assert_eq!(heard.overdue(&node, at(140)), Some(Duration::from_secs(10)));
    heard.renewed(&lease(7), at(140));
    heard.renewed(&lease(7), at(189));
    assert_eq!(heard.overdue(&node, at(189)), Some(Duration::from_secs(1)), "the same renewal is no news");
    assert_eq!(heard.overdue(&node, at(190)), None);
}

#[test]
fn a_new_node_has_a_minute_from_its_creation_to_report() {
    let silent = node("a", None);
    let mut heard = Heard::first(&silent, at(30));
    assert_eq!(heard.overdue(&silent, at(59)), Some(Duration::from_secs(1)));
    assert_eq!(heard.overdue(&silent, at(60)), None);
    let told = node("a", Some(("True", 61)));
    heard.told(&told, at(61));
    assert_eq!(heard.overdue(&told, at(110)), Some(Duration::from_secs(1)));
}

#[test]
fn a_silent_node_has_unknown_conditions_and_the_reason_tells_whether_it_ever_spoke() {
    let silent = health::lost(&node("a", Some(("True", 5))), at(60)).unwrap();
    let conditions = silent.status.as_ref().unwrap().conditions.clone().unwrap();
    let told: Vec<_> = conditions
        .iter()
        .map(|one| (one.type_.as_str(), one.status.as_str(), one.reason.as_deref().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("Ready", "Unknown", "NodeStatusUnknown"),
            ("MemoryPressure", "Unknown", "NodeStatusNeverUpdated"),
            ("DiskPressure", "Unknown", "NodeStatusNeverUpdated"),
            ("PIDPressure", "Unknown", "NodeStatusNeverUpdated"),
        ]
    );
    assert_eq!(conditions[0].last_heartbeat_time, Some(time(at(5))), "it is the last one that there was");
    assert_eq!(health::lost(&silent, at(70)), None, "there is nothing left to say");
    let mut heard = Heard::first(&node("a", None), at(0));
    heard.told(&health::lost(&node("a", None), at(60)).unwrap(), at(61));
    assert_eq!(heard.overdue(&silent, at(61)), None, "what we say ourselves is no sign of life");
}

#[test]
fn conditions_become_taints_that_keep_new_pods_away() {
    let mut sick = node("a", Some(("False", 0)));
    let pressure = json!({"type": "MemoryPressure", "status": "True"});
    sick.status
        .as_mut()
        .unwrap()
        .conditions
        .as_mut()
        .unwrap()
        .push(serde_json::from_value(pressure).unwrap());
    let spec = json!({"unschedulable": true, "taints": [
        {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"},
        {"key": "team", "effect": "NoSchedule"},
    ]});
    sick.spec = serde_json::from_value(spec).unwrap();
    let marked = taints::mark(&sick, at(9));
    let keys: Vec<_> = taints(&marked).into_iter().map(|(key, _)| key).collect();
    let prefix = "node.kubernetes.io/";
    let wanted = ["not-ready", "memory-pressure", "unschedulable"].map(|name| format!("{prefix}{name}"));
    assert_eq!(keys[0], "team", "what others put there stays");
    assert_eq!(keys[1..], wanted);
    assert_eq!(taints::mark(&marked, at(10)), marked, "a taint keeps the time when it was added");

    let well = taints::mark(&node("a", Some(("True", 0))), at(9));
    assert_eq!(taints(&well), []);
}

#[test]
fn stable_labels_are_repeated_under_their_beta_names() {
    let mut node = node("a", Some(("True", 0)));
    node.metadata.labels = Some([("kubernetes.io/arch".to_owned(), "arm64".to_owned())].into());
    let labels = taints::mark(&node, at(0)).metadata.labels.unwrap();
    assert_eq!(labels["beta.kubernetes.io/arch"], "arm64");
    assert!(!labels.contains_key("beta.kubernetes.io/os"));
}

#[test]
fn unreachable_and_not_ready_exclude_each_other() {
    let node = node("a", Some(("Unknown", 0)));
    let unreachable = taints::evict(&node, Some(taints::UNREACHABLE), at(1)).unwrap();
    let not_ready = taints::evict(&unreachable, Some(taints::NOT_READY), at(2)).unwrap();
    assert_eq!(taints(&not_ready), [(taints::NOT_READY.to_owned(), "NoExecute".to_owned())]);
    assert_eq!(taints::evict(&not_ready, Some(taints::NOT_READY), at(3)), None);
    assert_eq!(taints(&taints::evict(&not_ready, None, at(3)).unwrap()), []);
}

fn zones(ready: usize, lost: usize) -> Zones {
    let of = |count: usize, status: &'static str| {
        (0..count).map(move |number| node(&format!("{status}-{number}"), Some((status, 0))))
    };
    let nodes: Vec<Node> = of(ready, "True").chain(of(lost, "Unknown")).collect();
    let mut zones = Zones::default();
    assert!(zones.observe(nodes.iter()));
    assert!(!zones.observe(nodes.iter()), "nothing has changed");
    zones
}

#[test]
fn the_nodes_of_a_zone_are_given_up_one_every_ten_seconds() {
    let (mut zones, zone) = (zones(8, 2), Zone::default());
    assert_eq!(zones.turn(&zone, at(100)), Some(Duration::ZERO));
    assert_eq!(zones.turn(&zone, at(104)), Some(Duration::from_secs(6)));
    assert_eq!(zones.turn(&zone, at(110)), Some(Duration::ZERO));
}

#[test]
fn a_zone_that_is_mostly_lost_is_given_up_slowly_if_it_is_large_and_else_not_at_all() {
    let zone = Zone::default();
    assert_eq!(zones(4, 5).turn(&zone, at(0)), None);
    assert_eq!(zones(1, 2).turn(&zone, at(0)), Some(Duration::ZERO), "two nodes are too few to tell");
    let mut large = zones(22, 29);
    assert_eq!(large.turn(&zone, at(0)), Some(Duration::ZERO));
    assert_eq!(large.turn(&zone, at(10)), Some(Duration::from_secs(90)));
}

#[test]
fn when_every_zone_is_lost_nothing_is_given_up() {
    assert!(zones(0, 2).all_lost());
    assert!(!zones(1, 5).all_lost());
    assert!(!Zones::default().all_lost());
}

#[test]
fn the_pods_of_a_silent_node_are_not_ready() {
    let mut pod = running("a");
    let conditions = json!([{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]);
    pod.status.as_mut().unwrap().conditions = serde_json::from_value(conditions).unwrap();
    let unready_ = unready(&pod, at(5)).unwrap();
    let conditions = unready_.status.as_ref().unwrap().conditions.as_ref().unwrap();
    assert_eq!((conditions[0].status.as_str(), conditions[1].status.as_str()), ("False", "True"));
    assert_eq!(conditions[0].last_transition_time, Some(time(at(5))));
    assert_eq!(unready(&unready_, at(9)), None);
}
