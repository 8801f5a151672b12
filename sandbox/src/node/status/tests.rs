use serde_json::{Value, json};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn mk_pod(spec: &Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": "p", "namespace": "ns", "generation": 3},
        "spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "x:1"}]},
    });
    pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(pod).unwrap()
}

fn running(ready: bool) -> View {
    View { state: State::Running { since: at(5) }, ready, started: true, id: Some("1".into()), ..waiting() }
}

fn waiting() -> View {
    View::waiting("ContainerCreating", false)
}

fn ended(code: i32) -> Ended {
    Ended { code, signal: None, reason: None, message: None, started: at(5), finished: at(6) }
}

fn over(code: i32) -> View {
    View { state: State::Ended(ended(code)), ..waiting() }
}

fn crashing(code: i32) -> View {
    View { last: Some(ended(code)), ..View::waiting("CrashLoopBackOff", false) }
}

fn compute_with(pod: &Pod, views: &[(&str, View)], finished: bool) -> PodStatus {
    let views = views.iter().map(|(name, view)| ((*name).to_owned(), view.clone())).collect();
    let observed = Observed {
        views: &views,
        ip: Some("127.64.0.1".parse().unwrap()),
        host_ip: "127.0.0.1".parse().unwrap(),
        started: at(1),
        sandboxed: true,
        failure: None,
        finished,
        reported: &[],
    };
    compute(pod, &observed, at(10))
}

fn phase_of(spec: &Value, views: &[(&str, View)]) -> String {
    compute_with(&mk_pod(spec), views, false).phase.unwrap()
}

fn condition<'a>(status: &'a PodStatus, type_: &str) -> &'a PodCondition {
    status.conditions.as_ref().unwrap().iter().find(|condition| condition.type_ == type_).unwrap()
}

#[test]
fn the_phase_follows_containers_and_restart_policy() {
    let never = json!({"restartPolicy": "Never"});
    let on_failure = json!({"restartPolicy": "OnFailure"});
    let always = json!({});
    for (spec, a, b, expected) in [
        (&always, waiting(), running(true), "Pending"),
        (&always, running(false), running(true), "Running"),
        (&always, crashing(1), running(true), "Running"),
        (&always, crashing(1), crashing(0), "Running"),
        (&never, over(0), running(true), "Running"),
        (&never, over(0), over(0), "Succeeded"),
        (&never, over(0), over(1), "Failed"),
        (&on_failure, over(0), crashing(1), "Running"),
        (&on_failure, over(0), over(0), "Succeeded"),
    ] {
        assert_eq!(phase_of(spec, &[("a", a.clone()), ("b", b.clone())]), expected, "{a:?} {b:?}");
    }
}

#[test]
fn init_containers_hold_the_pod_back() {
    let spec = json!({"initContainers": [{"name": "i"}], "restartPolicy": "Never"});
    assert_eq!(phase_of(&spec, &[("i", running(false)), ("a", waiting()), ("b", waiting())]), "Pending");
    assert_eq!(phase_of(&spec, &[("i", over(1)), ("a", waiting()), ("b", waiting())]), "Failed");

    let status =
        compute_with(&mk_pod(&spec), &[("i", running(false)), ("a", waiting()), ("b", waiting())], false);
    let initialized = condition(&status, "Initialized");
    assert_eq!(initialized.status, "False");
    assert_eq!(initialized.message.as_deref(), Some("containers with incomplete status: [i]"));
}

#[test]
fn a_started_sidecar_lets_the_pod_become_ready() {
    let spec = json!({"initContainers": [{"name": "s", "restartPolicy": "Always"}]});
    let views = [("s", running(true)), ("a", running(true)), ("b", running(true))];
    let status = compute_with(&mk_pod(&spec), &views, false);
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(condition(&status, "Initialized").status, "True");
    assert_eq!(condition(&status, "Ready").status, "True");
}

#[test]
fn names_containers_that_are_not_ready() {
    let status = compute_with(&mk_pod(&json!({})), &[("a", running(true)), ("b", running(false))], false);
    let ready = condition(&status, "Ready");
    assert_eq!(ready.reason.as_deref(), Some("ContainersNotReady"));
    assert_eq!(ready.message.as_deref(), Some("containers with unready status: [b]"));
}

#[test]
fn readiness_gates_close_the_pod_but_not_its_containers() {
    let pod = mk_pod(&json!({"readinessGates": [{"conditionType": "gate"}]}));
    let status = compute_with(&pod, &[("a", running(true)), ("b", running(true))], false);
    assert_eq!(condition(&status, "ContainersReady").status, "True");
    assert_eq!(condition(&status, "Ready").reason.as_deref(), Some("ReadinessGatesNotReady"));
}

#[test]
fn conditions_keep_their_time_while_their_status_stays() {
    let mut pod = mk_pod(&json!({}));
    let views = [("a", running(true)), ("b", running(true))];
    let mut before = compute_with(&pod, &views, false);
    for condition in before.conditions.iter_mut().flatten() {
        condition.last_transition_time = Some(Time(at(2)));
    }
    pod.status = Some(before);
    let after = compute_with(&pod, &[("a", running(true)), ("b", running(false))], false);
    assert_eq!(condition(&after, "Initialized").last_transition_time, Some(Time(at(2))));
    assert_eq!(condition(&after, "Ready").last_transition_time, Some(Time(at(10))));
}

#[test]
fn a_stopped_pod_ends_in_a_final_phase() {
    let pod = mk_pod(&json!({}));
    let clean = compute_with(&pod, &[("a", over(0)), ("b", over(0))], true);
    assert_eq!(clean.phase.as_deref(), Some("Succeeded"));
    let killed = compute_with(&pod, &[("a", over(137)), ("b", over(0))], true);
    assert_eq!(killed.phase.as_deref(), Some("Failed"));
    assert_eq!(condition(&killed, "PodReadyToStartContainers").status, "False");
}

#[test]
fn simulated_containers_say_so() {
    let view = View { simulated: true, ..running(true) };
    let status = compute_with(&mk_pod(&json!({})), &[("a", view), ("b", running(true))], false);
    let containers = status.container_statuses.unwrap();
    assert_eq!(containers[0].image_id, "simulated://x:1");
    assert_eq!(containers[1].image_id, "process://x:1");
}
