use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::{Candidate, Cluster, Decision, Nominated, decide};
use crate::profile::Profile;

mod volumes;

fn mk_node(name: &str, patch: &Value) -> Arc<Node> {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "3"}},
    });
    merge(&mut node, patch);
    Arc::new(serde_json::from_value(node).unwrap())
}

/// Where the pod goes, or why it goes nowhere.
fn pick(cluster: &Cluster, pod: &Pod) -> Result<String, String> {
    match decide(pod, cluster, &Nominated::new()) {
        Decision::Bind(node) => Ok(node),
        Decision::Preempt(_, message) | Decision::Wait { message, .. } => Err(message),
    }
}

fn mk_pod(name: &str, spec: &Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "ns", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c"}]},
    });
    merge(&mut pod["spec"], spec);
    Arc::new(serde_json::from_value(pod).unwrap())
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
    let mut cluster = Cluster::new(vec![Profile::default()]);
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
    assert_eq!(pick(&cluster, &first).unwrap(), "a");
    cluster.place(&first, "a");
    assert_eq!(pick(&cluster, &mk_pod("second", &cpu("1"))).unwrap(), "b");
}

#[test]
fn explains_missing_resources_and_takes_them_back_on_release() {
    let mut cluster = mk_cluster(&[mk_node("a", &json!({}))]);
    let large = mk_pod("large", &cpu("1500m"));
    cluster.place(&large, "a");
    let pod = mk_pod("next", &cpu("1"));
    assert_eq!(
        pick(&cluster, &pod).unwrap_err(),
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: \
         1 No preemption victims found for incoming pod."
    );
    assert!(cluster.release(&("ns".into(), "large".into())));
    assert_eq!(pick(&cluster, &pod).unwrap(), "a");
}

#[test]
fn says_when_there_are_no_nodes() {
    assert_eq!(
        pick(&mk_cluster(&[]), &mk_pod("p", &json!({}))).unwrap_err(),
        "no nodes available to schedule pods"
    );
}

#[test]
fn counts_pods_against_the_limit_of_the_node() {
    let mut cluster = mk_cluster(&[mk_node("a", &json!({}))]);
    for name in ["1", "2", "3"] {
        cluster.place(&mk_pod(name, &json!({})), "a");
    }
    assert!(pick(&cluster, &mk_pod("4", &json!({}))).unwrap_err().contains("1 Too many pods"));
}

#[test]
fn obeys_taints_and_tolerations() {
    let taint = json!({"spec": {"taints": [{"key": "team", "value": "x", "effect": "NoSchedule"}]}});
    let cluster = mk_cluster(&[mk_node("a", &taint)]);
    assert!(
        pick(&cluster, &mk_pod("p", &json!({})))
            .unwrap_err()
            .starts_with("0/1 nodes are available: 1 node(s) had untolerated taint(s).")
    );
    for toleration in [
        json!({"key": "team", "value": "x", "effect": "NoSchedule"}),
        json!({"key": "team", "operator": "Exists"}),
        json!({"operator": "Exists"}),
    ] {
        let pod = mk_pod("p", &json!({"tolerations": [toleration]}));
        assert_eq!(pick(&cluster, &pod).unwrap(), "a");
    }
}

#[test]
fn leaves_cordoned_nodes_alone() {
    let cluster = mk_cluster(&[mk_node("a", &json!({"spec": {"unschedulable": true}}))]);
    assert!(pick(&cluster, &mk_pod("p", &json!({}))).unwrap_err().contains("1 node(s) were unschedulable"));
}

