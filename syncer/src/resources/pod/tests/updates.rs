use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::super::translate::{ephemeral_containers, metadata, to_host};
use super::super::update::{Changes, changes, stamp};
use super::{parse, surroundings, translator, web};

fn live() -> Pod {
    let mut host = to_host(&translator(), &surroundings(), &web());
    stamp(&web(), &mut host.metadata);
    host
}

fn against(pod: &Pod, live: &Pod) -> Changes {
    let (translator, surroundings) = (translator(), surroundings());
    let mut metadata = metadata(&translator, &surroundings, pod);
    stamp(pod, &mut metadata);
    changes(pod, &metadata, &ephemeral_containers(&translator, &surroundings, pod), &[], live)
}

#[test]
fn an_unchanged_pod_is_left_alone() {
    assert_eq!(against(&web(), &live()), Changes::default());
}

#[test]
fn what_host_admission_changed_is_left_alone() {
    let mut live = live();
    let spec = live.spec.as_mut().unwrap();
    spec.containers[0].image = Some("mirror.example/app:1".into());
    spec.tolerations = None;
    live.metadata.annotations.as_mut().unwrap().insert("cni.example/ips".into(), "[]".into());
    live.metadata.labels.as_mut().unwrap().insert("injected".into(), "yes".into());
    assert_eq!(against(&web(), &live), Changes::default());
}

#[test]
fn labels_are_added_and_removed() {
    let mut pod = web();
    let labels = pod.metadata.labels.as_mut().unwrap();
    labels.remove("app");
    labels.insert("tier".into(), "front".into());
    let patch = against(&pod, &live()).patch.unwrap();
    assert_eq!(patch["metadata"]["labels"], json!({ "app": null, "tier": "front" }));
    assert_eq!(patch.get("spec"), None);
}

#[test]
fn a_new_image_reaches_the_host() {
    let mut pod = web();
    pod.spec.as_mut().unwrap().containers[0].image = Some("app:2".into());
    let patch = against(&pod, &live()).patch.unwrap();
    assert_eq!(patch["spec"]["containers"], json!([{ "name": "app", "image": "app:2" }]));
}

#[test]
fn tolerations_are_added_to_those_of_the_host() {
    let mut live = live();
    let added = parse("{spec: {containers: [], tolerations: [{key: host, operator: Exists}]}}");
    live.spec
        .as_mut()
        .unwrap()
        .tolerations
        .as_mut()
        .unwrap()
        .extend(added.spec.unwrap().tolerations.unwrap());
    let mut pod = web();
    let own = parse("{spec: {containers: [], tolerations: [{key: fresh, operator: Exists}]}}");
    pod.spec.as_mut().unwrap().tolerations.as_mut().unwrap().extend(own.spec.unwrap().tolerations.unwrap());

    let patch = against(&pod, &live).patch.unwrap();
    let keys: Vec<_> =
        patch["spec"]["tolerations"].as_array().unwrap().iter().map(|t| t["key"].clone()).collect();
    assert_eq!(keys, ["dedicated", "host", "fresh"]);
}

#[test]
fn opened_scheduling_gates_open_on_the_host() {
    let mut gated = web();
    let opened =
        parse("{spec: {containers: [], schedulingGates: [{name: wait}]}}").spec.unwrap().scheduling_gates;
    gated.spec.as_mut().unwrap().scheduling_gates = opened;
    let mut live = to_host(&translator(), &surroundings(), &gated);
    stamp(&gated, &mut live.metadata);

    let patch = against(&web(), &live).patch.unwrap();
    assert_eq!(patch["spec"]["schedulingGates"], json!([{ "$patch": "delete", "name": "wait" }]));
}

#[test]
fn new_ephemeral_containers_are_translated_and_added_once() {
    let mut pod = web();
    let debug = "{spec: {containers: [], ephemeralContainers: [{name: debug, image: sh, \
                 env: [{name: X, valueFrom: {secretKeyRef: {name: credentials, key: x}}}]}]}}";
    pod.spec.as_mut().unwrap().ephemeral_containers = parse(debug).spec.unwrap().ephemeral_containers;
    let patch = against(&pod, &live()).ephemeral.unwrap();
    let container = &patch["spec"]["ephemeralContainers"][0];
    assert_eq!(container["name"], "debug");
    let own = container["env"].as_array().unwrap().last().unwrap();
    assert_eq!(own["valueFrom"]["secretKeyRef"]["name"], "credentials-x-shop-x-demo");

    let mut live = live();
    live.spec.as_mut().unwrap().ephemeral_containers =
        pod.spec.as_ref().unwrap().ephemeral_containers.clone();
    assert_eq!(against(&pod, &live).ephemeral, None);
}

#[test]
fn resized_containers_are_resized_on_the_host() {
    let mut pod = web();
    let resized = "{spec: {containers: [{name: app, resources: {requests: {cpu: 2}}}]}}";
    pod.spec.as_mut().unwrap().containers[0].resources =
        parse(resized).spec.unwrap().containers[0].resources.clone();
    let changes = against(&pod, &live());
    assert_eq!(changes.resize.unwrap()["spec"]["containers"][0]["resources"]["requests"]["cpu"], "2");
    assert!(changes.patch.unwrap().get("spec").is_none(), "only the digest goes with it");
}

#[test]
fn the_resources_of_a_pod_as_a_whole_are_resized_with_those_of_its_containers() {
    let mut pod = web();
    let whole = parse("{spec: {containers: [], resources: {limits: {cpu: 3}}}}").spec.unwrap().resources;
    pod.spec.as_mut().unwrap().resources = whole;
    let resize = against(&pod, &live()).resize.unwrap();
    assert_eq!(resize["spec"]["resources"]["limits"]["cpu"], "3");
}
