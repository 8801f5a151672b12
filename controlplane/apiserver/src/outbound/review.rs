//! Reviews that are sent to a remote server, of tokens and of access, and what is sent in their manner.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use rand::Rng;
use serde_json::{Value, json};

use super::{kubeconfig::Remote, refusal};
use crate::registry::access::str_at;

/// How often a server is asked that has trouble of its own, and how long it is left alone at first.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// The status of a review that another server makes of this spec.
pub async fn ask(
    remote: &Remote,
    api_version: &str,
    kind: &str,
    spec: &Value,
    timeout: Duration,
) -> Result<Value, String> {
    let review = json!({"kind": kind, "apiVersion": api_version, "metadata": {}, "spec": spec});
    let response = insist(remote, &Bytes::from(review.to_string()), timeout, PAUSE).await?;
    if !response.status().is_success() {
        return Err(refusal::shown(response.status(), response.body()));
    }
    let mut answer: Value = serde_json::from_slice(response.body())
        .map_err(|why| format!("couldn't get version/kind; json parse error: {why}"))?;
    let (got_version, got_kind) = (str_at(&answer, "/apiVersion"), str_at(&answer, "/kind"));
    if (got_version, got_kind) != (api_version, kind) {
        return Err(format!(
            "unable to decode {got_version}, Kind={got_kind} into {api_version}, Kind={kind}"
        ));
    }
    Ok(answer.get_mut("status").map(Value::take).unwrap_or_default())
}

/// Posts a document in JSON, again and again while the server has trouble of its own, but not for ever. The
/// first `pause` is the shortest; `timeout` bounds each attempt.
pub async fn insist(
    remote: &Remote,
    document: &Bytes,
    timeout: Duration,
    mut pause: Duration,
) -> Result<Response<Bytes>, String> {
    let mut attempt = 1;
    loop {
        let response = remote.post(document, timeout).await?;
        if response.status().is_success() || !is_passing(response.status()) || attempt == ATTEMPTS {
            return Ok(response);
        }
        attempt += 1;
        let jitter = rand::rng().random_range(1.0..1.2);
        tokio::time::sleep(pause.mul_f64(jitter)).await;
        pause = pause.mul_f64(1.5);
    }
}

/// Whether an error may be gone the next time.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::TOO_MANY_REQUESTS | StatusCode::GATEWAY_TIMEOUT
    )
}
