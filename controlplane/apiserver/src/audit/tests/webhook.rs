//! Events that another server is told.

use std::{net::Ipv4Addr, num::NonZeroUsize, path::Path, time::Duration};

use super::*;
use crate::{
    audit::webhook::{self, Batch, Mode},
    outbound::tests::Remote,
};

/// A server that tells another one of config maps, which the kubeconfig of this document leads to.
async fn telling(mode: Mode, kubeconfig: impl FnOnce(&Path)) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let (policy, config_file) = (directory.path().join("policy.yaml"), directory.path().join("hook.yaml"));
    let document = json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": maps("Metadata")});
    std::fs::write(&policy, document.to_string()).unwrap();
    kubeconfig(&config_file);
    let webhook = webhook::Options { config_file, mode, initial_backoff: Duration::from_millis(1) };
    Fixture::of(directory, Options { policy, log: None, webhook: Some(webhook) }).await
}

fn batch(max_size: usize, buffer: usize) -> Mode {
    let size = |size| NonZeroUsize::new(size).unwrap();
    Mode::Batch(Batch { buffer: size(buffer), max_size: size(max_size), max_wait: Duration::from_secs(600) })
}

/// Writes a kubeconfig that leads to a port of this machine.
fn to_port(port: u16) -> impl FnOnce(&Path) {
    move |file| {
        let server = format!("https://127.0.0.1:{port}/");
        let document = json!({
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server, "insecure-skip-tls-verify": true}}],
            "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        });
        std::fs::write(file, document.to_string()).unwrap();
    }
}

fn stages(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|event| event["stage"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn who_waits_for_the_webhook_goes_on_when_it_has_been_told() {
    let remote = Remote::start(|_, _| (StatusCode::OK, json!({}))).await;
    let mode = Mode::Blocking { strict: false };
    let server = telling(mode, |file| remote.kubeconfig(file, "/audit?timeout=5s")).await;
    server.create("a").await;
    let calls = remote.calls.lock().unwrap().clone();
    let lists: Vec<&Value> = calls.iter().map(|(_, _, list)| list).collect();
    assert_eq!(calls[0].0, "POST /audit?timeout=5s");
    assert_eq!(lists.len(), 2, "{lists:?}");
    assert_eq!((stages(lists[0]), stages(lists[1])), (vec!["RequestReceived"], vec!["ResponseComplete"]));
    assert_eq!(
        (&lists[0]["kind"], &lists[0]["apiVersion"]),
        (&json!("EventList"), &json!("audit.k8s.io/v1"))
    );
    let event = &lists[1]["items"][0];
    assert_eq!((&event["verb"], &event["responseStatus"]["code"]), (&json!("create"), &json!(201)));
    assert!(event.get("kind").is_none() && event.get("apiVersion").is_none(), "{event}");
    server.instance.stop().await;
}

#[tokio::test]
async fn a_batch_is_sent_when_it_is_full_and_the_rest_when_the_server_stops() {
    let remote = Remote::start(|_, _| (StatusCode::OK, json!({}))).await;
    let server = telling(batch(4, 100), |file| remote.kubeconfig(file, "/audit")).await;
    for name in ["a", "b", "c"] {
        server.create(name).await;
    }
    while remote.calls.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    server.instance.stop().await;
    let calls = remote.calls.lock().unwrap().clone();
    let sizes: Vec<usize> = calls.iter().map(|(_, _, list)| stages(list).len()).collect();
    assert_eq!(sizes, [4, 2]);
}

#[tokio::test]
async fn a_webhook_in_trouble_is_asked_again() {
    let tries = std::sync::Mutex::new(0);
    let remote = Remote::start(move |_, _| {
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        (if *tries < 3 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }, json!({}))
    });
    let remote = remote.await;
    let server = telling(batch(2, 100), |file| remote.kubeconfig(file, "/audit")).await;
    server.create("a").await;
    server.instance.stop().await;
    let calls = remote.calls.lock().unwrap().clone();
    assert_eq!(calls.len(), 3);
    assert_eq!(calls[0].2, calls[2].2);
}

#[tokio::test]
async fn nobody_waits_for_batches_even_if_the_buffer_is_full() {
    // Nothing is ever accepted there, so the first batch is on its way for ever.
    let silent = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = telling(batch(1, 1), to_port(silent.local_addr().unwrap().port())).await;
    for name in ["a", "b", "c", "d"] {
        server.create(name).await;
    }
}

#[tokio::test]
async fn what_cannot_be_told_happens_only_where_that_is_allowed() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let server = telling(Mode::Blocking { strict: false }, to_port(port)).await;
    server.create("a").await;
    server.instance.stop().await;
    let server = telling(Mode::Blocking { strict: true }, to_port(port)).await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let request = http::Request::post(MAPS).header("content-type", "application/json");
    let (status, ..) = server.call(&admin(), request, &map).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let stored = server.instance.server.find("", "configmaps", "default", "a").await.unwrap();
    assert_eq!(stored, None);
    server.instance.stop().await;
}
