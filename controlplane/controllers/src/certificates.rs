//! Certificate signing requests: approved where a node asks for itself, signed once approved, and cleaned up.
//!
//! Source: <https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/>.

mod approve;
mod authority;
mod clean;
mod der;
mod request;
mod sign;
mod usages;

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestStatus,
};

use crate::clock::time;

pub(crate) use approve::start as start_approving;
pub use authority::{Authority, AuthorityError};
pub(crate) use clean::start as start_cleaning;
pub(crate) use sign::start as start_signing;

const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
const LEGACY: &str = "kubernetes.io/legacy-unknown";

fn conditions(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

fn condition<'a>(
    request: &'a CertificateSigningRequest,
    type_: &str,
) -> Option<&'a CertificateSigningRequestCondition> {
    conditions(request).iter().find(|condition| condition.type_ == type_ && condition.status != "False")
}

fn certificate(request: &CertificateSigningRequest) -> Option<&[u8]> {
    let certificate = request.status.as_ref()?.certificate.as_ref()?;
    Some(certificate.0.as_slice()).filter(|bytes| !bytes.is_empty())
}

/// The request with one more condition.
fn with_condition(
    request: &CertificateSigningRequest,
    type_: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> CertificateSigningRequest {
    let mut status = request.status.clone().unwrap_or_default();
    status.conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(time(now)),
        last_transition_time: Some(time(now)),
    });
    CertificateSigningRequest { status: Some(status), ..request.clone() }
}

/// The request with its certificate.
fn with_certificate(request: &CertificateSigningRequest, pem: String) -> CertificateSigningRequest {
    let status = CertificateSigningRequestStatus {
        certificate: Some(k8s_openapi::ByteString(pem.into_bytes())),
        ..request.status.clone().unwrap_or_default()
    };
    CertificateSigningRequest { status: Some(status), ..request.clone() }
}
