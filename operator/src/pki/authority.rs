//! The certificate authority of a virtual cluster.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{BasicConstraints, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256};

use super::{Error, Life, Pair, inspect, params};

/// Ten years: replacing an authority breaks every kubeconfig that was handed out.
const VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The certificate authority of a virtual cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Its certificate and key.
    pub pair: Pair,
    /// When it ends.
    pub not_after: Timestamp,
}

impl Authority {
    /// How long it still lives.
    pub(super) fn remaining(&self, now: Timestamp) -> Duration {
        if self.not_after > now { self.not_after.duration_since(now).unsigned_abs() } else { Duration::ZERO }
    }

    pub(super) fn issuer(&self) -> Result<Issuer<'static, KeyPair>, Error> {
        let key = KeyPair::from_pem(&self.pair.key)?;
        Ok(Issuer::from_ca_cert_pem(&self.pair.certificate, key)?)
    }
}

/// Keeps `existing` if it is sound and outlives the certificates it is to sign, else makes a new authority. The flag
/// says whether it was made.
pub fn authority(existing: Option<Pair>, cluster: &str, life: Life) -> Result<(Authority, bool), Error> {
    let outlives = Life { renew_before: life.validity.min(VALIDITY / 2), ..life };
    let kept = existing.and_then(|pair| {
        let not_after = inspect::authority_end(&pair)?;
        outlives.lasts(not_after).then_some(Authority { pair, not_after })
    });
    if let Some(authority) = kept {
        return Ok((authority, false));
    }
    let mut params = params(life, VALIDITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, format!("vkube-ca-{cluster}"));
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.self_signed(&key)?;
    let pair = Pair { certificate: certificate.pem(), key: key.serialize_pem() };
    let not_after = inspect::authority_end(&pair).unwrap_or(life.now);
    Ok((Authority { pair, not_after }, true))
}

/// An authority that somebody else made; the error says what it lacks. It must end later
/// than certificates are renewed before their end: all would be issued anew over and over.
pub fn given(pair: Pair, life: Life) -> Result<Authority, &'static str> {
    let not_after = inspect::authority_end(&pair)
        .ok_or("holds no certificate of an authority with its private key in PKCS #8")?;
    if !life.lasts(not_after) {
        return Err("holds an authority that ends before its certificates would be renewed");
    }
    Ok(Authority { pair, not_after })
}
