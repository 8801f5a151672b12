use std::time::Duration;

use futures::{StreamExt, stream::FuturesUnordered};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::custom::tests::Fixture;

const SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";

fn get(path: &str) -> RequestInfo {
    RequestInfo::new(&Method::GET, path, "")
}

fn user(name: &str) -> User {
    User::new(name, &[])
}

/// A limiter with the default objects.
fn limiter(seats: usize) -> FlowControl {
    let control = FlowControl::new(seats);
    let (schemas, levels) = defaults::all().into_iter().partition(|object| object["kind"] == "FlowSchema");
    control.reset("prioritylevelconfigurations", levels);
    control.reset("flowschemas", schemas);
    control
}

fn load(control: &FlowControl, level: &str) -> (usize, usize, usize) {
    let mut found = None;
    control.each_level(|name, load| {
        if name == level {
            found = Some((load.executing, load.waiting, load.seats));
        }
    });
    found.unwrap()
}

#[test]
fn requests_are_told_apart_as_documented() {
    let control = limiter(600);
    let level_of = |user: &User, info: &RequestInfo| {
        let state = control.lock();
        let (schema, _) = state.order.iter().find(|(schema, _)| schema.matches(user, info)).unwrap();
        format!("{}/{}", schema.name, schema.level)
    };
    let pods = get("/api/v1/namespaces/a/pods");
    let lease = get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n");
    let node = User::new("system:node:n", &["system:nodes"]);
    assert_eq!(level_of(&User::component("x"), &pods), "exempt/exempt");
    assert_eq!(level_of(&User::anonymous(), &get("/readyz")), "probes/exempt");
    assert_eq!(level_of(&User::anonymous(), &get("/version")), "global-default/global-default");
    assert_eq!(level_of(&user("ann"), &pods), "global-default/global-default");
    assert_eq!(level_of(&node, &get("/api/v1/nodes/n/status")), "system-node-high/node-high");
    assert_eq!(level_of(&node, &lease), "system-node-high/node-high");
    assert_eq!(level_of(&node, &pods), "system-nodes/system");
    assert_eq!(level_of(&User::service_account("a", "b", ""), &pods), "service-accounts/workload-low");
    let system = User::service_account("kube-system", "b", "");
    assert_eq!(level_of(&system, &pods), "kube-system-service-accounts/workload-high");
    assert_eq!(level_of(&system, &lease), "system-leader-election/leader-election");
}

#[test]
fn every_level_has_its_share_of_the_seats() {
    let control = limiter(600);
    let seats = |level| load(&control, level).2;
    // Of 245 shares, rounded up: what `apiserver_flowcontrol_nominal_limit_seats` says by default.
    assert_eq!([seats("catch-all"), seats("workload-low"), seats("global-default")], [13, 245, 49]);
    assert_eq!(seats("exempt"), 0);
}

#[tokio::test]
async fn a_flood_by_one_user_does_not_starve_another() {
    tokio::time::pause();
    let control = limiter(1);
    let pods = get("/api/v1/namespaces/a/pods");
    let request = async |name: &'static str| {
        let (_, seat) = control.admit(&user(name), &pods).await;
        (name, seat.unwrap())
    };
    let running = request("flood").await;
    assert_eq!(load(&control, "global-default"), (1, 0, 1));

    let mut waiting: FuturesUnordered<_> = (0..150).map(|_| request("flood")).collect();
    assert!(futures::poll!(waiting.next()).is_pending());
    waiting.push(request("ann"));
    assert!(futures::poll!(waiting.next()).is_pending());
    assert_eq!(load(&control, "global-default"), (1, 151, 1));

    drop(running);
    let mut served = Vec::new();
    while let Some((name, _seat)) = waiting.next().await {
        tokio::time::advance(Duration::from_millis(5)).await;
        served.push(name);
    }
    let place = served.iter().position(|name| *name == "ann");
    assert!(place < Some(7), "one of at most seven queues: {place:?}");
    assert_eq!((served.len(), load(&control, "global-default")), (151, (0, 0, 1)));
}

