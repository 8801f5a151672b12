//! Sessions against a scripted server.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use k8s_openapi::api::core::v1::Pod;
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use kube::Client;

use super::*;

/// One answer: a status and the lines of the body.
type Answer = (u16, Vec<Value>);

fn pod(name: &str, version: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "resourceVersion": version}})
}

fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

fn bookmark(version: &str, end: bool) -> Value {
    let annotations = if end { json!({"k8s.io/initial-events-end": "true"}) } else { json!({}) };
    let meta = json!({"resourceVersion": version, "annotations": annotations});
    event("BOOKMARK", json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta}))
}

fn gone() -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old"})
}

/// Follows pods on a server that gives these answers, then hangs; returns what was told and what was asked.
async fn told(answers: Vec<Answer>) -> (Vec<String>, Vec<String>) {
    let script = Arc::new(Mutex::new((VecDeque::from(answers), Vec::new())));
    let done = Arc::new(tokio::sync::Notify::new());
    let service = {
        let (script, done) = (script.clone(), done.clone());
        service_fn(move |request: Request<Body>| {
            let answer = {
                let mut script = script.lock().unwrap();
                let asked = request.uri().query().unwrap_or_default().to_owned();
                script.1.push(asked);
                script.0.pop_front()
            };
            let done = done.clone();
            async move {
                let Some((status, lines)) = answer else {
                    done.notify_one();
                    return futures::future::pending().await;
                };
                let body: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
                Ok::<_, std::io::Error>(Response::builder().status(status).body(Body::from(body)).unwrap())
            }
        })
    };
    let client = Client::new(service, "default");
    let mut follower = Follower::new(Source::new(client, "/api/v1/pods"));
    let mut told = Vec::new();
    let following = async {
        loop {
            told.push(match follower.next::<Pod>().await {
                Event::Restart => "restart".to_owned(),
                Event::Apply(pod) => format!("apply {}", pod.metadata.name.unwrap_or_default()),
                Event::Delete(pod) => format!("delete {}", pod.metadata.name.unwrap_or_default()),
                Event::Listed(version) => format!("listed {version}"),
            });
        }
    };
    tokio::select! {
        () = following => {}
        () = done.notified() => {}
    }
    let asked = script.lock().unwrap().1.clone();
    (told, asked)
}

#[tokio::test(start_paused = true)]
async fn a_streamed_list_goes_over_into_a_watch_and_is_resumed_where_it_ended() {
    let (told, asked) = told(vec![(
        200,
        vec![
            event("ADDED", pod("a", "3")),
            bookmark("7", true),
            event("DELETED", pod("a", "8")),
            bookmark("12", false),
        ],
    )])
    .await;
    assert_eq!(told, ["restart", "apply a", "listed 7", "delete a"]);
    assert!(asked[0].contains("sendInitialEvents=true"));
    assert!(asked[1].ends_with("resourceVersion=12"), "{}", asked[1]);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_gone_starts_over_with_a_list() {
    let (told, asked) = told(vec![
        (200, vec![bookmark("7", true)]),
        (200, vec![event("ERROR", gone())]),
        (200, vec![event("ADDED", pod("b", "20")), bookmark("21", true)]),
    ])
    .await;
    assert_eq!(told, ["restart", "listed 7", "restart", "apply b", "listed 21"]);
    assert!(asked[2].contains("sendInitialEvents=true"));
}

#[tokio::test(start_paused = true)]
async fn a_server_without_streamed_lists_is_listed_page_by_page() {
    let refusal = json!({"kind": "Status", "status": "Failure", "code": 422, "reason": "Invalid", "message": "sendInitialEvents is forbidden"});
    let list = |continue_: &str, items: Vec<Value>| json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "9", "continue": continue_}, "items": items});
    let (told, asked) = told(vec![
        (422, vec![refusal]),
        (200, vec![list("t/k", vec![pod("a", "1")])]),
        (200, vec![list("", vec![pod("b", "2")])]),
        (200, vec![event("MODIFIED", pod("b", "10"))]),
    ])
    .await;
    assert_eq!(told, ["restart", "apply a", "apply b", "listed 9", "apply b"]);
    assert_eq!(asked[2], "limit=200&continue=t%2Fk");
    assert!(asked[3].ends_with("resourceVersion=9"));
    assert!(asked[4].ends_with("resourceVersion=10"));
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_object_does_not_hide_the_others() {
    let broken = event("ADDED", json!({"apiVersion": "v1", "kind": "Pod", "metadata": "none"}));
    let (told, _) = told(vec![(200, vec![broken, event("ADDED", pod("a", "3")), bookmark("7", true)])]).await;
    assert_eq!(told, ["restart", "apply a", "listed 7"]);
}
