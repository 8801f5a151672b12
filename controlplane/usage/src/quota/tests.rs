use serde_json::json;

use super::*;

const PODS: Resource<'static> = Resource::core("pods");

fn shown(usage: &Amounts) -> Vec<String> {
    usage.iter().map(|(name, amount)| format!("{name}={amount}")).collect()
}

fn pod(change: &Value) -> Value {
    let resources = json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}});
    let containers = json!([{"name": "main", "resources": resources}]);
    let mut pod = json!({"metadata": {"name": "web"}, "spec": {"containers": containers}});
    for (key, value) in change.as_object().unwrap() {
        pod["spec"][key] = value.clone();
    }
    pod
}

#[test]
fn a_pod_uses_what_its_containers_request_until_it_ends() {
    let mut one = pod(&json!({}));
    assert_eq!(
        shown(&of(PODS, &one)),
        [
            "count/pods=1",
            "cpu=100m",
            "limits.memory=1Gi",
            "memory=64Mi",
            "pods=1",
            "requests.cpu=100m",
            "requests.memory=64Mi",
        ]
    );
    one["status"] = json!({"phase": "Succeeded"});
    assert_eq!(shown(&of(PODS, &one)), ["count/pods=1"]);
}

#[test]
fn load_balancers_use_a_node_port_for_each_port_unless_they_allocate_none() {
    let service = |allocate: bool| {
        let ports = json!([{"port": 80}, {"port": 443}]);
        json!({"spec": {"type": "LoadBalancer", "ports": ports, "allocateLoadBalancerNodePorts": allocate}})
    };
    let services = Resource::core("services");
    assert_eq!(
        shown(&of(services, &service(true))),
        ["count/services=1", "services=1", "services.loadbalancers=1", "services.nodeports=2"]
    );
    assert_eq!(
        shown(&of(services, &service(false))),
        ["count/services=1", "services=1", "services.loadbalancers=1"]
    );
}

#[test]
fn claims_count_for_their_storage_class_too() {
    let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "5Gi"}}}});
    assert_eq!(
        shown(&of(Resource::core("persistentvolumeclaims"), &claim)),
        [
            "count/persistentvolumeclaims=1",
            "gold.storageclass.storage.k8s.io/persistentvolumeclaims=1",
            "gold.storageclass.storage.k8s.io/requests.storage=5Gi",
            "persistentvolumeclaims=1",
            "requests.storage=5Gi",
        ]
    );
}

#[test]
fn scopes_limit_a_quota_to_some_pods() {
    let plain = pod(&json!({}));
    let best_effort = json!({"spec": {"containers": [{"name": "main"}]}});
    let limited = pod(&json!({"activeDeadlineSeconds": 5, "priorityClassName": "high"}));
    let quota = |scopes: &[&str]| json!({"spec": {"scopes": scopes}});
    for (scope, matching) in [
        ("Terminating", [false, false, true]),
        ("NotTerminating", [true, true, false]),
        ("BestEffort", [false, true, false]),
        ("NotBestEffort", [true, false, true]),
        ("PriorityClass", [false, false, true]),
    ] {
        let found = [&plain, &best_effort, &limited].map(|pod| matches(&quota(&[scope]), PODS, pod));
        assert_eq!(found, matching, "{scope}");
    }
    assert!(!matches(&quota(&["BestEffort"]), Resource::core("services"), &json!({})));
}

#[test]
fn a_scope_selector_compares_values() {
    let quota = |operator: &str| {
        json!({"spec": {"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": ["high"]},
        ]}}})
    };
    let high = pod(&json!({"priorityClassName": "high"}));
    assert!(matches(&quota("In"), PODS, &high));
    assert!(!matches(&quota("NotIn"), PODS, &high));
    assert!(matches(&quota("NotIn"), PODS, &pod(&json!({}))));
}

#[test]
fn a_total_names_each_limit_even_if_nothing_is_used() {
    let quota = json!({"spec": {"hard": {"pods": "3", "requests.cpu": "1", "limits.cpu": "2"}}});
    let pods = [pod(&json!({})), pod(&json!({}))];
    let used = total(&limits(&quota), &quota, pods.iter().map(|pod| (PODS, pod)));
    assert_eq!(shown(&used), ["limits.cpu=0", "pods=2", "requests.cpu=200m"]);
}

#[test]
fn names_say_what_they_count() {
    assert_eq!(counted("configmaps"), Some(Resource::core("configmaps")));
    assert_eq!(counted("count/jobs.batch"), Some(Resource { group: "batch", plural: "jobs" }));
    assert_eq!(counted("count/pods"), None);
    assert_eq!(counted("requests.cpu"), None);
    assert!(belongs(PODS, "requests.nvidia.com/gpu") && belongs(PODS, "count/pods"));
    assert!(!belongs(PODS, "requests.storage"));
}

#[test]
fn devices_are_charged_by_class_and_alternatives_by_the_worst_of_them() {
    let exactly = |class: &str, rest: Value| {
        let mut wish = json!({"deviceClassName": class});
        wish.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        wish
    };
    let claim = json!({"spec": {"devices": {"requests": [
        {"name": "a", "exactly": exactly("gpu", json!({"allocationMode": "ExactCount", "count": 2}))},
        {"name": "b", "exactly": exactly("nic", json!({"allocationMode": "All"}))},
        {"name": "c", "firstAvailable": [
            exactly("gpu", json!({"allocationMode": "ExactCount", "count": 1})),
            exactly("gpu", json!({"allocationMode": "ExactCount", "count": 4})),
        ]},
    ]}}});
    let claims = Resource { group: "resource.k8s.io", plural: "resourceclaims" };
    let used = of(claims, &claim);
    let amount = |name: &str| used.get(name).map(ToString::to_string);
    assert_eq!(amount("count/resourceclaims.resource.k8s.io").as_deref(), Some("1"));
    assert_eq!(amount("gpu.deviceclass.resource.k8s.io/devices").as_deref(), Some("6"));
    assert_eq!(amount("nic.deviceclass.resource.k8s.io/devices").as_deref(), Some("32"));
    assert!(belongs(claims, "gpu.deviceclass.resource.k8s.io/devices"));
    assert!(!belongs(Resource::core("pods"), "requests.deviceclass.resource.k8s.io/devices"));
}
