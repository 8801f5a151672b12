//! `CertificateApproval`, `CertificateSigning` and `CertificateSubjectRestriction`: who may approve and sign what for
//! a signer, and what nobody may be signed
//! (<https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#authorization>).

use futures::future::BoxFuture;
use serde_json::Value;

use super::{Attributes, Operation, Plugin};
use crate::{
    authorization::{self, Decision},
    registry::{
        access::{at, str_at},
        certificates::certificate_signing_request::organizations,
    },
    status::ApiError,
    user::MASTERS,
};

const GROUP: &str = "certificates.k8s.io";
const REQUESTS: &str = "certificatesigningrequests";
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// Approvers must be allowed to `approve` for the signer.
pub struct CertificateApproval;
/// Signers must be allowed to `sign` for the signer.
pub struct CertificateSigning;
/// Clients of the API server are not signed into the group that may do everything.
pub struct CertificateSubjectRestriction;

impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        request: &'a Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            if attributes.operation != Operation::Update || !is_part(attributes, "approval") {
                return Ok(());
            }
            permit(attributes, request, "approve", str_at(request, "/spec/signerName")).await
        })
    }
}

impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        request: &'a Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let Some(old) = attributes.old.filter(|_| attributes.operation == Operation::Update) else {
                return Ok(());
            };
            let signed = ["/status/certificate", "/status/conditions"];
            let same = signed.iter().all(|field| at(request, field) == at(old, field));
            if !is_part(attributes, "status") || same {
                return Ok(());
            }
            permit(attributes, request, "sign", str_at(old, "/spec/signerName")).await
        })
    }
}

impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        request: &'a Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        let concerned = attributes.operation == Operation::Create
            && attributes.is(GROUP, REQUESTS)
            && str_at(request, "/spec/signerName") == CLIENT_SIGNER;
        let refused = concerned && organizations(request).iter().any(|group| group == MASTERS);
        let answer = if refused {
            let why = format!("use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed");
            Err(attributes.forbidden(request, &why))
        } else {
            Ok(())
        };
        Box::pin(std::future::ready(answer))
    }
}

fn is_part(attributes: &Attributes<'_>, part: &str) -> bool {
    attributes.definition.is(GROUP, REQUESTS) && attributes.subresource == part
}

/// The user must be allowed to use this verb for the signer, or for all signers of its domain.
async fn permit(
    attributes: &Attributes<'_>,
    request: &Value,
    verb: &str,
    signer: &str,
) -> Result<(), ApiError> {
    let domain = signer.split('/').next().unwrap_or_default();
    for name in [signer, &format!("{domain}/*")] {
        let asked = authorization::Attributes {
            user: attributes.user,
            verb,
            is_resource: true,
            group: GROUP,
            version: "*",
            resource: "signers",
            subresource: "",
            namespace: "",
            name,
            path: "",
            field_selector: "",
        };
        let decision = authorization::decide(&attributes.server.parts.authorizers, &asked).await;
        if matches!(decision, Decision::Allow(_)) {
            return Ok(());
        }
    }
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(attributes.forbidden(request, &why))
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use http::{Method, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::custom::tests::Fixture;

    fn asking_for(organization: &str) -> Value {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name.push(rcgen::DnType::OrganizationName, organization);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = parameters.serialize_request(&key).unwrap().pem().unwrap();
        json!({"metadata": {"name": "c"}, "spec": {
            "request": BASE64_STANDARD.encode(pem),
            "signerName": CLIENT_SIGNER,
            "usages": ["client auth"],
        }})
    }

    #[tokio::test]
    async fn nobody_is_signed_into_the_group_that_may_do_everything() {
        let server = Fixture::start().await;
        let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
        let (status, body) = server.call(Method::POST, path, &asking_for(MASTERS)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
        assert_eq!(
            body["message"],
            "certificatesigningrequests.certificates.k8s.io \"c\" is forbidden: use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
        );
        let (status, body) = server.call(Method::POST, path, &asking_for("others")).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        server.0.stop().await;
    }
}