#[test]
fn obeys_node_selector_and_affinity() {
    let disk = json!({"metadata": {"labels": {"disk": "ssd", "size": "5"}}});
    let cluster = mk_cluster(&[mk_node("a", &json!({})), mk_node("b", &disk)]);
    assert_eq!(pick(&cluster, &mk_pod("p", &json!({"nodeSelector": {"disk": "ssd"}}))).unwrap(), "b");

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
        assert_eq!(pick(&cluster, &affinity(requirement)).unwrap(), "b");
    }
    let absent = affinity(json!({"key": "disk", "operator": "DoesNotExist"}));
    assert_eq!(pick(&cluster, &absent).unwrap(), "a");
    let nowhere = affinity(json!({"key": "disk", "operator": "In", "values": ["tape"]}));
    assert!(
        pick(&cluster, &nowhere).unwrap_err().contains("2 node(s) didn't match Pod's node affinity/selector")
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
    assert_eq!(pick(&cluster, &pod).unwrap(), "b");
    cluster.place(&mk_pod("2", &json!({})), "b");
    assert!(pick(&cluster, &pod).unwrap_err().contains("2 node(s) didn't match pod anti-affinity rules"));
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
    assert!(pick(&cluster, &pod).is_ok());
    cluster.place(&mk_pod("1", &json!({})), "b");
    assert_eq!(pick(&cluster, &pod).unwrap(), "b");
}

