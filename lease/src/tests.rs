use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;

/// An API server that has one lease at most, compares versions when it is written, and can be cut off.
#[derive(Clone, Default)]
struct Server {
    lease: Arc<Mutex<Option<Value>>>,
    events: Arc<Mutex<Vec<String>>>,
    is_cut_off: Arc<AtomicBool>,
}

impl Server {
    fn election(&self, identity: &str) -> Election {
        let server = self.clone();
        let service = service_fn(move |request: Request<Body>| server.clone().answer(request));
        Election::new(Client::new(service, "default"), "kube-system", "manager", identity)
            .announced("manager")
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Full<Bytes>>, kube::Error> {
        if self.is_cut_off.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let (code, answer) = self.carry_out(&parts.method, parts.uri.path(), &body);
        Ok(Response::builder().status(code).body(Full::from(answer.to_string())).unwrap())
    }

    fn carry_out(&self, method: &Method, path: &str, body: &[u8]) -> (StatusCode, Value) {
        let refuse = |code: StatusCode, reason: &str| {
            (code, json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason}))
        };
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        if path.ends_with("/events") {
            self.events.lock().unwrap().push(sent["message"].as_str().unwrap().to_owned());
            return (StatusCode::CREATED, sent);
        }
        let mut lease = self.lease.lock().unwrap();
        let version = lease.as_ref().map(|known| known["metadata"]["resourceVersion"].clone());
        match (method, version) {
            (&Method::GET, Some(_)) => (StatusCode::OK, lease.clone().unwrap()),
            (&Method::GET, None) => refuse(StatusCode::NOT_FOUND, "NotFound"),
            (&Method::POST, Some(_)) => refuse(StatusCode::CONFLICT, "Conflict"),
            (_, Some(version)) if version != sent["metadata"]["resourceVersion"] => {
                refuse(StatusCode::CONFLICT, "Conflict")
            }
            (_, version) => {
                let next = version.map_or(1, |version| version.as_str().unwrap().parse::<u64>().unwrap() + 1);
                let mut sent = sent;
                sent["metadata"]["resourceVersion"] = json!(next.to_string());
                (StatusCode::OK, lease.insert(sent).clone())
            }
        }
    }

    fn spec(&self) -> Value {
        self.lease.lock().unwrap().as_ref().map(|lease| lease["spec"].clone()).unwrap_or_default()
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_holder_makes_no_transition_and_keeps_its_time_of_acquisition() {
    let server = Server::default();
    let election = server.election("a");
    election.acquire().await;
    let first = server.spec();
    assert_eq!((&first["holderIdentity"], &first["leaseTransitions"]), (&json!("a"), &json!(0)));
    assert_eq!(first["leaseDurationSeconds"], 15);
    assert!(election.attempt().await.unwrap());
    let second = server.spec();
    assert_eq!(first["acquireTime"], second["acquireTime"]);
    assert_ne!(first["renewTime"], second["renewTime"]);
}

#[tokio::test(start_paused = true)]
async fn another_takes_over_only_after_the_lease_was_unchanged_for_its_duration() {
    let server = Server::default();
    server.election("a").acquire().await;
    let began = Instant::now();
    server.election("b").acquire().await;
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(15) && waited < Duration::from_secs(18), "{waited:?}");
    assert_eq!(server.spec()["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_the_next_attempt() {
    let server = Server::default();
    let first = server.election("a");
    first.acquire().await;
    first.release().await;
    assert_eq!(server.spec()["holderIdentity"], "");
    let began = Instant::now();
    server.election("b").acquire().await;
    assert!(began.elapsed().is_zero());
    assert_eq!(server.spec()["leaseTransitions"], 1);
    let told = server.events.lock().unwrap().clone();
    assert_eq!(told, ["a became leader", "a stopped leading", "b became leader"]);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_gives_up_before_others_may_begin() {
    let server = Server::default();
    let election = server.election("a");
    election.acquire().await;
    let began = Instant::now();
    server.is_cut_off.store(true, Ordering::Relaxed);
    assert!(matches!(election.hold().await, Error::Expired { .. }));
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_lease_was_taken_stops() {
    let server = Server::default();
    let election = server.election("a");
    election.acquire().await;
    let mut stolen = server.lease.lock().unwrap().clone().unwrap();
    stolen["spec"]["holderIdentity"] = json!("b");
    stolen["metadata"]["resourceVersion"] = json!("7");
    *server.lease.lock().unwrap() = Some(stolen);
    assert!(matches!(election.hold().await, Error::Taken(by) if by == "b"));
    election.release().await;
    assert_eq!(server.spec()["holderIdentity"], "b", "what is another's is not released");
}
