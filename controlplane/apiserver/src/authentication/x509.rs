//! Users of client certificates: the common name is the user, the organizations are the groups
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates>).

use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::user::{CREDENTIAL_ID, User};

/// The attribute of a subject that is the user's uid.
const UID: &str = "1.3.6.1.4.1.57683.2";

/// The user of a certificate in DER, which TLS has verified against the client CA. A certificate without a
/// common name, or with several uids, shows nobody.
pub fn user(der: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    // Of several names the last counts, as in Go.
    let name = subject.iter_common_name().last()?.as_str().ok().filter(|name| !name.is_empty())?;
    let mut uids = subject.iter_attributes().filter(|attribute| attribute.attr_type().to_id_string() == UID);
    let uid = match (uids.next(), uids.next()) {
        (None, _) => "",
        (Some(uid), None) => uid.as_str().ok().filter(|uid| !uid.is_empty())?,
        (Some(_), Some(_)) => return None,
    };
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(Into::into);
    let mut user = User { name: name.into(), uid: uid.into(), groups: groups.collect(), ..User::default() }
        .authenticated();
    let fingerprint: String = Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect();
    user.extra.insert(CREDENTIAL_ID.into(), vec![format!("X509SHA256={fingerprint}")]);
    Some(user)
}