#[tokio::test]
async fn a_request_that_waits_too_long_is_refused() {
    let control = limiter(1);
    let pods = get("/api/v1/namespaces/a/pods");
    tokio::time::pause();
    let (class, seat) = control.admit(&user("a"), &pods).await;
    assert!(class.is_some());
    let (_, refused) = control.admit(&user("b"), &pods).await;
    let response = refused.err().unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "1");
    let mut refusals = Vec::new();
    control
        .each_refusal(|schema, level, why, count| refusals.push(format!("{schema} {level} {why} {count}")));
    assert_eq!(refusals, ["global-default global-default time-out 1"]);
    drop(seat);
    assert_eq!(load(&control, "global-default").0, 0);
    assert!(control.admit(&user("c"), &pods).await.1.unwrap().is_some(), "who gave up holds no seat");
}

#[tokio::test]
async fn seats_that_others_do_not_need_are_lent() {
    let control = limiter(245);
    let pods = get("/api/v1/namespaces/a/pods");
    let mut seats = Vec::new();
    while let Entry::Admitted(Some(seat)) = control.enter(&user("a"), &pods).1 {
        seats.push(seat);
    }
    // Its own 20, and what node-high, system, the workloads lend: 10 + 9 + 20 + 90, and nothing of itself.
    assert_eq!(seats.len(), 20 + 10 + 9 + 20 + 90);
    let kubelet = User::new("system:node:n", &["system:nodes"]);
    let lender = control.enter(&kubelet, &pods).1;
    assert!(matches!(lender, Entry::Admitted(Some(_))), "who lends does not wait for what it lent");
}

#[tokio::test]
async fn the_default_objects_are_there_and_come_back() {
    let server = Fixture::start().await;
    let (_, schemas) = server.get(SCHEMAS).await;
    assert_eq!(schemas["items"].as_array().unwrap().len(), 13);
    let condition = &schemas["items"][0]["status"]["conditions"][0];
    let message =
        "This FlowSchema references the PriorityLevelConfiguration object named \"catch-all\" and it exists";
    assert_eq!((&condition["status"], &condition["message"]), (&json!("False"), &json!(message)));

    let path = format!("{SCHEMAS}/probes");
    server.call(Method::DELETE, &path, &Value::Null).await;
    server.until(&path, |status, _| status == StatusCode::OK).await;

    let level = format!("{LEVELS}/system");
    let narrow = json!({"spec": {"limited": {"nominalConcurrencyShares": 1, "borrowingLimitPercent": 5}}});
    server.call(Method::PATCH, &level, &narrow).await;
    let restored = |_, level: &Value| level["spec"]["limited"]["nominalConcurrencyShares"] == 30;
    let level_now = server.until(&level, restored).await;
    assert!(level_now["spec"]["limited"]["borrowingLimitPercent"].is_null());

    let own = json!({"metadata": {"annotations": {defaults::AUTOUPDATE: "false"}}, "spec": narrow["spec"]});
    server.call(Method::PATCH, &level, &own).await;
    let dangling = json!({"metadata": {"name": "x"}, "spec": {
        "priorityLevelConfiguration": {"name": "none"}, "matchingPrecedence": 5,
    }});
    server.create(SCHEMAS, &dangling).await;
    let judged = |_, schema: &Value| schema["status"]["conditions"][0]["status"] == "True";
    let schema = server.until(&format!("{SCHEMAS}/x"), judged).await;
    assert_eq!(schema["status"]["conditions"][0]["reason"], "NotFound");
    let (_, kept) = server.get(&level).await;
    assert_eq!(
        kept["spec"]["limited"]["nominalConcurrencyShares"], 1,
        "users may take over what is suggested"
    );
    server.0.stop().await;
}
