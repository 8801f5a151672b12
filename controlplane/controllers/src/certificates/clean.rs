//! Cleaning: requests that are answered, or that nobody answers, are deleted after a while.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::DeleteParams;

use super::{certificate, condition, conditions};
use crate::Context;
use crate::api::Error;
use crate::clock::{Clock, remaining, sooner};
use crate::informers::Informer;
use crate::ownership::wake_itself;
use crate::queue::{Key, Queue};

const ANSWERED_SECONDS: i64 = 3600;
const PENDING_SECONDS: i64 = 24 * 3600;

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let requests: Informer<CertificateSigningRequest> = context.informers.of();
    let (clock, queue) = (context.clock.clone(), context.queue("certificate_cleaning"));
    wake_itself(&requests, &queue);
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = requests.synced() => {}
        }
        queue.run(1, &shutdown, |key| clean(&requests, &clock, &queue, key)).await;
    }
}

async fn clean(
    requests: &Informer<CertificateSigningRequest>,
    clock: &Clock,
    queue: &Queue<Key>,
    key: Key,
) -> Result<(), Error> {
    let Some(request) = requests.get("", &key.name) else { return Ok(()) };
    match due(&request, clock.now()) {
        Some(Duration::ZERO) => requests.delete(&request, DeleteParams::default()).await,
        Some(wait) => {
            queue.add_after(key, wait);
            Ok(())
        }
        None => Ok(()),
    }
}

/// When the request goes; `None` if nothing ends it, as for one that a foreign signer still has to sign.
fn due(request: &CertificateSigningRequest, now: Timestamp) -> Option<Duration> {
    let after = |since: Timestamp, seconds| Some(remaining(since, seconds, now).unwrap_or_default());
    let updated = |type_: &str| {
        let at = condition(request, type_)?.last_update_time.as_ref()?;
        after(at.0, ANSWERED_SECONDS)
    };
    let issued = certificate(request).and_then(|pem| {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
        let end = pem.parse_x509().ok()?.validity().not_after.timestamp();
        after(Timestamp::from_second(end).ok()?, 0)
    });
    let approved = certificate(request).and_then(|_| updated("Approved"));
    let created = request.metadata.creation_timestamp.as_ref().filter(|_| conditions(request).is_empty());
    let pending = created.and_then(|at| after(at.0, PENDING_SECONDS));
    [updated("Denied"), updated("Failed"), approved, issued, pending].into_iter().fold(None, sooner)
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::request;
    use super::super::{CLIENT, with_certificate, with_condition};
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn pending() -> CertificateSigningRequest {
        let mut pending = request(CLIENT, "dev", "ann", &[], &[]);
        pending.metadata.creation_timestamp = Some(crate::clock::time(at(0)));
        pending
    }

    #[test]
    fn answered_requests_stay_for_an_hour_and_pending_ones_for_a_day() {
        let decided = |type_: &str| with_condition(&pending(), type_, "x", String::new(), at(100));
        assert_eq!(due(&pending(), at(100)), Some(Duration::from_secs(86_300)));
        assert_eq!(due(&decided("Denied"), at(100)), Some(Duration::from_secs(3600)));
        assert_eq!(due(&decided("Failed"), at(3701)), Some(Duration::ZERO));
        assert_eq!(due(&decided("Approved"), at(9999)), None, "it has no certificate yet");
        let issued = with_certificate(&decided("Approved"), "a certificate".to_owned());
        assert_eq!(due(&issued, at(3701)), Some(Duration::ZERO));
    }
}
