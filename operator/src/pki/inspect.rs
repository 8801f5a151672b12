//! Reading certificates back.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use rcgen::{KeyPair, PublicKeyData};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

use super::{Authority, Life, Pair, Subject};

/// When a PEM certificate ends; `None` if it is not one.
pub fn not_after(certificate: &str) -> Option<Timestamp> {
    with(certificate, |certificate| Timestamp::from_second(certificate.validity().not_after.timestamp()).ok())
}

/// When an authority ends; `None` if it is not sound.
pub(super) fn authority_end(pair: &Pair) -> Option<Timestamp> {
    with(&pair.certificate, |certificate| {
        let sound = certificate.is_ca() && key_belongs(&pair.key, certificate);
        let end = Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?;
        sound.then_some(end)
    })
}

/// Whether a stored certificate is as one issued now would be.
pub(super) fn fits(pair: &Pair, subject: &Subject, authority: &Authority, life: Life) -> bool {
    let check = |certificate: &X509Certificate<'_>| {
        let end = Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?;
        Some(
            life.lasts(end)
                && key_belongs(&pair.key, certificate)
                && names(subject, certificate)?
                && signed_by(authority, certificate)?,
        )
    };
    with(&pair.certificate, check).unwrap_or(false)
}

fn signed_by(authority: &Authority, certificate: &X509Certificate<'_>) -> Option<bool> {
    with(&authority.pair.certificate, |issuer| {
        Some(
            issuer.subject() == certificate.issuer()
                && certificate.verify_signature(Some(issuer.public_key())).is_ok(),
        )
    })
}

fn names(subject: &Subject, certificate: &X509Certificate<'_>) -> Option<bool> {
    match subject {
        Subject::Server { names } => {
            let found: BTreeSet<String> = certificate
                .subject_alternative_name()
                .ok()??
                .value
                .general_names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
                    _ => None,
                })
                .collect();
            // Addresses have many spellings; certificates hold none of them.
            let wanted: BTreeSet<String> = names
                .iter()
                .map(|name| {
                    name.parse::<IpAddr>().map_or_else(|_| name.clone(), |address| address.to_string())
                })
                .collect();
            Some(found == wanted)
        }
        Subject::Client { user, group } => {
            let name = certificate.subject();
            let common: Vec<_> = name.iter_common_name().filter_map(|cn| cn.as_str().ok()).collect();
            let groups: Vec<_> = name.iter_organization().filter_map(|o| o.as_str().ok()).collect();
            Some(common == [user.as_str()] && groups == group.iter().map(String::as_str).collect::<Vec<_>>())
        }
    }
}

fn key_belongs(key: &str, certificate: &X509Certificate<'_>) -> bool {
    KeyPair::from_pem(key)
        .is_ok_and(|key| key.der_bytes() == certificate.public_key().subject_public_key.as_ref())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into())
}

/// Runs `read` on a parsed PEM certificate.
fn with<T>(pem: &str, read: impl FnOnce(&X509Certificate<'_>) -> Option<T>) -> Option<T> {
    let block = Pem::iter_from_buffer(pem.as_bytes()).next()?.ok()?;
    read(&block.parse_x509().ok()?)
}
