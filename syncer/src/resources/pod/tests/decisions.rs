use k8s_openapi::api::core::v1::Pod;

use super::super::decide::{Placement, Step};
use super::parse;

/// What there is to do where the host schedules.
fn decide(pod: Option<&Pod>, host: Option<&Pod>) -> Step {
    super::super::decide::decide(pod, host, Placement::Host)
}

fn pod(extra: &str) -> Pod {
    parse(&format!("{{metadata: {{name: p, namespace: n, uid: u1{extra}"))
}

fn virtual_pod() -> Pod {
    pod("}, spec: {containers: []}, status: {phase: Pending}}")
}

fn running() -> Pod {
    pod(
        "}, spec: {containers: [], nodeName: n1}, status: {phase: Running, startTime: '2026-01-01T00:00:00Z'}}",
    )
}

fn host() -> Pod {
    pod(", annotations: {vkube.dev/object-uid: u1}}, spec: {containers: [], nodeName: n1}}")
}

fn deleting(mut pod: Pod, grace: i64) -> Pod {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
    pod.metadata.deletion_grace_period_seconds = Some(grace);
    pod
}

#[test]
fn a_new_pod_is_created_on_the_host() {
    assert_eq!(decide(Some(&virtual_pod()), None), Step::Create);
}

#[test]
fn both_pods_exchange() {
    assert_eq!(decide(Some(&running()), Some(&host())), Step::Exchange);
}

#[test]
fn a_host_pod_without_a_virtual_one_is_discarded() {
    assert_eq!(decide(None, Some(&host())), Step::Discard);
    assert_eq!(decide(None, Some(&deleting(host(), 30))), Step::Nothing);
}

#[test]
fn a_host_pod_of_an_earlier_pod_makes_room() {
    let mut successor = virtual_pod();
    successor.metadata.uid = Some("u2".into());
    assert_eq!(decide(Some(&successor), Some(&host())), Step::Discard);
    assert_eq!(decide(Some(&successor), Some(&deleting(host(), 30))), Step::Nothing);
}

#[test]
fn deletion_reaches_the_host_with_its_grace_period() {
    assert_eq!(decide(Some(&deleting(running(), 5)), Some(&host())), Step::Terminate { grace: Some(5) });
}

#[test]
fn a_shortened_grace_period_reaches_the_host() {
    let (pod, host) = (deleting(running(), 0), deleting(host(), 30));
    assert_eq!(decide(Some(&pod), Some(&host)), Step::Terminate { grace: Some(0) });
    assert_eq!(decide(Some(&deleting(running(), 30)), Some(&host)), Step::Exchange, "status until the end");
}

#[test]
fn deletion_on_the_host_reaches_the_virtual_pod() {
    assert_eq!(decide(Some(&running()), Some(&deleting(host(), 7))), Step::Evict { grace: 7 });
}

#[test]
fn a_pod_is_finished_when_its_host_pod_is_gone() {
    assert_eq!(decide(Some(&deleting(running(), 30)), None), Step::Finish);
    assert_eq!(decide(Some(&running()), None), Step::Finish, "vanished");
}

#[test]
fn a_pod_that_never_started_is_created_again() {
    let pending = pod(
        "}, spec: {containers: []}, status: {phase: Pending, conditions: [{type: PodScheduled, status: 'False'}]}}",
    );
    assert_eq!(decide(Some(&pending), None), Step::Create);
}

#[test]
fn finished_pods_outlive_their_host_pod() {
    let done = pod(
        "}, spec: {containers: [], nodeName: n1}, status: {phase: Succeeded, startTime: '2026-01-01T00:00:00Z'}}",
    );
    assert_eq!(decide(Some(&done), None), Step::Nothing);
}

#[test]
fn pods_on_different_nodes_cannot_be_the_same() {
    let mut other = running();
    other.spec.as_mut().unwrap().node_name = Some("n2".into());
    assert_eq!(decide(Some(&other), Some(&host())), Step::Evict { grace: 0 });
}

#[test]
fn where_the_virtual_cluster_schedules_the_host_gets_a_pod_when_it_has_a_node() {
    let decide = |pod: &Pod| super::super::decide::decide(Some(pod), None, Placement::Virtual);
    assert_eq!(decide(&virtual_pod()), Step::Nothing);
    let conditions = "status: {phase: Pending, conditions: [{type: PodScheduled, status: 'True'}]}";
    let placed = pod(&format!("}}, spec: {{containers: [], nodeName: n1}}, {conditions}}}"));
    assert_eq!(decide(&placed), Step::Create, "its own scheduler has placed it, and the host never had it");
    assert_eq!(decide(&running()), Step::Finish, "vanished");
    assert_eq!(decide(&deleting(virtual_pod(), 0)), Step::Finish);
}
