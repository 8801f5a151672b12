use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vkube_watch::feed;

use super::*;

fn keep<K: Resource + DeserializeOwned>(known: &mut BTreeMap<Key, Arc<K>>, object: Value) {
    let object: K = serde_json::from_value(object).unwrap();
    known.insert(feed::key(&object), Arc::new(object));
}

fn node(name: &str) -> Node {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"zone": "a"}}})).unwrap()
}

fn pod(name: &str, claims: &[&str]) -> Pod {
    let claims: Vec<Value> =
        claims.iter().map(|claim| json!({"name": claim, "resourceClaimName": claim})).collect();
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name},
        "spec": {"containers": [], "resourceClaims": claims},
    }))
    .unwrap()
}

fn slice(name: &str, at: Value, devices: Value) -> Value {
    let mut slice = json!({
        "metadata": {"name": name},
        "spec": {
            "driver": "d", "pool": {"name": name, "generation": 1, "resourceSliceCount": 1}, "devices": devices,
        },
    });
    slice["spec"].as_object_mut().unwrap().extend(at.as_object().unwrap().clone());
    slice
}

fn gpu(name: &str, model: &str) -> Value {
    json!({"name": name, "attributes": {"model": {"string": model}}})
}

fn claim(name: &str, devices: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": {"devices": devices}})
}

fn exactly(name: &str, more: Value) -> Value {
    let mut exactly = json!({"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1});
    exactly.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"name": name, "exactly": exactly})
}

/// The node `n` has two old devices and a new one; everybody can have one from the net. An expression is the model that
/// it selects, or `any`.
fn devices() -> Devices {
    let selector = DeviceSelector::new(|expression, _, device| {
        let model = device.attributes.as_ref().and_then(|all| all.get("model")?.string.clone());
        match expression {
            "broken" => Err("no such key: x".to_owned()),
            "any" => Ok(true),
            wanted => Ok(model.as_deref() == Some(wanted)),
        }
    });
    let mut devices = Devices { selector: Some(selector), ..Devices::default() };
    let local = json!([gpu("0", "old"), gpu("1", "new"), gpu("2", "old")]);
    keep(&mut devices.slices, slice("n", json!({"nodeName": "n"}), local));
    keep(&mut devices.slices, slice("net", json!({"allNodes": true}), json!([gpu("far", "net")])));
    let config = json!([{"opaque": {"driver": "d", "parameters": {"a": 1}}}]);
    let spec = json!({"selectors": [{"cel": {"expression": "any"}}], "config": config});
    keep(&mut devices.classes, json!({"metadata": {"name": "gpu"}, "spec": spec}));
    devices
}

fn with(claims: &[Value]) -> Devices {
    let mut devices = devices();
    for claim in claims {
        keep(&mut devices.claims, claim.clone());
    }
    devices
}

/// What the pod's claims are given on the node: for each, its requests with the names of their devices.
fn given(devices: &Devices, pod: &Pod, node: &Node) -> Result<Vec<String>, String> {
    devices.fit(pod, node).map_err(|unfit| unfit.reasons.join(", "))?;
    let grants = devices.grants(pod, node)?;
    let allocations = grants.into_iter().filter_map(|grant| grant.allocation);
    let told = allocations.map(|allocation| {
        let results = allocation.devices.unwrap().results.unwrap();
        let told: Vec<String> =
            results.iter().map(|one| format!("{}={}/{}", one.request, one.pool, one.device)).collect();
        told.join(" ")
    });
    Ok(told.collect())
}

fn model(name: &str) -> Value {
    json!({"selectors": [{"cel": {"expression": name}}]})
}

#[test]
fn a_claim_gets_as_many_devices_as_it_asks_for_where_they_are() {
    let two = exactly("r", json!({"count": 2, "selectors": [{"cel": {"expression": "old"}}]}));
    let devices = with(&[claim("c", json!({"requests": [two]}))]);
    let pod = pod("p", &["c"]);
    assert_eq!(given(&devices, &pod, &node("n")), Ok(vec!["r=n/0 r=n/2".to_owned()]));
    assert_eq!(given(&devices, &pod, &node("other")), Err("cannot allocate all claims".to_owned()));

    let allocation = devices.grants(&pod, &node("n")).unwrap().remove(0).allocation.unwrap();
    let terms = allocation.node_selector.unwrap().node_selector_terms;
    let field = &terms[0].match_fields.as_ref().unwrap()[0];
    assert_eq!((field.key.as_str(), field.values.as_deref()), ("metadata.name", Some(&["n".to_owned()][..])));
    let config = allocation.devices.unwrap().config.unwrap();
    assert_eq!((config.len(), config[0].source.as_str()), (1, "FromClass"));
    assert_eq!(config[0].requests.as_deref(), Some(&["r".to_owned()][..]));
}

