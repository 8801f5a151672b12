use k8s_openapi::api::core::v1::Pod;

use super::super::status::{Exchange, GATES, exchange};
use super::{parse, translator};
use crate::sanitise::Sanitiser;

fn run(pod: &Pod, host: &Pod) -> Exchange {
    let translator = translator();
    exchange(pod, host, &Sanitiser::new(&translator, "shop"))
}

fn pod(status: &str) -> Pod {
    parse(&format!(
        "{{metadata: {{name: web-0, namespace: shop, generation: 4}}, \
         spec: {{containers: [{{name: app}}], readinessGates: [{{conditionType: example.com/lb}}]}}, status: {status}}}"
    ))
}

fn host(annotations: &str, status: &str) -> Pod {
    parse(&format!(
        "{{metadata: {{name: web-0-x-shop-x-demo, generation: 2, annotations: {annotations}}}, \
         spec: {{containers: [{{name: app}}, {{name: sidecar}}]}}, status: {status}}}"
    ))
}

fn state(exchange: &Exchange, kind: &str) -> Option<String> {
    let conditions = exchange.status.conditions.iter().flatten();
    conditions.into_iter().find(|condition| condition.type_ == kind).map(|condition| condition.status.clone())
}

#[test]
fn the_status_is_the_hosts() {
    let host = host(
        "{}",
        "{phase: Running, podIP: 10.1.0.4, hostIP: 10.0.0.1, message: 'web-0-x-shop-x-demo runs'}",
    );
    let status = run(&pod("{phase: Pending}"), &host).status;
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.1.0.4"));
    assert_eq!(status.message.as_deref(), Some("web-0 runs"));
}

#[test]
fn the_quality_of_service_is_the_virtual_pods() {
    let status = run(&pod("{qosClass: BestEffort}"), &host("{}", "{qosClass: Burstable}")).status;
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
}

#[test]
fn containers_that_the_host_injected_are_left_out() {
    let container =
        |name: &str| format!("{{name: {name}, image: i, imageID: x, ready: true, restartCount: 0}}");
    let list = format!("{{containerStatuses: [{}, {}]}}", container("app"), container("sidecar"));
    let statuses = run(&pod("{}"), &host("{}", &list)).status.container_statuses.unwrap();
    assert_eq!(statuses.len(), 1);
    assert_eq!(statuses[0].name, "app");
}

#[test]
fn the_observed_generation_is_the_virtual_one() {
    assert_eq!(run(&pod("{}"), &host("{}", "{observedGeneration: 2}")).status.observed_generation, Some(4));
    let lagging = run(&pod("{observedGeneration: 3}"), &host("{}", "{observedGeneration: 1}"));
    assert_eq!(lagging.status.observed_generation, Some(3));
}

#[test]
fn a_gate_that_opens_in_the_virtual_cluster_opens_on_the_host() {
    let pod = pod("{conditions: [{type: example.com/lb, status: 'True'}]}");
    let exchange = run(&pod, &host("{}", "{conditions: [{type: Ready, status: 'False'}]}"));
    assert_eq!(exchange.push.len(), 1);
    assert_eq!(exchange.base.as_deref(), Some(r#"{"example.com/lb":"True"}"#));
    assert_eq!(state(&exchange, "example.com/lb").as_deref(), Some("True"));
    assert_eq!(state(&exchange, "Ready").as_deref(), Some("False"));
}

fn agreed(on: &str) -> String {
    format!("{{'{GATES}': '{{\"example.com/lb\":\"{on}\"}}'}}")
}

#[test]
fn a_gate_that_the_host_changes_changes_in_the_virtual_cluster() {
    let pod = pod("{conditions: [{type: example.com/lb, status: 'True'}]}");
    let host = host(&agreed("True"), "{conditions: [{type: example.com/lb, status: 'False'}]}");
    let exchange = run(&pod, &host);
    assert_eq!(state(&exchange, "example.com/lb").as_deref(), Some("False"));
    assert!(exchange.push.is_empty());
    assert_eq!(exchange.base.as_deref(), Some(r#"{"example.com/lb":"False"}"#));
}

#[test]
fn an_edit_made_while_nobody_watched_is_not_lost() {
    let pod = pod("{conditions: [{type: example.com/lb, status: 'False'}]}");
    let host = host(&agreed("True"), "{conditions: [{type: example.com/lb, status: 'True'}]}");
    let exchange = run(&pod, &host);
    assert_eq!(exchange.push[0].status, "False");
}

#[test]
fn agreement_writes_nothing() {
    let pod = pod("{conditions: [{type: example.com/lb, status: 'True'}]}");
    let host = host(&agreed("True"), "{conditions: [{type: example.com/lb, status: 'True'}]}");
    let exchange = run(&pod, &host);
    assert!(exchange.push.is_empty());
    assert_eq!(exchange.base, None);
    assert_eq!(Some(exchange.status), pod.status);
}

#[test]
fn conditions_the_host_withdrew_go_and_foreign_ones_stay() {
    let pod = pod(
        "{conditions: [{type: PodResizePending, status: 'True'}, {type: example.com/mine, status: 'True'}]}",
    );
    let exchange = run(&pod, &host("{}", "{phase: Running}"));
    assert_eq!(state(&exchange, "PodResizePending"), None);
    assert_eq!(state(&exchange, "example.com/mine").as_deref(), Some("True"));
}

#[test]
fn that_a_tenant_disrupts_a_pod_is_not_forgotten() {
    let evicted =
        pod("{conditions: [{type: DisruptionTarget, status: 'True', reason: EvictionByEvictionAPI}]}");
    let exchanged = run(&evicted, &host("{}", "{phase: Failed}"));
    assert_eq!(state(&exchanged, "DisruptionTarget").as_deref(), Some("True"));
    let preempted =
        host("{}", "{conditions: [{type: DisruptionTarget, status: 'True', reason: PreemptionByScheduler}]}");
    let exchanged = run(&pod("{}"), &preempted);
    assert_eq!(state(&exchanged, "DisruptionTarget").as_deref(), Some("True"));
}