#[test]
fn does_not_share_host_ports() {
    let mut cluster = mk_cluster(&[mk_node("a", &json!({}))]);
    let ports = json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
    cluster.place(&mk_pod("1", &ports), "a");
    assert!(
        pick(&cluster, &mk_pod("2", &ports))
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

fn mk_ranked(name: &str, priority: i32, amount: &str) -> Arc<Pod> {
    let mut spec = cpu(amount);
    spec["priority"] = json!(priority);
    let mut pod = Pod::clone(&mk_pod(name, &spec));
    pod.metadata.uid = Some(name.to_owned());
    Arc::new(pod)
}

fn preemption(pod: &Pod, cluster: &Cluster) -> (Candidate, String) {
    match decide(pod, cluster, &Nominated::new()) {
        Decision::Preempt(candidate, message) => (candidate, message),
        other => panic!("{other:?}"),
    }
}

fn names(candidate: &Candidate) -> Vec<&str> {
    candidate.victims.iter().filter_map(|victim| victim.pod.metadata.name.as_deref()).collect()
}

#[test]
fn a_pod_of_higher_priority_evicts_no_more_pods_than_it_must() {
    let roomy = json!({"status": {"allocatable": {"pods": "9"}}});
    let mut cluster = mk_cluster(&[mk_node("a", &roomy)]);
    cluster.place(&mk_ranked("small", 1, "500m"), "a");
    cluster.place(&mk_ranked("large", 2, "1"), "a");
    cluster.place(&mk_ranked("vital", 100, "500m"), "a");
    let (candidate, message) = preemption(&mk_ranked("new", 10, "400m"), &cluster);
    assert_eq!((candidate.node.as_str(), names(&candidate)), ("a", vec!["small"]));
    assert_eq!(message, "0/1 nodes are available: 1 Insufficient cpu.");
}

#[test]
fn the_node_whose_victims_matter_least_is_chosen() {
    let mut cluster = mk_cluster(&[mk_node("a", &json!({})), mk_node("b", &json!({}))]);
    cluster.place(&mk_ranked("five", 5, "2"), "a");
    cluster.place(&mk_ranked("three", 3, "2"), "b");
    assert_eq!(names(&preemption(&mk_ranked("new", 10, "1"), &cluster).0), ["three"]);
}

#[test]
fn a_node_where_no_disruption_budget_is_broken_comes_before_one_of_lower_priority() {
    let mut cluster = mk_cluster(&[mk_node("a", &json!({})), mk_node("b", &json!({}))]);
    let mut guarded = Pod::clone(&mk_ranked("guarded", 3, "2"));
    guarded.metadata.labels = Some([("app".to_owned(), "db".to_owned())].into());
    cluster.place(&Arc::new(guarded), "a");
    cluster.place(&mk_ranked("free", 5, "2"), "b");
    let budget = json!({
        "metadata": {"name": "db", "namespace": "ns"},
        "spec": {"selector": {"matchLabels": {"app": "db"}}},
        "status": {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1},
    });
    cluster.set_budget(&Arc::new(serde_json::from_value(budget).unwrap()));
    assert_eq!(names(&preemption(&mk_ranked("new", 10, "1"), &cluster).0), ["free"]);
}

#[test]
fn equals_are_not_evicted_and_who_must_not_preempt_does_not() {
    let mut cluster = mk_cluster(&[mk_node("a", &json!({}))]);
    cluster.place(&mk_ranked("peer", 10, "2"), "a");
    assert!(
        pick(&cluster, &mk_ranked("new", 10, "1")).unwrap_err().ends_with(
            "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        )
    );
    let mut meek = Pod::clone(&mk_ranked("meek", 20, "1"));
    meek.spec.as_mut().unwrap().preemption_policy = Some("Never".into());
    assert_eq!(
        pick(&cluster, &meek).unwrap_err(),
        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
    );
}

#[test]
fn room_is_kept_for_a_nominated_pod_from_those_that_matter_less() {
    let cluster = mk_cluster(&[mk_node("a", &json!({}))]);
    let first = mk_ranked("first", 10, "2");
    let key = ("ns".to_owned(), "first".to_owned());
    let nominated = Nominated::from([(key, (first.clone(), "a".to_owned()))]);
    let decided = |pod: &Pod| decide(pod, &cluster, &nominated);
    assert!(matches!(decided(&mk_ranked("low", 1, "1")), Decision::Wait { .. }));
    assert!(matches!(decided(&mk_ranked("high", 20, "1")), Decision::Bind(_)));
    assert!(matches!(decided(&first), Decision::Bind(_)));
}

fn mk_zones() -> Cluster {
    let zone = |zone: &str| json!({"metadata": {"labels": {"zone": zone}}});
    mk_cluster(&[
        mk_node("a", &zone("x")),
        mk_node("b", &zone("x")),
        mk_node("c", &zone("y")),
        mk_node("d", &json!({})),
    ])
}

fn spread(when: &str) -> Value {
    json!({"topologySpreadConstraints": [{
        "topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": {"app": "web"}},
    }]})
}

#[test]
fn pods_are_spread_over_zones_no_more_unevenly_than_they_allow() {
    let mut cluster = mk_zones();
    cluster.place(&mk_pod("1", &json!({})), "a");
    let pod = mk_pod("2", &spread("DoNotSchedule"));
    assert_eq!(pick(&cluster, &pod).unwrap(), "c");
    cluster.place(&pod, "c");
    assert!(pick(&cluster, &mk_pod("3", &spread("DoNotSchedule"))).is_ok());
    for (name, node) in [("3", "a"), ("4", "b")] {
        cluster.place(&mk_pod(name, &json!({})), node);
    }
    let mut only_x = spread("DoNotSchedule");
    only_x["nodeSelector"] = json!({"zone": "x"});
    assert!(pick(&cluster, &mk_pod("5", &only_x)).is_ok(), "nodes that the pod does not select have no part");
    only_x["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = json!("Ignore");
    let refusal = pick(&cluster, &mk_pod("5", &only_x)).unwrap_err();
    assert!(refusal.contains("2 node(s) didn't match pod topology spread constraints"), "{refusal}");
}

#[test]
fn spreading_that_is_only_wished_for_prefers_the_emptier_zone() {
    let mut cluster = mk_zones();
    cluster.place(&mk_pod("1", &json!({})), "a");
    let mut spec = spread("ScheduleAnyway");
    spec["nodeSelector"] = json!({"kubernetes.io/hostname": "b"});
    assert_eq!(pick(&cluster, &mk_pod("2", &spec)).unwrap(), "b");
    let mut labelled = spread("ScheduleAnyway");
    labelled["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}],
    }}});
    assert_eq!(pick(&cluster, &mk_pod("3", &labelled)).unwrap(), "c");
}