#[test]
fn what_every_node_can_reach_ties_a_claim_to_none() {
    let devices = with(&[claim("c", json!({"requests": [exactly("r", model("net"))]}))]);
    let allocation = devices.grants(&pod("p", &["c"]), &node("x")).unwrap().remove(0).allocation.unwrap();
    assert_eq!(allocation.node_selector, None);
}

#[test]
fn all_devices_are_those_that_match_and_only_if_nobody_else_has_one() {
    let all =
        exactly("r", json!({"allocationMode": "All", "count": null, "selectors": model("old")["selectors"]}));
    let mut devices = with(&[claim("c", json!({"requests": [all]}))]);
    let pod = pod("p", &["c"]);
    assert_eq!(given(&devices, &pod, &node("n")), Ok(vec!["r=n/0 r=n/2".to_owned()]));
    let mut other = claim("other", json!({"requests": []}));
    let taken = json!([{"request": "r", "driver": "d", "pool": "n", "device": "2"}]);
    other["status"] = json!({"allocation": {"devices": {"results": taken}}});
    keep(&mut devices.claims, other);
    assert_eq!(given(&devices, &pod, &node("n")), Err("cannot allocate all claims".to_owned()));
}

#[test]
fn a_device_is_given_once_and_one_that_is_promised_counts_as_given() {
    let one = |name: &str| claim(name, json!({"requests": [exactly("r", model("new"))]}));
    let mut devices = with(&[one("a"), one("b")]);
    let (first, second) = (pod("first", &["a"]), pod("second", &["b"]));
    assert!(devices.fit(&pod("both", &["a", "b"]), &node("n")).is_err(), "there is only one");
    let grants = devices.grants(&first, &node("n")).unwrap();
    devices.promise(&grants);
    assert!(devices.fit(&second, &node("n")).is_err());
    let why = devices.obstacle(&first).unwrap();
    assert_eq!(why, "resource claim ns/a is in the process of being allocated");
    devices.settle(&grants);
    assert_eq!(given(&devices, &second, &node("n")), Ok(vec!["r=n/1".to_owned()]));
}

#[test]
fn the_first_alternative_that_can_be_had_is_taken() {
    let alternative = |name: &str, model: &str, count: u32| {
        let selectors = json!([{"cel": {"expression": model}}]);
        let mode = "ExactCount";
        json!({"name": name, "deviceClassName": "gpu", "allocationMode": mode, "count": count, "selectors": selectors})
    };
    let request = json!({"name": "r", "firstAvailable": [alternative("best", "new", 2), alternative("next", "old", 2)]});
    let devices = with(&[claim("c", json!({"requests": [request]}))]);
    assert_eq!(given(&devices, &pod("p", &["c"]), &node("n")), Ok(vec!["r/next=n/0 r/next=n/2".to_owned()]));
}

#[test]
fn constraints_hold_between_requests() {
    let requests = json!([exactly("x", json!({})), exactly("y", json!({}))]);
    let with_constraint = |constraint: Value| {
        let devices = with(&[claim("c", json!({"requests": requests, "constraints": [constraint]}))]);
        given(&devices, &pod("p", &["c"]), &node("n"))
    };
    assert_eq!(with_constraint(json!({"matchAttribute": "d/model"})), Ok(vec!["x=n/0 y=n/2".to_owned()]));
    assert_eq!(with_constraint(json!({"distinctAttribute": "d/model"})), Ok(vec!["x=n/0 y=n/1".to_owned()]));
    assert!(with_constraint(json!({"matchAttribute": "d/serial"})).is_err(), "no device has that");
}

#[test]
fn tainted_devices_go_to_who_tolerates_that() {
    let mut devices = with(&[
        claim("c", json!({"requests": [exactly("r", model("bad"))]})),
        claim(
            "t",
            json!({"requests": [exactly("r", json!({
                "selectors": [{"cel": {"expression": "bad"}}], "tolerations": [{"key": "broken", "operator": "Exists"}],
            }))]}),
        ),
    ]);
    let mut bad = gpu("bad", "bad");
    bad["taints"] = json!([{"key": "broken", "effect": "NoSchedule"}]);
    keep(&mut devices.slices, slice("m", json!({"nodeName": "n"}), json!([bad])));
    assert!(devices.fit(&pod("p", &["c"]), &node("n")).is_err());
    assert_eq!(given(&devices, &pod("p", &["t"]), &node("n")), Ok(vec!["r=m/bad".to_owned()]));
}

