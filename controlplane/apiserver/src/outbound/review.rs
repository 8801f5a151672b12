//! Reviews that are sent to a remote server: of tokens, and of access.

use std::time::Duration;

use http::StatusCode;
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
    let mut pause = PAUSE;
    let mut attempt = 1;
    let response = loop {
        let response = remote.post(&review, timeout).await?;
        if response.status().is_success() || !is_passing(response.status()) || attempt == ATTEMPTS {
            break response;
        }
        attempt += 1;
        let jitter = rand::rng().random_range(1.0..1.2);
        tokio::time::sleep(pause.mul_f64(jitter)).await;
        pause = pause.mul_f64(1.5);
    };
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

/// Whether an error may be gone the next time.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::TOO_MANY_REQUESTS | StatusCode::GATEWAY_TIMEOUT
    )
}
