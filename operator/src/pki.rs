//! Certificates: ECDSA P-256, issued here, kept in Secrets.
//!
//! Everything is decided from what is stored: a certificate that still fits is kept, byte for byte; one that does not is
//! reissued. So a second run changes nothing, and a lost or damaged Secret heals.
//!
//! A certificate fits when it parses, its key belongs to it, the present authority signed it, it names what it should,
//! and its end is further away than the time of renewal.

mod authority;
mod inspect;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};

pub use authority::{Authority, authority, given};
pub use inspect::not_after;

/// Certificates could not be issued.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Keys or certificates could not be made.
    #[error("failed to sign")]
    Sign(#[from] rcgen::Error),
    /// A name is not allowed in a certificate.
    #[error("{0:?} cannot be part of a certificate")]
    Name(String),
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// How long certificates live.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// From now to the end.
    pub validity: Duration,
    /// How long before the end they are renewed.
    pub renew_before: Duration,
    /// The present.
    pub now: Timestamp,
}

impl Life {
    /// Whether a certificate that ends then is still to be kept.
    fn lasts(self, not_after: Timestamp) -> bool {
        not_after.duration_since(self.now).unsigned_abs() > self.renew_before && not_after > self.now
    }
}

/// Who a leaf certificate speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A server with these names and addresses.
    Server {
        /// Names and addresses.
        names: BTreeSet<String>,
    },
    /// A user.
    Client {
        /// User name.
        user: String,
        /// Group.
        group: Option<String>,
    },
}

/// Keeps `existing` if it fits, else issues anew. The flag says whether it was issued.
pub fn leaf(
    existing: Option<Pair>,
    subject: &Subject,
    authority: &Authority,
    life: Life,
) -> Result<(Pair, bool), Error> {
    match existing.filter(|pair| inspect::fits(pair, subject, authority, life)) {
        Some(pair) => Ok((pair, false)),
        None => Ok((issue(subject, authority, life)?, true)),
    }
}

fn issue(subject: &Subject, authority: &Authority, life: Life) -> Result<Pair, Error> {
    let mut params = params(life, life.validity.min(authority.remaining(life.now)));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    match subject {
        Subject::Server { names } => {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.distinguished_name.push(DnType::CommonName, "vkube-apiserver");
            for name in names {
                params.subject_alt_names.push(alternative_name(name)?);
            }
        }
        Subject::Client { user, group } => {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.distinguished_name.push(DnType::CommonName, user.as_str());
            if let Some(group) = group {
                params.distinguished_name.push(DnType::OrganizationName, group.as_str());
            }
        }
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.signed_by(&key, &authority.issuer()?)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// What all certificates have in common. They begin a little before now, for clocks that run behind.
fn params(life: Life, validity: Duration) -> CertificateParams {
    const CLOCK_SKEW: u64 = 300;
    let now = u64::try_from(life.now.as_second()).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.is_ca = IsCa::NoCa;
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(CLOCK_SKEW));
    params.not_after = epoch + Duration::from_secs(now) + validity;
    params
}

fn alternative_name(name: &str) -> Result<SanType, Error> {
    if let Ok(address) = name.parse() {
        return Ok(SanType::IpAddress(address));
    }
    let name = name.try_into().map_err(|_| Error::Name(name.to_owned()))?;
    Ok(SanType::DnsName(name))
}
