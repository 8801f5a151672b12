//! Users of client certificates: the common name is the user, the organizations are the groups
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates>).

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::user::{AUTHENTICATED, User};

/// The user of a certificate in DER, which TLS has verified against the client CA.
pub fn user(der: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(Into::into);
    Some(User { groups: groups.chain([AUTHENTICATED.to_owned()]).collect(), name, ..User::default() })
}
