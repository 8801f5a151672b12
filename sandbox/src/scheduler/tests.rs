use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::Cluster;

fn mk_node(name: &str, patch: &Value) -> Arc<Node> {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "3"}},
    });
    merge(&mut node, patch);
    Arc::new(serde_json::from_value(node).unwrap())
}

fn mk_pod(name: &str, spec: &Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "ns", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c"}]},
    });
    merge(&mut pod["spec"], spec);
    serde_json::from_value(pod).unwrap()
}

fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

fn mk_cluster(nodes: &[Arc<Node>]) -> Cluster {
    let mut cluster = Cluster::default();
    for node in nodes {
        cluster.set_node(node);
    }
    cluster
}

fn cpu(amount: &str) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": amount}}}]})
}

#[test]
fn spreads_over_the_least_loaded_node() {
    let mut cluster = mk_cluster(&[mk_node("a", &json!({})), mk_node("b", &json!({}))]);
    let first = mk_pod("first", &cpu("1"));
    assert_eq!(cluster.pick(&first).unwrap(), "a");
    cluster.place(&first, "a");
    assert_eq!(cluster.pick(&mk_pod("second", &cpu("1"))).unwrap(), "b");
}

#[test]
fn explains_missing_resources_and_takes_them_back_on_release() {
    let mut cluster = mk_cluster(&[mk_node("a", &json!({}))]);
    let large = mk_pod("large", &cpu("1500m"));
    cluster.place(&large, "a");
    let pod = mk_pod("next", &cpu("1"));
    assert_eq!(
        cluster.pick(&pod).unwrap_err(),
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: \
         1 No preemption victims found for incoming pod."
    );
    assert!(cluster.release(&("ns".into(), "large".into())));
    assert_eq!(cluster.pick(&pod).unwrap(), "a");
}

#[test]
fn says_when_there_are_no_nodes() {
    assert_eq!(
        Cluster::default().pick(&mk_pod("p", &json!({}))).unwrap_err(),
        "no nodes available to schedule pods"
    );
}

#[test]
fn counts_pods_against_the_limit_of_the_node() {
    let mut cluster = mk_cluster(&[mk_node("a", &json!({}))]);
    for name in ["1", "2", "3"] {
        cluster.place(&mk_pod(name, &json!({})), "a");
    }
    assert!(cluster.pick(&mk_pod("4", &json!({}))).unwrap_err().contains("1 Too many pods"));
}

#[test]
fn obeys_taints_and_tolerations() {
    let taint = json!({"spec": {"taints": [{"key": "team", "value": "x", "effect": "NoSchedule"}]}});
    let cluster = mk_cluster(&[mk_node("a", &taint)]);
    assert!(
        cluster
            .pick(&mk_pod("p", &json!({})))
            .unwrap_err()
            .starts_with("0/1 nodes are available: 1 node(s) had untolerated taint {team: x}.")
    );
    for toleration in [
        json!({"key": "team", "value": "x", "effect": "NoSchedule"}),
        json!({"key": "team", "operator": "Exists"}),
        json!({"operator": "Exists"}),
    ] {
        let pod = mk_pod("p", &json!({"tolerations": [toleration]}));
        assert_eq!(cluster.pick(&pod).unwrap(), "a");
    }
}

#[test]
fn leaves_cordoned_nodes_alone() {
    let cluster = mk_cluster(&[mk_node("a", &json!({"spec": {"unschedulable": true}}))]);
    assert!(cluster.pick(&mk_pod("p", &json!({}))).unwrap_err().contains("1 node(s) were unschedulable"));
}

#[test]
fn obeys_node_selector_and_affinity() {
    let disk = json!({"metadata": {"labels": {"disk": "ssd", "size": "5"}}});
    let cluster = mk_cluster(&[mk_node("a", &json!({})), mk_node("b", &disk)]);
    assert_eq!(cluster.pick(&mk_pod("p", &json!({"nodeSelector": {"disk": "ssd"}}))).unwrap(), "b");

    let affinity = |requirement: Value| {
        mk_pod(
            "p",
            &json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [requirement]}],
            }}}}),
        )
    };
    for requirement in [
        json!({"key": "disk", "operator": "In", "values": ["ssd"]}),
        json!({"key": "disk", "operator": "Exists"}),
        json!({"key": "size", "operator": "Gt", "values": ["4"]}),
    ] {
        assert_eq!(cluster.pick(&affinity(requirement)).unwrap(), "b");
    }
    let absent = affinity(json!({"key": "disk", "operator": "DoesNotExist"}));
    assert_eq!(cluster.pick(&absent).unwrap(), "a");
    let nowhere = affinity(json!({"key": "disk", "operator": "In", "values": ["tape"]}));
    assert!(
        cluster.pick(&nowhere).unwrap_err().contains("2 node(s) didn't match Pod's node affinity/selector")
    );
}

#[test]
fn keeps_pods_apart_by_anti_affinity() {
    let mut cluster = mk_cluster(&[mk_node("a", &json!({})), mk_node("b", &json!({}))]);
    let pod = mk_pod(
        "p",
        &json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }]}}}),
    );
    cluster.place(&mk_pod("1", &json!({})), "a");
    assert_eq!(cluster.pick(&pod).unwrap(), "b");
    cluster.place(&mk_pod("2", &json!({})), "b");
    assert!(cluster.pick(&pod).unwrap_err().contains("2 node(s) didn't match pod anti-affinity rules"));
}

#[test]
fn lets_the_first_pod_of_a_self_attracting_group_in() {
    let mut cluster = mk_cluster(&[mk_node("a", &json!({})), mk_node("b", &json!({}))]);
    let pod = mk_pod(
        "p",
        &json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }]}}}),
    );
    assert!(cluster.pick(&pod).is_ok());
    cluster.place(&mk_pod("1", &json!({})), "b");
    assert_eq!(cluster.pick(&pod).unwrap(), "b");
}

#[test]
fn does_not_share_host_ports() {
    let mut cluster = mk_cluster(&[mk_node("a", &json!({}))]);
    let ports = json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
    cluster.place(&mk_pod("1", &ports), "a");
    assert!(
        cluster
            .pick(&mk_pod("2", &ports))
            .unwrap_err()
            .contains("1 node(s) didn't have free ports for the requested pod ports")
    );
}

#[test]
fn ignores_node_changes_that_do_not_matter() {
    let mut cluster = mk_cluster(&[]);
    assert!(cluster.set_node(&mk_node("a", &json!({}))));
    assert!(!cluster.set_node(&mk_node("a", &json!({"metadata": {"annotations": {"x": "y"}}}))));
    assert!(cluster.set_node(&mk_node("a", &json!({"spec": {"unschedulable": true}}))));
}
