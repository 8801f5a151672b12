//! Approving: a node's request for its own client certificate, if the requester may ask for that.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Resource;

use super::{KUBELET_CLIENT, certificate, conditions, request, with_condition};
use crate::Context;
use crate::api::{Api, Error};
use crate::clock::Clock;
use crate::informers::Informer;
use crate::ownership::wake_itself;
use crate::queue::Key;

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let approver =
        Approver { api: context.api.clone(), requests: context.informers.of(), clock: context.clock.clone() };
    let queue = context.queue("certificate_approving");
    wake_itself(&approver.requests, &queue);
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = approver.requests.synced() => {}
        }
        queue.run(1, &shutdown, |key| approver.approve(key)).await;
    }
}

/// What a requester must be allowed to create, and what is said if it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recognized {
    subresource: &'static str,
    message: &'static str,
}

const OWN: Recognized = Recognized {
    subresource: "selfnodeclient",
    message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
};
const ANY: Recognized = Recognized {
    subresource: "nodeclient",
    message: "Auto approving kubelet client certificate after SubjectAccessReview.",
};

/// As what the request is recognized, the narrowest first.
fn recognize(wanted: &CertificateSigningRequest) -> Vec<Recognized> {
    if certificate(wanted).is_some()
        || !conditions(wanted).is_empty()
        || wanted.spec.signer_name != KUBELET_CLIENT
    {
        return Vec::new();
    }
    let Ok(asked) = request::read(wanted) else { return Vec::new() };
    let usages = wanted.spec.usages.as_deref().unwrap_or_default();
    if request::check_kubelet_client(&asked, usages).is_err() {
        return Vec::new();
    }
    let own = wanted.spec.username.as_deref() == Some(asked.common_name.as_str());
    if own { vec![OWN, ANY] } else { vec![ANY] }
}

struct Approver {
    api: Api,
    requests: Informer<CertificateSigningRequest>,
    clock: Clock,
}

impl Approver {
    async fn approve(&self, key: Key) -> Result<(), Error> {
        let Some(request) = self.requests.get("", &key.name) else { return Ok(()) };
        let recognized = recognize(&request);
        for one in &recognized {
            if self.is_allowed(&request, one.subresource).await? {
                let message = one.message.to_owned();
                let approved =
                    with_condition(&request, "Approved", "AutoApproved", message, self.clock.now());
                return self.requests.update_at("/approval", &request, &approved).await;
            }
        }
        if recognized.is_empty() {
            return Ok(());
        }
        let tried: Vec<_> = recognized.iter().map(|one| one.subresource).collect();
        Err(Error::NotYet(format!(
            "recognized csr {:?} as [{}] but subject access review was not approved",
            key.name,
            tried.join(" ")
        )))
    }

    async fn is_allowed(
        &self,
        request: &CertificateSigningRequest,
        subresource: &str,
    ) -> Result<bool, Error> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: request.spec.username.clone(),
                uid: request.spec.uid.clone(),
                groups: request.spec.groups.clone(),
                extra: request.spec.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some("certificates.k8s.io".to_owned()),
                    resource: Some("certificatesigningrequests".to_owned()),
                    verb: Some("create".to_owned()),
                    version: Some("*".to_owned()),
                    subresource: Some(subresource.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let path = SubjectAccessReview::url_path(&(), None);
        let answer: SubjectAccessReview = self.api.create(&path, &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::request;
    use super::*;

    const USAGES: [&str; 2] = ["digital signature", "client auth"];

    #[test]
    fn a_node_may_ask_for_itself_or_somebody_for_it() {
        let mut node = request(KUBELET_CLIENT, "system:nodes", "system:node:n1", &[], &USAGES);
        assert_eq!(recognize(&node), [ANY]);
        node.spec.username = Some("system:node:n1".to_owned());
        assert_eq!(recognize(&node), [OWN, ANY]);
    }

    #[test]
    fn people_and_decided_requests_are_left_to_people() {
        assert!(recognize(&request(KUBELET_CLIENT, "dev", "ann", &[], &USAGES)).is_empty());
        assert!(recognize(&request(super::super::CLIENT, "dev", "ann", &[], &USAGES)).is_empty());
        let node = request(KUBELET_CLIENT, "system:nodes", "system:node:n1", &[], &USAGES);
        let now = jiff::Timestamp::UNIX_EPOCH;
        assert!(recognize(&with_condition(&node, "Denied", "No", String::new(), now)).is_empty());
    }
}
