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

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(subject: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (name, value) in subject {
            params.distinguished_name.push(name.clone(), *value);
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_is_a_user_with_groups_a_uid_and_a_credential() {
        let uid = DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, 2]);
        let der = certificate(&[(DnType::CommonName, "jane"), (DnType::OrganizationName, "dev"), (uid, "7")]);
        let user = user(&der).unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("jane", "7"));
        assert_eq!(user.groups, ["dev", "system:authenticated"]);
        let [id] = user.extra[CREDENTIAL_ID].as_slice() else { panic!("{:?}", user.extra) };
        assert!(id.starts_with("X509SHA256=") && id.len() == 11 + 64, "{id}");
    }

    #[test]
    fn a_certificate_without_a_common_name_shows_nobody() {
        assert_eq!(user(&certificate(&[(DnType::OrganizationName, "dev")])), None);
    }
}
