//! Signing: approved requests of the cluster's own signers get their certificate.

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::authority::Authority;
use super::{certificate, condition, request, usages, with_certificate, with_condition};
use crate::Context;
use crate::api::Error;
use crate::clock::Clock;
use crate::informers::Informer;
use crate::ownership::wake_itself;
use crate::queue::Key;

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let shutdown = context.shutdown.clone();
    let signer = context.authority.clone().map(|authority| {
        let signer = Signer { authority, requests: context.informers.of(), clock: context.clock.clone() };
        let queue = context.queue("certificate_signing");
        wake_itself(&signer.requests, &queue);
        (signer, queue)
    });
    async move {
        let Some((signer, queue)) = signer else { return shutdown.cancelled().await };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = signer.requests.synced() => {}
        }
        queue.run(5, &shutdown, |key| signer.sign(key)).await;
    }
}

struct Signer {
    authority: Arc<Authority>,
    requests: Informer<CertificateSigningRequest>,
    clock: Clock,
}

impl Signer {
    async fn sign(&self, key: Key) -> Result<(), Error> {
        let Some(request) = self.requests.get("", &key.name) else { return Ok(()) };
        match self.answer(&request)? {
            None => Ok(()),
            Some(answered) => match self.requests.update_status(&request, &answered).await {
                Err(error) if error.is_not_found() => Ok(()),
                outcome => outcome,
            },
        }
    }

    /// The request with its certificate, or with the reason why it gets none; `None` if there is nothing to
    /// do.
    fn answer(
        &self,
        request: &CertificateSigningRequest,
    ) -> Result<Option<CertificateSigningRequest>, Error> {
        let approved = condition(request, "Approved").is_some() && condition(request, "Denied").is_none();
        if !approved || condition(request, "Failed").is_some() || certificate(request).is_some() {
            return Ok(None);
        }
        let name = request.metadata.name.as_deref().unwrap_or_default();
        let asked = request::read(request)
            .map_err(|error| Error::NotYet(format!("unable to parse csr {name:?}: {error}")))?;
        let wanted = request.spec.usages.as_deref().unwrap_or_default();
        let Some(checked) = request::check(&request.spec.signer_name, &asked, wanted) else {
            return Ok(None);
        };
        let now = self.clock.now();
        if let Err(refusal) = checked {
            let message = refusal.to_string();
            return Ok(Some(with_condition(request, "Failed", "SignerValidationFailure", message, now)));
        }
        let failed = |why: String| Error::NotYet(format!("error auto signing csr: {why}"));
        let usages = usages::read(wanted).map_err(|error| failed(error.to_string()))?;
        let expiration = request.spec.expiration_seconds;
        let signed = self.authority.sign(&asked, &usages, expiration, now);
        Ok(Some(with_certificate(request, signed.map_err(|error| failed(error.to_string()))?)))
    }
}