#[test]
fn devices_that_share_counters_are_given_out_while_those_last() {
    let part = |name: &str, memory: &str| {
        let counters = json!({"memory": {"value": memory}});
        json!({
            "name": name, "attributes": {"model": {"string": "part"}},
            "consumesCounters": [{"counterSet": "gpu", "counters": counters}],
        })
    };
    let one = |name: &str| claim(name, json!({"requests": [exactly("r", model("part"))]}));
    let mut devices = with(&[one("a"), one("b")]);
    let mut shared =
        slice("m", json!({"nodeName": "n"}), json!([part("big", "30Gi"), part("small", "10Gi")]));
    shared["spec"]["sharedCounters"] = json!([{"name": "gpu", "counters": {"memory": {"value": "40Gi"}}}]);
    keep(&mut devices.slices, shared.clone());
    let both = pod("both", &["a", "b"]);
    let given_to_both = given(&devices, &both, &node("n"));
    assert_eq!(given_to_both, Ok(vec!["r=m/big".to_owned(), "r=m/small".to_owned()]));

    shared["spec"]["sharedCounters"][0]["counters"]["memory"]["value"] = json!("35Gi");
    keep(&mut devices.slices, shared);
    assert!(devices.fit(&both, &node("n")).is_err());
    let grants = devices.grants(&pod("first", &["a"]), &node("n")).unwrap();
    devices.promise(&grants);
    assert!(devices.fit(&pod("second", &["b"]), &node("n")).is_err(), "too little is left");
}

#[test]
fn pools_that_are_being_updated_are_not_given_out() {
    let mut devices = with(&[claim("c", json!({"requests": [exactly("r", model("new"))]}))]);
    let mut newer = slice("n2", json!({"nodeName": "n"}), json!([gpu("9", "new")]));
    newer["spec"]["pool"] = json!({"name": "n", "generation": 2, "resourceSliceCount": 2});
    keep(&mut devices.slices, newer);
    assert_eq!(given(&devices, &pod("p", &["c"]), &node("n")), Err("cannot allocate all claims".to_owned()));
}

#[test]
fn a_pod_waits_for_claims_and_classes_that_are_not_there() {
    let devices = with(&[claim(
        "c",
        json!({"requests": [
            {"name": "r", "exactly": {"deviceClassName": "none", "allocationMode": "ExactCount", "count": 1}},
        ]}),
    )]);
    assert_eq!(devices.obstacle(&pod("p", &["c"])).unwrap(), "request r: device class none does not exist");
    let missing = devices.obstacle(&pod("p", &["x"])).unwrap();
    assert_eq!(missing, "resourceclaim.resource.k8s.io \"x\" not found");
    let mut templated = pod("p", &[]);
    let claims = json!([{"name": "gpu", "resourceClaimTemplateName": "t"}]);
    templated.spec.as_mut().unwrap().resource_claims = serde_json::from_value(claims).unwrap();
    let why = devices.obstacle(&templated).unwrap();
    assert_eq!(why, "pod \"ns/p\": pod claim \"gpu\": resource claim not created yet");
    let elsewhere = Devices { selector: None, ..devices };
    assert_eq!(elsewhere.obstacle(&templated), None, "whose devices they are sees to it");
}

#[test]
fn a_claim_with_devices_ties_its_pods_to_where_they_are() {
    let mut shared = claim("c", json!({"requests": [exactly("r", json!({}))]}));
    let field = json!({"key": "metadata.name", "operator": "In", "values": ["n"]});
    let results = json!([{"request": "r", "driver": "d", "pool": "n", "device": "0"}]);
    shared["status"] = json!({
        "allocation": {
            "devices": {"results": results}, "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [field]}]},
        },
        "reservedFor": [{"resource": "pods", "name": "p", "uid": "p"}],
    });
    let mut devices = with(&[shared.clone()]);
    let refusal = devices.fit(&pod("p", &["c"]), &node("other")).unwrap_err();
    assert_eq!(refusal.reasons, ["resourceclaim not available on the node"]);
    assert!(devices.grants(&pod("p", &["c"]), &node("n")).unwrap().is_empty(), "it uses it already");
    let grants = devices.grants(&pod("second", &["c"]), &node("n")).unwrap();
    assert!(grants.len() == 1 && grants[0].allocation.is_none(), "it only has to be noted");

    let (here, nodes) = (node("n"), [node("n"), node("other")]);
    assert!(devices.idle(&pod("second", &["c"]), nodes.iter()).is_none(), "another uses it");
    assert!(devices.idle(&pod("p", &["c"]), nodes.iter()).is_some());
    assert!(devices.idle(&pod("p", &["c"]), [&here].into_iter()).is_none(), "its devices are in reach");
    shared["status"]["reservedFor"] = json!([]);
    keep(&mut devices.claims, shared);
    assert!(devices.idle(&pod("second", &["c"]), nodes.iter()).is_some());
}

#[test]
fn an_expression_that_fails_is_told() {
    let devices = with(&[claim("c", json!({"requests": [exactly("r", model("broken"))]}))]);
    let why = given(&devices, &pod("p", &["c"]), &node("n")).unwrap_err();
    assert_eq!(why, "claim c: selector #0 of request r: no such key: x");
}