#[test]
fn a_pod_is_kept_away_by_those_that_do_not_want_it() {
    let mut cluster = mk_cluster(&[mk_node("a", &json!({}))]);
    let hermit = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
        "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}},
    }]}}});
    cluster.place(&mk_pod("hermit", &hermit), "a");
    let refusal = pick(&cluster, &mk_pod("p", &json!({}))).unwrap_err();
    assert!(refusal.contains("1 node(s) didn't satisfy existing pods anti-affinity rules"), "{refusal}");
}

#[test]
fn preferences_weigh_more_than_free_room() {
    let disk = json!({"metadata": {"labels": {"disk": "ssd"}}});
    let mut cluster = mk_cluster(&[mk_node("a", &json!({})), mk_node("b", &disk)]);
    cluster.place(&mk_pod("1", &cpu("500m")), "b");
    let prefers = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 10, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]},
    }]}}});
    assert_eq!(pick(&cluster, &mk_pod("p", &prefers)).unwrap(), "b");
    assert_eq!(pick(&cluster, &mk_pod("q", &json!({}))).unwrap(), "a");
}

#[test]
fn a_namespace_selector_chooses_namespaces_by_their_labels() {
    let mut cluster = mk_cluster(&[mk_node("a", &json!({})), mk_node("b", &json!({}))]);
    for (name, team) in [("ns", "x"), ("other", "y")] {
        let namespace = json!({"metadata": {"name": name, "labels": {"team": team}}});
        cluster.set_namespace(&serde_json::from_value(namespace).unwrap());
    }
    let mut there = mk_pod("there", &json!({}));
    Arc::make_mut(&mut there).metadata.namespace = Some("other".into());
    cluster.place(&there, "b");
    let near = |namespaces: Value| {
        let mut term = json!({
            "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}},
        });
        merge(&mut term, &namespaces);
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]});
        mk_pod("p", &json!({"affinity": {"podAntiAffinity": required}, "nodeName": null}))
    };
    let b = json!({"nodeSelector": {"kubernetes.io/hostname": "b"}});
    let goes = |namespaces: Value| {
        let mut pod = near(namespaces);
        let spec = Arc::make_mut(&mut pod).spec.as_mut().unwrap();
        spec.node_selector = serde_json::from_value(b["nodeSelector"].clone()).unwrap();
        pick(&cluster, &pod).is_ok()
    };
    assert!(goes(json!({})), "only its own namespace");
    assert!(goes(json!({"namespaceSelector": {"matchLabels": {"team": "x"}}})));
    assert!(!goes(json!({"namespaceSelector": {"matchLabels": {"team": "y"}}})));
    assert!(!goes(json!({"namespaceSelector": {}})), "all of them");
    assert!(!goes(json!({"namespaces": ["other"]})));
}

#[test]
fn a_node_that_has_the_image_is_better() {
    let images = json!({"status": {"images": [{"names": ["web:latest"], "sizeBytes": 900_000_000}]}});
    let cluster = mk_cluster(&[mk_node("a", &json!({})), mk_node("b", &images)]);
    let pod = |image: &str| mk_pod("p", &json!({"containers": [{"name": "c", "image": image}]}));
    assert_eq!(pick(&cluster, &pod("web")).unwrap(), "b");
    assert_eq!(pick(&cluster, &pod("other")).unwrap(), "a");
}

#[test]
fn a_profile_that_packs_prefers_the_fuller_node() {
    let mut cluster = mk_cluster(&[mk_node("a", &json!({})), mk_node("b", &json!({}))]);
    cluster.place(&mk_pod("there", &cpu("1")), "b");
    assert_eq!(pick(&cluster, &mk_pod("p", &cpu("500m"))).unwrap(), "a");
    let strategy = json!({"scoringStrategy": {"type": "MostAllocated"}});
    let profile = json!({
        "plugins": {"score": {"disabled": [{"name": "NodeResourcesBalancedAllocation"}]}},
        "pluginConfig": [{"name": "NodeResourcesFit", "args": strategy}],
    });
    cluster.profiles = Arc::new(Profile::read_all(&[profile]).unwrap());
    assert_eq!(pick(&cluster, &mk_pod("p", &cpu("500m"))).unwrap(), "b");
}
